"""Data sets: what batches are taken from, be it a pair of tensors, or read as it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias, TypeGuard, cast

import torch
from torch import Tensor

from .errors import InputError
from .files import Imported
from .seeds import Draw

Batch: TypeAlias = tuple[Tensor, Tensor]

_IN_ORDER = Draw(0, 0)


class Examples:
    """A data set that is more than a pair of tensors: augmented, or too large to be one.

    A batch is made in two halves: :meth:`read` takes the chosen examples from where they lie, if
    need be in processes that work ahead; :meth:`finish` makes of them what the model is given, on
    the device where the model is. Gone through in order (``for inputs, targets in examples``) it
    is all of the data without augmentation, which is what an objective is evaluated on.

    A subclass gives ``__len__`` and ``read``, and ``plain`` where it augments. Whatever is random
    comes from the ``draw``, so that a batch is the same in every process and after a restart.

    >>> class Squares(Examples):
    ...     def __len__(self):
    ...         return 5
    ...     def read(self, chosen, draw):
    ...         return chosen.float(), chosen.float() ** 2
    >>> [targets.tolist() for _, targets in Squares()]
    [[0.0, 1.0, 4.0, 9.0, 16.0]]
    """

    size: int = 512
    """Examples in a batch, at most, when the data is gone through in order."""
    workers: int = 0
    """Processes that read ahead; none where the data lies in memory."""

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, chosen: Tensor, draw: Draw) -> Batch:
        """These examples, by their numbers: inputs and targets."""
        raise NotImplementedError

    def finish(self, batch: Batch, draw: Draw) -> Batch:
        """What was read, as the model is given it."""
        return batch

    def draw(self, chosen: Tensor, draw: Draw) -> Batch:
        """These examples as a model is trained on them: read, and finished."""
        return self.finish(self.read(chosen, draw), draw)

    @property
    def plain(self) -> Examples:
        """The same examples as they are evaluated: without augmentation."""
        return self

    def to(self, device: str | torch.device) -> Examples:
        """The same examples, whose batches lie on that device."""
        return self

    def __iter__(self) -> Iterator[Batch]:
        plain = self.plain
        # Evenly, so that no batch of one is left over, which BatchNorm could not take.
        count = -(-len(plain) // plain.size)
        read = reader(partial(_part, plain, count), plain.workers, stop=count)
        for number in range(count):
            yield plain.finish(read(number), _IN_ORDER)


class Tensors(Examples):
    """A pair of tensors, the examples along the first dimension."""

    def __init__(self, inputs: Tensor, targets: Tensor):
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def read(self, chosen: Tensor, draw: Draw) -> Batch:
        if not self.inputs.is_cpu:
            chosen = chosen.to(self.inputs.device)  # once for both
        # By indexing, which keeps the strides of the inputs, and with them a layout that is fast.
        return self.inputs[chosen], self.targets[chosen]

    def to(self, device: str | torch.device) -> Tensors:
        return Tensors(self.inputs.to(device), self.targets.to(device))


def as_examples(data: Any) -> Examples:
    """The data set itself; of a pair of tensors, the one that it is.

    Raises:
        InputError: it is neither, it is empty, or inputs and targets differ in number.
    """
    if not isinstance(data, Examples):
        pair = isinstance(data, (tuple, list)) and len(data) == 2
        if not pair or not all(isinstance(part, Tensor) for part in data):
            kind = type(data).__name__
            raise InputError(f"Data are a pair of tensors or ss.Examples, not {kind}.")
        data = Tensors(*check_data(tuple(data)))
    if len(data) == 0:
        raise InputError("The data set is empty.")
    return data


def check_data(data: Batch) -> Batch:
    """The pair of inputs and targets, if there are some and as many of each.

    Raises:
        InputError: there is none, or they differ in number.
    """
    inputs, targets = data
    if len(inputs) != len(targets):
        raise InputError(f"There are {len(inputs)} inputs but {len(targets)} targets.")
    if len(inputs) == 0:
        raise InputError("The data set is empty.")
    return inputs, targets


def is_pair(data: object) -> TypeGuard[Batch]:
    """Whether the data are one pair of tensors, and not batches of such pairs."""
    return isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], Tensor)


def in_batches(data: Batch | Iterable[Batch], size: int) -> Iterator[Batch]:
    """The data in order: a pair of tensors in batches of at most that size, others as they come.

    Raises:
        InputError: there is none, or a batch is no pair.
    """
    if not is_pair(data):
        return _quietly(cast("Iterable[Batch]", data))
    inputs, targets = data
    # Evenly, so that no batch of one is left over, which BatchNorm could not take.
    count = -(-len(inputs) // size)
    return zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True)


def _quietly(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches, with torch's random state left alone: a DataLoader draws from it even where it
    does not shuffle."""
    found, state = False, torch.get_rng_state()
    source = iter(batches)
    torch.set_rng_state(state)
    while True:
        state = torch.get_rng_state()
        batch = next(source, None)
        torch.set_rng_state(state)
        if batch is None:
            break
        inputs, targets = _pair(batch)
        if len(targets):  # of nothing there is no mean
            found = True
            yield inputs, targets
    if not found:
        raise InputError("The data set is empty.")


def _pair(batch: Any) -> Batch:
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        inputs, targets = batch
        return inputs, targets
    kind = type(batch).__name__
    many = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
    raise InputError(f"A batch is a pair of inputs and targets, as tensors, not a {kind}{many}.")


def reader(
    make: Callable[[int], Batch], workers: int, stop: int = sys.maxsize
) -> Callable[[int], Batch]:
    """``make`` itself, or what makes the same batches ahead, in so many processes.

    Args:
        make: from a number to its batch; what other processes do must be picklable.
        stop: numbers stay below it.
    """
    return _Ahead(make, workers, stop) if workers else make


class _Ahead:
    """Batches with one number after the other, made before they are asked for.

    Asked for a number that is not the next one, it begins anew there: what is made hangs on the
    number alone, so a run that resumes finds the batches that it would have had.
    """

    def __init__(self, make: Callable[[int], Batch], workers: int, stop: int):
        self._make, self._workers, self._stop = make, workers, stop
        self._next = -1
        self._made: Iterator[Batch | InputError] | None = None

    def __call__(self, number: int) -> Batch:
        follows, self._next = number == self._next, number + 1
        if not follows:  # one batch, perhaps the only one, is here before other processes begin
            self._made = None
            return self._make(number)
        if self._made is None:
            self._made = iter(self._loader(number))
        made = next(self._made)
        if isinstance(made, InputError):
            raise made
        inputs, targets = made
        return inputs, targets

    def _loader(self, first: int) -> torch.utils.data.DataLoader:
        """A DataLoader whose items are whole batches, and whose order is that of the numbers."""
        return torch.utils.data.DataLoader(
            _Made(self._make),
            batch_size=None,
            sampler=range(first, self._stop),
            num_workers=self._workers,
            # Not by a fork: a process that has threads, as one that trains has, may hang in it.
            multiprocessing_context="spawn",
            generator=torch.Generator(),  # of its own, or it would draw from torch's
            pin_memory=torch.cuda.is_available(),
        )


class _Made(torch.utils.data.Dataset):
    def __init__(self, make: Callable[[int], Batch]):
        self._files = Imported()  # first, or a class in one of them would not be found
        self._make = make

    def __getitem__(self, number: int) -> Batch | InputError:
        """The batch, or why it cannot be had: raised here, a DataLoader would add a traceback."""
        try:
            return self._make(number)
        except InputError as error:
            return error


def _part(examples: Examples, count: int, number: int) -> Batch:
    """Batch ``number`` of ``count`` even ones, in order."""
    chosen = torch.arange(len(examples)).tensor_split(count)[number]
    return examples.read(chosen, _IN_ORDER)
