"""A diagnosis as it is read in the terminal."""

import io

import pytest
from rich.console import Console

from sparsescape.report.diagnosis import print_diagnosis

ENDS = ("smallest_inside", "largest_inside", "smallest_dense", "largest_dense")


def found(**changes):
    condition = {"what": "climb", "value": 0.2, "sign": "≥", "limit": 0.01, "sure": 0.03}
    stationarity = {
        **{f"coordinates_{w}": n for w, n in (("inside", 272), ("outside", 13312))},
        **{f"{m}_{w}": 0.25 for m in ("gradient", "rms") for w in ("inside", "outside")},
        **dict(zip(ENDS, (-0.01, 9.5, -0.2, 49.0), strict=True)),
        "bounds": dict.fromkeys(ENDS, 1e-4),
        "signals": [{"layer": "0.weight", "units": 16, "variance": 0.5, "dead": 0.625}],
    }
    path = {"climb": 0.2, "tolerance": 0.01, "passes": 2000, "attempts": [{}, {}, {}]}
    return {
        "verdict": "walled in",
        "confidence": "high",
        "meaning": "A minimum inside the mask.",
        "evidence": [{**condition, "text": "climb: 0.2 ≥ 0.01"}],
        "ruled_out": [
            {"verdict": "saddle", **condition, "text": "eigenvalue: -0.0001 not ≤ -0.001"}
        ],
        "open": [],
        "stationarity": stationarity,
        "sparse_path": path,
        "dense_path": {**path, "climb": None},
        "try": [
            {"why": "let the mask move", "code": "ss.RigL()", "command": "sparsescape train " * 9}
        ],
        "diverged": False,
        **changes,
    }


def shown(**changes) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_diagnosis(found(**changes), console)
    return console.file.getvalue()


def test_verdict_evidence_paths_and_numbers_are_shown():
    text = shown()
    assert text.startswith("walled in  confidence: high")
    for part in (
        "climb: 0.2 ≥ 0.01",
        "best sparse path to the reference: climb 0.2 (tolerance 0.01; 3 tries, 2000 passes)",
        "best dense path to the reference: climb infinite",
        "not saddle: eigenvalue: -0.0001 not ≤ -0.001",
        "9.5 ± 0.0001",
        "62 %",
        "in Python: ss.RigL()",
    ):
        assert part in text
    assert "open without" not in text


def test_commands_are_one_line_however_long():
    assert ("sparsescape train " * 9).strip() in shown()


@pytest.mark.parametrize("space", ["sparse_path", "dense_path"])
def test_a_path_that_was_not_searched_for_is_not_spoken_of(space):
    assert space.split("_")[0] + " path" not in shown(**{space: None})


def test_what_is_open_is_said():
    assert "open without --reference: good enough, walled in" in shown(
        verdict="undecided", evidence=[], open=["good enough", "walled in"]
    )


def test_a_run_that_diverged_is_one_line():
    console = Console(file=io.StringIO(), width=100)
    print_diagnosis({"verdict": "diverged", "diverged": True}, console)
    assert console.file.getvalue().startswith("diverged")
    assert console.file.getvalue().count("\n") == 1
