"""Surfaces that one can turn: a part of the page that is drawn by plotly, where that is there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .numbers import finite
from .style import INK, MUTED

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Mark = tuple[str, float, float, float]
"""A name, x, y, and the loss there."""

_MISSING = (
    '<p class="note">Surfaces that can be turned need plotly: '
    "<code>pip install 'sparsescape[surfaces]'</code>, then <code>sparsescape report</code>.</p>"
)


@dataclass(frozen=True)
class Scene:
    """A surface over a plane, and the points that are marked on it."""

    x: Sequence[float]
    y: Sequence[float]
    height: Sequence[Sequence[float | None]]
    """Row j, column i belongs to y[j], x[i]; shown on a logarithmic scale."""
    label: str
    marks: Sequence[Mark] = ()


def embed(scenes: Mapping[str, Scene]) -> dict[str, str]:
    """Name → HTML of each scene; the first brings plotly's own code along, for all of them.

    Where plotly is not installed, a sentence says so in place of each.
    """
    try:
        import plotly
    except ModuleNotFoundError:
        return dict.fromkeys(scenes, _MISSING)
    parts = {}
    for number, (name, scene) in enumerate(scenes.items()):
        parts[name] = plotly.io.to_html(
            drawn(scene),
            full_html=False,
            include_plotlyjs=number == 0,
            div_id=f"scene-{number}",  # not a random one: the same results make the same bytes
            default_height="30em",
            config={"displaylogo": False, "responsive": True},
        )
    return parts


def drawn(scene: Scene) -> Figure:
    """The scene as a plotly figure."""
    from plotly import graph_objects as go

    floor = min((v for row in scene.height for v in row if finite(v) and v > 0), default=1.0)
    heights = [[_log(value, floor) for value in row] for row in scene.height]
    surface = go.Surface(
        x=list(scene.x),
        y=list(scene.y),
        z=heights,
        colorscale="Viridis",
        colorbar={
            "title": {"text": f"log₁₀ {scene.label}", "side": "right"},
            "thickness": 12,
            "len": 0.85,
            "y": 0.45,
        },
        contours={"z": {"show": True, "color": MUTED, "width": 1}},
        hovertemplate="x %{x:.3g}, y %{y:.3g}<br>log₁₀ %{z:.3g}<extra></extra>",
    )
    top = max((height for row in heights for height in row if height is not None), default=0.0)
    pins = [_pin(go, name, x, y, _log(z, floor), top) for name, x, y, z in scene.marks]
    axes = {"xaxis": {"title": "x"}, "yaxis": {"title": "y"}}
    figure = go.Figure([surface, *pins])
    figure.update_layout(
        scene={
            **axes,
            "zaxis": {"title": f"log₁₀ {scene.label}"},
            "camera": {
                "eye": {"x": 1.5, "y": 1.5, "z": 1.2},
                "center": {"x": 0, "y": 0, "z": -0.15},
            },
        },
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
    )
    return figure


def _pin(go: Any, name: str, x: float, y: float, foot: float | None, top: float) -> Any:
    """Marks a point of the surface by a pin that stands out at the top, or the surface hides it."""
    return go.Scatter3d(
        x=[x, x],
        y=[y, y],
        z=[foot, top],
        mode="lines+markers+text",
        text=["", name],
        textposition="top center",
        marker={"size": [5, 3], "color": INK},
        line={"color": INK, "width": 2},
        hoverinfo="text",
    )


def _log(value: float | None, floor: float) -> float | None:
    """The logarithm; at the lowest positive height where there is none, None where no number."""
    return math.log10(max(value, floor)) if finite(value) else None
