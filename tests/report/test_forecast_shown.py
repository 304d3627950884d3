"""A plan as it is read in the terminal."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from sparsescape.report.forecast import WORDS, print_forecast
from sparsescape.studies.forecast import Expected, Forecast
from sparsescape.studies.stages.kinds import KINDS

TRAIN, DONE = Expected("train", 90.0, 60.0, 1e12), Expected("check", 0.0, 0.0, 0.0, done=True)
COUNT = Expected("dimensions", 90.0, 60.0, 0.0)
PLAN = Forecast(
    stages=(DONE, TRAIN, TRAIN), parameters=146, weights=128, step_flops=816.0, memory=2**31,
    slots=2, gpus=0.0, wall=95.0, calibration=12.3, short_runs=7, rate=None, diverged=0,
)  # fmt: skip


def shown(found: Forecast) -> str:
    text = io.StringIO()
    print_forecast(found, Console(file=text, width=80))
    assert all(len(line) <= 80 for line in text.getvalue().splitlines())
    return text.getvalue()


def words(found: Forecast) -> str:
    return " ".join(shown(found).split())


def test_every_kind_of_stage_has_words():
    assert WORDS.keys() == KINDS.keys()


def test_each_line_says_what_it_is():
    lines = shown(PLAN).splitlines()
    rows = [re.split(r" {2,}", line.strip()) for line in lines]
    assert ["try the problem", "1", "1", "0 s"] in rows
    assert ["train a network", "2", "0", "1 min 30 s", "3 min 0 s", "2.00e+12"] in rows
    assert ["all", "3", "1", "3 min 0 s", "2.00e+12"] in rows
    assert lines[-5:] == [
        "time to the end 1 min 35 s, with 2 stages side by side",
        "processor time  0.0333 CPU-hours, of all stages together",
        "memory          2.00 GiB at most, for each stage that is running",
        "the network has 146 parameters, of which 128 can be sparse",
        "one example     8.16e+02 FLOPs (floating-point operations), forward and backward",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "a prediction, nothing of it is done yet. 7 of its stages were run for a short time, "
             "in 12 s altogether"),
        ({"rate": 6e13, "short_runs": 0}, "by arithmetic: nothing was run but one batch"),
        ({"stages": (DONE,)}, "Every stage of the study is in the store already"),
        ({"slots": 1}, "1 min 35 s, with 1 stage at a time"),
        ({"gpus": 2.0}, "0.1 GPU-hours, 2 GPUs for each stage"),
        ({"stages": (COUNT,)}, "at the least counting dimensions ends where a path is found"),
        ({"diverged": 3}, "take with care 3 of the short runs diverged"),
    ],
)  # fmt: skip
def test_it_says_what_the_numbers_come_from(changes, said):
    assert said in words(replace(PLAN, **changes))


def test_what_is_not_known_or_not_asked_for_is_left_out():
    found = words(replace(PLAN, stages=(Expected("train", 90.0, None, 1e12),), memory=None))
    for what in ("CPU-hours", "GPU", "memory", "diverged"):
        assert what not in found
