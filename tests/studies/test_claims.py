import math
import random

import pytest

from sparsescape.studies.claims import FAILS, HOLDS, UNDECIDED, bad_margin, verdicts

PRUNED = 0.1  # the margin is 0.02
SEEDS = (0, 1, 2)
TO_PRUNED = "initialization → pruned"


def solution(seed, arm, loss, diverged=False):
    return {"seed": seed, "arm": arm, "train_loss": loss, "diverged": diverged, "run": "r"}


def solutions(scratch, lottery, pruned=PRUNED):
    """Per seed a solution of each of three arms, from their losses."""
    return [
        solution(seed, arm, loss)
        for seed, pair in enumerate(zip(scratch, lottery, strict=True))
        for arm, loss in zip(("scratch", "lottery", "pruned"), (*pair, pruned), strict=True)
    ]


def line(seed, decreasing, name=TO_PRUNED, diverged=False):
    climb = 0.0 if decreasing else 0.5
    found = {"climb": climb, "decreasing": decreasing}
    return {"seed": seed, "name": name, "diverged": diverged, **({} if diverged else found)}


def curve(seed, start, space, climb, degree=2, diverged=False):
    found = {"climb": climb, "decreasing": climb is not None and climb <= 0.001}
    about = {"seed": seed, "start": start, "space": space, "degree": degree}
    effort = {"steps": 10, "examples": 160, "diverged": diverged}
    return {**about, **effort, **({} if diverged else found)}


def curves(space, climbs):
    """From climbs per seed, scratch's and lottery's in turn."""
    starts = [(seed, start) for seed in SEEDS for start in ("scratch", "lottery")]
    return [curve(*s, space, climb) for s, climb in zip(starts, climbs, strict=False)]


BAD = solutions([0.5, 0.6, 0.55], [0.4, 0.45, 0.5])


def claim(number, solutions=BAD, lines=(), curves=()):
    found = verdicts(solutions, lines, curves)
    assert [each["claim"] for each in found] == [1, 2, 3, 4]
    return found[number - 1]


def test_the_margin_of_a_bad_start():
    assert bad_margin(0.1) == pytest.approx(0.02)
    assert bad_margin(0.0) == pytest.approx(0.01)


# ---------------------------------------------------------------------------- 1: the gap


@pytest.mark.parametrize(
    ("scratch", "lottery", "verdict"),
    [
        ([0.5, 0.6, 0.55], [0.4, 0.45, 0.5], HOLDS),
        ([0.1, 0.101, 0.099], [0.1, 0.1, 0.1], FAILS),  # as good as pruned
        ([0.5, 0.6, 0.55], [0.1, 0.1, 0.101], FAILS),  # one of the two starts is as good
        ([0.05, 0.06, 0.04], [0.05, 0.06, 0.04], FAILS),  # better than pruned
        ([0.1, 2.0, 0.1], [0.4, 0.45, 0.5], UNDECIDED),  # the interval is wide
        ([0.115, 0.115, 0.115], [0.5, 0.5, 0.5], FAILS),  # above 0 and below the margin
        ([0.118, 0.119, 0.1215], [0.5, 0.5, 0.5], UNDECIDED),  # about the margin
        ([0.5], [0.5], UNDECIDED),  # one seed
    ],
)
def test_the_gap(scratch, lottery, verdict):
    assert claim(1, solutions(scratch, lottery))["verdict"] == verdict


def test_the_gap_is_paired_by_seed():
    pruned = [0.1, 1.1, 2.1]  # far apart, and every gap is 0.4
    found = [
        solution(seed, arm, loss + extra)
        for seed, loss in enumerate(pruned)
        for arm, extra in (("pruned", 0.0), ("scratch", 0.4), ("lottery", 0.4))
    ]
    assert claim(1, found)["verdict"] == HOLDS


@pytest.mark.parametrize("arm", ["scratch", "lottery", "pruned"])
def test_the_gap_leaves_a_diverged_run_out(arm):
    found = [s for s in BAD if (s["seed"], s["arm"]) != (0, arm)]
    found.append(solution(0, arm, None, diverged=True))
    entry = claim(1, found)
    assert entry["verdict"] == HOLDS
    assert entry["seeds"] == ([1, 2] if arm == "pruned" else [0, 1, 2])


def test_the_gap_is_undecided_where_all_of_one_arm_diverged():
    found = [s | {"diverged": s["arm"] == "scratch"} for s in BAD]
    assert claim(1, found)["verdict"] == UNDECIDED


def test_a_loss_that_is_no_number_is_left_out_though_no_step_saw_it():
    """The last step of a run may be the one that breaks it."""
    broken = [s | {"train_loss": None} if s["seed"] == 0 else s for s in BAD]
    entry = claim(1, broken)
    assert (entry["verdict"], entry["seeds"], entry["n"]) == (HOLDS, [1, 2], 2)


# ---------------------------------------------------------------------------- 2: a way exists


@pytest.mark.parametrize(
    ("decreasing", "verdict"),
    [
        ([True, True, True], HOLDS),
        ([True, True], HOLDS),
        ([True, True, False], UNDECIDED),
        ([True, False], FAILS),
        ([True, False, False], FAILS),
        ([False, False, False], FAILS),
        ([True], UNDECIDED),
        ([False], UNDECIDED),
        ([], UNDECIDED),
    ],
)
def test_a_way_exists(decreasing, verdict):
    lines = [line(seed, down) for seed, down in enumerate(decreasing)]
    entry = claim(2, lines=lines)
    assert entry["verdict"] == verdict
    assert entry["seeds"] == list(range(len(decreasing)))
    assert entry["n"] == len(decreasing)


def test_only_the_line_from_the_initialization_to_pruned_says_that_a_way_exists():
    others = [line(seed, False, name="scratch ↔ pruned") for seed in SEEDS]
    lines = [line(seed, True) for seed in SEEDS]
    assert claim(2, lines=[*others, *lines, *others])["verdict"] == HOLDS


def test_a_line_to_a_diverged_run_is_left_out():
    lines = [line(0, False, diverged=True), line(1, True), line(2, True)]
    entry = claim(2, lines=lines)
    assert (entry["verdict"], entry["seeds"], entry["n"]) == (HOLDS, [1, 2], 2)


# ---------------------------------------------------------------------------- 3 and 4: ways


WALL, WAY = 0.4, 0.0
WITHIN = [
    ([WALL] * 6, HOLDS),
    ([WAY] * 6, FAILS),
    ([WAY, WALL, WAY, WALL, WAY, WALL], FAILS),
    ([WALL] * 4 + [WAY] * 2, UNDECIDED),
    ([], UNDECIDED),
]
OUTSIDE = [
    ([WAY] * 6, HOLDS),
    ([WALL] * 6, FAILS),
    ([WAY, WALL, WAY, WALL, WAY, WALL], FAILS),
    ([WAY] * 4 + [WALL] * 2, UNDECIDED),
    ([], UNDECIDED),
]


@pytest.mark.parametrize(("climbs", "verdict"), WITHIN)
def test_no_way_within(climbs, verdict):
    assert claim(3, curves=curves("sparse", climbs))["verdict"] == verdict


@pytest.mark.parametrize(("climbs", "verdict"), OUTSIDE)
def test_a_way_outside(climbs, verdict):
    assert claim(4, curves=curves("dense", climbs))["verdict"] == verdict


def test_each_space_speaks_for_its_own_claim():
    found = [*curves("sparse", [WALL] * 6), *curves("dense", [WAY] * 6)]
    assert [claim(n, curves=found)["verdict"] for n in (3, 4)] == [HOLDS, HOLDS]
    found = [*curves("sparse", [WAY] * 6), *curves("dense", [WALL] * 6)]
    assert [claim(n, curves=found)["verdict"] for n in (3, 4)] == [FAILS, FAILS]


@pytest.mark.parametrize(("number", "space"), [(3, "sparse"), (4, "dense")])
@pytest.mark.parametrize("high", [WALL, None])  # None: infinite
@pytest.mark.parametrize("order", [1, -1])
def test_of_each_start_the_curve_that_climbs_least_counts(number, space, order, high):
    steep = [c | {"degree": 3} for c in curves(space, [high] * 6)]
    found = [*steep, *curves(space, [WAY] * 6)][::order]
    assert claim(number, curves=found)["verdict"] == (FAILS if number == 3 else HOLDS)


@pytest.mark.parametrize(("number", "space"), [(3, "sparse"), (4, "dense")])
def test_starts_as_good_as_pruned_do_not_count(number, space):
    some_good = solutions([0.1, 0.6, 0.5], [0.1, 0.119, 0.119])
    for climb in (WALL, WAY):
        # Those that are as good would say the opposite.
        opposite = WAY - climb + WALL
        found = curves(space, [opposite, opposite, climb, opposite, climb, opposite])
        entry = claim(number, some_good, curves=found)
        expected = HOLDS if (climb == WALL) == (number == 3) else FAILS
        assert (entry["verdict"], entry["seeds"], entry["starts"]) == (expected, [1, 2], 2)


@pytest.mark.parametrize(("number", "space"), [(3, "sparse"), (4, "dense")])
def test_ways_are_undecided_where_no_start_is_bad(number, space):
    good = solutions([0.1] * 3, [0.11] * 3)
    entry = claim(number, good, curves=curves(space, [WALL] * 6))
    assert (entry["verdict"], entry["seeds"], entry["n"]) == (UNDECIDED, [], 0)


@pytest.mark.parametrize(("number", "space"), [(3, "sparse"), (4, "dense")])
@pytest.mark.parametrize("lottery", [0.1, 0.5])
def test_bad_starts_of_one_seed_are_too_few(number, space, lottery):
    one = solutions([0.5, 0.1, 0.1], [lottery, 0.1, 0.1])
    entry = claim(number, one, curves=curves(space, [WAY] * 6))
    assert (entry["verdict"], entry["seeds"], entry["n"]) == (UNDECIDED, [0], 1)


@pytest.mark.parametrize(("number", "space"), [(3, "sparse"), (4, "dense")])
def test_a_diverged_start_or_a_diverged_pruned_run_does_not_count(number, space):
    out = {(0, "pruned"), (1, "scratch")}
    found = [s | {"diverged": (s["seed"], s["arm"]) in out} for s in BAD]
    entry = claim(number, found, curves=curves(space, [WALL] * 6))
    assert (entry["seeds"], entry["n"], entry["starts"]) == ([1, 2], 2, 3)


@pytest.mark.parametrize(("number", "space"), [(3, "sparse"), (4, "dense")])
def test_a_diverged_search_does_not_count(number, space):
    found = [c for c in curves(space, [WALL] * 6) if c["seed"] > 0]
    found += [curve(0, start, space, None, diverged=True) for start in ("scratch", "lottery")]
    entry = claim(number, curves=found)
    assert (entry["seeds"], entry["n"], entry["starts"]) == ([1, 2], 2, 4)


def test_a_start_whose_loss_is_no_number_does_not_count():
    broken = [s | {"train_loss": None} if s["seed"] == 0 else s for s in BAD]
    entry = claim(3, broken, curves=curves("sparse", [WALL] * 6))
    assert (entry["verdict"], entry["seeds"], entry["starts"]) == (HOLDS, [1, 2], 4)


def test_claim_3_says_how_hard_was_searched():
    found = [*curves("sparse", [WALL] * 6), *curves("dense", [WAY] * 6)]
    entry = claim(3, curves=found)
    assert entry["passes"] == 60
    assert any("60" in line and "960 examples" in line for line in entry["evidence"])
    assert any("dense space found one from 6, with 60" in line for line in entry["evidence"])


# ---------------------------------------------------------------------------- all of them


def test_every_entry_has_the_rule_the_numbers_and_the_seeds():
    for entry in verdicts(BAD, [line(s, True) for s in SEEDS], curves("sparse", [WALL] * 6)):
        assert entry["statement"]
        assert entry["rule"]
        assert entry["evidence"]
        assert {"title", "verdict", "seeds", "n"} <= entry.keys()


def test_the_numbers_stand_in_the_evidence():
    scratch, lottery = claim(1)["evidence"]
    assert "0.45" in scratch  # the mean gap
    assert "0.35" in lottery
    assert "0.02" in scratch  # the margin
    assert "n = 3" in scratch


def test_verdicts_of_nothing_are_undecided():
    assert [entry["verdict"] for entry in verdicts([], [], [])] == [UNDECIDED] * 4


def test_a_verdict_is_a_function_of_the_numbers_only():
    """Order, names of runs and whatever else stands in the records do not change a byte."""
    records = [
        BAD,
        [line(seed, seed > 0) for seed in SEEDS],
        [*curves("sparse", [0.1, 0.2, 0.3, 0.0, 0.4, 0.5]), *curves("dense", [WAY] * 6)],
    ]
    expected = verdicts(*records)
    for seed in range(5):
        shuffled = [random.Random(seed).sample(part, len(part)) for part in records]
        renamed = [[r | {"run": f"train-{seed}", "more": math.nan} for r in p] for p in shuffled]
        assert verdicts(*renamed) == expected


def test_numbers_that_are_given_are_left_as_they_are():
    lines, found = [line(0, True)], curves("sparse", [WALL] * 6)
    before = repr((BAD, lines, found))
    verdicts(BAD, lines, found)
    assert repr((BAD, lines, found)) == before
