"""Stationarity and spectra against the whole Hessian of small networks."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from helpers import classes, condition, draw, moved, normalized, perceptron, seeded
from sparsescape import InputError, Mask, Objective, spectrum, stationarity
from sparsescape.points import named_parameters, snapshot

DOUBLE = torch.float64
ENDS = ("smallest_inside", "largest_inside", "smallest_dense", "largest_dense")


def small_convnet(dtype=DOUBLE):
    make = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(1, 3, 3), nn.Softplus(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 3)
    )
    return seeded(make).to(dtype)


def data_for(model):
    shape = (12, 1, 4, 4) if isinstance(model[0], nn.Conv2d) else (12, 6)
    return draw(*shape, seed=3, dtype=DOUBLE), classes(12, 3)


def some(model) -> Mask:
    """A third of all weights of two layers, drawn."""
    weights = {n: p for n, p in named_parameters(model).items() if p.ndim >= 2}
    return Mask({n: draw(*w.shape, seed=7) > 0.4 for n, w in weights.items()})


def brute(model, data, weight_decay):
    """Gradient and Hessian over one flat vector, and which coordinates the mask leaves free."""
    named = {n: p.detach() for n, p in named_parameters(model).items()}
    sizes = [p.numel() for p in named.values()]
    statistics = dict(model.named_buffers())

    def loss(vector):
        parts = zip(named.items(), vector.split(sizes), strict=True)
        state = {n: part.view_as(p) for (n, p), part in parts}
        outputs = functional_call(model, {**state, **statistics}, (data[0],))
        return F.cross_entropy(outputs, data[1]) + weight_decay / 2 * vector.square().sum()

    vector = torch.cat([p.reshape(-1) for p in named.values()])
    vector.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(vector), vector)
    return gradient, torch.autograd.functional.hessian(loss, vector.detach())


def free(model, mask):
    named = named_parameters(model)
    parts = [mask[n] if n in mask else torch.ones(p.shape) > 0 for n, p in named.items()]
    return torch.cat([part.reshape(-1) for part in parts])


def frozen(model):
    """BatchNorm's statistics where they are."""
    return copy.deepcopy(model).eval()


CASES = [perceptron, small_convnet, normalized]


@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize("make", CASES)
def test_gradients_and_eigenvalues_against_the_whole_hessian(make, weight_decay):
    model = moved(make(DOUBLE), by=0.3)
    data, mask = data_for(model), some(model)
    mask.apply_(model)
    gradient, hessian = brute(frozen(model), data, weight_decay)
    inside = free(model, mask)
    objective = Objective(model, data, weight_decay=weight_decay, batch_norm="stored", batch_size=5)
    found = stationarity(objective, model, mask, tol=1e-9, max_products=1000)
    assert found.gradient_inside == pytest.approx(gradient[inside].norm().item(), rel=1e-9)
    assert found.gradient_outside == pytest.approx(gradient[~inside].norm().item(), rel=1e-9)
    assert found.rms_inside == pytest.approx(gradient[inside].square().mean().sqrt().item())
    assert found.rms_outside == pytest.approx(gradient[~inside].square().mean().sqrt().item())
    assert found.coordinates_inside == int(inside.sum())
    assert found.coordinates_outside == int((~inside).sum())
    within = torch.linalg.eigvalsh(hessian[inside][:, inside])
    whole = torch.linalg.eigvalsh(hessian)
    exact = dict(zip(ENDS, (within[0], within[-1], whole[0], whole[-1]), strict=True))
    for end, value in exact.items():
        assert getattr(found, end) == pytest.approx(value.item(), abs=1e-6), end
        assert abs(getattr(found, end) - value.item()) <= found.bounds[end]
    assert found.converged
    assert found.examples == 12


@pytest.mark.parametrize("products", [2, 5, 9])
def test_bounds_hold_where_it_is_given_up_early(products):
    model = moved(perceptron(DOUBLE), by=0.3)
    data, mask = data_for(model), some(model)
    _, hessian = brute(model, data, 0.0)
    inside = free(model, mask)
    found = stationarity(Objective(model, data), model, mask, max_products=products, tol=1e-12)
    assert not found.converged
    spectra = {"inside": hessian[inside][:, inside], "dense": hessian}
    for end in ENDS:
        exact = torch.linalg.eigvalsh(spectra[end.split("_")[1]])
        assert (exact - getattr(found, end)).abs().min().item() <= found.bounds[end]


def test_without_a_mask_all_is_inside():
    model = perceptron(DOUBLE)
    found = stationarity(Objective(model, data_for(model)), model)
    assert (found.gradient_outside, found.rms_outside, found.coordinates_outside) == (0, 0, 0)
    assert found.largest_inside == found.largest_dense
    assert found.smallest_inside == found.smallest_dense


def test_weight_decay_is_what_makes_an_optimum_one():
    """Trained with it: stationary with it, and a slope of λ‖θ‖ without."""
    model, data = perceptron(DOUBLE), data_for(perceptron(DOUBLE))
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def closure():
        optimizer.zero_grad()
        squares = sum(p.square().sum() for p in model.parameters())
        loss = F.cross_entropy(model(data[0]), data[1]) + 0.05 / 2 * squares
        loss.backward()
        return loss.detach()

    optimizer.step(closure)
    norm = math.sqrt(sum(p.detach().square().sum().item() for p in model.parameters()))
    with_decay = stationarity(Objective(model, data, weight_decay=0.05), model)
    without = stationarity(Objective(model, data), model)
    assert with_decay.gradient_inside < 1e-4
    assert without.gradient_inside == pytest.approx(0.05 * norm, rel=1e-2)


def test_signals_and_dead_units():
    """Of four hidden units one never activates, one is never read and one gets no input."""
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))).to(DOUBLE)
    with torch.no_grad():
        model[0].bias[0] = -100
        model[2].weight[:, 1] = 0
        model[0].weight[2] = 0
        model[0].bias[2] = 1.0
        model[0].bias[3] = 5.0
    data = data_for(model)
    found = stationarity(Objective(model, data, batch_size=5), model)
    assert found.dead == {"0.weight": 0.75, "2.weight": 0.0}
    hidden = model[0](data[0])
    for layer, outputs in (("0.weight", hidden), ("2.weight", model[2](hidden.relu()))):
        assert found.variance[layer] == pytest.approx(outputs.var(0, correction=0).mean().item())


def test_channels_of_images_are_units_and_functions_in_place_do_not_hide_them():
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)
        )
    ).to(DOUBLE)
    with torch.no_grad():
        model[0].bias[0] = -100
    data = data_for(model)
    found = stationarity(Objective(model, data), model)
    assert [s.units for s in found.signals] == [3, 3]
    assert found.dead["0.weight"] == pytest.approx(1 / 3)
    outputs = model[0](data[0]).transpose(0, 1).flatten(1)
    assert found.variance["0.weight"] == pytest.approx(outputs.var(1, correction=0).mean().item())


def test_nothing_of_the_users_moves():
    model = normalized(DOUBLE).train()
    data = data_for(model)
    F.cross_entropy(model(data[0]), data[1]).backward()
    before = condition(model)
    objective = Objective(model, data)
    stationarity(objective, model, some(model))
    spectrum(objective, model, some(model), steps=5, probes=2)
    assert condition(model) == before


def test_bad_input_is_refused():
    model = perceptron(DOUBLE)
    objective = Objective(model, data_for(model))
    shut = Mask({n: torch.zeros(p.shape) > 0 for n, p in named_parameters(model).items()})
    misfit = Mask({"0.weight": torch.ones(2, 2) > 0})
    for measure in (stationarity, spectrum):
        with pytest.raises(InputError, match="no coordinate free"):
            measure(objective, model, shut)
        with pytest.raises(InputError, match="does not fit"):
            measure(objective, model, misfit)
    with pytest.raises(InputError, match="not finite"):
        stationarity(objective, {n: p * math.inf for n, p in snapshot(model).items()})
    for bad in ({"steps": 0}, {"probes": 0}, {"points": 1}, {"width": 0.0}):
        with pytest.raises(InputError, match="spectrum takes"):
            spectrum(objective, model, **bad)


# ---------------------------------------------------------------------------- spectra


@pytest.mark.parametrize("where", ["mask", "complement", "dense"])
def test_moments_of_the_density_are_those_of_the_eigenvalues(where):
    """Within four standard errors of 64 probes; and exactly where probes span the space."""
    model = moved(perceptron(DOUBLE), by=0.3)
    data, mask = data_for(model), some(model)
    _, hessian = brute(model, data, 0.1)
    subspace = {"mask": mask, "complement": ~mask, "dense": None}[where]
    chosen = free(model, subspace) if subspace is not None else torch.ones(len(hessian)) > 0
    exact = torch.linalg.eigvalsh(hessian[chosen][:, chosen]).numpy()
    objective = Objective(model, data, weight_decay=0.1)
    found = spectrum(objective, model, subspace, steps=12, probes=64)
    assert found.count == len(exact)
    for power in (1, 2, 3):
        per_probe = (found.weights * found.nodes**power).sum(1)
        error = per_probe.std() / math.sqrt(64)
        assert abs(found.moment(power) - (exact**power).mean()) < 4 * error
    assert found.trace == pytest.approx(exact.sum(), rel=0.2)
    assert found.nodes.min() == pytest.approx(exact[0], abs=0.01 * exact[-1])
    assert found.nodes.max() == pytest.approx(exact[-1], rel=1e-3)


def test_the_nodes_are_all_eigenvalues_where_there_are_steps_for_all():
    model = seeded(lambda: nn.Linear(3, 2, bias=False)).to(DOUBLE)
    data = draw(9, 3, seed=2, dtype=DOUBLE), draw(9, 2, seed=3, dtype=DOUBLE)
    objective = Objective(model, data, F.mse_loss)
    found = spectrum(objective, model, steps=6, probes=2)
    exact = torch.linalg.eigvalsh(data[0].T @ data[0] / 9).numpy()  # each twice, once per output
    heavy = [
        nodes[weights > 1e-12] for nodes, weights in zip(found.nodes, found.weights, strict=True)
    ]
    for nodes in heavy:
        assert np.allclose(nodes, exact)


def test_the_density_is_one_and_non_negative():
    model = perceptron(DOUBLE)
    found = spectrum(Objective(model, data_for(model)), model, steps=20, probes=3, points=4000)
    assert (found.density >= 0).all()
    assert float(found.density.sum() * (found.grid[1] - found.grid[0])) == pytest.approx(
        1, abs=1e-3
    )
    assert found.share(-math.inf, math.inf) == pytest.approx(1)
    assert found.weights.sum(1) == pytest.approx(np.ones(3))


def test_seeds_decide_the_probes():
    model = perceptron(DOUBLE)
    objective = Objective(model, data_for(model))
    one, same, other = (spectrum(objective, model, steps=5, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.nodes, same.nodes)
    assert not np.array_equal(one.nodes, other.nodes)


@pytest.mark.parametrize("wrong", [{"max_products": 0}, {"tol": -1.0}, {"tol": math.nan}])
def test_limits_that_make_no_sense_are_refused(wrong):
    model = nn.Linear(2, 1)
    objective = Objective(model, (torch.ones(3, 2), torch.ones(3, 1)), F.mse_loss)
    with pytest.raises(InputError, match="a tolerance of 0 or more and 1 product"):
        stationarity(objective, model, **wrong)


@pytest.mark.parametrize("width", [0.0, math.inf, math.nan])
def test_a_width_that_makes_no_curve_is_refused(width):
    objective = Objective(nn.Linear(2, 1), (torch.ones(3, 2), torch.ones(3, 1)), F.mse_loss)
    with pytest.raises(InputError, match="a finite width above 0"):
        spectrum(objective, nn.Linear(2, 1), width=width)
