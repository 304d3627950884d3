"""Where a sparsifier meets the user's loop: the optimizer's own hooks around a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, compiler, nn
from torch.optim import Optimizer

from ..errors import InputError
from ..points import named_parameters
from .shards import local, total


class Around(Protocol):
    """What is called around the steps of optimizer number ``index``."""

    def open(self, index: int) -> None:
        """Just before the optimizer moves its parameters, its gradients being there."""

    def close(self, index: int) -> None:
        """After it has, and before a closure looks at the model."""

    def stepped(self, index: int) -> None:
        """After a step that was not skipped."""


def hook_steps(around: Around, optimizers: list[Optimizer]) -> list[Any]:
    """Call ``around`` at every step of the optimizers; returns the hooks' handles."""
    handles: list[Any] = []
    for index, optimizer in enumerate(optimizers):
        steps = _Steps()
        before, after = _before(around, index, steps), _after(around, index, steps)
        handles.append(optimizer.register_step_pre_hook(_untraced(before)))
        handles.append(optimizer.register_step_post_hook(_untraced(after)))
    return handles


class _Steps:
    """Steps of one optimizer that are under way.

    Torch may run the hooks twice in one step: where a subclass's ``step`` calls that of its base.
    """

    def __init__(self) -> None:
        self._depth = 0
        self.moves_nothing = False

    def begins(self, optimizer: Optimizer) -> bool:
        """Whether this is a step, and not a part of one."""
        if self._depth and _under_way(optimizer) < 2:
            self._depth = 0  # an exception has ended the one before
        self._depth += 1
        return self._depth == 1

    def ends(self) -> bool:
        self._depth = max(0, self._depth - 1)
        return not self._depth


def _under_way(optimizer: Optimizer) -> int:
    """How many calls of the optimizer's ``step`` are on the stack, as torch wraps them."""
    count, frame = 0, inspect.currentframe()
    while frame is not None:
        wraps = frame.f_code.co_filename == _WRAPPER.co_filename
        if wraps and frame.f_code.co_name == "wrapper" and frame.f_locals.get("self") is optimizer:
            count += 1
        frame = frame.f_back
    return count


_WRAPPER = Optimizer.profile_hook_step.__code__


def _untraced(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook, left out of a compiled step, which must not recompile as a step count moves.

    Asked for each weight and step, in a step that is not compiled, ``disable`` itself is slow.
    """
    outside = torch.compiler.disable(hook)

    def call(*args: Any) -> Any:
        return outside(*args) if compiler.is_dynamo_compiling() else hook(*args)

    return call


def hook_wrappers(
    wrapped: Callable[[int], None], optimizers: list[Optimizer], wrappers: list[list[Any]]
) -> list[Any]:
    """Call ``wrapped`` after a step of what is around an optimizer."""
    handles: list[Any] = []
    for index, optimizer in enumerate(optimizers):
        for wrapper in wrappers[index]:
            hooks = vars(wrapper).get("_optimizer_step_post_hooks")
            if hooks is None or hooks is optimizer._optimizer_step_post_hooks:
                continue
            after = torch.compiler.disable(lambda *_, index=index: wrapped(index))
            handles.append(wrapper.register_step_post_hook(after))
    return handles


def check_attachable(model: Any, optimizers: Iterable[Any]) -> None:
    """Refuse what is no model or no optimizer."""
    if not isinstance(model, nn.Module):
        raise InputError(f"A sparsifier is attached to a model, not to a {type(model).__name__}.")
    for optimizer in optimizers:
        if not hasattr(optimizer, "param_groups"):
            kind = type(optimizer).__name__
            raise InputError(f"A sparsifier is attached to an optimizer, not to a {kind}.")
    for name, parameter in named_parameters(model).items():
        if parameter.is_meta:
            raise InputError(f"{name!r} has no numbers yet (it is on the meta device).")


def check_gradients(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights whose gradients are sparse tensors: a mask cannot be anded into those.

    Raises:
        InputError: an embedding of ``weights`` has ``sparse=True``.
    """
    names = {id(weight): name for name, weight in weights.items()}
    for module in model.modules():
        if not isinstance(module, (nn.Embedding, nn.EmbeddingBag)) or not module.sparse:
            continue
        if id(module.weight) in names:
            raise InputError(
                f"The gradient of {names[id(module.weight)]!r} is a sparse tensor; make the "
                "embedding with sparse=False, or name it dense."
            )


def hook_gradient(weight: Tensor, hook: Callable[[Tensor], None]) -> Any:
    """Call the hook whenever a backward pass has added to the weight's gradient.

    A weight that is frozen now may be trained later; torch asks that it is not, at this moment.
    """
    frozen = not weight.requires_grad
    handle = weight.requires_grad_().register_post_accumulate_grad_hook(_untraced(hook))
    weight.requires_grad_(not frozen)
    return handle


class _Watched:
    """Layers that ask, in every forward pass, whether somebody wants their gradient."""

    def __init__(self, layers: Iterable[Any]) -> None:
        self._layers = list(layers)

    def remove(self) -> None:
        for layer in self._layers:
            layer.watch = None


def hook_layers(layers: Iterable[Any], watch: Callable[[], Any]) -> Any:
    """Let truly sparse layers ask ``watch``; returns the hook's handle."""
    watched = _Watched(layers)
    for layer in layers:
        layer.watch = torch.compiler.disable(watch)
    return watched


def skipped(optimizer: Optimizer) -> bool:
    """Whether a fused optimizer was told by a GradScaler to leave this step out."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def makes_its_state(optimizer: Optimizer) -> bool:
    """Whether this is no step of the loop: ``torch.distributed.checkpoint`` takes one at learning
    rates of 0 with gradients of 0, so that the state is there which it is about to load."""
    if optimizer.state or any(group.get("lr", 1) != 0 for group in optimizer.param_groups):
        return False
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    return all(p.grad is not None and not _counted(p.grad) for p in trained)


def _counted(grad: Tensor) -> Tensor:
    """How many numbers are not 0, on all ranks: one may have an empty part."""
    return total(local(grad).count_nonzero(), like=grad)


def _before(around: Around, index: int, steps: _Steps) -> Callable[..., Any]:
    def hook(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not steps.begins(optimizer):
            return None
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        # The gradients of a step with a closure are yet to come.
        steps.moves_nothing = closure is None and makes_its_state(optimizer)
        if steps.moves_nothing:
            return None
        if closure is None:
            around.open(index)
            return None
        rest = {key: value for key, value in kwargs.items() if key != "closure"}
        return (optimizer, _seeing_the_loops_model(closure, around, index), *args[2:]), rest

    return hook


def _seeing_the_loops_model(closure: Callable[[], Any], around: Around, index: int) -> Any:
    """The closure: it sees the model as the loop does, the optimizer sees it opened."""

    def evaluate() -> Any:
        around.close(index)
        loss = closure()
        around.open(index)
        return loss

    return evaluate


def _after(around: Around, index: int, steps: _Steps) -> Callable[..., None]:
    def hook(optimizer: Optimizer, *_: Any) -> None:
        if not steps.ends() or steps.moves_nothing:
            return
        around.close(index)
        if not skipped(optimizer):
            around.stepped(index)

    return hook
