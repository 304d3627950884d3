"""The problems that can be named, without importing what they need."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown
from .entries import CATALOGUE, Entry
from .recipe import Recipe, scaled
from .recipes import HUGGING_FACE

if TYPE_CHECKING:
    from .problem import Problem

__all__ = ["CATALOGUE", "Entry", "describe", "load"]

_HUB = "hf:"


def describe(problem: str) -> dict[str, Any]:
    """All that decides what a problem is, for the key of a result.

    Args:
        problem: a name in the catalogue, ``"my_file.py:make_problem"``, or ``"hf:MODEL:DATASET"``.

    Raises:
        InputError: there is no such problem, or no such file.

    >>> describe("digits-conv")["recipe"]["steps"]
    2000
    """
    import hashlib

    if problem.startswith(_HUB):
        return {"name": problem, "recipe": _as_json(HUGGING_FACE)}
    if _is_file(problem):
        path, function = _split(problem)
        source = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"file": path.name, "function": function, "source": source}
    if problem not in CATALOGUE:
        raise unknown("problem", problem, CATALOGUE)
    return {"name": problem, "recipe": _as_json(CATALOGUE[problem].recipe)}


def absolute(problem: str) -> str:
    """The problem as it is named from any folder: the path of its file, if it has one, whole.

    >>> absolute("digits-conv")
    'digits-conv'
    """
    if problem.startswith(_HUB) or not _is_file(problem):
        return problem
    path, function = _split(problem)
    return f"{path.absolute()}:{function}"


def _as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe's numbers as they are read back from a file."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def load(
    problem: str,
    *,
    data_root: str | None = None,
    steps: int | None = None,
    device: str = "auto",
) -> Problem:
    """The problem itself.

    Args:
        problem: a name in the catalogue, ``"my_file.py:make_problem"``, or ``"hf:MODEL:DATASET"``
            (:mod:`sparsescape.problems.huggingface`).
        data_root: folder of the data, where the problem needs files.
        steps: training steps instead of the recipe's; warm-up, decays and pruning are scaled.
        device: where its models and its data lie, as torch names it. ``"auto"``: on a GPU, if
            there is one, where the problem is large enough to gain by it; a file's own problem
            stays where the file puts it.

    Raises:
        InputError: there is no such problem or device, its data is missing, or the file's
            function does not make a :class:`Problem`.
    """
    gpu = False
    if problem.startswith(_HUB):
        from .huggingface import hub_problem

        made, gpu = hub_problem(problem.removeprefix(_HUB), HUGGING_FACE), True
    elif _is_file(problem):
        made = _from_file(problem)
    elif problem in CATALOGUE:
        entry = CATALOGUE[problem]
        made, gpu = _resolve(entry.build)(entry.recipe, data_root), entry.gpu
    else:
        raise unknown("problem", problem, CATALOGUE)
    if steps is not None:
        made = replace(made, recipe=scaled(made.recipe, steps))
    place = _device(device, gpu)
    return made if place is None else made.to(place)


def _device(asked: str, gpu: bool) -> str | None:
    """The device to go to, if any: ``gpu`` is whether the problem gains by one."""
    import torch

    if asked == "auto":
        return "cuda" if gpu and torch.cuda.is_available() else None
    try:
        torch.empty(0, device=asked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"The device {asked!r} cannot be used: {reason}") from None
    return asked


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
    """What the file's function makes, from generators that are seeded: whoever draws without a seed
    gets the same in every process, for a study's stages are done in many."""
    from ..seeds import every_global_seed

    path, function = _split(problem)
    with every_global_seed(0, "problem"):
        return _made(path, function)


def _made(path: Path, function: str) -> Problem:
    from .problem import Problem

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
