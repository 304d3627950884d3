"""Drop and grow on tables worked by hand."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import sparsescape as ss
from sparsescape.sparsifiers import dynamic
from sparsescape.sparsifiers.places import Marked

WEIGHT = [[4.0, -3, 0, 0], [0, 1, 0, -2], [0, 0, 8, 0], [7, 0, 0, -5]]
GRADIENT = [[1.0, 1, 9, -7], [0, 6, 2, 1], [1, -8, 1, 3], [1, 0, 4, 1]]
ACTIVE = torch.tensor(WEIGHT) != 0


class Table(nn.Module):
    """A model whose weight has a gradient of our choice."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(WEIGHT))
        self.bias = nn.Parameter(torch.ones(2))

    def forward(self):
        return (self.weight * torch.tensor(GRADIENT)).sum() + self.bias.sum()


def after_one_update(sparsifier, lr=0.0):
    """The table after one step with an update of the mask."""
    model = Table()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=0.1)
    sparsifier.first_mask = lambda model: {"weight": ACTIVE.clone()}
    sparsifier.attach(model, optimizer)
    model().backward()
    optimizer.step()
    return model, sparsifier, optimizer


def positions(mask):
    return [tuple(p) for p in mask["weight"].nonzero().tolist()]


def test_rigl_drops_the_smallest_and_grows_the_largest_gradients():
    # 7 active, ⌊0.45·7⌋ = 3 dropped: 1, −2, −3. Grown: 9, −8, −7 (of what is closed or dropped,
    # |gradient|: 9, 7 in row 0; 0, 6 (dropped), 2, 1; 1, 8, 3; 0, 4).
    rigl = ss.RigL(0.5, update_every=1, drop_fraction=0.45)
    model, rigl, _ = after_one_update(rigl)
    assert positions(rigl.mask) == [(0, 0), (0, 2), (0, 3), (2, 1), (2, 2), (3, 0), (3, 3)]
    assert model.weight.tolist() == [[4, 0, 0, 0], [0, 0, 0, 0], [0, 0, 8, 0], [7, 0, 0, -5]]


def test_rigl_may_grow_again_what_it_dropped_at_its_value():
    # ⌊0.6·7⌋ = 4 dropped: 1, −2, −3, 4. The four largest gradients outside the kept: 9, 8, 7 and
    # 6, the last at the dropped weight 1, which goes on as it was.
    model, rigl, _ = after_one_update(ss.RigL(0.5, update_every=1, drop_fraction=0.6))
    assert positions(rigl.mask) == [(0, 2), (0, 3), (1, 1), (2, 1), (2, 2), (3, 0), (3, 3)]
    assert model.weight[1].tolist() == [0, 1, 0, 0]


def test_rigls_update_takes_the_place_of_the_step_of_all_parameters():
    model, _rigl, optimizer = after_one_update(
        ss.RigL(0.5, update_every=1, drop_fraction=0.0), lr=0.1
    )
    assert model.weight.tolist() == WEIGHT
    assert model.bias.tolist() == [1, 1]
    assert not optimizer.state  # momentum has not heard of it
    assert model.bias.grad.tolist() == [1, 1]
    assert torch.equal(model.weight.grad, torch.tensor(GRADIENT) * ACTIVE)


def test_what_set_drops_is_not_grown_in_the_same_update():
    # A share of 1/3 of the 4 positive (1, 4, 7, 8) and of the 3 negative (−2, −3, −5) weights:
    # 2 in all, the lowest of each sign.
    model, mask, _ = after_one_update(ss.SET(0.5, update_every=1, drop_fraction=1 / 3))
    grown = mask.mask["weight"] & ~ACTIVE
    assert not mask.mask["weight"][1, 1]
    assert not mask.mask["weight"][1, 3]
    assert grown.sum() == 2
    assert not model.weight[grown].any()


def test_set_itop_drops_by_magnitude_whatever_the_sign():
    _, itop, _ = after_one_update(ss.SETITOP(0.5, update_every=1, drop_fraction=0.45))
    kept = itop.mask["weight"] & ACTIVE
    assert positions({"weight": ACTIVE & ~kept}) == [(0, 1), (1, 1), (1, 3)]  # −3, 1, −2
    assert itop.mask.count == 7


def test_rigl_itop_is_rigl():
    _, itop, _ = after_one_update(ss.RigLITOP(0.5, update_every=1, drop_fraction=0.6))
    _, rigl, _ = after_one_update(ss.RigL(0.5, update_every=1, drop_fraction=0.6))
    assert itop.mask == rigl.mask
    assert (ss.RigLITOP(0.5).update_every, ss.RigLITOP(0.5).drop_fraction) == (4000, 0.5)
    assert (ss.SETITOP(0.5).update_every, ss.SETITOP(0.5).drop_fraction) == (1500, 0.5)


def test_mest_mutates_half_as_much_in_the_last_quarter():
    mest = ss.MEST(0.9, update_every=10, update_until=120)
    assert [mest.drop_share(step) for step in (10, 80, 90, 110)] == [0.2, 0.2, 0.1, 0.1]
    assert not mest.due(120)
    assert ss.MEST(0.9).drop_share(10**6) == 0.2  # without an end, throughout


def test_mest_weighs_the_gradient_in():
    # |w| + 1·|g|: 5, 4, 7, 3, 9, 8, 6; ⌊0.3·7⌋ = 2 dropped: those with 3 and 4.
    mest = ss.MEST(0.5, update_every=1, drop_fraction=0.3, gradient_weight=1.0)
    _, mest, _ = after_one_update(mest)
    assert not mest.mask["weight"][1, 3]
    assert not mest.mask["weight"][0, 1]
    assert mest.mask["weight"][1, 1]


def test_snfs_grows_by_the_smoothed_gradient_over_all_positions():
    snfs = ss.SNFS(0.5, update_every=1, drop_fraction=0.45, smoothing=0.9)
    _, snfs, _ = after_one_update(snfs)
    expected = 0.1 * torch.tensor(GRADIENT)
    torch.testing.assert_close(snfs.memory["momentum"]["weight"], expected)
    assert positions(snfs.mask) == [(0, 0), (0, 2), (0, 3), (2, 1), (2, 2), (3, 0), (3, 3)]


def test_snfs_shares_out_by_the_mean_momentum_of_what_is_active():
    # Half of 8 + 8 weights are dropped; mean |gradient| 3 and 1: of these 8, 6 and 2 are grown.
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.arange(1.0, 17).reshape(4, 4)) for _ in "ab")

        def forward(self):
            return 3 * self.a.sum() - self.b.sum()

    model = Two()
    snfs = ss.SNFS(0.5, update_every=1, drop_fraction=0.5)
    upper = torch.arange(16).reshape(4, 4) >= 8
    snfs.first_mask = lambda model: {"a": upper.clone(), "b": upper.clone()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    snfs.attach(model, optimizer)
    model().backward()
    optimizer.step()
    assert snfs.mask.counts == {"a": 4 + 6, "b": 4 + 2}
    assert snfs.mask["a"].flatten()[12:].all()  # the larger half stays


@pytest.mark.parametrize(
    ("threshold", "next_threshold", "dropped"),
    [(1.5, 3.0, 1), (2.5, 2.5, 2), (3.5, 1.75, 3)],
)
def test_dsr_drops_below_a_threshold_that_adapts(threshold, next_threshold, dropped):
    dsr = ss.DSR(0.5, update_every=1, threshold=threshold, drop_fraction=2 / 7)
    _, dsr, _ = after_one_update(dsr)
    assert dsr.memory["threshold"] == next_threshold
    assert (ACTIVE & ~dsr.mask["weight"]).sum() == dropped
    assert dsr.mask.count == 7


def test_dsr_leaves_a_layer_its_largest_weight():
    _, dsr, _ = after_one_update(ss.DSR(0.5, update_every=1, threshold=100.0))
    assert dsr.mask["weight"][2, 2]
    assert (dsr.mask["weight"] & ACTIVE).sum() == 1
    assert dsr.mask.count == 7


def test_deep_r_keeps_the_sign_of_a_position():
    sparsifier = ss.DeepR(0.5, shrinkage=0.0)
    model, deep_r, optimizer = after_one_update(sparsifier, lr=0.5)
    signs = deep_r.memory["sign"]["weight"].clone()
    assert torch.equal(signs[ACTIVE], torch.tensor(WEIGHT)[ACTIVE].sign())
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    for _ in range(5):
        optimizer.zero_grad()
        model().backward()
        optimizer.step()
        active = deep_r.mask["weight"]
        assert (model.weight[active] * signs[active] >= 0).all()
    assert torch.equal(deep_r.memory["sign"]["weight"], signs)


def test_deep_r_drops_what_changed_sign():
    # w − lr·(g + 0.1·w) at lr = 0.5 without momentum's memory: (1, 1): 1 − 0.5·6.1 < 0.
    model, deep_r, _ = after_one_update(ss.DeepR(0.5, shrinkage=0.0), lr=0.5)
    kept = deep_r.mask["weight"] & ACTIVE
    assert positions({"weight": ACTIVE & ~kept}) == [(1, 1)]
    assert deep_r.mask.count == 7
    grown = deep_r.mask["weight"] & ~ACTIVE
    assert not model.weight[grown].any()


def test_deep_r_shrinks_towards_zero():
    model, _, _ = after_one_update(ss.DeepR(0.5, shrinkage=1.0), lr=0.1)
    # (0, 0): 4 − 0.1·(1 + 0.4) − 0.1·1; (3, 3): −5 − 0.1·(1 − 0.5) + 0.1·1
    assert model.weight[0, 0].item() == pytest.approx(3.76)
    assert model.weight[3, 3].item() == pytest.approx(-4.95)


def test_granet_prunes_and_regenerates():
    # From 7 to 16 − 12 = 4 weights: 4, 7, 8, −5; ⌊0.5·4⌋ = 2 dropped: 4 and −5; grown: 9 and −8.
    granet = ss.GraNet(0.75, initial_sparsity=0.5, prune_until=1, update_every=1, drop_fraction=0.5)
    _, granet, _ = after_one_update(granet)
    assert positions(granet.mask) == [(0, 2), (2, 1), (2, 2), (3, 0)]


@pytest.mark.parametrize(("prune_until", "update_until"), [(10, 10), (7, None), (7, 20)])
def test_granet_reaches_its_sparsity_where_pruning_ends(prune_until, update_until):
    model = nn.Linear(20, 20)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    granet = ss.GraNet(
        0.9, prune_until=prune_until, update_every=5, update_until=update_until
    ).attach(model, optimizer)
    for _ in range(prune_until):
        assert granet.mask.count > 40
        model(torch.ones(1, 20)).sum().backward()
        optimizer.step()
    assert granet.mask.count == 40


def test_granet_refuses_to_prune_when_its_updates_are_over():
    with pytest.raises(ss.InputError, match="update_until is 100 or later"):
        ss.GraNet(0.9, prune_until=100, update_until=50)


def test_srigl_ablates_the_neuron_with_few_salient_weights():
    # 2 of 7 dropped: 1 and −2, all that row 1 has. Salient besides the kept: 9 and −8. Rows have
    # 3, 0, 2, 2 salient weights; with γ = 0.9 and k = 7/4, row 1 is ablated. The others share
    # 7: 3, 2, 2. Row 0: 4, −3 and 9; row 2: 8 and −8; row 3: 7, −5.
    srigl = ss.SRigL(0.5, update_every=1, drop_fraction=0.3, ablation=0.9, spared=())
    _, srigl, _ = after_one_update(srigl)
    assert positions(srigl.mask) == [(0, 0), (0, 1), (0, 2), (2, 1), (2, 2), (3, 0), (3, 3)]


def test_srigl_spares_the_last_layer_unless_told():
    # No row is ablated: 7 over 4 rows is 2, 2, 2, 1. Row 1 grows 6 and 2; of row 3 the 7 stays.
    _, srigl, _ = after_one_update(ss.SRigL(0.5, update_every=1, drop_fraction=0.3, ablation=0.9))
    assert positions(srigl.mask) == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (3, 0)]


def test_srigl_keeps_as_many_neurons_as_hold_the_weights():
    # Rows of 3 drop the 1 of rows 1, 2 and 3; row 0 has the largest gradients. γ·k = 12/4: fewer
    # than 3 salient weights ablate rows 1, 2 and 3, but 12 weights need 3 rows, and two stay.
    model = nn.Linear(4, 4, bias=False)
    rows = [[2.0, 2, 2, 0], *[[1.0, 2, 2, 0]] * 3]
    with torch.no_grad():
        model.weight.copy_(torch.tensor(rows))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    start = ss.Mask({"weight": torch.tensor(rows) != 0})
    srigl = ss.SRigL(
        0.25, update_every=1, drop_fraction=0.25, ablation=1.0, spared=(), initial_mask=start
    ).attach(model, optimizer)
    model(torch.tensor([[3.0, 2, 1, 0]]))[0, 0].backward()
    optimizer.step()
    assert srigl.mask["weight"].sum(1).tolist() == [4, 4, 4, 0]


@pytest.mark.parametrize("more", [{"sparsity": 0.99}, {"sparsity": 0.9, "distribution": "global"}])
def test_srigl_goes_on_where_a_layer_holds_no_weight(more):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 30), nn.Linear(30, 4), nn.Linear(4, 3), nn.Linear(3, 9))
    with torch.no_grad():
        model[1].weight.mul_(1e-6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    srigl = ss.SRigL(**{"distribution": "uniform"} | more, update_every=1)
    with pytest.warns(ss.LayerCollapse):
        srigl.attach(model, optimizer)
    counts = srigl.mask.counts
    assert 0 in counts.values()
    for _ in range(2):
        model(torch.ones(2, 30)).sum().backward()
        with pytest.warns(ss.LayerCollapse):
            optimizer.step()
    assert srigl.mask.counts == counts


@pytest.mark.parametrize(
    "bad", [{"ablation": 3}, {"ablation": "x"}, {"spared": "2"}, {"spared": 3}]
)
def test_srigl_refuses_what_ablates_nothing_that_there_is(bad):
    with pytest.raises(
        ss.InputError, match=r"ablation is a number from 0 to 1|Patterns are a list"
    ):
        ss.SRigL(0.5, **bad)


def test_srigl_refuses_at_attach_to_spare_what_is_not_there():
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ss.InputError, match="'typo' matches none of weight"):
        ss.SRigL(0.5, spared=["typo"]).attach(model, optimizer)


def test_a_neuron_that_srigl_ablated_returns_by_its_gradients():
    # Rows 0 and 2 hold all 7; 4 are dropped, the zeros. The largest gradients are 9, −8, −7, 6, the
    # last in row 1, which returns; row 3 has none. 3, 2 and 2: 4, −3, 9; 6, 2; 8, −8.
    srigl = ss.SRigL(0.5, update_every=1, drop_fraction=0.6, spared=())
    rows = torch.tensor([[1, 1, 1, 1], [0] * 4, [0, 1, 1, 1], [0] * 4]).bool()
    model = Table()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    srigl.first_mask = lambda model: {"weight": rows}
    srigl.attach(model, optimizer)
    model().backward()
    optimizer.step()
    assert positions(srigl.mask) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]


def test_ties_go_to_the_lower_index():
    class Flat(ss.DropGrow):
        def drop_score(self, name):
            return torch.ones(4, 4)

        def grow_score(self, name):
            return torch.zeros(4, 4)

    _, flat, _ = after_one_update(Flat(0.5, update_every=1, drop_fraction=0.45))
    # Kept: the first four active ones; grown: the first three that were closed.
    assert positions(flat.mask) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 3)]


def test_the_drop_share_decays_by_a_cosine():
    rigl = ss.RigL(0.5, update_every=25, update_until=100, drop_fraction=0.4)
    assert [round(rigl.drop_share(t), 4) for t in (0, 25, 50, 75, 100)] == [
        0.4, 0.3414, 0.2, 0.0586, 0.0,
    ]  # fmt: skip
    assert [rigl.due(t) for t in (24, 25, 75, 100)] == [False, True, True, False]


def test_itop_counts_what_was_explored():
    sparsifier = ss.SETITOP(0.5, update_every=1, drop_fraction=0.45)
    after_one_update(sparsifier)
    assert sparsifier.explored == (7 + 3) / 16


@pytest.mark.parametrize("count", [600, 9000])
def test_set_drops_the_same_share_of_each_sign(count):
    values = torch.randn(count, generator=torch.Generator().manual_seed(0)) - 0.4
    values[0] = torch.nan
    found = dynamic.beside_its_share(values, 0.3)
    for sign in (1, -1):
        side = sign * values > 0
        distances = values[side].abs()
        nearest = distances.argsort()[: int(0.3 * len(distances))]
        assert sorted(nearest.tolist()) == (found[side] < 1).nonzero().flatten().tolist()
    assert found[0] == 0


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0, 2.0], [-1.0, -1.0, 3.0], [0.0, 0.0], []])
def test_set_takes_equal_distances_as_they_come(values):
    found = dynamic.beside_its_share(torch.tensor(values), 0.5)
    assert found.isfinite().all()
    assert (found >= 0).all()
    assert ((found == 0) == (torch.tensor(values) == 0)).all()


@pytest.mark.parametrize("kind", ["any", "ties", "one sign", "nan", "zeros"])
@pytest.mark.parametrize("size", [0, 1, 2, 5, 64, 9000])
def test_compiled_set_scores_as_torch_does(monkeypatch, kind, size):
    values = torch.randn(size, generator=torch.Generator().manual_seed(size))
    values = {
        "any": values,
        "ties": values.round(),
        "one sign": -values.abs(),
        "nan": torch.where(torch.arange(size) % 7 == 0, torch.nan, values),
        "zeros": values * 0,
    }[kind]
    for share in (0.0, 0.1, 0.5, 1.0):
        compiled = dynamic.beside_its_share(values, share)
        with monkeypatch.context() as without:
            without.setattr(dynamic, "works", lambda: False)
            torch.testing.assert_close(compiled, dynamic.beside_its_share(values, share))


class WithItsOwnScore(ss.SET):
    """The lowest by the score of a subclass are dropped, and not those by sign."""

    def drop_score(self, name):
        return -self.weight(name).abs()


def test_a_score_of_ones_own_on_set_is_the_one_that_counts():
    model = nn.Linear(8, 8, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    sparsifier = WithItsOwnScore(0.5, update_every=1, drop_fraction=0.25).attach(model, optimizer)
    sizes, before = model.weight.detach().abs(), sparsifier.mask["weight"]
    largest = sizes[before].topk(8).values.min()
    model(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    assert not (sparsifier.mask["weight"] & before & (sizes >= largest)).any()


class HighestOfActive(ss.DropGrow):
    """Scores the active weights alone: the highest stay, by their sign."""

    def drop_score(self, name):
        return self._held[name].inside(self.weight(name))


@pytest.mark.parametrize("structure", [None, ss.sparsifiers.structures.fan_in])
def test_a_score_of_the_active_ones_alone_drops_what_one_of_all_does(structure):
    class OfAll(ss.DropGrow):
        def drop_score(self, name):
            return self.weight(name)

    more = {} if structure is None else {"structure": structure}
    of_active, of_all = (
        after_one_update(method(0.5, update_every=1, drop_fraction=0.45, **more))[1].mask
        for method in (HighestOfActive, OfAll)
    )
    assert of_active == of_all


def test_what_is_grown_at_random_is_as_likely_to_be_one_position_as_another():
    allowed = torch.tensor([[True, False, True], [True, True, False]])
    chance, places = np.random.default_rng(0), allowed.flatten().nonzero().flatten().tolist()
    found = Counter(
        tuple(Marked(allowed).drawn(chance, 2).marked.flatten().nonzero().flatten().tolist())
        for _ in range(3000)
    )
    assert set(found) == set(itertools.combinations(places, 2))
    assert all(abs(count - 500) < 4 * (3000 * 1 / 6 * 5 / 6) ** 0.5 for count in found.values())


def test_growth_at_random_depends_on_seed_step_and_name():
    class Same(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = torch.nn.Linear(20, 20), torch.nn.Linear(20, 20)

    def grown(seed, steps=1):
        model = Same()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        method = ss.SETITOP(0.5, update_every=1, seed=seed, distribution="uniform")
        start = torch.arange(400).reshape(20, 20) % 2 == 0
        method.first_mask = lambda model: {"a.weight": start, "b.weight": start}
        method.attach(model, optimizer)
        for _ in range(steps):
            optimizer.step()
        return {n: a & ~start for n, a in method.active.items()}

    one, two, other = grown(0), grown(0), grown(1)
    assert all(torch.equal(one[n], two[n]) for n in one)
    assert one["a.weight"].sum() == 100
    assert not torch.equal(one["a.weight"], one["b.weight"])
    assert not torch.equal(one["a.weight"], other["a.weight"])
    assert not torch.equal(one["a.weight"], grown(0, steps=2)["a.weight"])


@pytest.mark.parametrize("structure", [ss.structures.unstructured, ss.structures.fan_in])
def test_weights_are_ranked_in_their_own_precision(structure):
    """In single precision all of these are 1, and the first ones would stay."""
    model = nn.Linear(20, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(1 + 1e-12 * torch.arange(20, dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-30)
    start = ss.Mask({"weight": torch.arange(20).reshape(1, 20) >= 4})
    rigl = ss.RigL(
        0.2, update_every=1, drop_fraction=0.25, structure=structure, initial_mask=start
    ).attach(model, optimizer)
    x = torch.zeros(1, 20, dtype=torch.float64)
    x[0, :4] = 1 + 1e-12 * torch.arange(4)
    model(x).sum().backward()
    optimizer.step()
    assert rigl.mask.indices("weight").tolist() == [*range(4), *range(8, 20)]


def test_set_tells_apart_what_double_precision_does():
    values = 1 + 1e-12 * torch.arange(10, dtype=torch.float64)
    assert (dynamic.beside_its_share(values, 0.3) < 1).sum() == 3
