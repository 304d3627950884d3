"""The mean loss over a data set, as a function on weight space."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .architecture import channels_last, convolutions, runs_channels_last, split_first_layer
from .batchnorm import BatchNormMode, batch_norms, recompute
from .batchnorm import statistics as statistics_of_norms
from .data import Batch, Examples, Tensors, check_data, in_batches, is_pair
from .errors import InputError, is_real, is_whole, told, unknown
from .evaluation import Evaluation, Loss, Tally
from .hessian import KEEP, Hessian, Losses
from .layers import Outputs, watched
from .points import (
    Point,
    PointLike,
    as_point,
    fitting,
    is_statistic,
    named_parameters,
    plain_name,
)
from .second_order import twice_differentiable
from .stateless import Stateless

Half: TypeAlias = Callable[[PointLike, Tensor], Tensor]

EXECUTIONS = ("auto", "masked", "sparse")
"""How a network inside a mask can be run."""


class Objective:
    """L(θ) = (1/n) Σᵢ ℓ(f(xᵢ; θ), yᵢ) + (λ/2)·‖θ‖², over the whole of a data set.

    The user's model is copied once and never touched: parameters, buffers, gradients, train/eval
    mode and random state are bit for bit what they were. Dropout is off.

    Args:
        model: gives the function f; points have the names of its parameters.
        data: ``(inputs, targets)`` with the examples along the first dimension, or an iterable
            of such pairs that can be gone through more than once (a ``DataLoader``).
        loss: ``loss(outputs, targets)``, the *mean* over a batch. Batches count by their examples:
            a weighted mean (class weights, ``ignore_index``) hangs on how examples fall into them.
        weight_decay: λ, over all parameters, as ``torch.optim.SGD`` means it.
        batch_norm: where BatchNorm's statistics come from at a point. ``"recompute"`` (default):
            from a pass over the data with the point's weights, as in Garipov et al. 2018,
            section 3.3. ``"stored"``: from the point's own buffers, or else the model's.
            ``"batch"``: from each batch. A model without BatchNorm is the same under all three.
        batch_size: at most so many examples per forward pass where data are tensors. It changes
            time and memory, not the loss; BatchNorm's statistics, unless stored, are those of
            batches of this size.
        execution: how searches and profiles inside a mask run the network: ``"masked"``,
            ``"sparse"``, or ``"auto"``: sparse where that is faster
            (:mod:`sparsescape.kernels.execution`). Up to rounding the loss is the same.
        statistics: the data that BatchNorm's statistics are recomputed from, where that is not
            ``data`` itself: a network is tested with the statistics of its *training* set.

    Raises:
        InputError: the data set is empty, inputs and targets differ in number, or data are
            no pairs or can be gone through only once.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> data = torch.eye(2), torch.zeros(2, 1)
    >>> objective = Objective(model, data, loss=F.mse_loss)
    >>> objective({"weight": torch.tensor([[3.0, 1.0]])})
    5.0
    """

    def __init__(
        self,
        model: nn.Module,
        data: Batch | Iterable[Batch],
        loss: Loss = F.cross_entropy,
        *,
        weight_decay: float = 0.0,
        batch_norm: BatchNormMode = "recompute",
        batch_size: int = 512,
        execution: str = "auto",
        statistics: Batch | Iterable[Batch] | None = None,
    ):
        if execution not in EXECUTIONS:
            raise unknown("execution", execution, EXECUTIONS)
        if batch_norm not in ("recompute", "stored", "batch"):
            raise InputError(f"batch_norm is recompute, stored or batch, not {batch_norm!r}.")
        if not isinstance(model, nn.Module):
            raise InputError(f"The model is a torch.nn.Module, not a {type(model).__name__}.")
        if not callable(loss):
            raise InputError(f"The loss is a function of outputs and targets, not {loss!r}.")
        if not (is_real(weight_decay) and weight_decay >= 0):
            raise InputError(f"The weight decay is 0 or more, not {weight_decay!r:.60}.")
        if not is_whole(batch_size, 1):
            raise InputError(f"A batch is 1 example or more, a whole number, not {batch_size}.")
        self.data = data
        self._pair = _pair_of(data)
        if statistics is not None:
            _pair_of(statistics)
        self._statistics = data if statistics is None else statistics
        self.loss = loss
        self.weight_decay = weight_decay
        self.batch_norm = batch_norm
        self.batch_size = batch_size
        self.execution = execution
        self._model = copy.deepcopy(getattr(model, "_orig_mod", model)).eval()
        self._model.requires_grad_(False).zero_grad(set_to_none=True)
        self._run = Stateless(self._model)
        self._names = {plain_name(n): n for n, _ in self._model.named_parameters()}
        self._names |= {plain_name(n): n for n, _ in self._model.named_buffers()}
        self._parameters = list(named_parameters(self._model))
        self._norms = batch_norms(self._model)
        self._norm_statistics = statistics_of_norms(self._model)
        if batch_norm == "batch":
            self._set_norms(training=True)
        self._parts = split_first_layer(self._model)

    @property
    def model(self) -> nn.Module:
        """Its own copy of the model: to be looked at, not to be changed."""
        return self._model

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names that span weight space."""
        return tuple(self._parameters)

    def rebuilt(
        self,
        change: Callable[[nn.Module], nn.Module] = lambda model: model,
        data: Batch | None = None,
    ) -> Objective:
        """The same objective of what is made of a copy of its network, or of other data."""
        return Objective(
            change(copy.deepcopy(self._model)),
            self.data if data is None else data,
            self.loss,
            weight_decay=self.weight_decay,
            batch_norm=self.batch_norm,
            batch_size=self.batch_size,
            execution=self.execution,
            statistics=self._statistics if data is None else None,
        )

    # ------------------------------------------------------------------ values

    def __call__(self, point: PointLike) -> float:
        """The mean loss at the point."""
        return self.evaluate(point).loss

    @torch.no_grad()
    def evaluate(self, point: PointLike) -> Evaluation:
        """Loss, accuracy and number of examples at the point."""
        tally = Tally(self.loss)
        for outputs, targets in self.outputs(point):
            tally.add(outputs, targets)
        return tally.evaluation(self.penalty(point))

    @torch.no_grad()
    def outputs(self, point: PointLike, batches: Iterable[Batch] | None = None) -> Iterator[Batch]:
        """What the network says at the point, and what it should say: outputs and targets, batch
        by batch; of some of the :meth:`batches` only, where they are given."""
        state = self._with_statistics(self._channels_last(self.check(point)))
        for inputs, targets in self.batches() if batches is None else batches:
            with told("The model cannot take the inputs"):
                outputs = self._run(state, inputs)
            yield outputs, targets

    def halves(self) -> tuple[Half, Half] | None:
        """The network's first layer and the rest of it, each a function of a point and a batch of
        its inputs, if the first is linear in both (:func:`split_first_layer`).

        None of other networks, and where statistics are of the whole data set or of a batch.
        """
        parts = None if self._norms and self.batch_norm != "stored" else self._parts
        if parts is None:
            return None
        first, rest = (partial(self._run_part, part) for part in parts)
        return first, rest

    @torch.no_grad()
    def _run_part(self, part: nn.Module, point: PointLike, inputs: Tensor) -> Tensor:
        point = self.check(point)
        names = [n for n, _ in (*part.named_parameters(), *part.named_buffers())]
        state = {n: point[plain_name(n)] for n in names if plain_name(n) in point}
        with told("The model cannot take the inputs"):
            return Stateless(part)(state, inputs)

    def penalty(self, point: PointLike) -> float:
        """The regularizer (λ/2)·‖θ‖², which is part of the loss."""
        point = self.check(point)
        return float(self._penalty({self._names[n]: point[n] for n in self._parameters}))

    def batch_loss(self, point: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The loss on one batch, differentiable in the point; what a curve is trained with.

        BatchNorm uses the batch's statistics here, as training does, unless ``"stored"``.
        """
        inputs, targets = batch
        free = set(self._parameters)  # what else a point carries is no coordinate: no gradient
        state = {self._names[n]: t if n in free else t.detach() for n, t in point.items()}
        if self.changes_buffers:
            buffers = {n: state.get(n, b).clone() for n, b in self._model.named_buffers()}
            self._set_norms(training=True)
            outputs = self._run({**state, **buffers}, inputs)
            self._set_norms(training=self.batch_norm == "batch")
        else:
            outputs = self._run(state, inputs)
        return self.loss(outputs, targets) + self._penalty(state)

    @property
    def changes_buffers(self) -> bool:
        """Whether :meth:`batch_loss` takes BatchNorm's statistics from the batch, and so writes."""
        return bool(self._norms) and self.batch_norm != "stored"

    # ------------------------------------------------------------------ derivatives

    def gradient(self, point: PointLike) -> Point:
        """∇L at the point, over the whole data set: parameter name → gradient.

        BatchNorm's statistics are held at what they are at this point.
        """
        free, losses = self._at(point)
        total = {n: torch.zeros_like(p) for n, p in free.items()}
        count = 0
        for loss, examples in losses():
            grads = torch.autograd.grad(
                loss, list(free.values()), allow_unused=True, materialize_grads=True
            )
            for name, grad in zip(free, grads, strict=True):
                total[name] += grad * examples
            count += examples
        return {n: t / count + self.weight_decay * free[n].detach() for n, t in total.items()}

    def hessian(self, point: PointLike, *, keep: int = KEEP) -> Hessian:
        """∇²L at the point, over the whole data set, for many products with vectors.

        BatchNorm's statistics are held at what they are at this point, as in :meth:`gradient`.

        Args:
            keep: bytes that the kept graph may take; with more it is built anew every time.
        """
        return Hessian(*self._at(point), self.weight_decay, keep)

    def hessian_vector_product(self, point: PointLike, vector: Mapping[str, Tensor]) -> Point:
        """∇²L·v at the point, once; for many v take :meth:`hessian`.

        Args:
            vector: parameter name → direction, of the parameter's shape.
        """
        return self.hessian(point, keep=0).product(vector)

    def layers(self, point: PointLike) -> Iterator[tuple[Tensor, Outputs]]:
        """Batch by batch, the loss and what every layer puts out (:mod:`sparsescape.layers`), in
        the graph of the loss."""
        _, losses = self._at(point)
        with watched(self._model) as seen:
            for loss, _ in losses():
                yield loss, dict(seen)
                seen.clear()

    def _at(self, point: PointLike) -> tuple[Point, Losses]:
        """The point's parameters, free to be differentiated by, and the loss of every batch."""
        state = self._with_statistics(self.check(point))
        free = {n: state[self._names[n]].clone().requires_grad_() for n in self._parameters}
        state |= {self._names[n]: p for n, p in free.items()}

        def losses() -> Iterator[tuple[Tensor, int]]:
            for inputs, targets in self.batches():
                with twice_differentiable():
                    outputs = self._run(state, inputs)
                yield self.loss(outputs, targets), len(targets)

        return free, losses

    # ------------------------------------------------------------------ data and state

    def batches(self) -> Iterator[Batch]:
        """The data in order, in batches.

        Raises:
            InputError: there is none.
        """
        return in_batches(self.data, self.batch_size)

    def tensors(self) -> Batch:
        """The data as one pair of tensors; those of a data loader are gathered."""
        if self._pair is not None:
            return self._pair
        inputs, targets = zip(*self.batches(), strict=True)
        return torch.cat(inputs), torch.cat(targets)

    def examples(self) -> Examples:
        """The data, to be drawn from in any order; those of a data loader are gathered."""
        if isinstance(self.data, Examples):
            return self.data.plain
        return Tensors(*self.tensors())

    def check(self, point: PointLike) -> Point:
        """The point, if it fits the model; :class:`InputError` otherwise. The model is run at it,
        so its numbers must be of the model's types, too; but for BatchNorm's count of batches,
        which nothing is computed from: of a mean of two points it is a fraction."""
        fits = fitting(point, self._model)
        types = {name: tensor.dtype for name, tensor in as_point(self._model).items()}
        for name, tensor in fits.items():
            is_count = is_statistic(name) and not types[name].is_floating_point
            if tensor.dtype != types[name] and not is_count:
                kind, other = (str(t).removeprefix("torch.") for t in (tensor.dtype, types[name]))
                raise InputError(f"{name!r} is of {kind} in the point and of {other} in the model.")
        return fits

    def _channels_last(self, point: Point) -> Point:
        """The point, laid out for a network that keeps channels last from the first convolution
        on: on a CPU pooling is then many times as fast, and a convolution somewhat. The values are
        the same."""
        return {**point, **{n: channels_last(point[n]) for n in self._laid_out}}

    @cached_property
    def _laid_out(self) -> list[str]:
        """The weights to lay out: none on a GPU, nor where the network does not take it."""
        weights = convolutions(self._model)
        if not weights or any(w.is_cuda for w in weights.values()):
            return []
        inputs, _ = next(iter(self.batches()))
        return list(weights) if runs_channels_last(self._model, inputs[:2]) else []

    def _with_statistics(self, point: Point) -> dict[str, Tensor]:
        """The point under the model's own names, with BatchNorm's statistics as asked for."""
        state = {self._names[name]: tensor for name, tensor in point.items()}
        if not self._norms or self.batch_norm == "stored":
            return state
        state |= {n: self._model.get_buffer(n).clone() for n in self._norm_statistics}
        if self.batch_norm == "recompute":
            inputs = (batch[0] for batch in in_batches(self._statistics, self.batch_size))
            forward = partial(self._run, state)
            recompute(state, self._norm_statistics, self._norms, inputs, forward)
        return state

    def _set_norms(self, *, training: bool) -> None:
        for norm in self._norms:
            norm.training = training

    def _penalty(self, state: Mapping[str, Tensor]) -> Tensor | float:
        if not self.weight_decay:
            return 0.0
        squares = [state[self._names[n]].square().sum() for n in self._parameters]
        return self.weight_decay / 2 * torch.stack(squares).sum()


def check_objective(objective: object) -> None:
    """Raise :class:`InputError` for anything but an objective: a model in its place, for one."""
    if not isinstance(objective, Objective):
        raise InputError(f"The objective is an ss.Objective, not a {type(objective).__name__}.")


def _pair_of(data: Batch | Iterable[Batch]) -> Batch | None:
    """The data, if they are a pair of tensors; None if batches of such pairs.

    Raises:
        InputError: they are neither, can be gone through only once, or a pair has no examples.
    """
    if isinstance(data, Iterator):
        raise InputError("Data are gone through many times: give what can be, no iterator.")
    if isinstance(data, Tensor) or not isinstance(data, Iterable):
        kind = type(data).__name__
        raise InputError(f"Data are (inputs, targets), or batches of such pairs, not {kind}.")
    return check_data(data) if is_pair(data) else None
