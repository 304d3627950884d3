"""What torch records or transforms is the model it would be with dense weights."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.autograd.functional import jacobian
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap

import sparsescape as ss
from sparsescape.kernels.layout import batch_innermost

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")  # torch's own use of its scripts

DOUBLE = torch.float64
X = torch.randn(3, 2, 8, 8, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def models():
    torch.manual_seed(0)
    dense = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"),
        nn.BatchNorm2d(6), nn.Tanh(), nn.Conv2d(6, 4, 3, 2, 1, groups=2, bias=False), nn.Flatten(),
        nn.Linear(64, 10), nn.Tanh(), nn.Linear(10, 5),
    ).to(DOUBLE).eval()  # fmt: skip
    ss.Mask.from_scores(ss.scores.magnitude(dense), sparsity=0.8).apply_(dense)
    return dense, ss.to_sparse(copy.deepcopy(dense), 0.0, dense=["0", "8"])


def _per_example(model: nn.Module) -> dict[str, torch.Tensor]:
    def loss(parameters, x):
        return functional_call(model, parameters, (x[None],)).square().sum()

    found = vmap(grad(loss), (None, 0))(dict(model.named_parameters()), X)
    return {name: g.sum(0) for name, g in found.items()}


def test_gradients_of_each_example_add_up_to_those_of_the_values(models):
    _, sparse = models
    found = _per_example(sparse)
    sparse(X).square().sum().backward()
    for name, parameter in sparse.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


TRANSFORMS = {
    "vmap": lambda model: vmap(model)(torch.stack([X, 2 * X])),
    "jvp": lambda model: jvp(model, (X,), (X.flip(0),)),
    "jacrev": lambda model: jacrev(model)(X),
    "hessian": lambda model: hessian(lambda x: model(x).square().sum())(X[:1]),
    "dual": lambda model: tuple(forward_ad.unpack_dual(model(forward_ad.make_dual(X, X.flip(0))))),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_give_what_they_give_of_the_dense_model(models, transform):
    with forward_ad.dual_level() if transform == "dual" else warnings.catch_warnings():
        dense, sparse = map(TRANSFORMS[transform], models)
    torch.testing.assert_close(sparse, dense)


def test_batch_norm_with_the_batch_innermost_is_transformed():
    x = batch_innermost(torch.randn(32, 4, 8, 8, dtype=DOUBLE))
    norm = nn.BatchNorm2d(4, track_running_stats=False).to(DOUBLE)
    model = nn.Sequential(norm, nn.Conv2d(4, 4, 1).to(DOUBLE))
    dense = grad(lambda x: model(x).pow(3).sum())(x)
    ss.to_sparse(model, 0.0)
    torch.testing.assert_close(grad(lambda x: model(x).pow(3).sum())(x), dense)


@pytest.mark.filterwarnings("ignore:Converting a tensor")  # the sizes of inputs are looked at
def test_a_traced_model_is_the_same_for_any_batch(models, tmp_path):
    dense, sparse = models
    torch.jit.trace(sparse, X).save(tmp_path / "model.pt")
    traced = torch.jit.load(tmp_path / "model.pt")
    for x in (X, X[:1], X.repeat(3, 1, 1, 1)):
        torch.testing.assert_close(traced(x), dense(x))


def test_exporting_is_refused_in_a_sentence(models):
    _, sparse = models
    with pytest.raises(ss.InputError, match="takes no truly sparse layers: give it"):
        torch.export.export(sparse, (X,), strict=False)


def _batch_norm_last() -> nn.Module:
    """Whose own loops are reached by a gradient before any sparse layer is."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)).to(DOUBLE)
    return ss.to_sparse(model, 0.0)


def _of_a_graph_that_is_there(model: nn.Module) -> object:
    x = X.clone().requires_grad_()
    y = model(x)
    return vmap(lambda g: torch.autograd.grad(y, x, g))(torch.ones(2, *y.shape, dtype=DOUBLE))


BATCHES = {
    "jacobian": lambda model: jacobian(model, X, vectorize=True),
    "hessian": lambda m: torch.autograd.functional.hessian(
        lambda x: m(x).square().sum(), X, vectorize=True
    ),
    "of values": lambda model: torch.autograd.grad(
        y := model(X), [*model.parameters()], y.new_ones(2, *y.shape), is_grads_batched=True
    ),
    "vmap": _of_a_graph_that_is_there,
    "batch norm": lambda _: jacobian(_batch_norm_last(), X.repeat(16, 1, 1, 1), vectorize=True),
}


@pytest.mark.parametrize("differentiated", BATCHES)
def test_batches_of_gradients_are_refused_in_a_sentence(models, differentiated):
    _, sparse = models
    with pytest.raises(ss.InputError, match=r"^Truly sparse layers take no .* torch\.func\.jacrev"):
        BATCHES[differentiated](sparse)
