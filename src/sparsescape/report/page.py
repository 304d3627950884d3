"""The page of a study: one file that holds all it needs, and the figures beside it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from . import svg, tables
from .figures import FIGURES
from .style import colour, style
from .tables import Results

_DESCRIPTIONS = {
    "solutions": "Training loss and test accuracy of every arm, a dot per seed.",
    "lines": "Loss along the straight lines between the points.",
    "curves": "Training loss along the paths searched for, in the sparse and the dense space.",
}


def write(results: Results, directory: str | Path) -> Path:
    """Write ``report.html``, and each figure as ``figures/NAME.png`` and ``figures/NAME.pdf``.

    The same results make the same bytes.

    Args:
        results: what stands in ``results.json``.
        directory: the study's folder; made where it is not there.

    Returns:
        The page.
    """
    directory = Path(directory)
    directory.joinpath("figures").mkdir(parents=True, exist_ok=True)
    page = directory / "report.html"
    page.write_text(render(results, draw(results, directory / "figures")), encoding="utf-8")
    return page


def draw(results: Results, directory: Path) -> dict[str, str]:
    """Write every figure as PNG and PDF; name → the SVG element for the page."""
    drawn = {}
    with style():
        for name, make in FIGURES.items():
            figure = make(results)
            # No date and no version, so that the same figure is the same bytes.
            figure.savefig(directory / f"{name}.png", dpi=110, metadata={"Software": None})
            pdf = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(directory / f"{name}.pdf", metadata=pdf)
            text = io.StringIO()
            nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
            figure.savefig(text, format="svg", metadata=nothing)
            drawn[name] = svg.inline(text.getvalue(), name, _DESCRIPTIONS[name])
    return drawn


def render(results: Results, figures: Mapping[str, str]) -> str:
    """The page as text, around the SVG elements of the figures."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    light, dark = svg.variables()
    return environment.get_template("page.html.j2").render(
        results=results,
        tables=tables,
        figures={name: Markup(figure) for name, figure in figures.items()},
        hues={arm: Markup(colour(arm)[1:]) for arm in results["arms"]},
        light=Markup(light),
        dark=Markup(dark),
    )
