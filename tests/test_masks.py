"""Masks: laws of their algebra, exact counts, and both forms in which they are held."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from helpers import bits, convnet, draw, perceptron
from sparsescape import InputError, Mask, distributions, scores
from sparsescape.points import as_point, snapshot

SHAPES = {"a": (3, 4), "b": (2, 3, 2, 1), "c": (40, 5)}


@st.composite
def masks(draw_from, shapes=None):
    """Any mask over the shapes: from nothing active, over a few, to everything."""

    def active(shape):
        size = torch.Size(shape).numel()
        chosen = draw_from(st.sets(st.integers(0, size - 1)))
        flat = torch.zeros(size, dtype=torch.bool)
        flat[list(chosen)] = True
        inverted = draw_from(st.booleans())
        return (flat ^ inverted).reshape(shape)

    return Mask({name: active(shape) for name, shape in (shapes or SHAPES).items()})


def as_sets(mask):
    return {(n, i) for n in mask for i, on in enumerate(mask[n].flatten().tolist()) if on}


@pytest.fixture
def few():
    """One of 200 weights: held as indices."""
    return Mask({"w": torch.arange(200).reshape(40, 5) == 7})


@pytest.fixture
def many():
    """Half of 200 weights: held as a bool tensor."""
    return Mask({"w": torch.arange(200).reshape(40, 5) % 2 == 0})


# ---------------------------------------------------------------------- algebra


@given(masks(), masks())
def test_or_and_not_are_union_intersection_and_complement(a, b):
    everything = as_sets(a | ~a)
    assert as_sets(a | b) == as_sets(a) | as_sets(b)
    assert as_sets(a & b) == as_sets(a) & as_sets(b)
    assert as_sets(~a) == everything - as_sets(a)


@given(masks(), masks(), masks())
def test_masks_are_a_boolean_algebra(a, b, c):
    assert a | b == b | a
    assert a & b == b & a
    assert (a | b) | c == a | (b | c)
    assert a & (b | c) == (a & b) | (a & c)
    assert ~(a | b) == ~a & ~b
    assert ~~a == a
    assert a | (a & b) == a
    assert (a & ~a).count == 0
    assert (a | ~a).count == a.total


@given(masks(), masks())
def test_counts_add_up(a, b):
    assert (a | b).count + (a & b).count == a.count + b.count
    assert a.count == len(as_sets(a)) == sum(a.counts.values())
    assert a.density == a.count / a.total
    assert a.sparsity == pytest.approx(1 - a.density)
    assert a.densities == {n: a.counts[n] / a[n].numel() for n in a}


@given(masks(), masks())
def test_masks_are_equal_when_the_same_weights_are_active(a, b):
    assert (a == b) == (as_sets(a) == as_sets(b))


def test_masks_of_other_shapes_or_names_are_not_equal():
    ones = torch.ones(2, 3, dtype=torch.bool)
    assert Mask({"a": ones}) != Mask({"b": ones})
    assert Mask({"a": ones}) != Mask({"a": ones.t()})
    assert Mask({"a": ones}) != {"a": ones}


@pytest.mark.parametrize("other", [{"b": (2, 2)}, {"a": (2, 2), "b": (2, 2)}, {"a": (4, 1)}, {}])
def test_masks_of_other_weights_do_not_combine(other):
    def ones(shapes):
        return Mask({name: torch.ones(s, dtype=torch.bool) for name, s in shapes.items()})

    for combine in (Mask.__or__, Mask.__and__):
        with pytest.raises(InputError, match="do not name the same weights"):
            combine(ones({"a": (2, 2)}), ones(other))


def test_a_mask_does_not_combine_with_what_is_no_mask(few):
    with pytest.raises(TypeError):
        few | {"w": few["w"]}


# ---------------------------------------------------------------------- a frozen mapping


def test_a_mask_is_a_mapping(few):
    assert isinstance(few["w"], torch.Tensor)
    assert list(few) == ["w"]
    assert list(few.keys()) == ["w"]
    assert len(few) == 1
    assert "w" in few
    assert "v" not in few
    with pytest.raises(KeyError):
        few["v"]


def test_a_mask_cannot_be_assigned_to_or_hashed(few):
    with pytest.raises(TypeError):
        few["w"] = torch.ones(40, 5, dtype=torch.bool)
    with pytest.raises(TypeError):
        hash(few)


@pytest.mark.parametrize("form", ["few", "many"])
def test_changing_what_was_got_does_not_change_the_mask(form, request):
    mask = request.getfixturevalue(form)
    count = mask.count
    mask["w"].fill_(True)
    next(iter(mask.values())).fill_(True)
    mask.indices("w").fill_(0)
    mask.shapes["w"] = mask.counts["w"] = None
    assert mask.count == count
    assert mask.indices("w").unique().numel() == count


def test_changing_what_was_given_does_not_change_the_mask():
    given_bool, given_indices = torch.eye(4, dtype=torch.bool), torch.tensor([1, 2])
    mask = Mask({"w": given_bool})
    other = Mask.from_indices({"w": given_indices}, {"w": (4, 4)})
    given_bool.fill_(True)
    given_indices.fill_(3)
    assert (mask.count, other.indices("w").tolist()) == (4, [1, 2])


def test_indices_of_a_weight_of_more_than_two_billion_are_frozen_too():
    shape = (2**16, 2**16)
    mask = Mask.from_indices({"w": torch.tensor([2**32 - 1, 5])}, {"w": shape})
    mask.indices("w").fill_(0)
    assert mask.indices("w").tolist() == [5, 2**32 - 1]
    assert mask.total == 2**32


@pytest.mark.parametrize("bad", [torch.ones(2, 2), torch.ones(2, 2, dtype=torch.int64), [[True]]])
def test_what_is_no_bool_tensor_is_refused(bad):
    with pytest.raises(InputError, match="A mask holds bool tensors; 'w' is"):
        Mask({"w": bad})


def test_names_are_plain():
    assert list(Mask({"_orig_mod.0.weight": torch.ones(1, 1, dtype=torch.bool)})) == ["0.weight"]


def test_a_mask_of_nothing_closes_nothing():
    assert (Mask({}).density, Mask({}).sparsity, Mask({}).total) == (1.0, 0.0, 0)


def test_a_mask_says_what_it_is(few):
    assert repr(few) == "Mask(1 of 200 weights active, sparsity 0.9950)"


# ---------------------------------------------------------------------- two forms


@given(masks())
def test_both_forms_agree(mask):
    indices = {n: mask.indices(n).flip(0) for n in mask}
    assert Mask.from_indices(indices, SHAPES) == mask
    for name, flat in indices.items():
        assert mask.indices(name).tolist() == sorted(flat.tolist())
        assert mask.indices(name).dtype == torch.int64
        assert mask[name].shape == SHAPES[name]


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 4), (49, 196), (50, 200), (51, 200)])
def test_the_smaller_form_is_held(count, size, tmp_path):
    """200 bools take 200 bytes, 50 indices of 4 bytes as many: 51 of them are held as bools."""
    flat = torch.zeros(200, dtype=torch.bool)
    flat[:count] = True
    made = {
        "bools": Mask({"w": flat.reshape(40, 5)}),
        "indices": Mask.from_indices({"w": torch.arange(count)}, {"w": (40, 5)}),
    }
    for name, mask in made.items():
        mask.save(tmp_path / name)
        with safe_open(str(tmp_path / name), framework="pt") as file:
            assert file.get_tensor("w").nbytes == size
        assert mask["w"].flatten().tolist() == flat.tolist()


@given(mask=masks())
def test_a_mask_on_disk_is_the_same_mask(mask, tmp_path_factory):
    path = tmp_path_factory.mktemp("mask") / "mask.safetensors"
    mask.save(path)
    loaded = Mask.load(path)
    assert loaded == mask
    assert list(loaded) == list(mask)
    assert loaded.shapes == mask.shapes
    assert bits(dict(loaded.items())) == bits(dict(mask.items()))


def test_a_mask_of_weights_that_are_no_rows_in_memory_is_kept(tmp_path):
    active = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    mask = Mask({"w": active.t()})
    mask.save(tmp_path / "mask")
    assert mask["w"].tolist() == Mask.load(tmp_path / "mask")["w"].tolist() == active.t().tolist()


def test_a_mask_can_be_pickled_to_another_process(few, many):
    for mask in (few, many):
        assert pickle.loads(pickle.dumps(mask)) == mask


def test_a_point_on_disk_is_no_mask(tmp_path):
    save_file({"w": torch.ones(2, 2, dtype=torch.bool)}, str(tmp_path / "point"))
    with pytest.raises(InputError, match="is not a mask"):
        Mask.load(tmp_path / "point")


def test_a_file_of_something_else_is_no_mask(tmp_path):
    (tmp_path / "notes.txt").write_text("Not a mask at all, but a longer text about masks.")
    with pytest.raises(InputError, match="is not a mask"):
        Mask.load(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ({"w": torch.tensor([6])}, "outside its 6 weights"),
        ({"w": torch.tensor([-1])}, "outside its 6 weights"),
        ({"w": torch.tensor([2, 0, 2])}, "stands twice"),
        ({"v": torch.tensor([0])}, "must name the same weights"),
    ],
)
def test_indices_that_cannot_be_are_refused(indices, message):
    with pytest.raises(InputError, match=message):
        Mask.from_indices(indices, {"w": (2, 3)})


# ---------------------------------------------------------------------- from scores


@given(st.integers(0, 3), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_counts_are_exact_under_heavy_ties(levels, a, b, c):
    """With one level all scores are equal; with three, hundreds of them are."""
    tied = {n: (draw(*s, seed=len(n)) * levels).round() for n, s in SHAPES.items()}
    densities = dict(zip(SHAPES, (a, b, c), strict=True))
    mask = Mask.from_scores(tied, densities=densities)
    assert mask.counts == {
        n: tied[n].numel() - round(round((1 - d), 12) * tied[n].numel())
        for n, d in densities.items()
    }
    total = sum(score.numel() for score in tied.values())
    assert Mask.from_scores(tied, sparsity=a).count == total - round(a * total)


@given(st.integers(0, 1000))
def test_no_kept_score_is_below_a_closed_one(thousandths):
    found = {n: draw(*s, seed=i) for i, (n, s) in enumerate(SHAPES.items())}
    mask = Mask.from_scores(found, sparsity=thousandths / 1000)
    kept = torch.cat([found[n][mask[n]] for n in mask])
    closed = torch.cat([found[n][~mask[n]] for n in mask])
    if kept.numel() and closed.numel():
        assert kept.min() > closed.max()


def test_of_equal_scores_the_first_by_name_and_index_are_kept():
    equal = {"b": torch.ones(2, 2), "a": torch.ones(2, 2)}
    mask = Mask.from_scores(equal, sparsity=0.25)
    assert {n: m.int().tolist() for n, m in mask.items()} == {
        "b": [[1, 1], [1, 1]],
        "a": [[1, 1], [0, 0]],
    }


def test_scores_that_only_double_precision_tells_apart_are_told_apart():
    fine = torch.tensor([[1.0, 1.0 + 1e-12]], dtype=torch.float64)
    assert Mask.from_scores({"w": fine}, sparsity=0.5)["w"].tolist() == [[False, True]]
    assert Mask.from_scores({"w": fine}, densities={"w": 0.5})["w"].tolist() == [[False, True]]


def test_infinite_scores_can_be_ranked():
    extreme = torch.tensor([[-torch.inf, 0.0, torch.inf]])
    assert Mask.from_scores({"w": extreme}, sparsity=1 / 3)["w"].tolist() == [[False, True, True]]


def test_a_weight_without_a_density_is_not_in_the_mask():
    found = {"a": torch.ones(2, 2), "b": torch.ones(2, 2)}
    assert list(Mask.from_scores(found, densities={"b": 0.5})) == ["b"]


def torch_pruned(model, amount, together):
    """The mask that torch.nn.utils.prune makes; it draws and keeps its own buffers."""
    layers = [(m, "weight") for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    if together:
        prune.global_unstructured(layers, prune.L1Unstructured, amount=amount)
    else:
        for layer, name in layers:
            prune.l1_unstructured(layer, name, amount=amount)
    masks = {n.removesuffix("_mask"): b.bool() for n, b in model.named_buffers() if "_mask" in n}
    return Mask(masks)


@pytest.mark.parametrize("together", [True, False], ids=["global", "layerwise"])
@pytest.mark.parametrize("make", [perceptron, convnet])
def test_magnitude_pruning_is_torchs_to_the_bit_at_every_thousandth(make, together):
    for thousandths in range(0, 1001, 5):
        sparsity = thousandths / 1000
        model = make()
        densities = None if together else distributions.uniform(model, sparsity=sparsity)
        mask = Mask.from_scores(
            scores.magnitude(model), densities=densities, sparsity=sparsity if together else None
        )
        expected = torch_pruned(make(), sparsity, together)
        assert bits(dict(mask.items())) == bits(dict(expected.items())), sparsity


@pytest.mark.parametrize(("size", "sparsity"), [(100, 0.575), (200, 0.5075), (1000, 0.5115)])
def test_a_count_that_is_almost_a_half_is_rounded_as_torch_rounds_it(size, sparsity):
    """0.575·100 is 57.49999999999999 in floating point, and torch closes 57."""
    model = nn.Linear(size, 1)
    mask = Mask.from_scores(scores.magnitude(model), sparsity=sparsity)
    assert mask.count == torch_pruned(model, sparsity, together=True).count


@pytest.mark.parametrize(
    ("given_scores", "how", "message"),
    [
        ({"w": torch.ones(2, 2)}, {}, "Give either"),
        ({"w": torch.ones(2, 2)}, {"densities": {"w": 0.5}, "sparsity": 0.5}, "Give either"),
        ({"w": torch.ones(2, 2)}, {"sparsity": 1.5}, "from 0 to 1"),
        ({"w": torch.ones(2, 2)}, {"densities": {"w": 1.5}}, "from 0 to 1"),
        ({"w": torch.ones(2, 2)}, {"densities": {"v": 0.5}}, "no scores for 'v'"),
        ({"w": torch.full((2, 2), torch.nan)}, {"sparsity": 0.5}, "'w' contain NaN"),
        ({"w": torch.full((2, 2), torch.nan)}, {"densities": {"w": 0.5}}, "'w' contain NaN"),
    ],
)
def test_scores_that_make_no_mask_are_refused(given_scores, how, message):
    with pytest.raises(InputError, match=message):
        Mask.from_scores(given_scores, **how)


# ---------------------------------------------------------------------- on a model


def test_the_mask_of_a_model_is_where_its_weights_are_nonzero():
    model = perceptron()
    with torch.no_grad():
        model[0].weight[0] = 0
        model[0].weight[1, 0] = -0.0
        model[0].bias.zero_()
    mask = Mask.of(model)
    assert list(mask) == ["0.weight", "2.weight"]
    assert mask.counts == {"0.weight": 48 - 7, "2.weight": 24}
    assert Mask.of(as_point(model)) == mask


@given(masks(shapes={"0.weight": (8, 6), "2.weight": (3, 8)}))
def test_applying_a_mask_closes_weights_and_moves_nothing_else(mask):
    model = perceptron()
    before = snapshot(model)
    mask.apply_(model)
    after = as_point(model)
    for name, value in before.items():
        active = mask[name] if name in mask else torch.ones_like(value, dtype=torch.bool)
        assert bits({name: after[name]}) == bits({name: torch.where(active, value, 0.0)})
    mask.check_contains(model)


def test_applying_a_mask_closes_what_is_not_finite():
    point = {"w": torch.tensor([[torch.nan, torch.inf, 1.0]])}
    Mask({"w": torch.tensor([[False, False, True]])}).apply_(point)
    assert point["w"].tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("2.weight", (2, 8), r"'2.weight' is \(3, 8\) in the model and \(2, 8\) in the mask"),
        ("9.weight", (3, 8), "the model has no weight '9.weight'"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_before_anything_changes(name, shape, message):
    model = perceptron()
    before = bits(model)
    closed = {"0.weight": torch.zeros(8, 6, dtype=torch.bool)}
    mask = Mask({**closed, name: torch.ones(shape, dtype=torch.bool)})
    for use in (mask.apply_, mask.check, mask.check_contains):
        with pytest.raises(InputError, match=message):
            use(model)
    assert bits(model) == before


def test_a_point_outside_the_subspace_is_told_from_one_inside():
    mask = Mask({"w": torch.tensor([[True, False, False]])})
    mask.check_contains({"w": torch.tensor([[5.0, -0.0, 0.0]])})
    with pytest.raises(InputError, match="The end is outside the subspace: 2 weights of 'w'"):
        mask.check_contains({"w": torch.tensor([[5.0, torch.nan, 1e-30]])}, "The end")
