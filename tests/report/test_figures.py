"""The figures: what is in them, and that odd results can be drawn."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic import ARMS, results

from sparsescape.report import panels
from sparsescape.report.difficulty import figures
from sparsescape.report.difficulty.arms import colour
from sparsescape.report.style import DARK, style

FIGURES = {"solutions": figures.solutions, "lines": figures.lines, "curves": figures.curves}


def _texts(figure: Any) -> set[str]:
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text)}


def test_solutions_name_every_arm_and_what_diverged() -> None:
    with style():
        texts = _texts(figures.solutions(results()))
    assert texts >= {*ARMS, "1 of 3 diverged", "training loss", "test accuracy, %"}


def test_solutions_without_accuracies_show_the_test_loss() -> None:
    given = results()
    for row in given["solutions"]:
        row["test_accuracy"] = None
    with style():
        assert "test loss" in _texts(figures.solutions(given))


def test_lines_have_a_panel_each() -> None:
    given = results()
    with style():
        figure = figures.lines(given)
    names = {row["name"] for row in given["lines"]}
    assert len(figure.axes) == len(names) == 7
    assert _texts(figure) >= names


def test_curves_stand_sparse_beside_dense_on_one_scale() -> None:
    with style():
        figure = figures.curves(results())
    assert len(figure.axes) == 4
    for sparse, dense in (figure.axes[:2], figure.axes[2:]):
        assert sparse.get_ylim() == dense.get_ylim()
        assert len(sparse.get_legend().get_texts()) == 3
    assert len(figure.axes[0].collections) == 2  # a band for each degree


def test_a_lost_run_is_in_no_mean() -> None:
    with style():
        figure = figures.curves(results())
    (quadratic,) = (text for text in _texts(figure.axes[0]) if text.startswith("quadratic"))
    assert quadratic.endswith("of 2")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "change", [{"lines": []}, {"curves": []}, {"lines": [], "curves": [], "table": []}]
)
def test_what_is_absent_does_not_stop_a_figure(
    name: str, change: dict[str, Any], tmp_path: Any
) -> None:
    given = {**results(seeds=1), **change}
    with style():
        FIGURES[name](given).savefig(tmp_path / "figure.svg")


def test_losses_over_a_wide_range_get_a_logarithmic_axis() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    panels.loss_axis(axes, "y", [1e-4, 2.0, None, float("inf")])
    assert axes.get_yscale() == "log"
    panels.loss_axis(axes, "x", [0.0, 2.0])
    assert axes.get_xscale() == "linear"
    panels.loss_axis(axes, "x", [])
    panels.loss_axis(axes, "x", [0.7, 0.7])


def test_every_colour_has_its_dark_side() -> None:
    for name in (*ARMS, "initialization", "another", "one more", "and a third"):
        assert colour(name) in DARK
