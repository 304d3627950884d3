"""Images of a data set of Hugging Face, taken from its stream: nothing is downloaded beforehand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..data import Batch
from ..errors import InputError
from ..seeds import Draw, global_seed
from .streamed import Streamed

Labelled: TypeAlias = tuple[dict[str, Any], int]
"""An image as it is stored, and its class."""
BUFFER = 1000
"""A stream is shuffled by drawing from so many images, and by the order of its files."""


class Place(NamedTuple):
    """Where in a stream."""

    first: int
    epoch: int = 0
    seed: int | None = None
    """Of the shuffling, which is another in every epoch; None is in order."""


class Stream:
    """One split of a data set, from any place on.

    Whoever goes on where the last call ended goes on in the stream; otherwise it is begun again,
    and what comes before is passed over.

    Args:
        path: as ``datasets.load_dataset`` takes it: of the hub, or a folder.
        split: its name.
    """

    def __init__(self, path: str, split: str):
        self.path, self.split = path, split
        self._at: Place | None = None
        self._left: Iterator[Labelled] = iter(())

    def __reduce__(self) -> tuple[Any, ...]:
        return Stream, (self.path, self.split)  # in another process it is begun again

    def begun(self, place: Place) -> Iterator[Labelled]:
        """From a place on to the end of the pass."""
        import datasets

        stream: Any = _asked(datasets.load_dataset, self.path, split=self.split, streaming=True)
        image, label = columns(stream.features, self.path)
        stream = stream.cast_column(image, datasets.Image(decode=False))
        if place.seed is not None:
            stream = stream.shuffle(seed=place.seed, buffer_size=BUFFER)
        stream = stream.skip(place.first)
        stream.set_epoch(place.epoch)  # last: a stream that is made of another one begins at 0
        return ((example[image], example[label]) for example in stream)

    def take(self, place: Place, count: int) -> list[Labelled]:
        """So many examples from a place on."""
        if self._at != place:
            self._left = self.begun(place)
        self._at = None  # until all of them are there
        taken = list(islice(self._left, count))
        self._at = place._replace(first=place.first + len(taken))
        return taken


@dataclass(frozen=True, eq=False)
class FromStream(Streamed):
    """Images of a stream. ``dataset`` and ``evaluated`` are what is done with an image.

    A batch in order is read from where it is. Any other is what the shuffled stream has at its
    step: its numbers say how many. So a batch is the same for the same step, here as well.
    """

    stream: Stream = field(kw_only=True)
    count: int = field(kw_only=True)

    def __len__(self) -> int:
        return self.count

    def read(self, chosen: Tensor, draw: Draw) -> Batch:
        examples = self.stream.take(self._place(chosen, draw), len(chosen))
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            images = list(threads.map(decoded, (image for image, _ in examples)))
        with global_seed(draw.seed, "transforms", draw.step):
            pixels = torch.stack([self.dataset(image) for image in images])
        return pixels, torch.tensor([label for _, label in examples])

    def _place(self, chosen: Tensor, draw: Draw) -> Place:
        first, many = int(chosen[0]), len(chosen)
        if torch.equal(chosen.cpu(), torch.arange(first, first + many)):
            return Place(first)
        epoch, index = divmod(draw.step, max(1, len(self) // many))
        return Place(index * many, epoch, draw.seed)

    def to(self, device: str | torch.device) -> FromStream:
        """One process reads ahead on a GPU: several would each take all of the stream."""
        return replace(self, device=device, workers=int(torch.device(device).type == "cuda"))


def streams(
    path: str, trained: Callable[[Any], Tensor], evaluated: Callable[[Any], Tensor], **settings: Any
) -> tuple[FromStream, FromStream, int]:
    """The training set, the validation set and the number of classes.

    Args:
        path: as ``datasets.load_dataset`` takes it.
        trained, evaluated: what is done with an image in training and in evaluation.
        settings: mean, deviation and mixup, as of :class:`Streamed`.

    Raises:
        InputError: datasets is missing, or the data set cannot be had or holds no labelled images.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            "A data set of Hugging Face needs datasets: pip install 'sparsescape[huggingface]'."
        ) from None
    splits = _asked(datasets.get_dataset_split_names, path)
    test = next((split for split in ("validation", "val", "test") if split in splits), None)
    if "train" not in splits or test is None:
        raise InputError(
            f"The data set {path!r} has no split train, or neither validation nor test."
        )
    told = _asked(datasets.load_dataset_builder, path).info.splits or {}
    features = _asked(datasets.load_dataset, path, split="train", streaming=True).features
    classes = features[columns(features, path)[1]].num_classes

    def of(split: str, transform: Callable[[Any], Tensor], mixup: float = 0.0) -> FromStream:
        stream = Stream(path, split)
        known = told[split].num_examples if split in told else 0
        count = known or sum(1 for _ in stream.begun(Place(0)))  # a folder does not say how many
        shared = {"stream": stream, "count": count, "classes": classes}
        given = {**settings, **shared, "mixup": mixup}
        return FromStream(transform, evaluated, **given)

    mixup = settings.pop("mixup", 0.0)
    return of("train", trained, mixup), of(test, evaluated), classes


def columns(features: Any, path: str) -> tuple[str, str]:
    """The names of the columns of images and of classes.

    Raises:
        InputError: one is not there.
    """
    import datasets

    kinds = (datasets.Image, datasets.ClassLabel)
    names = [[n for n, f in (features or {}).items() if isinstance(f, kind)] for kind in kinds]
    if not all(names):
        raise InputError(f"The data set {path!r} has no column of images, or none of classes.")
    return names[0][0], names[1][0]


def decoded(image: dict[str, Any]) -> Any:
    """The image itself, in colors."""
    import datasets

    return datasets.Image().decode_example(image).convert("RGB")


def _asked(ask: Callable[..., Any], path: str, **settings: Any) -> Any:
    try:
        return ask(path, **settings)
    except Exception as error:  # whatever the hub or a file says is for the user to read
        message = str(error).strip().split("\n")[0]
        raise InputError(f"The data set {path!r} cannot be loaded: {message}") from error
