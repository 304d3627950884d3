"""The problems that can be named, without importing what they need."""

from __future__ import annotations

import dataclasses
import importlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown
from ..files import FileFunction, is_file
from .entries import CATALOGUE, Entry
from .recipe import Recipe, scaled
from .recipes import HUGGING_FACE
from .roots import absolute_if_folder

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
    if problem.startswith(_HUB):
        return {"name": problem, "recipe": _as_json(HUGGING_FACE)}
    if is_file(problem):
        own = _own(problem)
        return {"file": own.path.name, "function": own.name, "source": own.source}
    if problem not in CATALOGUE:
        raise unknown("problem", problem, CATALOGUE)
    return {"name": problem, "recipe": _as_json(CATALOGUE[problem].recipe)}


def absolute(problem: str) -> str:
    """The problem as it is named from any folder: the paths of its file, or of a model and a data
    set that are folders, whole.

    >>> absolute("digits-conv"), absolute("hf:google-bert/bert-base-uncased:nyu-mll/glue:sst2")
    ('digits-conv', 'hf:google-bert/bert-base-uncased:nyu-mll/glue:sst2')
    """
    if problem.startswith(_HUB):
        model, *dataset = problem.removeprefix(_HUB).split(":")
        first = map(absolute_if_folder, [model, *dataset[:1]])
        return _HUB + ":".join([*first, *dataset[1:]])  # a configuration is no folder
    return _own(problem).absolute if is_file(problem) else problem


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
    elif is_file(problem):
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


def check_device(asked: str) -> None:
    """Refuse what is the name of no device. Whether it is there is seen where it is needed, which
    may be another machine.

    Raises:
        InputError: torch knows no such name.

    >>> check_device("cuda:7")
    """
    if asked == "auto":
        return
    import torch

    try:
        torch.device(asked)
    except RuntimeError as error:
        raise _unusable(asked, error) from None


def _device(asked: str, gpu: bool) -> str | None:
    """The device to go to, if any: ``gpu`` is whether the problem gains by one."""
    import torch

    if asked == "auto":
        return "cuda" if gpu and torch.cuda.is_available() else None
    try:
        torch.empty(0, device=asked)
    except (RuntimeError, AssertionError) as error:
        raise _unusable(asked, error) from None
    return asked


def _unusable(device: str, error: Exception) -> InputError:
    reason = str(error).strip().split("\n")[0]
    return InputError(f"The device {device!r} cannot be used: {reason}")


def _own(problem: str) -> FileFunction:
    return FileFunction.named(problem, "my_file.py:make_problem")


def _from_file(problem: str) -> Problem:
    """What the file's function makes, from generators that are seeded: whoever draws without a seed
    gets the same in every process, for a study's stages are done in many."""
    from ..seeds import every_global_seed
    from .problem import Problem

    with every_global_seed(0, "problem"):
        return _own(problem).make(Problem)


def _resolve(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)
