"""What every sparsifier does: hold a mask on a model while any optimizer moves its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..masks import Mask
from ..points import named_parameters, named_weights

Self = TypeVar("Self", bound="Sparsifier")


class Sparsifier:
    """How the mask moves while an optimizer moves the weights.

    Two lines make a training loop sparse; the loop stays as it is::

        sparsifier = ss.GradualMagnitude(sparsity=0.9, begin=500, end=1500)
        sparsifier.attach(model, optimizer)

    From ``attach`` on, after every ``backward`` the gradients outside the mask are exactly 0 (so
    what clips gradients sees the norm inside it), and after every ``optimizer.step`` so are the
    weights and every optimizer state tensor of a weight's shape, whatever the optimizer.

    A method is a subclass with one or two of these: :meth:`first_mask`, the mask at ``attach``,
    and :meth:`next_mask`, the mask after a step.

    Args:
        dense: patterns of weights to leave out (see :func:`sparsescape.points.named_weights`).
            Parameters of fewer than two dimensions (biases, norms) are always left out.
    """

    def __init__(self, *, dense: Iterable[str] = ()):
        self.dense = tuple(dense)
        self.step = 0
        self._handles: list[Any] = []
        self._weights: dict[str, nn.Parameter] = {}
        self._closed: dict[str, Tensor] = {}
        self.densities: dict[str, float] = {}
        """Weight name → share of active weights, now."""

    # ------------------------------------------------------------------ what a method says

    def first_mask(self, model: nn.Module) -> Mask:
        """The mask at :meth:`attach`: everything active, unless the method says otherwise."""
        weights = named_weights(model, self.dense)
        return Mask({n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()})

    def next_mask(self, step: int) -> Mask | None:
        """The mask after ``step`` optimizer steps (from 1), or None to keep it as it is."""
        return None

    # ------------------------------------------------------------------ what a loop says

    def attach(self: Self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Self:
        """Start: put the mask on the weights and on what the optimizer knows of them.

        Raises:
            InputError: it is attached already, the mask does not fit the model, or the optimizer
                does not hold a weight that the mask names.
        """
        if self._handles:
            raise InputError(f"This {type(self).__name__} is attached to a model already.")
        mask = self.first_mask(model)
        mask.check(model)
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        parameters = named_parameters(model)
        for name in mask:
            if id(parameters[name]) not in held:
                raise InputError(f"The optimizer does not hold the weight {name!r}.")
        self.optimizer = optimizer
        self.step = 0
        self._closed = {}
        self._weights = {name: parameters[name] for name in mask}
        self._set_mask(mask)
        for name, weight in self._weights.items():
            hook = self._gradient_hook(name)
            self._handles.append(weight.register_post_accumulate_grad_hook(hook))
        self._handles.append(optimizer.register_step_post_hook(self._after_step))
        return self

    def detach(self) -> None:
        """Stop: remove every hook. The weights stay as they are."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @property
    def mask(self) -> Mask:
        """The current mask."""
        return Mask({name: ~closed for name, closed in self._closed.items()})

    @property
    def weights(self) -> dict[str, Tensor]:
        """The sparse weights of the attached model by name, detached."""
        return {name: w.detach() for name, w in self._weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """The step and the mask: with the model's and the optimizer's state, all of a run."""
        return {"step": self.step, "mask": dict(self.mask.items())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; to be called after :meth:`attach`.

        Raises:
            InputError: it is not attached, or the mask in the state does not fit.
        """
        if not self._handles:
            raise InputError("Attach the sparsifier to a model before loading its state.")
        mask = Mask(state["mask"])
        if mask.shapes != self.mask.shapes:
            raise InputError("The mask in the state is for other weights than the attached ones.")
        self.step = int(state["step"])
        self._set_mask(mask)

    # ------------------------------------------------------------------ how it is held

    def _set_mask(self, mask: Mask) -> None:
        self.densities = mask.densities
        for name, weight in self._weights.items():
            self._closed[name] = ~mask[name].to(weight.device)
        self._hold()

    def _gradient_hook(self, name: str) -> Any:
        def hook(weight: Tensor) -> None:
            if weight.grad is not None:
                weight.grad.masked_fill_(self._closed[name], 0)

        return hook

    def _after_step(self, *_: object) -> None:
        self.step += 1
        mask = self.next_mask(self.step)
        if mask is None:
            self._hold()
        else:
            self._set_mask(mask)

    @torch.no_grad()
    def _hold(self) -> None:
        """Close weights, and the optimizer's state of their shape, outside the mask."""
        for name, weight in self._weights.items():
            closed = self._closed[name]
            weight.masked_fill_(closed, 0)
            for value in self.optimizer.state.get(weight, {}).values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.masked_fill_(closed, 0)
