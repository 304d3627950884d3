"""A method in a file of one's own, from the command line to the report."""

import json
import re
import subprocess
from pathlib import Path

import pytest

import tiny
from sparsescape.cli import main
from sparsescape.sparsifiers.catalogue import absolute, described
from sparsescape.studies.executors import cluster, local
from sparsescape.studies.single import training
from sparsescape.studies.stages.context import Context
from sparsescape.studies.store import Store

GUIDE = (Path(__file__).parent.parent / "docs" / "methods.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"```python\n(# my_method\.py\n.*?)```", GUIDE, re.DOTALL)[1]
STATIC = "import sparsescape as ss\ndef make(plan):\n    return ss.Static(sparsity={})\n"

REFUSED = {  # what a file has → what the sentence speaks of
    "def make(plan: return": "cannot be imported: SyntaxError",
    "make = 3": "has no function named 'make'",
    "def make_it(plan): return None": "has no function named 'make'",
    "def make(): return None": r"takes other arguments: write def make\(plan\)",
    "def make(plan, more): return None": r"takes other arguments: write def make\(plan\)",
    "def make(plan): return None": "made a NoneType, not an ss.Sparsifier",
    "def make(plan): return plan.sparsity": "made a float, not an ss.Sparsifier",
    "def make(plan): return plan.sparseness": "fails: AttributeError",
    "import sys\ndef make(plan): sys.exit('no licence')": "fails: SystemExit: no licence",
    "import sparsescape as ss\nclass make(ss.DropGrow): ...": "is the class of an ss.Sparsifier",
    STATIC.format("7"): "7",
}


def own(folder: Path, text: str, name: str = "my_method.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def where(folder: Path) -> list[str]:
    return ["--problem", tiny.write(folder), "--store", str(folder / "runs"), "--sparsity", "0.75"]


def metrics(folder: Path, key: str) -> dict:
    return json.loads((folder / "runs/stages" / key / "metrics.json").read_text("utf-8"))


@pytest.fixture
def train(tmp_path, capsys):
    """Train with a method; the name of the run."""

    def run(method: str, *more: str) -> str:
        assert main(["train", "--method", method, *where(tmp_path), *more]) == 0
        return re.search(r"^run +(train-\S+)$", capsys.readouterr().out, re.MULTILINE)[1]

    return run


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("function", ["make_sparsifier", "make_from_score"])
@pytest.mark.parametrize("execution", ["auto", "sparse"])
def test_the_guides_methods_train(train, tmp_path, function, execution):
    run = train(f"{own(tmp_path, EXAMPLE)}:{function}", "--execution", execution)
    found = metrics(tmp_path, run)
    assert found["active"] == 32
    assert found["run_sparse"] == (
        ["0.weight", "2.weight"] if execution == "sparse" and function == "make_sparsifier" else []
    )


@pytest.mark.usefixtures("here")
def test_another_file_is_another_run_and_the_same_is_none(train, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    method = f"{own(tmp_path, STATIC.format(0.75))}:make"
    first = train(method)
    second = train(f"{own(tmp_path, STATIC.format(0.5))}:make")
    assert [metrics(tmp_path, run)["active"] for run in (first, second)] == [32, 64]
    monkeypatch.setattr(local, "_Pool", None)  # what is done is not done again
    own(tmp_path, STATIC.format(0.75))
    assert train(method) == first
    assert train(f"{own(tmp_path / 'elsewhere', STATIC.format(0.75))}:make") == first


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", [["train", "--method"], ["study", "methods", "--methods"]])
@pytest.mark.parametrize("text", REFUSED)
def test_what_makes_no_sparsifier_is_refused_before_any_training(command, text, tmp_path, capsys):
    assert main([*command, f"{own(tmp_path, text)}:make", *where(tmp_path)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.search(rf"^sparsescape: .*{REFUSED[text]}", said)
    assert not list(tmp_path.glob("runs/stages/train-*"))


@pytest.mark.parametrize("command", [["train", "--method"], ["study", "methods", "--methods"]])
def test_a_file_or_a_function_that_is_not_named_is_refused(command, tmp_path, capsys):
    for method, about in [
        ("nowhere.py:make", "There is no file 'nowhere.py'."),
        ("nowhere.py", "write my_file.py:make_sparsifier"),
        ("my_method.py:", "write my_file.py:make_sparsifier"),
    ]:
        assert main([*command, method, *where(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert re.fullmatch(r"sparsescape: [^\n]+\n", said)
        assert about in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("here")
def test_two_methods_of_one_name_are_refused(tmp_path, capsys):
    (tmp_path / "other").mkdir()
    both = [f"{own(folder, EXAMPLE)}:make_sparsifier" for folder in (tmp_path, tmp_path / "other")]
    assert main(["study", "methods", "--methods", *both, *where(tmp_path)]) == 2
    assert "--methods names my_method.py:make_sparsifier twice" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_file_that_changes_after_the_plan_is_not_trained_with(tmp_path, monkeypatch, capsys):
    method = f"{own(tmp_path, STATIC.format(0.75))}:make"
    plan = training

    def planned(*args, **flags):
        stage = plan(*args, **flags)
        own(tmp_path, STATIC.format(0.5))
        return stage

    monkeypatch.setattr("sparsescape.studies.single.training", planned)
    assert main(["train", "--method", method, *where(tmp_path)]) == 2
    assert "my_method.py:make has changed since the run was planned" in capsys.readouterr().err


def test_the_installed_program_compares_it_in_worker_processes(tmp_path):
    """At equal steps and at equal FLOPs, beside a method with a name."""
    method = f"{own(tmp_path, EXAMPLE)}:make_sparsifier"
    words = ["study", "methods", "--methods", "rigl", method, "--seeds", "1", *where(tmp_path)]
    ended = subprocess.run([tiny.COMMAND, *words], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    (file,) = (tmp_path / "runs").glob("methods-*/results.json")
    results = json.loads(file.read_text(encoding="utf-8"))
    name = "my_method.py:make_sparsifier"
    spent = {r["budget"]: r["flops"]["mean"] for r in results["table"] if r["method"] == name}
    dense = next(run["flops"] for run in results["runs"] if run["method"] == "dense")
    assert spent["steps"] < 0.5 * dense
    assert spent["flops"] == pytest.approx(results["settings"]["flops"] * dense, rel=0.3)
    (about,) = (m for m in results["methods"] if m["name"] == name)
    assert about["family"] == "of one's own"
    assert about["source"] == described(method)["method_source"]
    assert results["command"].endswith(f"--methods rigl {method} --execution auto")
    assert name in ended.stdout
    assert name in (file.parent / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("here")
def test_a_study_with_another_file_is_another_study(tmp_path, capsys):
    words = ["study", "methods", "--seeds", "1", "--flops", "0", *where(tmp_path), "--methods"]
    for sparsity in (0.75, 0.5):
        assert main([*words, f"{own(tmp_path, STATIC.format(sparsity))}:make"]) == 0
    assert len(list((tmp_path / "runs").glob("methods-*/results.json"))) == 2
    capsys.readouterr()
    assert main(["list", "runs", "--store", str(tmp_path / "runs")]) == 0
    listed = capsys.readouterr().out
    assert len(re.findall(r"^train-.*, my_method\.py:make, seed 0", listed, re.MULTILINE)) == 2


def test_a_method_is_named_from_any_folder_by_its_whole_path(tmp_path, monkeypatch):
    own(tmp_path, EXAMPLE)
    monkeypatch.chdir(tmp_path)
    assert absolute("my_method.py:make_sparsifier") == f"{tmp_path}/my_method.py:make_sparsifier"


def test_a_node_of_a_cluster_with_another_file_is_refused(tmp_path, monkeypatch):
    own(tmp_path, STATIC.format(0.75))
    monkeypatch.chdir(tmp_path)
    context = Context("digits-mlp", methods=("my_method.py:make",))
    with cluster._ground(Store(tmp_path / "runs"), context) as ground:
        monkeypatch.chdir(tmp_path.parent)  # a worker elsewhere is in another folder
        assert cluster._objection(tuple(ground.items())) is None
        own(tmp_path, STATIC.format(0.5))
        cluster._objection.cache_clear()
        found = cluster._objection(tuple(ground.items()))
    assert found == f"the method '{tmp_path}/my_method.py:make' is another one."
