"""The maps of a landscape study, from results made up here."""

import math
import re
import sys
from itertools import pairwise

import pytest

from sparsescape.report import maps, page, scenes
from sparsescape.report.catalogue import study
from sparsescape.report.landscape import figures, tables

AXIS = [-1.0, 0.0, 1.0, 2.0]


def plane(name, kind, *marks, way=False, explained=None, **about):
    loss = [[0.1 + x * x + 3 * y * y for x in AXIS] for y in AXIS]
    place = {"x": 0.0, "y": 1.0, "distance": 0.25, "train_loss": 0.5}
    return {
        "name": name,
        "kind": kind,
        **about,
        "x": AXIS,
        "y": AXIS,
        "train_loss": loss,
        "train_accuracy": [[1 / (1 + value) for value in row] for row in loss],
        "marks": [{"name": mark, **place} for mark in marks],
        "way": [place, {**place, "x": 1.0, "distance": 1.5}] if way else [],
        "explained": explained,
        "diverged": False,
        "run": f"stage-of-{name}".replace(" ", "-"),
    }


def lost(of):
    empty = {key: [] for key in ("x", "y", "train_loss", "train_accuracy", "marks", "way")}
    return {**of, **empty, "explained": None, "diverged": True}


def spectra(name, gone):
    axis = [-1.0 + 0.1 * i for i in range(50)]
    found = {
        space: {
            "count": count, "lambda": axis, "density": [math.exp(-x * x) for x in axis],
            "smallest": -1.0, "largest": 3.9,
        }
        for space, count in (("inside", 272), ("dense", 13584))
    }  # fmt: skip
    spectra = {} if gone else found
    return {
        "name": name,
        "run_name": name,
        "spectra": spectra,
        "diverged": gone,
        "run": "spectra-0",
    }


def results(*, diverged=()):
    found = [
        plane("through the three solutions", "solutions", "scratch", "pruned", "lottery"),
        *(
            plane(f"path, {s}", "path", "scratch", "pruned", "bend", way=True, space=s)
            for s in ("sparse", "dense")
        ),
        *(
            plane(f"around {r}, {s}", "surroundings", r, run_name=r, space=s)
            for r in ("scratch", "pruned")
            for s in ("sparse", "dense")
        ),
        *(
            plane(
                f"course of {r}", "course", "start", r, way=True, explained=[0.8, 0.1], run_name=r
            )
            for r in ("scratch", "pruned")
        ),
    ]
    return {
        "study": "landscape",
        "schema": 1,
        "command": "sparsescape study landscape",
        "settings": {"sparsity": 0.9, "seed": 3, "grid": 4, "snapshots": 5},
        "problem": {"name": "digits-conv"},
        "maps": [lost(one) if one["name"] in diverged else one for one in found],
        "spectra": [spectra("scratch", "scratch" in diverged), spectra("pruned", False)],
    }


def test_every_map_is_drawn_with_what_is_marked_on_it():
    given = results()
    drawn = {name: drawing.draw(given) for name, drawing in study(given).figures.items()}
    counts = {"solutions": 2, "paths": 2, "surroundings": 4, "courses": 2}
    for name, count in counts.items():
        panels = drawn[name].axes
        assert len(panels) == 2 * count  # each with its bar
        told = {text.get_text() for axes in panels for text in axes.texts}
        marks = {m["name"] for p in given["maps"] if p["kind"][:4] == name[:4] for m in p["marks"]}
        assert marks <= told
        assert all(axes.has_data() for axes in panels)
    labels = [line.get_label() for axes in drawn["spectra"].axes for line in axes.get_lines()]
    assert labels == ["inside (272 coordinates)", "dense (13584 coordinates)"] * 2
    ticks = [t.get_text() for axes in drawn["spectra"].axes for t in axes.get_yticklabels()]
    assert ticks
    assert not any("$" in tick for tick in ticks)  # formulas are not set in these figures
    told = {text.get_text() for axes in drawn["courses"].axes for text in axes.texts}
    assert "x and y explain 80.0 % and 10.0 % of the variance" in told


def test_neighbours_that_are_compared_share_their_colours():
    given = results()
    given["maps"][1]["train_loss"] = [[100.0] * 4] * 4
    bars = [axes for axes in figures.paths(given).axes if axes.get_position().width < 0.05]
    labels = [[tick.get_text() for tick in bar.get_yticklabels()] for bar in bars]
    assert labels[0] == labels[1]
    assert (labels[0][0], labels[0][-1]) == ("0.1", "100")


def test_a_map_that_is_not_there_is_said_to_be_missing(tmp_path):
    given = results(
        diverged=["path, sparse", "course of pruned", "through the three solutions", "scratch"]
    )
    text = page.write(given, tmp_path).read_text(encoding="utf-8")
    assert tables.lead(given) == "6 maps of the training loss, over the whole training set."
    for name in ("path, sparse", "course of pruned"):
        assert f"{name}: a run that it needs diverged" in text
    assert set(figures.scenes(given)) == {"path, dense"}


def test_the_page_is_the_same_bytes_and_needs_nothing_from_elsewhere(tmp_path):
    first = page.write(results(), tmp_path / "first").read_bytes()
    assert page.write(results(), tmp_path / "second").read_bytes() == first
    assert not re.search(rb'<(script|link|img)[^>]*(src|href)="', first)
    assert first.count(b"scene-") >= 3


def test_surfaces_are_logarithms_of_the_loss():
    figure = scenes.drawn(figures.scenes(results())["path, dense"])
    surface, *pins = figure.data
    assert surface.z[1][1] == pytest.approx(math.log10(0.1))
    assert [pin.text[1] for pin in pins] == ["scratch", "pruned", "bend"]
    assert pins[0].z[0] == pytest.approx(math.log10(0.5))
    highest = max(height for row in surface.z for height in row if height is not None)
    assert all(pin.z[1] == highest for pin in pins)


def test_without_plotly_the_page_says_how_to_get_surfaces(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly", None)
    text = page.write(results(), tmp_path).read_text(encoding="utf-8")
    assert text.count("need plotly") == 3


def test_what_is_not_finite_takes_the_highest_colour():
    shape = plane("p", "path")
    shape["train_loss"][0][0] = None
    heights = maps.loss_levels([v for row in shape["train_loss"] for v in row])
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    maps.contours(axes, shape, "train_loss", heights)
    assert axes.has_data()


def test_a_flat_map_has_levels_all_the_same():
    for make in (maps.loss_levels, maps.share_levels):
        heights = make([2.3, 2.3])
        assert all(a < b for a, b in pairwise(heights))
        assert make([])


def test_a_surface_without_a_loss_is_drawn_empty():
    figure = scenes.drawn(scenes.Scene([0, 1], [0, 1], [[None, None], [None, None]], "loss"))
    assert all(height is None for row in figure.data[0].z for height in row)
