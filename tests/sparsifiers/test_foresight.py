"""Masks chosen before training."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sparsescape as ss

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


def make_model(bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 10, bias=bias), nn.ReLU(), nn.Linear(10, 8, bias=bias), nn.ReLU(),
        nn.Linear(8, 3, bias=bias),
    )  # fmt: skip


def attach(sparsifier, model):
    return sparsifier.attach(model, torch.optim.SGD(model.parameters(), lr=0.1)).mask


@pytest.mark.parametrize("method", [ss.SNIP, ss.FORCE, ss.GraSP])
def test_the_count_is_exact(method):
    model = make_model()
    before = {n: p.clone() for n, p in model.named_parameters() if p.ndim < 2}
    mask = attach(method(sparsity=0.9, data=(X, Y), loss=F.cross_entropy), model)
    assert mask.count == 164 - round(0.9 * 164)
    mask.check_contains(model)
    for name, value in before.items():
        assert torch.equal(value, model.get_parameter(name))
    assert all(p.grad is None for p in model.parameters())


def test_snip_is_weight_times_gradient():
    model = make_model()
    F.cross_entropy(model(X), Y).backward()
    expected = {n: (p * p.grad).abs() for n, p in model.named_parameters() if p.ndim > 1}
    for name, score in ss.scores.snip(make_model(), (X, Y)).items():
        torch.testing.assert_close(score, expected[name])


def test_snip_sees_all_batches():
    whole = ss.scores.snip(make_model(), (X, Y))
    parts = ss.scores.snip(make_model(), [(X[:15], Y[:15]), (X[15:], Y[15:])])
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name])


def test_snip_at_density_one_keeps_all():
    assert attach(ss.SNIP(sparsity=0.0, data=(X, Y)), make_model()).sparsity == 0


def test_iterative_snip_is_nested_and_force_may_recover():
    def masks(method):
        return [
            method(sparsity=s, data=(X, Y), rounds=r).first_mask(make_model())
            for s, r in ((1 - 0.1**0.5, 1), (0.9, 2))
        ]

    first, second = masks(ss.SNIP)
    assert not (second & ~first).count
    assert attach(ss.SNIP(0.9, data=(X, Y), rounds=9), make_model()).count == 16
    first, second = masks(ss.FORCE)
    assert (second & ~first).count


def test_grasp_predicts_the_change_of_the_gradient_norm():
    model = make_model().double()
    data = (X.double(), Y)
    score = ss.scores.grasp(model, data)["2.weight"][3, 4].item()

    def flow(scale):
        twin = make_model().double()
        twin[2].weight.data[3, 4] *= scale
        gradient = ss.Objective(twin, data).gradient(twin)
        return sum(float(g.square().sum()) for g in gradient.values())

    slope = (flow(1 + 1e-4) - flow(1 - 1e-4)) / 2e-4
    assert 2 * score == pytest.approx(slope, rel=1e-3)


def test_synflow_is_conserved_from_layer_to_layer():
    found = ss.scores.synflow(make_model(bias=False), X)
    sums = [score.sum().item() for score in found.values()]
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-12)


def test_synflow_needs_no_data_and_avoids_collapse():
    model = make_model(bias=False)
    one = ss.SynFlow(0.95, inputs=X).first_mask(model)
    other = ss.SynFlow(0.95, inputs=torch.zeros(3, 6)).first_mask(model)
    assert one == other
    assert one.count == 164 - round(0.95 * 164)
    assert min(one.counts.values()) > 0


# ---------------------------------------------------------------------------- tables, by hand

WEIGHT = [[4.0, -3, 1, 2], [1, 1, -2, 1], [2, -1, 8, 1], [7, 1, 1, -5]]
GRADIENT = torch.tensor([[1.0, 1, 9, -7], [0, 6, 2, 1], [1, -8, 1, 3], [1, 0, 4, 1]])
ROWS = [[5.0, 3, 1, 1], [4, 2, 1, 1], [1, 1, 1, 1], [2, -2, 2, -1]]
"""Rows that sum up to 10, 8, 4 and 1."""
TARGETS = torch.tensor([[10.0, 0, 0, 0]])


def table(weight):
    model = nn.Linear(4, 4, bias=False)
    model.weight.data.copy_(torch.tensor(weight))
    return model


def half_square(outputs, targets):
    """On an input of ones: r²/2 for each row, r its sum minus its target."""
    return 0.5 * (outputs - targets).square().sum()


def positions(mask):
    return [tuple(p) for p in mask["weight"].nonzero().tolist()]


def test_snip_on_a_table():
    # An input of basis vectors: the gradient is the table. |w·g|: 4 3 9 14, 0 6 4 1, 2 8 8 3,
    # 7 0 4 5; the five largest are 14, 9, 8, 8 and 7.
    data = torch.eye(4), GRADIENT.T
    snip = ss.SNIP(11 / 16, data=data, loss=lambda outputs, targets: (outputs * targets).sum())
    assert positions(attach(snip, table(WEIGHT))) == [(0, 2), (0, 3), (2, 1), (2, 2), (3, 0)]


def test_force_on_a_table():
    # The gradient is r in all of a row: 0, 8, 4, 1. |w|·r: 0s; 32 16 8 8; 4s; 2 2 2 1. Round 1
    # keeps 8: rows 1 and 2. There r of row 0 is −10: 50 30 10 10; 32 16 8 8; 4s; 0s. Round 2 keeps
    # 4: 50, 32, 30 and 16; iterative SNIP does not let row 0 return: 32, 16, 8 and 8.
    given = {"data": (torch.ones(1, 4), TARGETS), "loss": half_square, "rounds": 2}
    assert positions(attach(ss.FORCE(0.75, **given), table(ROWS))) == [
        (0, 0), (0, 1), (1, 0), (1, 1),
    ]  # fmt: skip
    assert positions(attach(ss.SNIP(0.75, **given), table(ROWS))) == [
        (1, column) for column in range(4)
    ]


@pytest.mark.parametrize(
    ("sparsity", "closed"),
    [(2 / 16, [(3, 1), (3, 3)]), (6 / 16, [(0, 0), (0, 1), (0, 2), (0, 3), (3, 1), (3, 3)])],
)
def test_grasp_on_a_table(sparsity, closed):
    # H·g is 4·r in all of a row: w·(H·g)/4 is 0s; 32 16 8 8; 4s; 2 −2 2 −1. The least go first.
    grasp = ss.GraSP(sparsity, data=(torch.ones(1, 4), TARGETS), loss=half_square, temperature=1.0)
    assert positions({"weight": ~attach(grasp, table(ROWS))["weight"]}) == closed


def test_synflow_on_a_table():
    # |w| of the second layer sum up to 6 and 2 by hidden unit, those of the first to 3 and 7:
    # scores 6 12, 6 8 and 15 7, 3 7: 32 in each layer. The four largest: 15, 12, 8 and the first 7.
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[0].weight.data.copy_(torch.tensor([[1.0, -2], [3, 4]]))
    model[1].weight.data.copy_(torch.tensor([[-5.0, 1], [1, 1]]))
    found = ss.scores.synflow(model, torch.ones(1, 2))
    assert found["0.weight"].tolist() == [[6, 12], [6, 8]]
    assert found["1.weight"].tolist() == [[15, 7], [3, 7]]
    mask = attach(ss.SynFlow(0.5, inputs=torch.ones(1, 2), rounds=1), model)
    assert mask["0.weight"].int().tolist() == [[0, 1], [0, 1]]
    assert mask["1.weight"].int().tolist() == [[1, 1], [0, 0]]


def test_any_score_of_the_weights_alone():
    model = make_model()
    expected = ss.Mask.from_scores(ss.scores.magnitude(model), sparsity=0.75)
    assert attach(ss.AtInitialization(0.75, score_of=ss.scores.magnitude), model) == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_scored(dtype):
    model, data = make_model().to(dtype), (X.to(dtype), Y)
    assert attach(ss.SNIP(0.5, data=data, rounds=2), model).count == 82
    scored = ss.AtInitialization(0.5, score_of=ss.scores.magnitude)
    assert attach(scored, make_model().to(dtype)).count == 82


def test_what_is_dense_is_not_scored():
    mask = attach(ss.SNIP(sparsity=0.9, data=(X, Y), dense=["4"]), make_model())
    assert list(mask) == ["0.weight", "2.weight"]
    assert mask.count == 14


@pytest.mark.parametrize(
    "score_of",
    [
        lambda model: {},
        lambda model: None,
        lambda model: {"0.weight": model[0].weight.abs()},
        lambda model: {n: w.flatten() for n, w in model.named_parameters() if w.ndim > 1},
        lambda model: {n: 3.0 for n, _ in model.named_parameters()},
    ],
    ids=["empty", "nothing", "one layer", "flat", "numbers"],
)
def test_a_score_of_ones_own_is_one_for_each_weight(score_of):
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(
        ss.InputError, match=r"no score for '\d.weight'|is a tensor of \(3, 4\), not"
    ):
        ss.AtInitialization(0.5, score_of=score_of).attach(model, optimizer)
