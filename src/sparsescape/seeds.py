"""Random numbers that depend on what they are for, and on nothing else.

Every random choice comes from a generator seeded by (seed, purpose, step, name) through a stable
hash, so it is the same in every process, after a restart, and on every rank of a distributed run.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .errors import InputError


def derived_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose.

    >>> derived_seed(0, "batches", 3) == derived_seed(0, "batches", 3)
    True
    """
    text = "\x1f".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def check_seed(seed: object) -> int:
    """The seed as a plain whole number, of whatever library it is one.

    >>> check_seed(1.5)
    Traceback (most recent call last):
    sparsescape.errors.InputError: A seed is a whole number, not 1.5.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise InputError(f"A seed is a whole number, not {seed!r:.60}.")
    return int(seed)


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


def noise_at(places: Tensor, seed: int) -> Tensor:
    """Numbers in [0, 1) that depend on the place and the seed, and on nothing else.

    For a few of many places, without the numbers of the others (SplitMix64: Steele et al. 2014,
    *Fast splittable pseudorandom number generators*, of which each place is a step).

    >>> some = noise_at(torch.tensor([3, 10**12]), 0)
    >>> torch.equal(noise_at(torch.tensor([10**12]), 0), some[1:])
    True
    """
    golden, first, second = (
        np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
    )
    z = np.uint64(seed) + (places.cpu().numpy().astype(np.uint64) + np.uint64(1)) * golden
    z = (z ^ (z >> np.uint64(30))) * first
    z = (z ^ (z >> np.uint64(27))) * second
    z ^= z >> np.uint64(31)
    return torch.from_numpy((z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24))


class Draw(NamedTuple):
    """What the random choices of one step of a run come from: a seed and the step.

    >>> torch.rand(1, generator=Draw(0, 7).generator("flip")) == torch.rand(
    ...     1, generator=Draw(0, 7).generator("flip")
    ... )
    tensor([True])
    """

    seed: int
    step: int

    def generator(self, purpose: str) -> torch.Generator:
        """A CPU generator for one purpose at this step."""
        return generator(self.seed, purpose, self.step)


@contextmanager
def global_seed(seed: int, *purpose: object) -> Iterator[None]:
    """Seed torch's own generator inside the block; put it back as it was afterwards."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derived_seed(seed, *purpose))
        yield


@contextmanager
def every_global_seed(seed: int, *purpose: object) -> Iterator[None]:
    """As :func:`global_seed`, and the generators of numpy and of Python's ``random`` too."""
    of_python = random.getstate()
    of_numpy = np.random.get_state()  # noqa: NPY002 (the one that people draw from)
    derived = derived_seed(seed, *purpose)
    try:
        np.random.seed(derived % 2**32)  # noqa: NPY002
        random.seed(derived)
        with global_seed(seed, *purpose):
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
