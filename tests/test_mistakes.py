"""Mistakes that a newcomer made: each is one sentence, before anything has moved."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import sparsescape as ss
from helpers import perceptron


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def attached(make, model=None):
    model = model or perceptron()
    return make().attach(model, optimizer_of(model))


def rigl(**changes):
    return ss.RigL(**{"sparsity": 0.5, "update_every": 2, **changes})


def sparse_perceptron():
    model = perceptron()
    densities = {"0.weight": 0.1, "2.weight": 0.1}
    ss.Mask.from_scores(ss.scores.magnitude(model), densities=densities).apply_(model)
    return model


def twice():
    model = perceptron()
    attached(rigl, model)
    attached(lambda: ss.SET(0.5), model)


def to_dense_attached():
    model = ss.to_sparse(sparse_perceptron())
    attached(lambda: ss.SET(0.9), model)
    ss.to_dense(model)


def objective(**changes):
    data = torch.randn(8, 6), torch.arange(8) % 3
    return ss.Objective(**{"model": perceptron(), "data": data, **changes})


def opened(choose="random", known=None):
    """A search for extra dimensions with half of the weights closed, from a point to itself."""
    model = perceptron()
    mask = half_of(model)
    mask.apply_(model)
    return ss.extra_dimensions(model, at_rest(model), mask, objective(), choose, known=known)


def half_of(model):
    return ss.Mask.from_scores(ss.scores.magnitude(model), sparsity=0.5)


def at_rest(model):
    return {name: torch.zeros_like(p) for name, p in model.named_parameters()}


def curve():
    return ss.Bezier(perceptron(), perceptron(), degree=2)


def made_of(model):
    data = objective().data
    return ss.Problem(model=model, train=data, test=data)


def phased() -> nn.Module:
    """A network with a parameter of complex numbers."""
    model = perceptron()
    model[2].phase = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    return model


def state_of_two_optimizers() -> object:
    """For a sparsifier that is attached to one."""
    model = perceptron()
    both = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model[0], model[2])]
    state = rigl().attach(model, *both).state_dict()
    return attached(rigl).load_state_dict(state)


def halves() -> nn.Module:
    """A network of which a part is in double precision."""

    class Doubling(nn.ReLU):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs).double()

    first, _, last = perceptron()
    return nn.Sequential(first, Doubling(), last.double())


MISTAKES = {
    "a copy of what is attached": (
        lambda: copy.deepcopy(attached(rigl)),
        "An attached RigL is not copied or pickled",
    ),
    "a pickle of it": (
        lambda: pickle.dumps(attached(lambda: ss.Static(sparsity=0.5))),
        "give it this one's state_dict",
    ),
    "a sparsity in quotes": (lambda: rigl(sparsity="0.9"), "Sparsity is a number"),
    "half a step": (lambda: rigl(update_every=2.5), "every 1 step or more"),
    "an end before the beginning": (lambda: rigl(update_until=-3), "not -3"),
    "a mask before attach": (lambda: rigl().mask, "before that it has no mask"),
    "a state before attach": (lambda: rigl().state_dict(), "before that it has no mask"),
    "no optimizer": (lambda: rigl().attach(perceptron(), None), "not to a NoneType"),
    "arguments exchanged": (
        lambda: rigl().attach(optimizer_of(perceptron()), perceptron()),
        "not to a SGD",
    ),
    "somebody else's state": (
        lambda: attached(rigl).load_state_dict({"bad": 1}),
        "no sparsifier's state",
    ),
    "the state of more optimizers": (state_of_two_optimizers, "a run with 2 optimizers"),
    "two sparsifiers": (twice, "a RigL is attached to it already"),
    "pruning what holds nonzeros only": (
        lambda: attached(
            lambda: ss.GradualMagnitude(0.95, begin=1, end=5), ss.to_sparse(sparse_perceptron())
        ),
        "RigL, SET.* work there, without a structure, and this GradualMagnitude does not",
    ),
    "blocks of what holds nonzeros only": (
        lambda: attached(
            lambda: rigl(structure=ss.structures.blocks(2, 2)), ss.to_sparse(sparse_perceptron())
        ),
        "'0' is truly sparse",
    ),
    "a sparsity that truly sparse layers do not have": (
        lambda: attached(rigl, ss.to_sparse(sparse_perceptron())),
        "a sparsity of 0.902778 and not 0.5",
    ),
    "to_dense under a sparsifier": (to_dense_attached, "detach it first"),
    "Top-KAST with nowhere to explore": (
        lambda: attached(
            lambda: ss.TopKAST(0.9, backward_sparsity=0.8), ss.to_sparse(sparse_perceptron())
        ),
        "holds 5: hold more, or raise backward_sparsity",
    ),
    "another model's optimizer": (
        lambda: ss.to_sparse(sparse_perceptron(), optimizer=optimizer_of(perceptron())),
        "holds no parameter of this model",
    ),
    "a loss by its name": (lambda: objective(loss="ce"), "function of outputs and targets"),
    "no targets": (lambda: objective(data=torch.randn(8, 6)), "not Tensor"),
    "no data": (lambda: objective(data=None), "not NoneType"),
    "inputs of another width": (
        lambda: ss.profile(curve(), objective(data=(torch.randn(8, 5), torch.arange(8) % 3))),
        "The model cannot take the inputs: mat1 and mat2",
    ),
    "targets for a regression": (
        lambda: objective(data=(torch.randn(8, 6), torch.randn(8)))(perceptron()),
        r"The loss cannot take targets of type torch.float32 and shape \(\) per example: ",
    ),
    "a class too many": (
        lambda: ss.find_path(
            perceptron(),
            at_rest(perceptron()),
            objective(data=(torch.randn(8, 6), torch.arange(8))),
        ),
        "The loss cannot take targets of type torch.int64",
    ),
    "decay below 0": (lambda: objective(weight_decay=-0.1), "0 or more"),
    "no model": (lambda: objective(model=3), "not a int"),
    "half a degree": (lambda: ss.Bezier(perceptron(), perceptron(), degree=2.5), "not 2.5"),
    "steps below 0": (lambda: ss.fit_curve(curve(), objective(), steps=-1), "not -1 and 100"),
    "an empty batch": (lambda: ss.fit_curve(curve(), objective(), batch_size=0), "and 0"),
    "complex numbers": (lambda: ss.Line(phased(), phased()), "'2.phase' is of complex numbers"),
    "two types of numbers": (
        lambda: ss.stationarity(objective(model=halves()), halves()),
        "'0.weight' is of float32 and '2.weight' of float64",
    ),
    "a dictionary for a mask": (
        lambda: ss.diagnose(objective(), perceptron(), {"0.weight": None}),
        "The mask is an ss.Mask",
    ),
    "a dictionary for a subspace": (
        lambda: ss.Line(perceptron(), perceptron(), subspace={}),
        "The mask is an ss.Mask",
    ),
    "numbers for scores": (
        lambda: opened({"0.weight": [1.0]}),
        "The scores of '0.weight' are a tensor",
    ),
    "a path between other ends": (
        lambda: opened(known={0: ss.Line(perceptron(), perceptron())}),
        "known of 0 has other ends",
    ),
    "more open than are closed": (lambda: opened(known={99: curve()}), "99 cannot be open"),
    "a trial that is not made": (
        lambda: ss.find_path(perceptron(), perceptron(), objective(), trials=[ss.Trial]),
        "A trial is an ss.Trial",
    ),
    "an optimizer for its name": (
        lambda: ss.Trial(optimizer=torch.optim.SGD),
        "no optimizer",
    ),
    "a learning rate in quotes": (lambda: ss.Trial(lr="0.1"), "learning rate is above 0"),
    "a reach that is none": (lambda: ss.Trial(reach="far"), "learning rate is above 0"),
    "a distance in quotes": (lambda: ss.Trial(perturbed="0.1"), "moved by 0 or more"),
    "enough in quotes": (lambda: ss.Trial(enough="0.1"), "low enough is a number"),
    "a tolerance in quotes": (
        lambda: ss.find_path(perceptron(), perceptron(), objective(), tol="0"),
        "counts as none is a number",
    ),
    "eigenvalues to a word": (
        lambda: ss.stationarity(objective(), perceptron(), tol="fine"),
        "a tolerance of 0 or more",
    ),
    "a width in quotes": (
        lambda: ss.spectrum(objective(), perceptron(), width="0.1"),
        "a finite width above 0",
    ),
    "a weight decay in quotes": (lambda: objective(weight_decay="0"), "weight decay is 0 or more"),
    "half a pivot": (lambda: ss.Band(insert=0.5), "1 pivot or more"),
    "momentum above 1": (lambda: ss.Band(momentum=2), "not 2"),
    "a goal that is none": (lambda: ss.Goal(None), "A goal is a function"),
    "another model's mask to keep": (
        lambda: ss.align(perceptron(), perceptron(), subspace=ss.Mask({"w": torch.ones(2) > 0})),
        "'w'",
    ),
    "a point of another model on a plane": (
        lambda: ss.random_plane(perceptron()).locate({}),
        "The point has no '0.weight'",
    ),
    "no mask to open": (
        lambda: ss.extra_dimensions(perceptron(), perceptron(), None, objective()),
        "Without a mask",
    ),
    **{
        f"a model for an objective: {name}": (make, "an ss.Objective, not a Sequential")
        for name, make in {
            "diagnose": lambda: ss.diagnose(perceptron(), objective()),
            "stationarity": lambda: ss.stationarity(perceptron(), objective()),
            "spectrum": lambda: ss.spectrum(perceptron(), objective()),
            "find_path": lambda: ss.find_path(perceptron(), perceptron(), perceptron()),
            "neb": lambda: ss.neb(perceptron(), perceptron(), perceptron()),
            "fit_curve": lambda: ss.fit_curve(curve(), perceptron()),
            "profile": lambda: ss.profile(curve(), perceptron()),
            "extra_dimensions": lambda: ss.extra_dimensions(
                perceptron(), perceptron(), half_of(perceptron()), perceptron()
            ),
        }.items()
    },
    "a path's end for its curve": (
        lambda: ss.profile(perceptron(), objective()),
        "of a curve, not of a Sequential",
    ),
    "a point of arrays": (
        lambda: ss.Line({n: p.detach().numpy() for n, p in perceptron().named_parameters()}, {}),
        "'0.weight' is of type ndarray",
    ),
    "no mask for a plane to lie in": (
        lambda: ss.random_plane(perceptron(), subspace={"0.weight": torch.ones(1)}),
        "The mask is an ss.Mask",
    ),
    "a model for a mask": (
        lambda: ss.diagnose(objective(), perceptron(), perceptron()),
        "The mask is an ss.Mask, not a Sequential",
    ),
    "a model to escape from": (
        lambda: ss.Escape(perceptron(), open=2),
        "The mask is an ss.Mask, not a Sequential",
    ),
    "a model to hold": (lambda: ss.Static(perceptron()), "not a Sequential; a sparsity"),
    "a model to fit": (
        lambda: ss.fit_curve(perceptron(), objective()),
        "What is fitted is a curve, not a Sequential",
    ),
    "a folder for a mask": (lambda: ss.Mask.load("."), "is not a mask"),
    "a model for a function": (lambda: made_of(perceptron()).check(), "a function that makes one"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_is_refused_in_a_sentence(mistake: str) -> None:
    make, message = MISTAKES[mistake]
    with pytest.raises(ss.InputError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_detached_sparsifier_leaves_room_for_another() -> None:
    model = perceptron()
    attached(rigl, model).detach()
    assert attached(lambda: ss.SET(0.5), model).mask.sparsity == pytest.approx(0.5, abs=0.02)
