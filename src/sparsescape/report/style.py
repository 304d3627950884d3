"""One look for all figures: the colours of the arms, type and lines."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

INK = "#1f2328"
MUTED = "#6e7681"
FAINT = "#d8dce1"
PAPER = "#ffffff"

ARMS = {
    "dense": "#3f4650",
    "pruned": "#088a6a",
    "lottery": "#1f6fc4",
    "scratch": "#c84a00",
    "scratch-fan-in": "#b65a9c",
}
"""One colour per arm, everywhere. Told apart in every common form of colour blindness
(CIELAB distance at least 16 between any two), and 3:1 or more against white."""

_OTHERS = ("#8c6d1f", "#5b4bb5", "#0f8a9d", "#9a3b3b")

DARK = {
    INK: "#e6e9ed",
    MUTED: "#9aa4af",
    FAINT: "#30363d",
    PAPER: "#14171c",
    "#3f4650": "#dde2e8",
    "#088a6a": "#2cc295",
    "#1f6fc4": "#5aa9f0",
    "#c84a00": "#ff8a4c",
    "#b65a9c": "#e08fc4",
    "#8c6d1f": "#d9b75a",
    "#5b4bb5": "#a497f0",
    "#0f8a9d": "#4cc3d6",
    "#9a3b3b": "#e58383",
}
"""What each colour becomes on a dark page."""


def colour(name: str) -> str:
    """The colour of an arm; the initialization, which is no arm, is ink.

    >>> colour("pruned"), colour("initialization")
    ('#088a6a', '#1f2328')
    """
    if name == "initialization":
        return INK
    return ARMS.get(name) or _OTHERS[sum(name.encode()) % len(_OTHERS)]


def style() -> AbstractContextManager[None]:
    """Matplotlib's settings while a figure is made and while it is written.

    Nothing in them depends on the machine: the font is matplotlib's own, and the names inside
    vector files are salted with a constant.
    """
    from matplotlib import rc_context

    settings: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 7,
        "text.parse_math": False,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": MUTED,
        "axes.labelsize": 7,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 7.5,
        "axes.axisbelow": True,
        "axes.grid.axis": "y",
        "grid.color": FAINT,
        "grid.linewidth": 0.5,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 2.5,
        "ytick.major.size": 0,
        "xtick.major.width": 0.6,
        "lines.linewidth": 1.3,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 6.5,
        "legend.handlelength": 2.2,
        "legend.borderpad": 0,
        "legend.borderaxespad": 0,
        "legend.labelspacing": 0.25,
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
        "savefig.facecolor": PAPER,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "sparsescape",
        "path.simplify": True,
    }
    return rc_context(settings)
