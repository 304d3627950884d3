"""Prints the table of arguments in docs/methods.md, from the classes: python docs/methods.py"""

from __future__ import annotations

import inspect
import re

import sparsescape as ss
from sparsescape.sparsifiers.catalogue import METHODS, Plan, make_method

PLAN = Plan(sparsity=0.5, distribution="uniform", steps=100, begin=20, end=60, every=5, data=(0, 0))


def table() -> str:
    rows = ["| class | argument | default | meaning |", "|---|---|---|---|"]
    shown: list[type[ss.Sparsifier]] = []
    for kind in classes():
        rows += rows_of(kind, next((base for base in kind.__mro__ if base in shown), None))
        shown.append(kind)
    return "\n".join(rows)


def classes() -> list[type[ss.Sparsifier]]:
    """Those of the catalogue in its order, each after the one it is a variant of."""
    named = [name for name, method in METHODS.items() if not method.in_rounds]
    made = [make_method(name, PLAN) for name in named]
    kinds = [type(sparsifier) for sparsifier in made if sparsifier is not None]
    first = [ss.Sparsifier, ss.DropGrow]
    depth = {kind: sum(base in kinds for base in kind.__mro__) for kind in kinds}
    return list(dict.fromkeys([*first, *sorted(kinds, key=lambda kind: depth[kind] > 1)]))


def rows_of(kind: type[ss.Sparsifier], base: type[ss.Sparsifier] | None) -> list[str]:
    """A row for each argument that the class it is a variant of has not, or has otherwise."""
    mine, theirs = arguments(kind), {} if base is None else arguments(base)
    rows = [cells for name, cells in mine.items() if theirs.get(name) != cells]
    first = f"`{kind.__name__}`"
    if base is not None:
        gone = ", ".join(f"`{name}`" for name in theirs if name not in mine)
        first += f", as `{base.__name__}`" + (f" without {gone}" if gone else "")
    rows = rows or [("", "", "the same")]
    places = [first, *[""] * (len(rows) - 1)]
    return [f"| {' | '.join((place, *row))} |" for place, row in zip(places, rows, strict=True)]


def arguments(kind: type[ss.Sparsifier]) -> dict[str, tuple[str, str, str]]:
    """Argument → its name, default and meaning, as cells."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: (f"`{p.name}`", default(p), meaning(kind, p.name)) for p in parameters}


def default(parameter: inspect.Parameter) -> str:
    value = parameter.default
    if value is inspect.Parameter.empty:
        return "to be given"
    word = getattr(value, "__name__", None) or repr(value)
    return f"`{word}`".replace("'", '"')


def meaning(kind: type, name: str) -> str:
    """What the docstring of the class says of an argument, or of the nearest base that does."""
    for one in kind.__mro__:
        said = entries(inspect.cleandoc(one.__doc__ or "")).get(name, "")
        if said and not said.startswith(("as in ", "as for ")):
            return as_markdown(said)
    raise LookupError(f"{kind.__name__} does not say what {name} is.")


def entries(docstring: str) -> dict[str, str]:
    """Argument → what stands under ``Args:``, as one line."""
    _, _, section = docstring.partition("Args:\n")
    section = re.split(r"\n(?=\S)|\n\n", section)[0]
    found = {}
    for entry in re.split(r"\n?^    (?=\S)", section, flags=re.MULTILINE):
        names, _, text = entry.partition(": ")
        found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


def as_markdown(text: str) -> str:
    text = re.sub(r":(?:class|func|mod|meth):`~?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`").replace("|", r"\|")


if __name__ == "__main__":
    print(table())
