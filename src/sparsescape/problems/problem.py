"""What is to be learned: a model, data, a loss and the recipe to train with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch, Examples, Tensors, as_examples
from ..errors import InputError, first_line, told
from ..evaluation import taking
from ..objective import Loss, Objective
from ..points import named_weights
from ..seeds import Draw, global_seed
from .recipe import Recipe

_TRIED, _COMPARED = 8, 64
"""Examples that a problem is tried on, and that two of them are compared by."""


@dataclass(frozen=True)
class Problem:
    """A model, its data, its loss and its recipe.

    Args:
        model: a function without arguments that makes a freshly initialized ``nn.Module``; it
            may draw from torch's global generator, which is seeded around the call.
        train, test: pairs (inputs, targets) of tensors, the examples along the first dimension;
            or :class:`~sparsescape.data.Examples`, where they are augmented or do not fit into
            memory.
        loss: ``loss(outputs, targets)``, the mean over a batch.
        recipe: how it is trained.
        dense: patterns of weights that are never made sparse.
        device: where its models and data are, if they were moved (:meth:`to`).
        scaled: the model with every hidden width multiplied by a factor, for the small dense
            baseline; None where there is none.

    >>> x, y = torch.randn(20, 4), torch.arange(20) % 3
    >>> problem = Problem(model=lambda: nn.Linear(4, 3), train=(x, y), test=(x, y))
    >>> problem.check()
    >>> torch.equal(problem.make_model(7).weight, problem.make_model(7).weight)
    True
    """

    model: Callable[[], nn.Module]
    train: Batch | Examples
    test: Batch | Examples
    loss: Loss = F.cross_entropy
    recipe: Recipe = field(default_factory=Recipe)
    dense: tuple[str, ...] = ()
    scaled: Callable[[float], nn.Module] | None = None
    device: str | torch.device | None = None

    def __post_init__(self) -> None:
        smoothing = self.recipe.label_smoothing
        if not smoothing:
            return
        if not _is_cross_entropy(self.loss):
            raise InputError("The recipe's label_smoothing is cross entropy's: leave it at 0.")
        given: Any = self.loss  # which may weigh the classes
        object.__setattr__(self, "loss", partial(given, label_smoothing=smoothing))

    def to(self, device: str | torch.device) -> Problem:
        """The same problem, its models and its data on that device."""
        model, scaled = self.model, self.scaled
        return replace(
            self,
            model=lambda: model().to(device),
            train=as_examples(self.train).to(device),
            test=as_examples(self.test).to(device),
            scaled=scaled and (lambda width: scaled(width).to(device)),
            device=device,
        )

    def make_model(self, seed: int, purpose: str = "initialization") -> nn.Module:
        """A fresh model: the same for the same seed and purpose."""
        with global_seed(seed, purpose):
            return self.model()

    def small_dense(self, weights: int, seed: int) -> nn.Module:
        """The widest of the scaled models with at most so many weights: the dense baseline of a
        sparse network (at its narrowest, every layer has one unit).

        Raises:
            InputError: the problem has no scaled models.
        """
        if self.scaled is None:
            raise InputError("The problem does not say how its model is scaled: give `scaled`.")
        low, high = 0.0, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            fits = sum(w.numel() for w in named_weights(self.scaled(middle)).values()) <= weights
            low, high = (middle, high) if fits else (low, middle)
        with global_seed(seed, "small dense"):
            return self.scaled(low)

    def objective(
        self, model: nn.Module, split: str = "train", *, execution: str = "auto"
    ) -> Objective:
        """The mean loss over the whole training or test set, without augmentation; BatchNorm's
        statistics are those of the training set."""
        data = self.train if split == "train" else self.test
        return Objective(model, data, self.loss, statistics=self.train, execution=execution)

    def count(self, split: str) -> int:
        """Examples in the training or test set."""
        return len(as_examples(self.train if split == "train" else self.test))

    def check(self) -> None:
        """Try everything once, on a few examples.

        Raises:
            InputError: one sentence on what cannot be trained: no data, inputs and targets that
                differ in number or hold NaN, a loss that rejects the targets, broadcasts
                them or is the same whatever the model puts out, a model that returns NaN, has
                nothing to make sparse or is not made afresh, test data unlike the training data.
        """
        _checked("training", self.train)
        _checked("test", self.test)
        if isinstance(self.model, nn.Module):
            raise InputError("The problem's model is a function that makes one: lambda: Net().")
        try:
            model = self.make_model(0)
        except Exception as error:  # whatever a user's function raises is for the user to read
            message = f"{type(error).__name__}: {first_line(error)}"
            raise InputError(f"The problem's model function fails: {message}") from error
        if not isinstance(model, nn.Module):
            raise InputError(f"The problem's model function made a {type(model).__name__}.")
        self._check_fresh(model)
        named_weights(model, self.dense)
        self._check_outputs(model.eval(), *self._tried("train"))
        try:
            self._check_outputs(model, *self._tried("test"))
        except InputError as error:
            raise InputError(
                f"What fits the training data does not fit the test data: {error}"
            ) from error

    def check_again(self, again: Problem) -> None:
        """Compare with what the same function made another time, on the first examples.

        Raises:
            InputError: the data differ, or the fresh models do: other processes would not learn
                the same.
        """
        for split in ("train", "test"):
            first, second = (of._first(split, _COMPARED) for of in (self, again))
            if not all(map(torch.equal, first, second)):
                raise InputError(
                    f"The problem's function makes other {split} data each time: seed what it "
                    "draws."
                )
        weights, others = (of.make_model(0).state_dict() for of in (self, again))
        if not all(torch.equal(w, others[name]) for name, w in weights.items()):
            raise InputError(
                "The problem's model function makes another model each time: let it draw from "
                "torch's global generator alone, which is seeded."
            )

    def _first(self, split: str, count: int) -> Batch:
        """So many examples of the training or test set, or as many as there are."""
        examples = as_examples(self.train if split == "train" else self.test)
        return _drawn(split, examples, torch.arange(min(count, len(examples))))

    def _tried(self, split: str) -> Batch:
        """The first examples, and of a pair of tensors those with the smallest and the largest
        target as well: a class that the loss does not know is not always among the first."""
        examples = as_examples(self.train if split == "train" else self.test)
        chosen = list(range(min(_TRIED, len(examples))))
        if isinstance(examples, Tensors):
            targets = examples.targets.reshape(len(examples), -1)
            if targets.numel():
                ends = int(targets.amin(1).argmin()), int(targets.amax(1).argmax())
                chosen += [end for end in ends if end not in chosen]
        return _drawn(split, examples, torch.tensor(chosen))

    def _check_fresh(self, model: nn.Module) -> None:
        """A model that is not made anew would go into every run as the last one left it."""
        before = {id(parameter) for parameter in model.parameters()}
        if any(id(parameter) in before for parameter in self.make_model(0).parameters()):
            raise InputError(
                "The problem's model function returns the same model, or parameters, again: make "
                "them inside it, or every run goes on from the last one."
            )

    @torch.enable_grad()
    def _check_outputs(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        with told("The model cannot take the inputs"):
            outputs = model(inputs)
        if not isinstance(outputs, Tensor):
            raise InputError(f"The model returns a {type(outputs).__name__}, not a tensor.")
        if not outputs.isfinite().all():
            raise InputError("The model returns NaN or infinite numbers where it starts.")
        try:
            with (
                taking(targets),
                warnings.catch_warnings(),
            ):  # torch's mse_loss and the like stretch them, and warn
                warnings.filterwarnings("error", message="Using a target size")
                loss = self.loss(outputs, targets)
        except UserWarning as error:
            raise InputError(
                f"The loss broadcasts outputs of shape {tuple(outputs.shape)} and targets of "
                f"shape {tuple(targets.shape)}: give both the same shape."
            ) from error
        if loss.ndim or not loss.isfinite():
            raise InputError("The loss must be one finite number, the mean over a batch.")
        if _is_cross_entropy(self.loss) and outputs.ndim > 1 and outputs.shape[1] == 1:
            raise InputError(
                "Cross entropy over one output is the same whatever the model puts out: give the "
                "model an output for each class, or the problem another loss."
            )
        if not loss.requires_grad:
            raise InputError(
                "The loss has no gradient with respect to the model's parameters, in evaluation: "
                "it is made of decisions (argmax), or detached, or all parameters are frozen."
            )


def units(width: float, *full: int) -> list[int]:
    """Numbers of units multiplied by a factor, at least 1 each.

    >>> units(0.1, 300, 100, 4)
    [30, 10, 1]
    """
    return [max(1, round(width * count)) for count in full]


def _is_cross_entropy(loss: Loss) -> bool:
    return getattr(loss, "func", loss) is F.cross_entropy


def _checked(split: str, data: Batch | Examples) -> None:
    try:
        examples = as_examples(data)
    except InputError as error:
        raise InputError(f"The {split} data cannot be used: {error}") from None
    if isinstance(examples, Tensors):
        _check_numbers(f"{split} inputs", examples.inputs)
        _check_numbers(f"{split} targets", examples.targets)


def _drawn(split: str, examples: Examples, chosen: Tensor) -> Batch:
    """These examples without augmentation, which are to be a pair of tensors."""
    batch: Any = examples.plain.draw(chosen, Draw(0, 0))
    parts = batch if isinstance(batch, (tuple, list)) else (batch,)
    kinds = [type(part).__name__ for part in parts if not isinstance(part, Tensor)]
    if kinds or len(parts) != 2:
        held = f"hold a {kinds[0]}" if kinds else f"are {len(parts)} tensors"
        raise InputError(
            f"The {split} data's batches {held}: inputs and targets are one tensor each; a model "
            "of several inputs takes them stacked, and takes them apart itself."
        )
    return batch[0], batch[1]


def _check_numbers(what: str, values: Tensor) -> None:
    """One example that is NaN makes every loss NaN, and training seems to have diverged."""
    missing = values.isnan()
    if missing.any():
        first = int(missing.reshape(len(values), -1).any(1).nonzero()[0])
        raise InputError(f"The {what} hold NaN: example {first} is the first that does.")
