"""Allowed patterns."""

import pickle

import pytest
import torch
from torch import nn

import sparsescape as ss
from sparsescape.sparsifiers.structures import blocks, fan_in, n_of_m


def test_n_of_m_goes_along_the_input_channels():
    scores = torch.arange(2 * 4 * 3 * 3.0).reshape(2, 4, 3, 3)
    chosen = n_of_m(1, 2)(scores, 0)
    assert (chosen.reshape(2, 2, 2, 3, 3).sum(2) == 1).all()
    assert chosen[:, 1::2].all()


def test_inputs_that_do_not_divide_are_refused_by_shape():
    with pytest.raises(ss.InputError, match=r"\(2, 6\) has 6 inputs"):
        n_of_m(2, 4)(torch.ones(2, 6), 0)


@pytest.mark.parametrize(("n", "m"), [(0, 4), (5, 4)])
def test_an_impossible_pattern_is_refused(n, m):
    with pytest.raises(ss.InputError, match="can be kept"):
        n_of_m(n, m)


def test_blocks_are_whole_and_reach_over_the_edge():
    scores = torch.rand(5, 6, 3, generator=torch.Generator().manual_seed(0))
    chosen = blocks(2, 2)(scores, 45)
    whole = chosen[:4].reshape(2, 2, 3, 2, 3).movedim(1, 2).flatten(2)
    assert (whole.all(2) | ~whole.any(2)).all()


def test_constant_fan_in_is_constant():
    scores = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    assert fan_in(scores, 12).sum(1).tolist() == [3, 3, 3, 3]
    assert fan_in(scores, 14).sum(1).tolist() == [4, 4, 3, 3]


def test_srigl_keeps_a_constant_fan_in_while_it_trains():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    srigl = ss.SRigL(0.75, distribution="uniform", update_every=1).attach(model, optimizer)
    for step in range(8):
        optimizer.zero_grad()
        x = torch.randn(32, 16, generator=torch.Generator().manual_seed(step))
        (model(x) - x.roll(1, 1)).square().mean().backward()
        optimizer.step()
        for active in srigl.mask.values():
            fan_ins = active.sum(1)
            alive = fan_ins[fan_ins > 0]
            assert alive.max() - alive.min() <= 1
            assert active.sum() == 64


def test_whole_blocks_move():
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mest = ss.MEST(0.75, update_every=1, distribution="uniform", structure=blocks(2, 2))
    mest.attach(model, optimizer)
    start = mest.mask
    model(torch.randn(9, 8)).square().sum().backward()
    optimizer.step()
    sums = mest.mask["weight"].reshape(4, 2, 4, 2).sum((1, 3))
    assert set(sums.flatten().tolist()) == {0, 4}
    assert mest.mask != start


# ---------------------------------------------------------------------------- which go where


def fan_out(scores, count):
    """A structure of one's own: as many weights for each input."""
    return fan_in(scores.T, count).T


STRUCTURES = {"blocks": blocks(2, 4), "n:m": n_of_m(2, 4), "fan-in": fan_in, "own": fan_out}
NOT_N_OF_M = {"blocks", "fan-in", "own"}

TAKEN = {
    "Static": ({*STRUCTURES}, lambda **more: ss.Static(**more)),
    "OneShot": ({*STRUCTURES}, lambda **more: ss.OneShot(**more)),
    "ACDC": ({*STRUCTURES}, lambda **more: ss.ACDC(begin=1, phase=1, end=3, **more)),
    "GradualMagnitude": (
        NOT_N_OF_M, lambda **more: ss.GradualMagnitude(begin=1, end=3, every=1, **more)
    ),
    "PowerPropagation": (
        NOT_N_OF_M, lambda **more: ss.PowerPropagation(begin=1, end=3, every=1, **more)
    ),
    "MovementPruning": (NOT_N_OF_M, lambda **more: ss.MovementPruning(begin=1, end=3, **more)),
    "TopKAST": (NOT_N_OF_M, lambda **more: ss.TopKAST(update_every=1, **more)),
    "RigL": ({*STRUCTURES}, lambda **more: ss.RigL(update_every=1, **more)),
    "RigLITOP": ({*STRUCTURES}, lambda **more: ss.RigLITOP(update_every=1, **more)),
    "SET": ({*STRUCTURES}, lambda **more: ss.SET(update_every=1, **more)),
    "SETITOP": ({*STRUCTURES}, lambda **more: ss.SETITOP(update_every=1, **more)),
    "MEST": ({*STRUCTURES}, lambda **more: ss.MEST(update_every=1, **more)),
    "SNFS": ({"fan-in"}, lambda **more: ss.SNFS(update_every=1, **more)),
    "GraNet": ({"fan-in"}, lambda **more: ss.GraNet(update_every=1, prune_until=3, **more)),
    "SRigL": ({"fan-in"}, lambda **more: ss.SRigL(update_every=1, ablation=0, **more)),
    "DSR": (set(), lambda **more: ss.DSR(update_every=1, **more)),
    "DeepR": (set(), lambda **more: ss.DeepR(**more)),
}  # fmt: skip


def is_in(structure, active):
    if structure is fan_in:
        each = active.flatten(1).sum(1)
        return bool(each.max() - each.min() <= 1)
    return torch.equal(structure(active.float(), int(active.sum())), active)


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 12))


def masks_of_training(sparsifier, steps=6):
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier.attach(model, optimizer)
    masks = [sparsifier.mask]
    for step in range(steps):
        optimizer.zero_grad()
        x = torch.randn(32, 20, generator=torch.Generator().manual_seed(step))
        (model(x) - x[:, :12]).square().mean().backward()
        optimizer.step()
        masks.append(sparsifier.mask)
    return masks


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("method", TAKEN)
def test_a_method_holds_the_pattern_and_the_count_or_says_no(method, kind):
    taken, make = TAKEN[method]
    structure = STRUCTURES[kind]
    sparsity = 0.5 if kind == "n:m" else 0.7
    if kind not in taken:
        with pytest.raises(
            ss.InputError, match=rf"{method} takes .* (not|given) (blocks|N:M|constant|a pat)"
        ):
            make(sparsity=sparsity, structure=structure)
        return
    sparse = {}
    if method not in ("ACDC", "MovementPruning"):  # which are dense, or rank what is all 0
        sparse["distribution"] = "uniform"
    masks = masks_of_training(make(sparsity=sparsity, structure=structure, **sparse))
    for mask in masks:
        for active in mask.values():
            assert active.all() or is_in(structure, active)
    asked = {"0.weight": (1 - sparsity) * 320, "2.weight": (1 - sparsity) * 192}
    last = masks[-1].counts
    whole = 4 if kind == "blocks" else 0.5  # half a block, half a weight
    if method in ("SNFS", "GraNet", "ACDC"):  # of all layers together
        assert abs(sum(last.values()) - sum(asked.values())) <= 2 * whole
    else:
        assert all(abs(last[n] - asked[n]) <= whole for n in asked)
    if issubclass(getattr(ss, method), ss.DropGrow):
        totals = {mask.count for mask in masks}
        assert len(totals) == 1 or method == "GraNet"
    assert method in ("Static", "OneShot") or masks[-1] != masks[0]


def test_rigl_moves_single_weights_in_the_groups_of_n_of_m():
    """The smallest of a layer go, and in each group the largest gradients fill the gaps."""
    model = nn.Linear(8, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0, 0, 1, 5], [0, 2, 6, 0]]).reshape(1, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    start = ss.Mask.of(model)
    rigl = ss.RigL(
        0.5, update_every=1, drop_fraction=0.5, structure=n_of_m(2, 4), initial_mask=start
    ).attach(model, optimizer)
    model(torch.tensor([[3.0, 4, 2, 9, 7, 6, 9, 8]])).sum().backward()
    optimizer.step()
    assert rigl.mask.indices("weight").tolist() == [1, 3, 6, 7]


@pytest.mark.parametrize(
    "make",
    [
        lambda **more: ss.Static(sparsity=0.9, **more),
        lambda **more: ss.OneShot(0.9, **more),
        lambda **more: ss.ACDC(0.9, begin=1, phase=1, end=3, **more),
        lambda **more: ss.RigL(0.9, **more),
    ],
    ids=["static", "one-shot", "ac/dc", "rigl"],
)
def test_a_sparsity_that_n_of_m_has_not_is_refused(make):
    with pytest.raises(ss.InputError, match=r"2:4 has a sparsity of 0\.5, not 0\.9"):
        make(structure=n_of_m(2, 4))


@pytest.mark.parametrize("distribution", ["erk", "global"])
def test_n_of_m_decides_how_many_each_layer_keeps(distribution):
    rigl = ss.RigL(0.5, update_every=1, structure=n_of_m(2, 4), distribution=distribution)
    assert all(mask.counts == {"0.weight": 160, "2.weight": 96} for mask in masks_of_training(rigl))


def test_blocks_that_are_smaller_at_an_edge_do_not_move():
    with pytest.raises(ss.InputError, match=r"'0.weight' .* not made of whole blocks of 3 × 5"):
        masks_of_training(ss.RigL(0.7, structure=blocks(3, 5)))
    masks_of_training(ss.RigL(0.7, structure=blocks(3, 5), initial_mask=ones()))  # none moves


@pytest.mark.parametrize("structure", [blocks(2, 2), n_of_m(2, 4)])
def test_an_initial_mask_in_another_pattern_is_refused(structure):
    first = ss.Static(sparsity=0.5, structure=fan_in)
    start = masks_of_training(first, steps=0)[0]
    with pytest.raises(ss.InputError, match=r"first mask of '0.weight' is not of the structure"):
        masks_of_training(ss.RigL(0.5, structure=structure, initial_mask=start))


def test_srigl_has_no_other_structure():
    with pytest.raises(ss.InputError, match="SRigL's structure is constant fan-in"):
        ss.SRigL(0.5, structure=ss.structures.unstructured)


def ones():
    return ss.Mask({n: w == w for n, w in perceptron().named_parameters() if w.ndim > 1})


@pytest.mark.parametrize("structure", [blocks(2, 2), n_of_m(2, 4)])
def test_a_sparsifier_with_a_structure_is_copied_before_it_is_attached(structure):
    rigl = pickle.loads(pickle.dumps(ss.RigL(0.5, structure=structure)))
    assert rigl.structure == structure


@pytest.mark.parametrize("low", [-torch.inf, -1e9])
def test_what_a_score_forbids_does_not_hide_the_order_of_the_others(low):
    class Last(ss.DropGrow):
        def grow_score(self, name):
            score = torch.arange(16.0).expand(4, 16).clone()
            score[:, 0] = low
            return score

    torch.manual_seed(0)
    model = torch.nn.Linear(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings = {"structure": ss.structures.fan_in, "update_every": 1, "drop_fraction": 0.5}
    sparsifier = Last(0.75, **settings).attach(model, optimizer)
    before = sparsifier.mask["weight"]
    model(torch.ones(1, 16)).sum().backward()
    optimizer.step()
    grown = sparsifier.mask["weight"] & ~before
    for row in range(4):
        free = [column for column in range(16) if not before[row, column]]
        assert grown[row].nonzero().flatten().tolist() == free[-int(grown[row].sum()) :]
