"""Streams of tokens, and the GPT that reads them."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import sparsescape as ss
from sparsescape.problems.gpt import GPT, Size
from sparsescape.problems.shakespeare import small
from sparsescape.problems.text import Windows
from sparsescape.seeds import Draw

SIZE = Size(vocabulary=11, context=8, layers=2, heads=2, width=12)


def test_windows_are_moved_by_less_than_their_length_and_stay_inside():
    stream = Windows(torch.arange(50), length=8)
    assert len(stream) == 6
    starts = set()
    for step in range(60):
        inputs, targets = stream.draw(torch.arange(6), Draw(0, step))
        assert torch.equal(targets, inputs + 1)
        assert torch.equal(inputs, inputs[:, :1] + torch.arange(8))
        moved = inputs[:, 0] - 8 * torch.arange(6)
        assert moved.min() >= 0
        assert moved.max() < 8
        starts |= set(inputs[:, 0].tolist())
    assert starts == set(range(42))  # every start from which a window fits


def test_evaluation_sees_every_token_but_the_rest_once():
    windows = torch.cat([targets for _, targets in Windows(torch.arange(50), length=8)])
    assert windows.flatten().tolist() == list(range(1, 49))


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(ss.InputError, match="8 tokens: too few for a window of 8"):
        Windows(torch.arange(8), length=8)


def test_no_output_sees_what_comes_after_it():
    model = GPT(SIZE).eval()
    tokens = torch.randint(11, (1, 8), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[0, 5] = (other[0, 5] + 1) % 11
    one, two = model(tokens), model(other)
    assert one.shape == (1, 11, 8)
    assert torch.allclose(one[:, :, :5], two[:, :, :5], atol=1e-6)
    assert (one[:, :, 5:] - two[:, :, 5:]).abs().amax(1).min() > 1e-6


def test_the_head_is_the_embedding_and_every_matrix_stands_alone():
    names = [n for n, p in GPT(SIZE).named_parameters() if p.ndim >= 2]
    inside = ("attention.query", "attention.key", "attention.value", "attention.output")
    each = (*inside, "up", "down")
    expected = [f"blocks.{b}.{m}.weight" for b in range(2) for m in each]
    assert sorted(names) == sorted(["tokens.weight", "positions.weight", *expected])


def test_it_has_second_derivatives():
    torch.manual_seed(0)
    model = GPT(SIZE).double()
    stream = torch.randint(11, (60,))
    objective = ss.Objective(model, Windows(stream, 8), cross_entropy)
    point = {n: p.detach() for n, p in model.named_parameters()}
    direction = {n: torch.randn_like(p) for n, p in point.items()}
    found = objective.hessian_vector_product(point, direction)
    ahead, behind = (
        objective.gradient({n: p + sign * 1e-5 * direction[n] for n, p in point.items()})
        for sign in (1, -1)
    )
    for name, product in found.items():
        expected = (ahead[name] - behind[name]) / 2e-5
        assert torch.allclose(product, expected, rtol=1e-4, atol=1e-6)


def test_shakespeare_is_split_where_it_is_nine_tenths_through(data_folder):
    text = (data_folder / "tinyshakespeare.txt").read_text(encoding="utf-8")
    problem = small(ss.Recipe(), str(data_folder))
    letters = sorted(set(text))
    said = [letters[token] for token in problem.train.tokens.tolist()]
    assert "".join(said) == text[: int(0.9 * len(text))]
    assert len(problem.test.tokens) == len(text) - len(said)
    assert not problem.test.moved


def test_without_the_text_it_says_in_a_sentence_where_to_put_it(tmp_path):
    with pytest.raises(ss.InputError, match=r"must hold tinyshakespeare\.txt") as caught:
        small(ss.Recipe(), str(tmp_path))
    assert "\n" not in str(caught.value)
