"""Against published numbers and independent implementations."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import sparsescape as ss


def resnet50():
    """torchvision's ResNet-50: weight name → (a tensor of its shape, positions it is used at)."""
    layers = {"conv1": (torch.empty(64, 3, 7, 7), 112**2)}
    inputs, side = 64, 56
    for stage, (blocks, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True)):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            name, out = f"layer{stage + 1}.{block}", side // stride
            layers[f"{name}.conv1"] = torch.empty(width, inputs, 1, 1), side**2
            layers[f"{name}.conv2"] = torch.empty(width, width, 3, 3), out**2
            layers[f"{name}.conv3"] = torch.empty(4 * width, width, 1, 1), out**2
            if block == 0:
                layers[f"{name}.downsample.0"] = torch.empty(4 * width, inputs, 1, 1), out**2
            inputs, side = 4 * width, out
    layers["fc"] = torch.empty(1000, 2048), 1
    return {f"{name}.weight": layer for name, layer in layers.items()}


LAYERS = resnet50()
SHAPES = {name: weight for name, (weight, _) in LAYERS.items()}


def flops(densities):
    return sum(2 * densities[n] * w.numel() * places for n, (w, places) in LAYERS.items())


DENSE = flops(dict.fromkeys(LAYERS, 1.0))


def test_resnet50_has_the_published_operations():
    assert pytest.approx(8.2e9, rel=0.01) == DENSE
    assert sum(w.numel() for w in SHAPES.values()) == 25_502_912


@pytest.mark.parametrize(
    ("sparsity", "dense", "published"),
    [(0.8, [], 0.42), (0.9, [], 0.24), (0.95, [], 0.12), (0.99, ["conv1.weight"], 0.05)],
)
def test_erk_has_rigls_published_operations(sparsity, dense, published):
    densities = ss.distributions.erk(SHAPES, sparsity=sparsity, dense=dense)
    assert flops(densities) / DENSE == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(("sparsity", "published"), [(0.8, 0.23), (0.9, 0.13), (0.95, 0.08)])
def test_uniform_has_rigls_published_operations(sparsity, published):
    densities = ss.distributions.uniform(SHAPES, sparsity=sparsity, dense=["conv1.weight"])
    assert flops(densities) / DENSE == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_erk_adds_up_exactly(sparsity):
    densities = ss.distributions.erk(SHAPES, sparsity=sparsity)
    sizes = {n: shape.numel() for n, shape in SHAPES.items()}
    kept = ss.distributions.counts(densities, sizes)
    assert sum(kept.values()) == 25_502_912 - round(sparsity * 25_502_912)
    assert all(0 <= d <= 1 for d in densities.values())


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))


@pytest.mark.parametrize("sparsity", [0.1, 0.37, 0.9])
def test_layerwise_magnitude_is_that_of_torch(sparsity):
    model = make_model()
    ss.OneShot(sparsity).attach(model, torch.optim.SGD(model.parameters()))
    twin = make_model()
    for layer in (twin[0], twin[2]):
        prune.l1_unstructured(layer, "weight", sparsity)
    assert torch.equal(model[0].weight, twin[0].weight)
    assert torch.equal(model[2].weight, twin[2].weight)


@pytest.mark.parametrize("sparsity", [0.1, 0.37, 0.6])
def test_global_magnitude_is_that_of_torch(sparsity):
    model = make_model()
    one_shot = ss.OneShot(sparsity, distribution="global")
    one_shot.attach(model, torch.optim.SGD(model.parameters()))
    twin = make_model()
    layers = [(twin[0], "weight"), (twin[2], "weight")]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=sparsity)
    assert torch.equal(model[0].weight, twin[0].weight)
    assert torch.equal(model[2].weight, twin[2].weight)
