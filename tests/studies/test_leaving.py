"""The rules of the escape study, on numbers made up for them."""

import pytest

from sparsescape.studies.leaving import comparisons, findings, judged, table

BAD, GOOD = 1.0, 0.1  # a gap of 0.9; the margin is 0.01 + 0.01 = 0.02


def solutions(seeds, bad=BAD, good=GOOD):
    return [
        {"seed": seed, "arm": arm, "train_loss": loss}
        for seed in range(seeds)
        for arm, loss in (("scratch", bad), ("pruned", good))
    ]


def run(way, seed, end, *, path=None, opened=None, **more):
    return {
        "way": way,
        "open": opened,
        "seed": seed,
        "train_loss": end,
        "test_accuracy": 0.9,
        "flops": 100.0,
        "steps": 10,
        "diverged": False,
        "trajectory": {"train_loss": path or [BAD, end]},
        "line": {"climb": 0.0, "decreasing": True},
        **more,
    }


def study(*runs):
    seeds = 1 + max(r["seed"] for r in runs)
    found = [judged(r, solutions(seeds)) for r in runs]
    against = comparisons(found)
    return {row["way"]: row for row in table(found)}, against, findings(found, against)


# ---------------------------------------------------------------------- one run


@pytest.mark.parametrize(
    ("end", "closed", "left", "arrived"),
    [
        (1.0, 0.0, False, False),
        (0.981, 0.019 / 0.9, False, False),
        (0.979, 0.021 / 0.9, True, False),
        (0.55, 0.5, True, False),
        (0.119, 0.881 / 0.9, True, True),
        (0.01, 1.1, True, True),
        (1.9, -1.0, False, False),
    ],
)
def test_a_run_is_held_against_the_bad_and_the_pruned_solution(end, closed, left, arrived):
    found = judged(run("rigl", 0, end), solutions(1))
    assert found["gap"] == pytest.approx(0.9)
    assert found["closed"] == pytest.approx(closed)
    assert (found["left"], found["arrived"]) == (left, arrived)


def test_the_climb_is_that_of_the_losses_from_the_bad_solution_on():
    found = judged(run("rigl", 0, 0.2, path=[1.3, 0.5, 0.9, 0.2]), solutions(1))
    assert found["climb"] == pytest.approx(0.4)  # from 0.5 to 0.9; at first 1.0 to 1.3
    assert found["climbs"]
    level = judged(run("rigl", 0, 0.2, path=[1.007, 0.5, 0.2]), solutions(1))
    assert not level["climbs"]  # 0.007 is less than 1 % of 1.0 − 0.2
    assert level["climb"] == pytest.approx(0.007)


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        ({"diverged": True, "train_loss": None}, {}),
        ({}, {"bad": 0.119}),  # not bad: within the margin of the pruned loss
        ({}, {"bad": None}),
        ({}, {"good": None}),
    ],
)
def test_what_cannot_be_judged_is_not(more, ends):
    found = judged({**run("rigl", 0, 0.5), **more}, solutions(1, **ends))
    names = ("gap", "closed", "left", "arrived", "climb", "climbs")
    assert [found[name] for name in names] == [None] * 6


# ---------------------------------------------------------------------- one way


def test_a_row_counts_only_what_is_judged():
    rows, _, _ = study(
        run("rigl", 0, 0.1, path=[2.0, 0.1]),
        run("rigl", 1, 0.55),
        run("rigl", 2, None, diverged=True),
    )
    row = rows["rigl"]
    assert (row["n"], row["left"], row["arrived"], row["climbing"]) == (2, 2, 1, 1)
    assert row["diverged"] == 1
    assert row["closed"]["mean"] == pytest.approx(0.75)
    assert row["verdict"] == "leaves"


def test_the_ways_out_are_those_that_leave_in_every_seed():
    _, _, found = study(
        *(run("rigl", seed, 0.1) for seed in range(3)),
        *(run("set", seed, end) for seed, end in enumerate((0.5, 0.5, 1.0))),
        *(run("continue", seed, end) for seed, end in enumerate((0.9, 1.0, 1.0))),
    )
    out = found[0]
    assert out["verdict"] == "1 of 3 leave"
    assert out["evidence"][0].startswith("furthest: rigl, 1 [1, 1] (n = 3)")
    assert out["evidence"][1:] == ["leaves: rigl", "stays: continue", "undecided: set"]
    assert (out["n"], out["seeds"]) == (3, [0, 1, 2])


@pytest.mark.parametrize(
    ("paths", "verdict"),
    [
        ([[2.0, 0.1]] * 4, "holds"),
        ([[2.0, 0.1]] * 3 + [[1.0, 0.1]], "undecided"),
        ([[2.0, 0.1]] * 2 + [[1.0, 0.1]] * 2, "does not hold"),
        ([[2.0, 0.1]], "undecided"),  # one seed
    ],
)
def test_whether_the_way_climbs_goes_by_the_runs_that_leave(paths, verdict):
    stays = [run("continue", seed, 1.0, path=[5.0, 1.0]) for seed in range(len(paths))]
    _, _, found = study(
        *(run("rigl", seed, 0.1, path=path) for seed, path in enumerate(paths)), *stays
    )
    assert found[1]["verdict"] == verdict


# ---------------------------------------------------------------------- against RigL


def against_rigl(gains, opened=(10,), rigl=(0.30, 0.32, 0.28)):
    """Runs in which ``open k`` ends by so much lower than RigL, seed by seed."""
    runs = []
    for seed, end in enumerate(rigl):
        runs += [run("rigl", seed, end), run("rigl 0.1", seed, end)]
        runs += [
            run(f"open {k}", seed, end - gains[k][seed], opened=k, test_accuracy=0.91)
            for k in opened
        ]
    return study(*runs)


def test_the_gain_is_paired_by_seed():
    _, against, found = against_rigl({10: (0.09, 0.09, 0.09)})
    pair = against[0]
    assert (pair["way"], pair["reference"], pair["better"]) == ("open 10", "rigl", 3)
    assert pair["gain"]["low"] == pytest.approx(0.1)
    assert pair["accuracy_gain"]["mean"] == pytest.approx(0.01)
    assert pair["verdict"] == "beats"
    assert found[2]["verdict"] == "holds"


def test_many_numbers_are_judged_at_a_higher_level():
    """With Student's t over three seeds: significant alone, not as one of four."""
    gains = dict.fromkeys((1, 2, 3, 4), (0.08, 0.1, 0.14))
    _, alone, found = against_rigl(gains, opened=(1,))
    assert (alone[0]["level"], alone[0]["verdict"]) == (0.95, "beats")
    assert found[2]["verdict"] == "holds"
    _, among, found = against_rigl(gains, opened=(1, 2, 3, 4))
    assert {pair["level"] for pair in among} == {1 - 0.05 / 4}
    assert {pair["verdict"] for pair in among} == {"undecided"}
    assert found[2]["verdict"] == "undecided"


def test_a_measured_number_is_judged_alone():
    gains = {1: (-0.1, -0.1, -0.1), "measured": (0.09, 0.10, 0.11)}
    _, against, found = against_rigl(gains, opened=(1, "measured"))
    assert {p["open"]: p["verdict"] for p in against} == {1: "behind", "measured": "beats"}
    assert found[2]["verdict"] == "holds"


def test_it_does_not_hold_where_every_number_is_behind():
    gains = {1: (-0.1, -0.1, -0.1), 2: (-0.2, -0.2, -0.2)}
    _, _, found = against_rigl(gains, opened=(1, 2))
    assert found[2]["verdict"] == "does not hold"
    gains[2] = (0.0, 0.1, -0.1)
    assert against_rigl(gains, opened=(1, 2))[2][2]["verdict"] == "undecided"


def test_one_seed_decides_nothing():
    _, against, found = against_rigl({10: (0.2,)}, rigl=(0.3,))
    assert against[0]["verdict"] == "undecided"
    assert [part["verdict"] for part in found[1:]] == ["undecided", "undecided"]


def test_without_runs_there_is_nothing_to_say():
    assert (table([]), comparisons([]), findings([], [])) == ([], [], [])
