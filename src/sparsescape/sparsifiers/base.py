"""What every sparsifier does: hold a mask on a model while any optimizer moves its weights."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.weak import WeakTensorKeyDictionary

from ..errors import InputError
from ..masks import Mask, count_active
from ..points import named_parameters, named_weights, norms
from .bits import all_or_none, close
from .gradients import DenseGradients
from .hooks import (
    check_attachable,
    check_gradients,
    hook_gradient,
    hook_steps,
    hook_wrappers,
    skipped,
)
from .owners import Owners, same
from .shards import copied, local, put_together, share, whole, writes
from .stillness import Part, Stillness
from .withheld import Withheld

Self = TypeVar("Self", bound="Sparsifier")
Active = Mapping[str, Tensor]


_HOLDERS: Any = WeakTensorKeyDictionary()
"""Weight → the name of the sparsifier that is attached to it."""


class LayerCollapse(UserWarning):
    """A layer lost all its weights, or those of a slice that it divides by the norm of.

    The message names it.
    """


@dataclass(eq=False, kw_only=True)
class Sparsifier:
    """How the mask moves while an optimizer moves the weights.

    Two lines make a training loop sparse; the loop stays as it is::

        sparsifier = ss.GradualMagnitude(sparsity=0.9, begin=500, end=1500)
        sparsifier.attach(model, optimizer)

    From ``attach`` on, after every ``backward`` the gradients outside the mask are exactly 0 (so
    what clips gradients sees the norm inside it), and after every ``optimizer.step`` so are the
    weights; optimizer state of a weight's shape has there the value that the optimizer gives a
    fresh element, whatever the optimizer. So a weight that is grown later starts at 0 with fresh
    state. (A step counter that an optimizer keeps per tensor, as Adam's for its bias correction,
    goes on counting: a grown weight's moments start at 0 but are corrected as if they were old,
    so its first steps are shorter than a fresh parameter's by up to (1 − β₁)/√(1 − β₂).)

    A method is a subclass with one or two of these: :meth:`first_mask`, the mask at ``attach``,
    and :meth:`next_mask`, the mask after a step. What a method remembers between steps goes into
    ``self.memory`` and is part of :meth:`state_dict`.

    Args:
        dense: patterns of weights to leave out (see :func:`sparsescape.points.named_weights`).
            Parameters of fewer than two dimensions (biases, norms) are always left out. The mask
            does not name what is left out, and its sparsity is that of the rest.
        on_collapse: ``"warn"`` or ``"raise"`` when a layer loses all its weights.
    """

    dense: Iterable[str] = ()
    on_collapse: Literal["warn", "raise"] = "warn"

    def __post_init__(self) -> None:
        if isinstance(self.dense, str):
            raise InputError(f"Patterns are a list of names, not the text {self.dense!r}.")
        self.dense = tuple(self.dense)
        self.step = 0
        self.memory: dict[str, Any] = {}
        self._counts: list[int] = []
        self._handles: list[Any] = []
        self._weights: dict[str, nn.Parameter] = {}
        self._bits: dict[str, Tensor] = {}
        self._densities: dict[str, float] = {}
        self._gradients = DenseGradients(self._close_gradient)

    # ------------------------------------------------------------------ what a method says

    def first_mask(self, model: nn.Module) -> Active:
        """The mask at :meth:`attach`: everything active, unless the method says otherwise."""
        weights = named_weights(model, self.dense)
        return {n: torch.ones(w.shape, dtype=torch.bool) for n, w in weights.items()}

    def next_mask(self, step: int) -> Active | None:
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

        Several optimizers may share the model; a step is over when each has stepped.

        Raises:
            InputError: it is attached already, or another one is to these weights; a layer holds
                its nonzeros only; the mask does not fit the model; no optimizer holds a weight
                that the mask names.
        """
        if self._handles:
            raise InputError(f"This {type(self).__name__} is attached to a model already.")
        check_attachable(model, optimizers)
        self.step, self.memory = 0, {}
        first = Mask(self.first_mask(model))
        named = named_parameters(model)
        first.check({n: torch.empty(p.shape, device="meta") for n, p in named.items()})
        self._weights = {name: named[name] for name in first}
        for name, weight in self._weights.items():
            if weight in _HOLDERS:
                other = f"a {_HOLDERS[weight]} is attached to it already"
                raise InputError(f"The weight {name!r} can have one sparsifier: {other}.")
        check_gradients(model, self._weights)
        self._norms = {w: named[n].shape for w, n in norms(named).items()}
        self._owners = Owners(self._weights, optimizers)
        self._fresh = self._owners.fresh()
        self._withheld = [Withheld(optimizer) for optimizer in self._owners.optimizers]
        self.step, self._counts = 0, [0] * len(optimizers)
        self.densities.clear()
        self._still = [Stillness() for _ in optimizers]
        self._parts_of: list[tuple[list[Tensor], list[Part]] | None] = [None for _ in optimizers]
        self._seen: dict[str, tuple[Any, int]] = {}
        closed = [(t, local(t).detach().clone()) for t in self._owners.everything_held()]
        self._set_mask(first)
        self._closed = [(tensor, before, writes(tensor)) for tensor, before in closed]
        self.start()
        self._look_ahead()
        for name, weight in self._weights.items():
            _HOLDERS[weight] = type(self).__name__
            self._handles.append(hook_gradient(weight, self._gradient_hook(name)))
        self._handles += hook_steps(self, self._owners.optimizers)
        self._handles += hook_wrappers(self._hold, self._owners.optimizers, self._owners.wrappers)
        return self

    def detach(self) -> None:
        """Stop: remove every hook. The weights stay as they are."""
        for handle in self._handles:
            handle.remove()
        if self._handles:
            for weight in self._weights.values():
                _HOLDERS.pop(weight, None)
        self._handles.clear()

    @property
    def mask(self) -> Mask:
        """The current mask.

        Raises:
            InputError: it has not been attached yet.
        """
        if not self._weights:
            raise InputError("Attach the sparsifier to a model: before that it has no mask.")
        return Mask(self.active)

    @property
    def active(self) -> dict[str, Tensor]:
        """The current mask as plain bool tensors on the weights' devices."""
        return {name: self.active_in(name) for name in self._weights}

    @property
    def densities(self) -> dict[str, float]:
        """Weight name → share of active weights, now."""
        return self._densities

    @property
    def weights(self) -> dict[str, Tensor]:
        """The sparse weights of the attached model by name, detached."""
        return {name: whole(w) for name, w in self._weights.items()}

    def weight(self, name: str) -> Tensor:
        """One of :attr:`weights`."""
        return whole(self._weights[name])

    def step_gradient(self, name: str) -> Tensor:
        """The gradient inside the mask that the optimizer's last step used."""
        weight: Any = self._weights[name]
        if weight.grad is None:
            return torch.zeros(weight.shape, dtype=weight.dtype, device=weight.device)
        scale = getattr(self._owners.of(name), "grad_scale", None)
        grad = whole(weight.grad) if scale is None else whole(weight.grad) / scale
        return grad.nan_to_num()

    def gradient(self, name: str) -> Tensor:
        """The gradient over all positions of a weight, in a step that :meth:`wants_gradient`."""
        return self._gradients.of(name, self._weights[name]).nan_to_num()

    def group(self, name: str) -> dict[str, Any]:
        """The optimizer's parameter group that a weight is in, for its learning rate."""
        return self._owners.group(name)

    def state_dict(self) -> dict[str, Any]:
        """Step, mask and memory: with the model's and the optimizer's state, all of a run."""
        return {
            "step": self.step,
            "counts": list(self._counts),
            "mask": dict(self.mask.items()),
            "memory": self.remembered(),
            "fresh": copied(self._fresh),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; to be called after :meth:`attach`.

        The model and the optimizer may load theirs before or after: until the first step, what
        :meth:`attach` closed can be opened again.

        Raises:
            InputError: it is not attached, or the mask in the state does not fit.
        """
        if not self._handles:
            raise InputError("Attach the sparsifier to a model before loading its state.")
        if missing := {"step", "counts", "mask", "memory", "fresh"} - state.keys():
            raise InputError(f"This is no sparsifier's state: it has no {sorted(missing)[0]!r}.")
        mask = Mask(state["mask"])
        if mask.shapes != self.mask.shapes:
            raise InputError("The mask in the state is for other weights than the attached ones.")
        self.step = int(state["step"])
        self._counts = [int(count) for count in state["counts"]]
        self.remember(copied(state["memory"]))
        self._fresh = copied(state["fresh"])
        self._gradients.clear()
        self._open_what_attach_closed()
        self._set_mask(mask)
        self._look_ahead()

    def remembered(self) -> dict[str, Any]:
        """A copy of the memory, whole on every rank."""
        return copied(self.memory)

    def remember(self, memory: dict[str, Any]) -> None:
        """Take up what :meth:`remembered` gave."""
        self.memory = memory

    # ------------------------------------------------------------------ around a step

    def _gradient_hook(self, name: str) -> Callable[[Tensor], None]:
        owner = self._owners.index(name)

        def hook(weight: Tensor) -> None:
            grad: Any = weight.grad
            if self._asks[owner]:
                self._gradients.accumulated(name, weight)
            elif grad is not None:  # none where an optimizer steps during the pass
                self._close_gradient(name, local(grad))
                self._seen[name] = (weakref.ref(grad), grad._version)

        return hook

    @torch.no_grad()
    def _open_what_attach_closed(self) -> None:
        for tensor, before, written in self._closed:
            if writes(tensor) == written:  # nobody has loaded anything into it since
                local(tensor).copy_(before)
        self._closed.clear()

    def stepped(self, index: int) -> None:
        self._closed.clear()
        self._counts[index] += 1
        if min(self._counts) > self.step:
            self.step += 1
            self._update()
        else:
            self._hold(index)
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Ask the method what the next steps are: once, not at every weight of each."""
        following = [count + 1 for count in self._counts]
        self._asks = list(map(self.wants_gradient, following))
        self._replaces = list(map(self.replaces_step, following))

    def _update(self) -> None:
        # Before the mask moves: where it was closed an optimizer may have moved what is now grown.
        self._hold(*range(len(self._counts)))
        mask = self.next_mask(self.step)
        if mask is not None:
            self._set_mask(mask)
        self._gradients.clear()

    def open(self, index: int) -> None:
        """Just before an optimizer moves its parameters. Without gradients it moves none."""
        if self._replaces[index] and not skipped(self._owners.optimizers[index]):
            self._withheld[index].take()
        elif self._gradients_are_closed(index):
            self._still[index].begin()

    def close(self, index: int) -> None:
        """Just after it, and before a closure looks at the model: give back what was taken."""
        if self._replaces[index]:
            self._withheld[index].give_back()

    # ------------------------------------------------------------------ how the mask is held

    def _set_mask(self, mask: Active) -> None:
        for name, weight in self._weights.items():
            active = mask[name]
            count = count_active(active)
            self.densities[name] = count / max(active.numel(), 1)
            if not count:
                self._collapsed(name, "has lost all its weights.")
            elif name in self._norms and not active.sum_to_size(self._norms[name]).all():
                self._collapsed(name, "is normalized, and in a slice of it no weight is left: NaN.")
            self._bits[name] = all_or_none(share(active, weight), like=local(weight))
        self._owners.forget_mixed_state()
        for index, still in enumerate(self._still):
            still.forget()
            self._parts_of[index] = None
        self._hold(*range(len(self._counts)))

    def _collapsed(self, name: str, how: str) -> None:
        message = f"The layer {name!r} {how}"
        if self.on_collapse == "raise":
            raise InputError(message)
        warnings.warn(message, LayerCollapse, stacklevel=2)

    def _close_gradient(self, name: str, grad: Tensor) -> None:
        close(grad, self._bits[name])

    def _gradients_are_closed(self, index: int) -> bool:
        """Close again those that the loop has written into (it clipped, or undid a loss scale)."""
        if self._asks[index]:
            return False  # what was put aside is compared with what is there now
        for name in self._owners.names(index):
            grad: Any = self._weights[name].grad
            seen, writes = self._seen.get(name, (None, 0))
            if grad is not None and (seen is None or seen() is not grad or grad._version != writes):
                self._close_gradient(name, local(grad))
        return True

    def _hold(self, *indices: int) -> None:
        """Close the weights, and give the optimizer's state of them what is fresh."""
        for index in indices:
            self._still[index].end(self._parts(index))

    def _parts(self, index: int) -> list[Part]:
        """The weights of an optimizer, and their state; listed anew when another state is there."""
        state = self._owners.state_tensors(index)
        known = self._parts_of[index]
        if known is None or not same(state, known[0]):
            known = self._parts_of[index] = state, self._listed(index)
        return known[1]

    def _listed(self, index: int) -> list[Part]:
        parts: list[Part] = []
        for name in self._owners.names(index):
            bits, fresh = self._bits[name], self._fresh[name]
            parts.append((self._weights[name], bits, 0.0))
            parts += [(v, bits, fresh.get(k, 0.0)) for k, v in self._owners.state(name).items()]
        return parts

    def active_in(self, name: str) -> Tensor:
        """The current mask of one weight."""
        return put_together(self._bits[name], self._weights[name]).bool()
