"""Random numbers depend on what they are for, and on nothing else."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import tensor_bits
from sparsescape.seeds import derived_seed, every_global_seed, generator, global_seed


def test_a_seed_is_the_same_number_in_every_version_and_on_every_machine():
    """b2sum -l 64 of these bytes, halved; a change would change all results."""
    assert derived_seed(0, "batches", 3) == 4767495346033377176


def test_a_seed_is_the_same_in_another_process_with_another_hash_salt():
    code = "from sparsescape.seeds import derived_seed; print(derived_seed(5, 'score', '0.w'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(found.stdout) == derived_seed(5, "score", "0.w")


@given(st.integers(0, 2**40), st.text(max_size=5), st.integers(0, 2**40))
def test_a_seed_is_what_manual_seed_takes(seed, purpose, step):
    assert 0 <= derived_seed(seed, purpose, step) < 2**63


def test_every_part_of_the_purpose_counts():
    parts = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", "b"), (0, "ab")]
    assert len({derived_seed(*p) for p in parts}) == len(parts)


def test_the_seed_is_no_part_of_the_purpose():
    assert derived_seed(1, 23) != derived_seed(12, 3)


def test_generators_of_one_purpose_agree_and_of_two_differ():
    first, again, other = (
        torch.rand(8, generator=generator(0, purpose)) for purpose in ("a", "a", "b")
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_seeded_inside_the_block_and_put_back_after_it():
    before = tensor_bits(torch.get_rng_state())
    with global_seed(0, "model"):
        first = torch.rand(3)
    assert tensor_bits(torch.get_rng_state()) == before
    torch.rand(1)
    with global_seed(0, "model"):
        assert torch.equal(torch.rand(3), first)


def test_the_global_generator_is_put_back_after_an_error():
    before = tensor_bits(torch.get_rng_state())
    with pytest.raises(ZeroDivisionError), global_seed(0):
        _ = torch.rand(1).item() / 0
    assert tensor_bits(torch.get_rng_state()) == before


def test_every_global_generator_is_seeded_inside_the_block_and_put_back_after_it():
    def drawn():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    def states():
        of_numpy = np.random.get_state()[1].tobytes()  # noqa: NPY002
        return tensor_bits(torch.get_rng_state()), of_numpy, random.getstate()

    before = states()
    with every_global_seed(0, "problem"):
        first = drawn()
    assert states() == before
    drawn()
    with every_global_seed(0, "problem"):
        assert drawn() == first
