"""Stages: what is computed, named by everything that decides the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..problems import catalogue

SCHEMA = 11
"""Goes into every key. Raise it whenever the same settings would give another result."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One computation of a study.

    Args:
        kind: which computation, a name in :data:`sparsescape.studies.stages.kinds.KINDS`.
        settings: everything else that decides the result; JSON values only.
        inputs: role → the stage whose results are read.
        label: for people; no part of the key.
    """

    kind: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    label: str = ""

    @cached_property
    def key(self) -> str:
        """Kind and hash of *all* settings, of the keys of the inputs and of :data:`SCHEMA`.

        >>> Stage("train", {"seed": 0}).key == Stage("train", {"seed": 0}, label="again").key
        True
        >>> Stage("train", {"seed": 0}).key == Stage("train", {"seed": 1}).key
        False
        """
        text = json.dumps(self.description, sort_keys=True, ensure_ascii=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the key is the hash of; it is kept beside the results."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "settings": dict(self.settings),
            "inputs": {role: stage.key for role, stage in self.inputs.items()},
        }


def common_settings(problem: str, steps: int | None, execution: str) -> dict[str, Any]:
    """The settings that all stages of a study have."""
    return {"problem": catalogue.describe(problem), "steps": steps, **run_as(execution)}


def run_as(execution: str) -> dict[str, Any]:
    """How stages are run, as one of their settings; none where a rule says it: then it is the rule
    that decides, and studies share their stages.

    >>> run_as("sparse"), run_as("auto")
    ({'execution': 'sparse'}, {})
    """
    return {} if execution == "auto" else {"execution": execution}


def with_inputs(stages: Iterable[Stage]) -> list[Stage]:
    """The stages and all they need, each once, inputs before what reads them.

    >>> first = Stage("a", {})
    >>> [stage.kind for stage in with_inputs([Stage("b", {}, {"of": first}), first])]
    ['a', 'b']
    """
    ordered: dict[str, Stage] = {}
    for stage in stages:
        _add_depth_first(stage, ordered)
    return list(ordered.values())


def _add_depth_first(stage: Stage, ordered: dict[str, Stage]) -> None:
    """Each stage is visited once: in a chain of rounds there are 2ⁿ ways down to the first."""
    if stage.key in ordered:
        return
    for needed in stage.inputs.values():
        _add_depth_first(needed, ordered)
    ordered[stage.key] = stage
