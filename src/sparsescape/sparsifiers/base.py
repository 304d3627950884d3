"""What every sparsifier does: hold a mask on a model while any optimizer moves its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError
from ..masks import Mask
from ..points import check_patterns, named_parameters, named_weights, norms
from ..positions import Positions
from .backward import Backward
from .beginning import Beginning
from .collapse import check_collapse
from .holding import Held, Holding
from .hooks import (
    check_attachable,
    check_gradients,
    hook_gradient,
    hook_layers,
    hook_steps,
    hook_wrappers,
    skipped,
)
from .masked import Masked
from .nonzeros import (
    Carried,
    Nonzeros,
    SparseLayer,
    check_replicated,
    check_works,
    sparse_layers,
)
from .owners import Owners
from .saved import check_state, saved_mask
from .shards import copied, replicas_in, whole
from .taken import let_go, take, takers
from .withheld import Withheld

Self = TypeVar("Self", bound="Sparsifier")
Active = Mapping[str, Tensor]
"""Weight name → bool tensor of the weight's shape; one element a value for a truly sparse layer."""
NextMask = Mapping[str, Tensor] | Mapping[str, Tensor | Positions]
"""The same, or where the active ones are among all positions."""


@dataclass(eq=False, kw_only=True)
class Sparsifier:
    """How the mask moves while an optimizer moves the weights.

    Two lines make a training loop sparse; the loop stays as it is::

        sparsifier = ss.GradualMagnitude(sparsity=0.9, begin=500, end=1500)
        sparsifier.attach(model, optimizer)

    From ``attach`` on, after every ``backward`` the gradients outside the mask are exactly 0 (so
    what clips gradients sees the norm inside it), and after every ``optimizer.step`` so are the
    weights; optimizer state of a weight's shape has there the value that the optimizer gives a
    fresh element, whatever the optimizer. (Where nothing seems to have moved outside the mask, only
    a sample of it is looked at: what is written into a part of a weight through ``.data``, between
    steps or by an optimizer, may stay for up to 25 steps.) So a weight that is grown later starts
    at 0 with fresh state. (A step counter that an optimizer keeps per tensor, as Adam's for its
    bias correction, goes on counting: a grown weight's moments start at 0 but are corrected as if
    they were old, so its first steps are shorter than a fresh parameter's by up to
    (1 − β₁)/√(1 − β₂).)

    A method is a subclass with one or two of these: :meth:`first_mask`, the mask at ``attach``,
    and :meth:`next_mask`, the mask after a step. What a method remembers between steps goes into
    ``self.memory`` and is part of :meth:`state_dict`.

    On truly sparse layers (:func:`sparsescape.to_sparse`) a method sees, for each weight, the
    values that the layer holds: they are all active, and a new mask may name other positions.
    Methods that need more refuse to be attached to them.

    Args:
        dense: patterns of weights to leave dense (see :func:`sparsescape.points.named_weights`).
            Parameters of fewer than two dimensions, biases and norms are left out by themselves.
            The mask does not name what is left out, and its sparsity is that of the rest.
        on_collapse: ``"warn"`` or ``"raise"`` when a layer loses all its weights.
    """

    dense: Iterable[str] = ()
    on_collapse: Literal["warn", "raise"] = "warn"

    on_nonzeros: ClassVar[bool] = False
    """Whether the method works on truly sparse layers."""
    restless: ClassVar[bool] = False
    """Whether, by its rule, it moves the mask or needs dense gradients at every step."""
    moves_between_layers: ClassVar[bool] = False
    """Whether a layer may come to hold more or fewer weights than it began with."""
    carried: ClassVar[tuple[str, ...]] = ()
    """What of the memory has an element for each value of a truly sparse layer and moves with it;
    0 for what is grown."""

    def __post_init__(self) -> None:
        self.dense = check_patterns(self.dense)
        if self.on_collapse not in ("warn", "raise"):
            raise InputError(f"on_collapse is 'warn' or 'raise', not {self.on_collapse!r}.")
        self.step = 0
        self.memory: dict[str, Any] = {}
        self._counts: list[int] = []  # of each optimizer the last step that it has a part in
        self._all = range(0)  # of the optimizers
        self._handles: list[Any] = []
        self._weights: dict[str, nn.Parameter] = {}
        self._held: dict[str, Held] = {}
        self._nonzeros: dict[str, Nonzeros] = {}
        self._densities: dict[str, float] = {}

    # ------------------------------------------------------------------ what a method says

    def first_mask(self, model: nn.Module) -> NextMask:
        """The mask at :meth:`attach`: everything active, unless the method says otherwise."""
        weights = named_weights(model, self.dense)
        return {n: torch.ones(w.shape, dtype=torch.bool) for n, w in weights.items()}

    def next_mask(self, step: int) -> NextMask | None:
        """The mask after ``step`` optimizer steps (from 1), or None to keep it as it is."""
        return None

    def start(self) -> None:
        """Called once, at the end of :meth:`attach`: what a method must remember from the start."""

    def wants_gradient(self, step: int) -> bool:
        """Whether :meth:`next_mask` of that step asks :meth:`gradient`.

        This and :meth:`replaces_step` are asked when the step before is over.
        """
        return False

    def replaces_step(self, step: int) -> bool:
        """Whether that step's mask update takes the place of its update of all parameters."""
        return False

    # ------------------------------------------------------------------ what a loop says

    def attach(self: Self, model: nn.Module, *optimizers: Optimizer) -> Self:
        """Start: put the mask on the weights and on what the optimizer knows of them.

        Several optimizers may share the model; a step is over when each has stepped, at least
        once since the step before, and none has gradients that it has yet to step with.

        Raises:
            InputError: it is attached already, or another one is to these weights; a layer is
                truly sparse and the method needs dense ones; the mask does not fit the model; no
                optimizer holds a weight that the mask names.
        """
        if self._handles:
            raise InputError(f"This {type(self).__name__} is attached to a model already.")
        check_attachable(model, optimizers)
        layers = sparse_layers(model, self.dense)
        check_works(self, layers)
        self.step, self.memory = 0, {}
        first = self._first(model, layers)
        self._take_up(model, layers, first, optimizers)
        self._hook()
        return self

    def _first(self, model: nn.Module, layers: Mapping[str, list[SparseLayer]]) -> Mask:
        """The mask to begin with, if it can be put on the model."""
        first = Mask(self.first_mask(model))
        weights = takers(first, model, layers, self.dense)
        if layers and replicas_in(model) is not None:
            check_replicated(self, weights)
        check_gradients(model, weights)
        return first

    def _take_up(
        self,
        model: nn.Module,
        layers: Mapping[str, list[SparseLayer]],
        first: Mask,
        optimizers: Sequence[Optimizer],
    ) -> None:
        """Put the first mask on the weights and on what the optimizers know of them."""
        named = named_parameters(model)
        self._weights = {name: named[name] for name in first}
        self._norms = {w: named[n].shape for w, n in norms(named).items()}
        self._owners = Owners(self._weights, optimizers)
        self._withheld = [Withheld(optimizer) for optimizer in self._owners.optimizers]
        self._counts, self._all = [0] * len(optimizers), range(len(optimizers))
        self.densities.clear()
        self._held = {n: self._holder(n, layers.get(n, [])) for n in self._weights}
        self._nonzeros = {n: h for n, h in self._held.items() if isinstance(h, Nonzeros)}
        for held in self._nonzeros.values():
            held.replicas = replicas_in(model)
        self._holding = Holding(self._owners, self._held, self._owners.fresh())
        closing = {name: self._closing(name) for name in self._weights}
        self._backward = Backward(self._weights, self._held, self._owners, closing)
        self._beginning = Beginning(self._owners, self._held)
        self._owners.forget_mixed_state()
        self._set_mask({name: first.positions(name) for name in first})
        self._beginning.over()
        self.start()
        says = type(self).wants_gradient, type(self).replaces_step
        self._looks_ahead = says != (Sparsifier.wants_gradient, Sparsifier.replaces_step)
        self._look_ahead()

    def _hook(self) -> None:
        """Be called around every backward pass and every step from now on."""
        take(self._weights.values(), by=type(self).__name__)
        for name, weight in self._weights.items():
            self._handles.append(hook_gradient(weight, self._backward.hook(name)))
        self._handles += [
            hook_layers(held.layers, partial(self._watch, name))
            for name, held in self._nonzeros.items()
        ]
        self._handles += hook_steps(self, self._owners.optimizers)
        self._handles += hook_wrappers(self.wrapped, self._owners.optimizers, self._owners.wrappers)

    def detach(self) -> None:
        """Stop: remove every hook. The weights stay as they are."""
        for handle in self._handles:
            handle.remove()
        if self._handles:
            self._backward.clear()
            let_go(self._weights.values())
        self._handles.clear()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._handles:
            raise InputError(
                f"An attached {type(self).__name__} is not copied or pickled, since its copy would "
                "hold nothing: attach another one, and give it this one's state_dict."
            )
        return super().__reduce_ex__(protocol)

    @property
    def mask(self) -> Mask:
        """The current mask.

        Of a truly sparse layer it has the positions as indices, and nothing dense is made; its
        ``mask[name]`` makes a bool tensor of the dense weight's shape, when that is asked for.

        Raises:
            InputError: it has not been attached yet.
        """
        if not self._weights:
            raise InputError("Attach the sparsifier to a model: before that it has no mask.")
        return Mask({n: held.positions(held.active()) for n, held in self._held.items()})

    @property
    def active(self) -> dict[str, Tensor]:
        """The current mask as plain bool tensors on the weights' devices.

        Of a truly sparse layer one element for each value; :attr:`mask` says where those stand.
        """
        return {name: self.active_in(name) for name in self._held}

    def active_in(self, name: str) -> Tensor:
        """One of :attr:`active`."""
        return self._held[name].active()

    @property
    def densities(self) -> dict[str, float]:
        """Weight name → share of active weights, now."""
        return self._densities

    @property
    def weights(self) -> dict[str, Tensor]:
        """The sparse weights of the attached model by name, detached.

        Of a truly sparse layer the values, in one dimension.
        """
        return {name: whole(w) for name, w in self._weights.items()}

    def weight(self, name: str) -> Tensor:
        """One of :attr:`weights`."""
        return whole(self._weights[name])

    def step_gradient(self, name: str) -> Tensor:
        """The gradient inside the mask that the optimizer's last step used."""
        weight: Any = self._weights[name]
        if weight.grad is None:
            return torch.zeros(weight.shape, dtype=weight.dtype, device=weight.device)
        return self._unscaled(name, whole(weight.grad)).nan_to_num()

    def gradient(self, name: str) -> Tensor:
        """The gradient over all positions of a weight, in a step that :meth:`wants_gradient`.

        Of a truly sparse layer it is made when this is called, in the shape of the dense weight.
        It is the caller's, who may write into it.

        Raises:
            InputError: the step is none that :meth:`wants_gradient`.
        """
        if not self._backward.asks:
            raise InputError(
                f"{type(self).__name__} asks for the gradient over all positions of {name!r} in a "
                "step that kept none: its wants_gradient(step) has to be true there."
            )
        return self._unscaled(name, self._backward.over_all(name))

    def _unscaled(self, name: str, gradient: Tensor) -> Tensor:
        """Without a GradScaler's scale. After a step a fused optimizer has divided by it, in place,
        unless the update of the mask took the place of its step."""
        scale = self._owners.grad_scale(name) if self._replaces else None
        return gradient if scale is None else gradient / scale

    def at_active(self, name: str, everywhere: Tensor) -> Tensor:
        """Of something over all positions of a weight, what is at the active ones."""
        return self._held[name].at_active(everywhere)

    def size(self, name: str) -> int:
        """How many positions a weight has, active or not."""
        return self._held[name].shape.numel()

    def group(self, name: str) -> dict[str, Any]:
        """The optimizer's parameter group that a weight is in, for its learning rate."""
        return self._owners.group(name)

    def state_dict(self) -> dict[str, Any]:
        """Step, mask and memory: with the model's and the optimizer's state, all of a run."""
        return {
            "method": type(self).__name__,
            "step": self.step,
            "counts": list(self._counts),
            "mask": self._saved_mask(),
            "memory": self.remembered(),
            "fresh": copied(self._holding.fresh),
        }

    def _saved_mask(self) -> dict[str, Tensor]:
        """Bool tensors; for truly sparse layers flat indices."""
        if not self._weights:
            raise InputError("Attach the sparsifier to a model: before that it has no mask.")
        return {n: held.saved(held.active()) for n, held in self._held.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; to be called after :meth:`attach`.

        The model and the optimizer may load theirs before or after: until the first step, what
        :meth:`attach` closed can be opened again.

        Raises:
            InputError: it is not attached, the state is another method's or another number of
                optimizers', or the mask in it does not fit.
        """
        if not self._handles:
            raise InputError("Attach the sparsifier to a model before loading its state.")
        check_state(state, type(self).__name__, len(self._counts))
        mask = saved_mask(state, {name: held.shape for name, held in self._held.items()})
        self.step = int(state["step"])
        self._counts = [min(int(count), self.step + 1) for count in state["counts"]]
        self._backward.clear()
        self._backward.waiting.clear()
        self._beginning.undo()
        self.memory = {}  # what will be remembered is of the positions that are taken up now
        for name, held in self._nonzeros.items():
            held.put(mask.positions(name))
        self.remember(copied(state["memory"]))
        self._holding.fresh = copied(state["fresh"])
        self._set_mask({name: mask.positions(name) for name in mask})
        self._look_ahead()

    def remembered(self) -> dict[str, Any]:
        """A copy of the memory, whole on every rank."""
        return copied(self.memory)

    def remember(self, memory: dict[str, Any]) -> None:
        """Take up what :meth:`remembered` gave."""
        self.memory = memory

    # ------------------------------------------------------------------ around a step

    def stepped(self, index: int) -> None:
        # A step that moves nothing is mostly these calls: no more of them than there must be.
        if self._beginning.can_be_undone:
            self._beginning.forget()
        self._counts[index] = self.step + 1
        self._backward.has_stepped(index)
        if min(self._counts) > self.step and not self._backward.waiting:
            self.step += 1
            self._update()
        else:
            self._hold(index)
        if self._looks_ahead:
            self._look_ahead()

    def _look_ahead(self) -> None:
        """Ask the method what the next step is: once, not at every weight of it."""
        self._backward.asks = self.wants_gradient(self.step + 1)
        self._replaces = self.replaces_step(self.step + 1)

    def _update(self) -> None:
        # Before the mask moves: where it was closed an optimizer may have moved what is now grown.
        self._hold(*self._all)
        mask = self.next_mask(self.step)
        if mask is not None:
            self._look_again()
            # Not where a state is loaded: what the optimizer has loaded is of the mask to come.
            self._owners.forget_mixed_state()
            self._set_mask(mask)
        if self._backward.asks:
            self._backward.clear()

    def open(self, index: int) -> None:
        """Just before an optimizer moves its parameters. Without gradients it moves none."""
        self._backward.take_given(index)
        if self._takes_the_place(index) and not skipped(self._owners.optimizers[index]):
            self._withheld[index].take()
        elif self._backward.are_closed(index):
            self._holding.still[index].begin()

    def close(self, index: int) -> None:
        """Just after it, and before a closure looks at the model: give back what was taken."""
        if self._takes_the_place(index):
            self._withheld[index].give_back()

    def _takes_the_place(self, index: int) -> bool:
        """Whether the update of the mask does, of this optimizer's update of its parameters: of the
        first, where it makes several before each of the others has made one."""
        return self._replaces and self._counts[index] == self.step

    def wrapped(self, index: int) -> None:
        """After a step of what is around an optimizer, which may have moved weights as well."""
        self._hold(index)

    # ------------------------------------------------------------------ how the mask is held

    def _holder(self, name: str, layers: list[Any]) -> Held:
        """What holds a weight, of which truly sparse layers, if any, are given."""
        if not layers:
            return Masked(self._weights[name])
        return Nonzeros(self._weights[name], layers, partial(self._carried, name))

    def _carried(self, name: str) -> Carried:
        """The values of truly sparse layers and what belongs to them.

        Optimizer state that was loaded since the last step belongs to the positions to come.
        """
        weight, fresh = self._weights[name], self._holding.fresh[name]
        state = self._owners.state(name).items()
        values: Carried = [(v, fresh.get(k, 0.0)) for k, v in state if self._holding.knows(v)]
        for tensor in (weight.grad, *(self.memory.get(key, {}).get(name) for key in self.carried)):
            if tensor is not None:
                values.append((tensor, 0.0))
        return [(weight, 0.0), *values]

    def _watch(self, name: str) -> Callable[[Any], None] | None:
        """Asked by truly sparse layers in a forward pass: who is told of their gradient."""
        told = self._backward.watch(name)
        if self._nonzeros[name].replicas is not None:
            check_replicated(self, self._weights)
        return told

    def _set_mask(self, mask: NextMask) -> None:
        if mask.keys() != self._held.keys():
            raise InputError(f"A mask names the weights {list(self._held)}, not {list(mask)}.")
        counts = {}
        for name, held in self._held.items():
            norm = self._norms.get(name)
            counts[name] = check_collapse(name, held, mask[name], norm, self.on_collapse)
            held.check_count(counts[name])
        for name, held in self._held.items():
            held.put(mask[name])
            held.count = counts[name]
            self.densities[name] = held.count / max(held.shape.numel(), 1)
        self._holding.forget()
        self._hold(*self._all)

    def _look_again(self) -> None:
        """Before the mask moves: what is fresh for the state outside it."""
        self._holding.look_again()

    def _closing(self, name: str) -> Callable[[Tensor], object]:
        """What sets a weight's gradient to 0 where the loop is not to see it."""
        return self._held[name].close

    def _hold(self, *indices: int) -> None:
        """Close the weights, and give the optimizer's state of them what is fresh."""
        for index in indices:
            self._holding.hold(index)
