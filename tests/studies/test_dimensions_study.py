"""The study of dimensions, from the command to the page, and what its numbers say."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import sparsescape as ss
from results_pages import written
from sparsescape.cli import main
from sparsescape.points import load_point
from sparsescape.problems.catalogue import load
from sparsescape.report import page
from sparsescape.report.dimensions import tables
from sparsescape.report.publish import publish
from sparsescape.studies import counts, difficulty, dimensions
from sparsescape.studies.command import command
from sparsescape.studies.store import Store


def settings(**changes):
    given = {
        "problem": "digits-mlp",
        "sparsity": (0.9,),
        "distribution": "erk",
        "seeds": 2,
        "steps": None,
        "choices": ("random", "gradient"),
        "search_passes": 24,
        "points": 5,
        "precision": 0.5,
    }
    return dimensions.Settings(**{**given, **changes})


@pytest.fixture
def everything_is_bad(monkeypatch):
    """So that a search is made, however well the tiny networks train."""
    monkeypatch.setattr(dimensions, "is_bad", lambda case, store: True)


def test_the_study_runs_and_running_it_again_does_nothing(
    tiny_problem, tmp_path, here, everything_is_bad, capsys
):
    words = ["study", "dimensions", "--problem", tiny_problem, "--store", str(tmp_path)]
    words += ["--sparsity", "0.8", "--seeds", "2", "--choices", "random", "gradient", "distance"]
    words += ["--search-passes", "16", "--points", "4", "--precision", "0.5"]
    assert main(words) == 0
    (file,) = tmp_path.glob("dimensions-*/results.json")
    first = file.read_bytes()
    found = json.loads(first)
    assert len(found["searches"]) == 2 * (3 + 2)
    assert {r["layer"] for r in found["searches"]} == {None, "0.weight", "2.weight"}
    bounds = set()
    for record in found["searches"]:
        about = Store(tmp_path).description(record["run"])
        bounds.add(about["inputs"]["bounds"])
        shared = {
            at["count"]: at for at in Store(tmp_path).metrics(about["inputs"]["bounds"])["tried"]
        }
        inside = record["tried"][0]
        assert inside == shared[0]
        assert record["passes"] == sum(at["passes"] for at in record["tried"])
        stage = Store(tmp_path).path(record["run"])
        opened = ss.Mask.load(stage / "opened.safetensors")
        assert opened.counts == record["opened_by_layer"]
        if record["count"] is not None:
            assert opened.count == record["count"]
        share = _share_of(Store(tmp_path), stage, opened, tiny_problem)
        assert record["gradient_share"] == pytest.approx(share)
    assert len(bounds) == 2  # of each seed one, whatever is opened first
    assert (file.parent / "report.html").is_file()
    assert "Opened weights" in capsys.readouterr().out
    stages = sorted(tmp_path.glob("stages/*"))
    assert main(words) == 0
    assert sorted(tmp_path.glob("stages/*")) == stages
    assert file.read_bytes() == first


def test_layers_are_opened_alone_where_they_are_named(
    tiny_problem, tmp_path, here, everything_is_bad, capsys
):
    words = ["study", "dimensions", "--problem", tiny_problem, "--store", str(tmp_path)]
    words += ["--sparsity", "0.8", "--seeds", "1", "--choices", "random"]
    words += ["--search-passes", "16", "--points", "4", "--precision", "0.5"]
    for given in (["2"], []):
        assert main([*words, "--layers", *given]) == 0
    found = [json.loads(file.read_bytes()) for file in tmp_path.glob("dimensions-*/results.json")]
    opened = [[r["layer"] for r in of["searches"]] for of in found]
    assert sorted(opened, key=len) == [[None], [None, "2.weight"]]
    assert main([*words, "--store", str(tmp_path / "other"), "--layers", "conv"]) != 0
    assert "matches none" in capsys.readouterr().err
    assert [path.name[:5] for path in (tmp_path / "other").glob("stages/*")] == []


def _share_of(store, stage, opened, problem):
    """Σ (∂L/∂w)² over the opened weights, by that over all closed ones, at the start."""
    inputs = store.description(stage.name)["inputs"]
    start = load_point(store.path(inputs["start"]) / "point.safetensors")
    mask = ss.Mask.load(store.path(inputs["mask"]) / "mask.safetensors")
    problem = load(problem)
    gradient = problem.objective(problem.make_model(0)).gradient(start)
    held = sum(gradient[n][opened[n]].square().sum() for n in mask)
    return float(held / sum(gradient[n][~mask[n]].square().sum() for n in mask))


def test_its_runs_are_those_of_the_difficulty_study():
    mine = settings()
    theirs = difficulty.Settings(
        problem="digits-mlp", sparsity=0.9, distribution="erk", seeds=2, steps=None,
        curve_steps=1, curve_lr=0.1, points=5,
    )  # fmt: skip
    for case, seed in zip(dimensions.cases(mine), difficulty.plan(theirs), strict=True):
        for arm, stage in case.runs.items():
            assert stage.key == seed.runs[arm].key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparsity": (0.9, 1.0)}, "below 1"),
        ({"sparsity": (0.0,)}, "above 0"),
        ({"sparsity": ()}, "at least"),
        ({"seeds": 0}, "--seeds is at least 1"),
        ({"search_passes": 0}, "--search-passes is at least 1"),
        ({"precision": 1.0}, "--precision"),
        ({"choices": ("gradeint",)}, "did you mean 'gradient'"),
        ({"choices": ("random", "gradient", "random")}, "--choices takes none twice"),
        ({"sparsity": (0.9, 0.95, 0.9)}, "--sparsity takes none twice, not 0.9 0.95 0.9"),
    ],
)
def test_settings_that_make_no_study_are_refused(change, message):
    with pytest.raises(ss.InputError, match=message):
        settings(**change)


def search(choice, seed, count, layer=None, share=0.1):
    return {
        "sparsity": 0.9, "seed": seed, "choice": choice, "layer": layer, "count": count,
        "fraction": None if count is None else count / 1000, "failed": 0, "closed": 1000,
        "gradient_share": share, "passes": 10, "tolerance": 0.01, "diverged": False,
        "run": f"dimensions-{choice}-{seed}",
        "opened_by_layer": {"a": count or 1000, "b": 0}, "closed_by_layer": {"a": 600, "b": 400},
        "tried": [
            {"count": 0, "climb": 0.5, "enough": False, "passes": 5},
            {"count": count or 1000, "climb": 0.5 * (count is None), "enough": count is not None,
             "passes": 5},
        ],
    }  # fmt: skip


def verdict(random, gradient):
    records = [search("random", s, k) for s, k in enumerate(random)]
    records += [search("gradient", s, k) for s, k in enumerate(gradient)]
    found = [f for f in counts.findings(0.9, settings().choices, records) if not _of_shares(f)]
    return [finding["verdict"] for finding in found]


def _of_shares(finding):
    return "of the gradient" in finding["title"]


@pytest.mark.parametrize(
    ("random", "gradient", "said"),
    [
        ([0.5, 0.4, 0.6], [0.1, 0.12, 0.1], "holds"),
        ([0.02, 0.01, 0.02], [0.1, 0.12, 0.1], "does not hold"),
        ([0.5, 0.01, 0.2], [0.1, 0.12, 0.1], "undecided"),
    ],
)
def test_what_the_opened_hold_of_the_gradient_is_judged_by_its_own_rule(random, gradient, said):
    """Whatever their numbers."""
    records = [search("random", s, 500, share=share) for s, share in enumerate(random)]
    records += [search("gradient", s, 5, share=share) for s, share in enumerate(gradient)]
    (found,) = filter(_of_shares, counts.findings(0.9, settings().choices, records))
    assert found["verdict"] == said
    assert f"seed 0: random {random[0]:.2%}, gradient {gradient[0]:.2%}" in found["evidence"]


def test_verdicts_follow_their_rules():
    assert verdict([500, 600, 550], [3, 4, 3]) == ["holds", "holds"]
    assert verdict([5, 6, 5], [500, 400, 600]) == ["does not hold", "does not hold"]
    assert verdict([5, 600, 5], [50, 4, 50])[0] == "undecided"
    assert verdict([500], [3]) == ["undecided", "undecided"]
    assert verdict([None, None, 900], [3, 4, 3])[0] == "holds"
    assert verdict([None, None, None], [None, None, None])[0] == "does not hold"


def test_a_path_found_in_one_layer_is_one_with_all_weights_open():
    alone = search("gradient", 0, 40, layer="a")
    records = counts.nested([search("random", 0, None), search("random", 1, None), alone])
    assert [r["count"] for r in records] == [1000, None, 40]
    assert records[0]["by"] == alone["run"]
    assert records[0]["failed"] == 0


def synthetic():
    records = [search(c, s, k) for c, k in (("random", None), ("gradient", 30)) for s in range(2)]
    alone = [
        search("gradient", s, k, layer) for layer, k in (("a", 40), ("b", None)) for s in (0, 1)
    ]
    start = {
        "sparsity": 0.9, "dense": 0.0, "pruned": 0.1, "scratch": 0.9, "bad": True,
        "climb_inside": 0.5, "passes_inside": 5, "diverged": False, "run": "train-1",
    }  # fmt: skip
    given = settings()
    return {
        "study": "dimensions",
        "command": command("dimensions", given),
        "settings": {
            "problem": "p",
            "sparsity": [0.9],
            "seeds": 3,
            "steps": None,
            "search_passes": 24,
            "precision": 0.5,
        },
        "problem": {"name": "p"},
        "choices": ["random", "gradient"],
        "starts": [{**start, "seed": s, "counts": s < 2} for s in range(3)],
        "searches": records + alone,
        "table": [counts.row({"sparsity": 0.9, "choice": c}, records) for c in given.choices],
        "layers": [counts.layer_row(0.9, layer, records, alone) for layer in ("a", "b")],
        "findings": list(counts.findings(0.9, given.choices, records)),
    }


def test_the_report_says_what_was_found_and_what_was_not(tmp_path):
    results = synthetic()
    assert tables.lead(results) == (
        "2 of 3 starts count; opened weights: at 90 %, random no number in 2 of 2; "
        "at 90 %, gradient 30 [30, 30]. "
        "From 1 a path was found with nothing opened, after 5 passes."
    )
    assert [row[-1] for row in tables.starts(results).rows] == ["yes", "yes", "no: a path inside"]
    assert [row[-1] for row in tables.layers(results).rows] == ["40, 40", "none, none"]
    text = page.write(results, tmp_path).read_text(encoding="utf-8")
    assert "no number in 2 of 2" in text
    assert (tmp_path / "figures" / "transition.png").is_file()


def test_two_that_end_at_once_write_one_folder(tmp_path, monkeypatch):
    """As two commands that shared the stages of one study do."""
    write, begun = page.write, threading.Barrier(2)

    def slowly(results, folder):
        with contextlib.suppress(threading.BrokenBarrierError):
            begun.wait(timeout=0.5)  # for the other one, if nothing keeps it away
        return write(results, folder)

    monkeypatch.setattr("sparsescape.report.publish.page.write", slowly)
    results, store = synthetic(), Store(tmp_path)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(publish, results, [], store) for _ in range(2)]
        folders = {one.result() for one in both}
    (folder,) = folders
    assert (folder / "report.html").is_file()
    assert not list((tmp_path / "locks").iterdir())


def test_its_page_of_results_is_written(tmp_path):
    page = written(synthetic(), tmp_path)
    assert page.startswith("# The dimensions study on `p`")
    assert "Written 2026-01-02; sparsescape 0.1, torch 2" in page
    assert "| 0 | 0.900 | 0.100 | 0.500 | 5 | yes |" in page
