"""What a search has come to so far, as data: one that is interrupted goes on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from ..curves.bezier import Bezier, Line
from ..curves.chain import PolygonalChain
from ..curves.curve import Curve
from ..profiles.profile import Profile
from .fit import Search
from .looks import Seen

State = dict[str, Any]

KINDS = {"Line": Line, "Bezier": Bezier, "PolygonalChain": PolygonalChain}
"""The curves that can be told from their control points."""


def curve_state(curve: Curve, like: Curve) -> State | None:
    """Its kind and its control points, to be told to :func:`to_curve` with the same other curve.

    None of what that would not be to the bit, which is searched for again: a kind of somebody's
    own, or a method's curve that is held in another subspace.
    """
    kind = type(curve).__name__
    if KINDS.get(kind) is not type(curve) or not _laid_alike(curve, like):
        return None
    return {"kind": kind, "control": curve.control.detach()}


def to_curve(state: State, like: Curve) -> Curve:
    """That curve, between the ends of another one and in its subspace."""
    control = state["control"]
    shape: dict[str, Any] = {"subspace": like.subspace, "names": like.names}
    match state["kind"]:
        case "Bezier":
            shape["degree"] = len(control) + 1
        case "PolygonalChain":
            shape["bends"] = len(control)
    curve = KINDS[state["kind"]](like.start, like.end, **shape)
    with torch.no_grad():
        curve.control.copy_(control)
    return curve


def _laid_alike(curve: Curve, like: Curve) -> bool:
    """Whether both are between the same ends, and held in the same subspace."""
    if list(curve.names) != list(like.names) or not torch.equal(curve.openings, like.openings):
        return False
    ends = (curve.start, like.start), (curve.end, like.end)
    return all(
        mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)
        for mine, theirs in ends
    )


def seen_state(seen: Seen, search: Search, like: Curve) -> State | None:
    """A path, what was seen of it, and what it cost."""
    curve = curve_state(seen.curve, like)
    if curve is None:
        return None
    looks = {name: (look := getattr(seen, name)) and profile_state(look) for name in _LOOKS}
    return {"curve": curve, "climb": seen.climb, **looks, "search": asdict(search)}


def to_seen(state: State, like: Curve) -> tuple[Seen, Search]:
    looks = {name: (look := state[name]) and to_profile(look) for name in _LOOKS}
    seen = Seen(to_curve(state["curve"], like), state["climb"], **looks)
    return seen, Search(**_tuples(state["search"]))


_LOOKS = ("profile", "few")  # of Seen; either may be missing


def profile_state(profile: Profile) -> State:
    return asdict(profile)


def to_profile(state: State) -> Profile:
    return Profile(**_tuples(state))


def _tuples(fields: Mapping[str, Any]) -> State:
    """A checkpoint has lists where these have tuples."""
    return {n: tuple(value) if isinstance(value, list) else value for n, value in fields.items()}
