"""The page of a study: one file that holds all it needs, and the figures beside it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from . import svg, tables
from .catalogue import study
from .scenes import embed
from .style import style
from .tables import Results


def write(results: Results, directory: str | Path) -> Path:
    """Write ``report.html``, and each figure as ``figures/NAME.png`` and ``figures/NAME.pdf``.

    The same results make the same bytes.

    Args:
        results: what stands in ``results.json``.
        directory: the study's folder; made where it is not there.

    Returns:
        The page.
    """
    study(results)  # says so before anything is made, where there is no such study
    directory = Path(directory)
    directory.joinpath("figures").mkdir(parents=True, exist_ok=True)
    page = directory / "report.html"
    page.write_text(render(results, draw(results, directory / "figures")), encoding="utf-8")
    return page


def draw(results: Results, directory: Path) -> dict[str, str]:
    """Write every figure as PNG and PDF; name → the SVG element for the page."""
    drawn = {}
    with style():
        for name, drawing in study(results).figures.items():
            figure = drawing.draw(results)
            # No date and no version, so that the same figure is the same bytes.
            figure.savefig(directory / f"{name}.png", dpi=110, metadata={"Software": None})
            pdf = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(directory / f"{name}.pdf", metadata=pdf)
            text = io.StringIO()
            nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
            figure.savefig(text, format="svg", metadata=nothing)
            drawn[name] = svg.inline(text.getvalue(), name, drawing.description)
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
    this = study(results)
    reading = this.read(results)
    return environment.get_template(this.template).render(
        results=results,
        title=this.title,
        reading=reading,
        tables=reading.tables,
        settings=tables.settings(results),
        figures={name: Markup(figure) for name, figure in figures.items()},
        scenes={name: Markup(scene) for name, scene in embed(this.scenes(results)).items()},
        hues={name: Markup(hue[1:]) for name, hue in reading.hues.items()},
        light=Markup(light),
        dark=Markup(dark),
    )
