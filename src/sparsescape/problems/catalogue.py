"""The problems that can be named, without importing what they need."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown
from .recipe import Recipe

if TYPE_CHECKING:
    from .problem import Problem


@dataclass(frozen=True)
class Entry:
    """One problem of the catalogue."""

    summary: str
    recipe: Recipe
    build: str
    """``"module:function"`` of a function from (recipe, data root) to a Problem."""


_DIGITS = Recipe(
    steps=2000,
    batch_size=50,
    lr=0.1,
    weight_decay=1e-3,
    prune_begin=500,
    prune_end=1300,
    prune_every=50,
)

CATALOGUE: dict[str, Entry] = {
    "digits-conv": Entry(
        "8×8 digits (scikit-learn); two 3×3 convolutions of 16 and 32 filters, 64 hidden",
        _DIGITS,
        "sparsescape.problems.digits:conv",
    ),
    "digits-mlp": Entry(
        "8×8 digits (scikit-learn); perceptron 64-300-100-10",
        _DIGITS,
        "sparsescape.problems.digits:mlp",
    ),
    "mnist-lenet300": Entry(
        "MNIST; perceptron 784-300-100-10 (LeCun et al. 1998)",
        Recipe(steps=12_000, batch_size=100, lr=0.1, weight_decay=1e-4, prune_every=100),
        "sparsescape.problems.mnist:lenet300",
    ),
    "mnist-lenet5": Entry(
        "MNIST; LeNet-5 with 6, 16, 120, 84 units, as in Evci et al. 2020, Gradient Flow",
        Recipe(
            steps=11_719,
            batch_size=128,
            lr=0.05,
            weight_decay=5e-4,
            prune_begin=3000,
            prune_end=7000,
            prune_every=100,
        ),
        "sparsescape.problems.mnist:lenet5",
    ),
}


def describe(problem: str) -> dict[str, Any]:
    """All that decides what a problem is, for the key of a result.

    Args:
        problem: a name in the catalogue, or ``"my_file.py:make_problem"``.

    Raises:
        InputError: there is no such problem, or no such file.

    >>> describe("digits-conv")["recipe"]["steps"]
    2000
    """
    import dataclasses
    import hashlib

    if _is_file(problem):
        path, function = _split(problem)
        source = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"file": path.name, "function": function, "source": source}
    if problem not in CATALOGUE:
        raise unknown("problem", problem, CATALOGUE)
    return {"name": problem, "recipe": dataclasses.asdict(CATALOGUE[problem].recipe)}


def absolute(problem: str) -> str:
    """The problem as it is named from any folder: the path of its file, if it has one, whole.

    >>> absolute("digits-conv")
    'digits-conv'
    """
    if not _is_file(problem):
        return problem
    path, function = _split(problem)
    return f"{path.absolute()}:{function}"


def load(problem: str, *, data_root: str | None = None, steps: int | None = None) -> Problem:
    """The problem itself.

    Args:
        problem: a name in the catalogue, or ``"my_file.py:make_problem"``.
        data_root: folder of the data, where the problem needs files.
        steps: training steps instead of the recipe's; what the recipe says of pruning is scaled.

    Raises:
        InputError: there is no such problem, its data is missing, or the file's function does
            not make a :class:`Problem`.
    """
    if _is_file(problem):
        made = _from_file(problem)
    elif problem in CATALOGUE:
        entry = CATALOGUE[problem]
        made = _resolve(entry.build)(entry.recipe, data_root)
    else:
        raise unknown("problem", problem, CATALOGUE)
    return made if steps is None else replace(made, recipe=scaled(made.recipe, steps))


def scaled(recipe: Recipe, steps: int) -> Recipe:
    """The recipe over another number of steps, pruning at the same shares of it.

    >>> scaled(Recipe(steps=2000), 400).prune_end
    300
    """
    factor = steps / recipe.steps
    return replace(
        recipe,
        steps=steps,
        warmup=round(recipe.warmup * factor),
        prune_begin=round(recipe.prune_begin * factor),
        prune_end=round(recipe.prune_end * factor),
        prune_every=max(1, round(recipe.prune_every * factor)),
    )


def _is_file(problem: str) -> bool:
    return ":" in problem or problem.endswith(".py")


def _split(problem: str) -> tuple[Path, str]:
    file, _, function = problem.rpartition(":")
    if not file or not function:
        raise InputError(f"{problem!r} does not name a function: write my_file.py:make_problem.")
    path = Path(file)
    if not path.is_file():
        raise InputError(f"There is no file {file!r}.")
    return path, function


def _from_file(problem: str) -> Problem:
    from .problem import Problem

    path, function = _split(problem)
    spec = importlib.util.spec_from_file_location(f"sparsescape_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is for the user to read
        raise InputError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    make = getattr(module, function, None)
    if not callable(make):
        raise InputError(f"{path} has no function named {function!r}.")
    try:
        made = make()
    except Exception as error:  # likewise
        raise InputError(f"{function} in {path} fails: {type(error).__name__}: {error}") from error
    if not isinstance(made, Problem):
        raise InputError(f"{function} in {path} made a {type(made).__name__}, not an ss.Problem.")
    return made


def _resolve(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)
