"""One look for all figures: the colours there are, type and lines."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

INK = "#1f2328"
MUTED = "#6e7681"
FAINT = "#d8dce1"
PAPER = "#ffffff"

GRAPHITE = "#3f4650"
GREEN = "#088a6a"
BLUE = "#1f6fc4"
ORANGE = "#c84a00"
PINK = "#b65a9c"
OCHRE = "#8c6d1f"
VIOLET = "#5b4bb5"
TEAL = "#0f8a9d"
RED = "#9a3b3b"

_OTHERS = (OCHRE, VIOLET, TEAL, RED)

DARK = {
    INK: "#e6e9ed",
    MUTED: "#9aa4af",
    FAINT: "#30363d",
    PAPER: "#14171c",
    GRAPHITE: "#dde2e8",
    GREEN: "#2cc295",
    BLUE: "#5aa9f0",
    ORANGE: "#ff8a4c",
    PINK: "#e08fc4",
    OCHRE: "#d9b75a",
    VIOLET: "#a497f0",
    TEAL: "#4cc3d6",
    RED: "#e58383",
}
"""What each colour becomes on a dark page."""


def other(name: str) -> str:
    """A colour for a name that nothing has given one: always the same for the same name."""
    return _OTHERS[sum(name.encode()) % len(_OTHERS)]


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
