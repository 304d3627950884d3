"""A network inside a mask run sparse: the same numbers, and only where a rule says so."""

import copy

import pytest
import torch
from torch import nn

import sparsescape as ss
from sparsescape.errors import InputError
from sparsescape.kernels.execution import FROM, Compressed, compressed, sparse_part, support

DATA = (
    torch.randn(30, 2, 6, 6, generator=torch.Generator().manual_seed(0)),
    torch.arange(30) % 4,
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Flatten(),
        nn.Linear(8 * 16, 4),
    )


def thin(model, density=0.08, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return ss.Mask(
        {
            name: torch.rand(p.shape, generator=draw) < density
            for name, p in model.named_parameters()
            if p.ndim > 1
        }
    )


@pytest.fixture
def ends():
    model = network()
    mask = thin(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    for each in (model, other):
        mask.apply_(each)
    return model, other, mask


@pytest.mark.parametrize("curve", [ss.Bezier, ss.PolygonalChain])
@pytest.mark.parametrize("batch_norm", ["recompute", "stored", "batch"])
def test_a_search_and_a_profile_are_those_of_the_masked_network(ends, curve, batch_norm):
    start, end, mask = ends
    found = {}
    for execution in ("masked", "auto", "sparse"):
        objective = ss.Objective(
            start, DATA, weight_decay=0.01, batch_norm=batch_norm, execution=execution
        )
        path = curve(start, end, subspace=mask)
        search = ss.fit_curve(path, objective, steps=20, lr=0.1, batch_size=10)
        seen = ss.profile(path, objective, points=5)
        found[execution] = path, search.run_sparse, seen
    path, layers, seen = found["masked"]
    assert layers == seen.run_sparse == ()
    for execution, expected in {
        "auto": ("0.weight", "3.weight"),
        "sparse": ("0.weight", "3.weight", "5.weight"),
    }.items():
        other, layers, profile = found[execution]
        assert layers == profile.run_sparse == expected
        torch.testing.assert_close(other.control, path.control, rtol=1e-3, atol=1e-4)
        assert profile.loss == pytest.approx(seen.loss, rel=1e-3)
        closed = torch.cat([~mask[n].reshape(-1) for n in ("0.weight",)])
        flat = torch.cat([p["0.weight"].reshape(-1) for p in other.control_points()][:1])
        assert not flat[closed].any()
        for t, at in ((0, start), (1, end)):
            for name, tensor in at.state_dict().items():
                assert torch.equal(other.point(t)[name], tensor)


def test_points_go_into_the_compressed_form_and_back(ends):
    start, _, mask = ends
    form = Compressed(ss.Objective(start, DATA), ss.Mask({"3.weight": mask["3.weight"]}))
    point = ss.points.snapshot(start)
    small = form.into(point)
    assert small["3.weight"].shape == (mask.counts["3.weight"],)
    back = form.back(small)
    assert all(torch.equal(back[name], point[name]) for name in point)
    assert list(form.rest(mask)) == ["0.weight", "5.weight"]
    assert form.rest(None) is None


def test_the_rule_looks_at_kind_size_and_density():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(400, 250))
    assert model[2].weight.numel() == FROM[nn.Linear][0]

    def chosen(*densities):
        masks = [thin(model, density) for density in densities]
        mask = ss.Mask({n: m[n] for n, m in zip(masks[0], masks, strict=True)})
        return list(sparse_part(model, mask, "auto"))

    assert chosen(0.05, 0.05, 0.05) == ["0.weight", "1.weight", "2.weight"]
    assert chosen(0.2, 0.02, 0.2) == ["0.weight", "1.weight"]
    assert chosen(0.3, 0.02, 0.05) == ["2.weight"]
    smaller = nn.Linear(400, 249)
    assert not sparse_part(smaller, ss.Mask({"weight": torch.eye(249, 400) > 0}), "auto")


def test_of_large_layers_a_fifth_is_run_sparse_however_it_is_rounded():
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3), nn.Conv2d(64, 128, 3), nn.Linear(1000, 500)
    )
    weights = {n: p for n, p in model.named_parameters() if p.ndim > 1}

    def chosen(sparsity):
        static = ss.Static(sparsity=sparsity)
        return list(sparse_part(model, ss.Mask(static.first_mask(model)), "auto"))

    assert chosen(0.8) == list(weights)
    assert chosen(0.75) == []


def test_the_support_is_where_any_point_is_not_zero():
    a, b = torch.zeros(2, 2), torch.zeros(2, 2)
    a[0, 0], b[1, 1] = 1, -1
    points = [{"w": a, "bias": torch.ones(2)}, {"w": b, "bias": torch.ones(2)}]
    assert support(points)["w"].tolist() == [[True, False], [False, True]]
    assert list(support(points)) == ["w"]


class ReadsItsWeight(nn.Module):
    """A network of one's own that uses a layer's weight in its own way, which only a try shows."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        layer = self.layer
        return nn.functional.conv2d(x, layer.weight).mean((2, 3))


class DoublesItsWeight(ReadsItsWeight):
    def forward(self, x):
        layer = self.layer
        weight = layer.weight
        return self.layer(x).mean((2, 3)) + (weight.sum() if weight.ndim == 4 else 1)


class CountsItsWeight(ReadsItsWeight):
    def forward(self, x):
        layer = self.layer
        outputs, inputs, *_ = layer.weight.shape
        return self.layer(x).mean((2, 3)) * (outputs / inputs)


@pytest.mark.parametrize("kind", [ReadsItsWeight, DoublesItsWeight, CountsItsWeight])
def test_what_cannot_be_run_sparse_is_run_masked_or_refused(kind):
    torch.manual_seed(0)
    model = kind()
    mask = thin(model)
    mask.apply_(model)
    assert compressed(ss.Objective(model, DATA), mask) is None
    with pytest.raises(InputError, match="cannot be run sparse"):
        compressed(ss.Objective(model, DATA, execution="sparse"), mask)


def test_tied_and_hooked_weights_stay_masked():
    model = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1))
    model[1].weight = model[0].weight
    assert not sparse_part(model, thin(model), "sparse")
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3))
    model[0].weight.register_hook(lambda g: g)
    assert list(sparse_part(model, thin(model), "sparse")) == ["1.weight"]


def test_an_execution_that_is_none_is_refused():
    with pytest.raises(InputError, match="execution"):
        ss.Objective(network(), DATA, execution="fast")
