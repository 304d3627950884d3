"""A run that is interrupted at any step, and goes on in fresh objects, ends at the same bits."""

from __future__ import annotations

import copy
import io
from functools import partial
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

import sparsescape as ss
from helpers import tree_bits

STEPS = 18

# From how many steps lie between two updates of the mask to a method.
METHODS = {
    "static": lambda every: ss.Static(sparsity=0.75),
    "gradual": lambda every: ss.GradualMagnitude(0.75, begin=2, end=13, every=every),
    "ac/dc": lambda every: ss.ACDC(0.75, begin=1, phase=every, end=15),
    "rigl": lambda every: ss.RigL(0.75, update_every=every, update_until=15),
    "set": lambda every: ss.SET(0.75, update_every=every),
    "snfs": lambda every: ss.SNFS(0.75, update_every=every),
    "dsr": lambda every: ss.DSR(0.75, update_every=every, threshold=0.02, drop_fraction=0.1),
    "deep-r": lambda every: ss.DeepR(0.75, shrinkage=0.1, temperature=1e-3),
    "rigl-itop": lambda every: ss.RigLITOP(0.75, update_every=every),
    "granet": lambda every: ss.GraNet(0.75, update_every=every, prune_until=9, update_until=15),
    "srigl": lambda every: ss.SRigL(0.75, update_every=every, update_until=15),
    "escape": lambda every: ss.Escape(
        sparsity=0.75, open=20, at=2, hold_for=every, prune_for=2, rounds=3
    ),
    "sr-ste": lambda every: ss.SRSTE(1, 4, decay=0.1),
    "top-kast": lambda every: ss.TopKAST(0.75, update_every=every),
    "movement": lambda every: ss.MovementPruning(0.75, begin=1, end=13, every=every),
    "str": lambda every: ss.STR(initial=-3.0),
}
ON_NONZEROS = ("static", "rigl", "set", "snfs", "dsr", "deep-r", "rigl-itop")

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}

interruptions = {
    "optimizer": st.sampled_from(sorted(OPTIMIZERS)),
    "every": st.integers(1, 5),
    "stops": st.sets(st.integers(0, STEPS), min_size=1, max_size=3),  # at updates and between
    "order": st.permutations(range(3)),
}


class Run:
    def __init__(self, method: str, optimizer: str, every: int, sparse: bool) -> None:
        torch.manual_seed(0)
        layers = nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)
        self.model = nn.Sequential(*layers)
        if sparse:
            densities = ss.distributions.uniform(self.model, sparsity=0.75)
            mask = ss.Mask.from_scores(ss.scores.random(self.model), densities=densities)
            ss.to_sparse(self.model, 0.0, mask=mask)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.sparsifier = METHODS[method](every).attach(self.model, self.optimizer)

    def train(self, first: int, last: int) -> None:
        for step in range(first, last):
            x = torch.randn(32, 12, generator=torch.Generator().manual_seed(step))
            self.optimizer.step(partial(self.loss, x))

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(x), (x[:, :4] + x[:, 4:8]).argmax(1))
        loss.backward()
        return loss

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.model, self.optimizer, self.sparsifier

    def bits(self) -> list[Any]:
        return [tree_bits(part.state_dict()) for part in self.parts]


def assert_resumes(method, optimizer, every, stops, order, sparse):
    whole = Run(method, optimizer, every, sparse)
    whole.train(0, STEPS)

    run, at = Run(method, optimizer, every, sparse), 0
    for stop in sorted(stops):
        run.train(at, stop)
        file, at = io.BytesIO(), stop
        torch.save([part.state_dict() for part in run.parts], file)
        file.seek(0)
        states, run = torch.load(file), Run(method, optimizer, every, sparse)
        for index in order:
            run.parts[index].load_state_dict(states[index])
    run.train(at, STEPS)
    assert run.sparsifier.mask == whole.sparsifier.mask
    assert run.bits() == whole.bits()


@given(method=st.sampled_from(sorted(METHODS)), **interruptions)
def test_wherever_a_masked_run_is_interrupted_it_ends_at_the_same_bits(
    method, optimizer, every, stops, order
):
    assert_resumes(method, optimizer, every, stops, order, sparse=False)


@given(method=st.sampled_from(sorted(ON_NONZEROS)), **interruptions)
def test_wherever_a_truly_sparse_run_is_interrupted_it_ends_at_the_same_bits(
    method, optimizer, every, stops, order
):
    assert_resumes(method, optimizer, every, stops, order, sparse=True)


@given(method=st.sampled_from(sorted(METHODS)), stop=st.integers(1, STEPS - 1))
def test_a_run_resumes_where_a_distributed_checkpoint_loads_the_optimizer(method, stop):
    from torch.distributed.checkpoint import state_dict as checkpoint

    whole = Run(method, "adam", 1, sparse=False)
    whole.train(0, stop)
    states = copy.deepcopy([whole.model.state_dict(), whole.sparsifier.state_dict()])
    kept = copy.deepcopy(checkpoint.get_optimizer_state_dict(whole.model, whole.optimizer))
    whole.train(stop, STEPS)
    run = Run(method, "adam", 1, sparse=False)
    run.model.load_state_dict(states[0])
    checkpoint.set_optimizer_state_dict(run.model, run.optimizer, kept)
    run.sparsifier.load_state_dict(states[1])
    run.train(stop, STEPS)
    assert run.sparsifier.mask == whole.sparsifier.mask
    assert tree_bits(run.model.state_dict()) == tree_bits(whole.model.state_dict())
