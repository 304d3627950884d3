"""Problems by name, and from a user's own file."""

import json

import pytest
import torch

import sparsescape as ss
from sparsescape.problems.catalogue import describe, load
from sparsescape.problems.recipe import scaled

FILE = """
import torch
import sparsescape as ss

def make():
    data = torch.eye(6), torch.arange(6) % 3
    return ss.Problem(lambda: torch.nn.Linear(6, 3), data, data, recipe=ss.Recipe(steps={steps}))

def something_else():
    return 7

number = 3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FILE.format(steps=40))
    return path


def test_a_problem_of_ones_own_is_loaded_from_its_file(own):
    problem = load(f"{own}:make")
    problem.check()
    assert problem.recipe.steps == 40
    assert load(f"{own}:make", steps=20).recipe == ss.Recipe(steps=20)


AHEAD = """
import torch, sparsescape as ss

class Squares(ss.Examples):
    workers, size = 1, 5

    def __len__(self):
        return 12

    def read(self, chosen, draw):
        return chosen.float()[:, None], chosen.float()[:, None] ** 2

def make():
    data, loss = Squares(), torch.nn.functional.mse_loss
    return ss.Problem(lambda: torch.nn.Linear(1, 1), data, data, loss, recipe=ss.Recipe(steps=4))
"""


def test_another_process_reads_ahead_with_a_class_from_the_file(tmp_path):
    path = tmp_path / "ahead.v2.py"
    path.write_text(AHEAD)
    other = tmp_path / "other.py"
    other.write_text(AHEAD)
    load(f"{other}:make")
    other.unlink()  # which is of no matter to what does not come from it
    first, again = (load(f"{path}:make").train for _ in range(2))  # imported anew each time
    for data in (first, again):
        inputs, targets = zip(*data, strict=True)
        assert torch.equal(torch.cat(inputs) ** 2, torch.cat(targets))
        assert len(torch.cat(targets)) == 12


def test_a_problem_of_ones_own_is_described_by_its_source_and_not_its_place(own, tmp_path):
    described = describe(f"{own}:make")
    moved = tmp_path / "elsewhere" / "own.py"
    moved.parent.mkdir()
    moved.write_bytes(own.read_bytes())
    assert describe(f"{moved}:make") == described
    moved.write_text(FILE.format(steps=41))
    assert describe(f"{moved}:make") != described
    assert describe(f"{own}:other") != described
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        (":missing", "has no function named 'missing'"),
        (":number", "has no function named 'number'"),
        (":something_else", "something_else in .* made a int, not an ss.Problem"),
        (":", "write my_file.py:make_problem"),
        ("", "write my_file.py:make_problem"),
        (".txt:make", "There is no file"),
    ],
)
def test_a_file_that_makes_no_problem_is_refused(own, suffix, message):
    with pytest.raises(ss.InputError, match=message):
        load(f"{own}{suffix}")


@pytest.mark.parametrize("source", ["1 +", "import no_such_module", "raise RuntimeError('no')"])
def test_a_file_that_cannot_be_imported_is_refused(tmp_path, source):
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(ss.InputError, match=r"broken\.py cannot be imported: "):
        load(f"{tmp_path / 'broken.py'}:make")


UNSEEDED = """
import random
import numpy, torch
import sparsescape as ss

shift = random.random()

def make():
    x = torch.randn(90, 4) + numpy.random.rand() + shift
    data = x, (x[:, 0] > 0).long()
    return ss.Problem(lambda: torch.nn.Linear(4, 2), data, data)
"""


def test_what_a_file_draws_without_a_seed_is_the_same_each_time(tmp_path):
    (tmp_path / "unseeded.py").write_text(UNSEEDED)
    before = torch.get_rng_state()
    first, again = (load(f"{tmp_path / 'unseeded.py'}:make") for _ in range(2))
    assert torch.equal(first.train[0], again.train[0])
    assert torch.equal(torch.get_rng_state(), before)
    first.check_again(again)


def test_an_unknown_name_is_refused_with_the_nearest():
    for use in (load, describe):
        with pytest.raises(ss.InputError, match=r"named 'digit-conv'; did you mean 'digits-conv'"):
            use("digit-conv")


def test_a_file_that_is_not_there_is_refused_in_its_description():
    with pytest.raises(ss.InputError, match=r"There is no file 'nowhere\.py'"):
        describe("nowhere.py:make")


def test_another_number_of_steps_prunes_at_the_same_shares():
    recipe = ss.Recipe(steps=1000, warmup=50, prune_begin=200, prune_end=700, prune_every=20)
    assert scaled(recipe, 500) == ss.Recipe(
        steps=500, warmup=25, prune_begin=100, prune_end=350, prune_every=10
    )
    assert scaled(recipe, 1000) == recipe
    assert scaled(recipe, 3).prune_every == 1


def test_a_number_of_steps_that_cannot_be_is_refused():
    with pytest.raises(ss.InputError, match="steps is at least 1, not 0"):
        load("digits-mlp", steps=0)


def test_the_digits_are_split_once_and_for_all_and_are_sixteenths():
    problem = load("digits-conv")
    (inputs, targets), (test_inputs, test_targets) = problem.train, problem.test
    assert (inputs.shape, test_inputs.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    pixels = torch.cat([inputs, test_inputs]) * 16
    assert torch.equal(pixels, pixels.round())
    assert (pixels.min(), pixels.max()) == (0, 16)
    counts = torch.bincount(torch.cat([targets, test_targets]), minlength=10)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (torch.bincount(test_targets) >= 25).all()


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ss.InputError, match="The device 'nowhere' cannot be used") as caught:
        load("digits-mlp", device="nowhere")
    assert "\n" not in str(caught.value)
    assert load("digits-mlp", device="cpu").device == "cpu"
    assert load("digits-mlp").device is None
