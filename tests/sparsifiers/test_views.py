"""Dense weights behind a sparse forward, worked by hand."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

import sparsescape as ss

THETA = [[4.0, -3.0, 0.5, -1.0]]
GRADIENT = [[1.0, -2.0, 3.0, -4.0]]


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(THETA))

    def forward(self):
        self.seen = self.weight.detach().clone()
        return (self.weight * torch.tensor(GRADIENT)).sum()


def one_step(sparsifier, lr=0.1):
    model = Table()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    sparsifier.attach(model, optimizer)
    model().backward()
    optimizer.step()
    return model, sparsifier, optimizer


def theta(sparsifier):
    return sparsifier.dense_weights["weight"].flatten().tolist()


def test_sr_ste_goes_straight_through_and_holds_back_what_is_pruned():
    model, sparsifier, _ = one_step(ss.SRSTE(2, 4, decay=1.0))
    assert model.seen.tolist() == [[4, -3, 0, 0]]
    # θ − 0.1·(g + 1·θ where not shown)
    assert theta(sparsifier) == pytest.approx([3.9, -2.8, 0.5 - 0.35, -1 + 0.5])
    assert model.weight.tolist() == [[pytest.approx(3.9), pytest.approx(-2.8), 0, 0]]


def test_top_kast_moves_the_backward_set_only():
    sparsifier = ss.TopKAST(0.75, backward_sparsity=0.5, regularization=1.0)
    model, sparsifier, _ = one_step(sparsifier)
    assert model.seen.tolist() == [[4, 0, 0, 0]]
    assert model.weight.grad.count_nonzero() == 2
    # A = {4}: g + θ; B∖A = {−3}: g + θ/0.25; the others stay.
    assert theta(sparsifier) == pytest.approx([4 - 0.1 * 5, -3 + 0.1 * 14, 0.5, -1])


def test_what_is_trained_is_what_gets_a_gradient():
    # Of a weight of four: all behind SR-STE's and movement's, B behind Top-KAST's, else the mask.
    shares = {
        "sr-ste": ss.SRSTE(2, 4),
        "movement": ss.MovementPruning(0.5, begin=1, end=1),
        "top-kast": ss.TopKAST(0.75, backward_sparsity=0.25),
        "powerpropagation": ss.PowerPropagation(0.5, begin=0, end=0),
        "str": ss.STR(initial=0.0),
    }
    found = {name: one_step(s, lr=0.0)[1].trained["weight"] for name, s in shares.items()}
    assert found == {
        "sr-ste": 1.0, "movement": 1.0, "top-kast": 0.75, "powerpropagation": 0.5, "str": 0.75,
    }  # fmt: skip


def test_top_kast_chooses_again():
    sparsifier = ss.TopKAST(0.75, backward_sparsity=0.5, regularization=0.0, update_every=2)
    model, sparsifier, optimizer = one_step(sparsifier, lr=1.0)
    assert sparsifier.mask["weight"].tolist() == [[True, False, False, False]]
    optimizer.zero_grad()
    model().backward()
    optimizer.step()  # θ = 2, 1, .5, −1
    assert model.weight.tolist() == [[2, 0, 0, 0]]


def test_powerpropagation_starts_where_the_model_is_and_scales_the_gradient():
    sparsifier = ss.PowerPropagation(0.5, begin=1, end=2, every=1, alpha=2.0)
    model, sparsifier, _ = one_step(sparsifier)
    torch.testing.assert_close(model.seen, torch.tensor(THETA))
    roots = [2.0, -math.sqrt(3), math.sqrt(0.5), -1.0]
    expected = [r - 0.1 * 2 * abs(r) * g for r, g in zip(roots, GRADIENT[0], strict=True)]
    assert theta(sparsifier) == pytest.approx(expected)
    assert model.weight.flatten().tolist() == pytest.approx([t * abs(t) for t in expected])


def test_movement_keeps_what_moves_away_from_zero():
    # −g·θ: −4, −6, −1.5, −4 → after one step half are kept: the highest, 0.5 and the first −4.
    sparsifier = ss.MovementPruning(0.5, begin=1, end=1)
    model, sparsifier, _ = one_step(sparsifier, lr=0.0)
    assert model.weight.tolist() == [[4, 0, 0.5, 0]]
    assert sparsifier.memory["scores"]["weight"].tolist() == [[-4, -6, -1.5, -4]]
    assert theta(sparsifier) == THETA[0]


def test_str_subtracts_a_threshold_that_is_trained():
    model, sparsifier, _ = one_step(ss.STR(initial=0.0))
    # g(0) = 1/2: what is shown is 3.5, −2.5, 0 and −0.5.
    assert model.seen.tolist() == [[3.5, -2.5, 0, -0.5]]
    # ∂L/∂s = −g′(0)·(1·1 + 2·1 + 4·1) = −7/4; s = 0 + 0.1·7/4
    assert sparsifier.thresholds["weight"].item() == pytest.approx(0.175)
    assert theta(sparsifier) == pytest.approx([3.9, -2.8, 0.5, -0.6])
    assert sparsifier.mask["weight"].tolist() == [[True, True, False, True]]
    assert sparsifier.mask.sparsity == 0.25


def test_weight_decay_makes_str_sparser():
    torch.manual_seed(0)
    model = nn.Linear(20, 20)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.05)
    sparsifier = ss.STR(initial=-4.0).attach(model, optimizer)
    before = sparsifier.mask.sparsity
    for _ in range(20):
        optimizer.zero_grad()
        model(torch.zeros(1, 20)).sum().backward()
        optimizer.step()
    assert before < 0.1
    assert sparsifier.mask.sparsity > 0.5


VIEWS = {
    "sr-ste": lambda: ss.SRSTE(1, 4),
    "top-kast": lambda: ss.TopKAST(0.75, update_every=2),
    "powerpropagation": lambda: ss.PowerPropagation(0.75, begin=1, end=4, every=1),
    "movement": lambda: ss.MovementPruning(0.75, begin=1, end=4),
    "str": lambda: ss.STR(initial=-3.0),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_closure_gives_the_same_as_a_plain_step(kind):
    def run(with_closure):
        torch.manual_seed(0)
        model = nn.Linear(8, 8)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        VIEWS[kind]().attach(model, optimizer)

        def closure():
            optimizer.zero_grad()
            loss = model(torch.ones(3, 8)).square().sum()
            loss.backward()
            return loss

        for _ in range(5):
            if with_closure:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
        return model.weight

    assert torch.equal(run(True), run(False))


@pytest.mark.parametrize("kind", VIEWS)
def test_a_skipped_step_leaves_all_as_it_was(kind):
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    sparsifier = VIEWS[kind]().attach(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before = copy.deepcopy((model.state_dict(), sparsifier.state_dict()))
    scaler.scale(model(torch.ones(3, 8)).sum() * float("inf")).backward()
    scaler.step(optimizer)
    after = model.state_dict(), sparsifier.state_dict()
    assert sparsifier.step == 0
    assert torch.equal(before[0]["weight"], after[0]["weight"])
    old, new = (s["memory"]["dense_weights"]["weight"] for s in (before[1], after[1]))
    assert torch.equal(old, new)


def test_an_attention_layer_that_reads_anothers_weight_sees_the_sparse_one():
    torch.manual_seed(0)
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.SRSTE(1, 4).attach(model, optimizer)
    x = torch.randn(2, 3, 8)
    twin = nn.MultiheadAttention(8, 2, batch_first=True)
    twin.load_state_dict(model.state_dict())
    assert ss.Mask.of(twin).sparsity == 0.75 == sparsifier.mask.sparsity
    assert torch.equal(twin(x, x, x)[0], model(x, x, x)[0])


@pytest.mark.parametrize("kind", ["sr-ste", "top-kast", "str"])
def test_once_detached_it_is_pickled(kind):
    _, sparsifier, _ = one_step(VIEWS[kind]())
    sparsifier.detach()
    twin = pickle.loads(pickle.dumps(sparsifier))
    assert twin.mask == sparsifier.mask


def test_optimizer_state_of_dense_weights_is_left_alone_when_a_schedule_moves_the_learning_rate():
    model = nn.Linear(8, 8)
    optimizer = torch.optim.Rprop(model.parameters(), lr=0.01)
    sparsifier = ss.SRSTE(2, 4).attach(model, optimizer)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 0.01 * 0.9**step
        optimizer.zero_grad()
        model(torch.ones(2, 8)).exp().sum().backward()  # of which no gradient changes its sign
        optimizer.step()
        outside = ~sparsifier.mask["weight"]
        assert outside.any()
        assert optimizer.state[model.weight]["prev"][outside].all()


@pytest.mark.parametrize("method", [ss.TopKAST(0.5, update_every=9), ss.STR(initial=-2.0)])
def test_what_is_shown_outside_the_mask_is_0_where_the_dense_weight_is_nan(method):
    torch.manual_seed(0)
    model = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = method.attach(model, optimizer)
    sparsifier.dense_weights["weight"][~sparsifier.mask["weight"]] = torch.inf
    model(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    closed = ~sparsifier.mask["weight"]
    assert closed.any()
    assert (model.weight[closed] == 0).all()
