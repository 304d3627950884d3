"""Which data the runs in a store were computed from.

Where data lies is in no stage's key: the same data may lie elsewhere on another machine. So the
stage that tries a problem, which every run begins with, notes where its data was, and a digest of
it; a command that is given another place is refused where other data lies there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ...problems import catalogue
from ...problems.roots import absolute_root
from ..graph import Stage, with_inputs
from ..store import Store, read_json, write_json
from .context import Context

if TYPE_CHECKING:
    # This imports torch, which a command whose runs are all finished does without.
    from ...problems.problem import Problem

_FILE = "data.json"


def note_origin(problem: Problem, context: Context, folder: Path) -> None:
    """Write down where a problem's data lies, if it is told where, and its digest."""
    if (place := _place(context)) is not None:
        write_json(folder / _FILE, {"place": place, "digest": _digest(problem)})


def check_origin(stages: Iterable[Stage], store: Store, context: Context) -> None:
    """Compare the data of what is done already with that which a command is given.

    The data is looked at only where it lies at another place.

    Raises:
        InputError: it is other data.
    """
    here = _place(context)
    for stage in with_inputs(stages):
        if here is None or stage.kind != "check" or not store.has(stage.key):
            continue
        file = store.path(stage.key) / _FILE
        noted = read_json(file) if file.is_file() else {"place": here}
        if noted["place"] == here:
            continue
        found = catalogue.load(context.problem, data_root=context.data_root, device="cpu")
        if _digest(found) != noted["digest"]:
            raise InputError(
                f"The store {store.address!r} has runs that were trained on the data in "
                f"{noted['place']!r}, and {here!r} holds other data: give another --store."
            )


def _place(context: Context) -> str | None:
    """Where the data lies, of a problem that is told where; the whole name of one of folders."""
    if context.problem in catalogue.CATALOGUE:
        return absolute_root(context.data_root)
    named = catalogue.absolute(context.problem)
    return named if named.startswith("hf:") else None


def _digest(problem: Problem) -> str:
    from ...problems.digest import digest

    return digest(problem)
