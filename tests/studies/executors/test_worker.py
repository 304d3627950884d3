"""A stage that is killed between any two changes on disk, and done again, is the same stage."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

import tiny
from helpers import bits
from sparsescape.problems import catalogue
from sparsescape.report import page, publish
from sparsescape.studies.executors import worker
from sparsescape.studies.graph import Stage, with_inputs
from sparsescape.studies.store import Store, read_json

SHORT = "return problem(recipe=recipe(steps=4, prune_every=1))"
CHANGES_ON_DISK = ("mkdir", "rename", "replace", "unlink", "rmdir")


class Killed(BaseException):
    """Like a SIGKILL: nothing catches it."""


@pytest.fixture
def kill_at(monkeypatch) -> Callable[[int], None]:
    """Arrange that this process is killed instead of its n-th change on disk from now on."""
    left = [0]

    def guarded(change):
        def change_or_die(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return change(*arguments, **options)

        return change_or_die

    for name in CHANGES_ON_DISK:
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    return lambda n: left.__setitem__(0, n)


def training(problem: str, method: str, start: str = "initialization", **inputs: Stage) -> Stage:
    common = {"problem": catalogue.describe(problem), "steps": None}
    what = {"method": method, "sparsity": 0.5, "distribution": "erk", "start": start, "seed": 0}
    return Stage("train", {**common, **what}, inputs)


def pruning(problem: str) -> Stage:
    return training(problem, "gradual-magnitude")


def search(problem: str) -> Stage:
    end = pruning(problem)
    scratch = training(problem, "static", "fresh", mask=end)
    what = {"curve_steps": 4, "curve_lr": 0.05, "degree": 3, "space": "sparse", "seed": 0}
    ends = {"start": scratch, "end": end, "mask": end}
    return Stage("fit", {**end.settings, **what}, ends)


def do(stage: Stage, store: Store, problem: str) -> list[dict]:
    """Do one stage as a worker does; the answers it gave on the way and at the end."""
    told: list[dict] = []
    request = {
        "key": stage.key,
        "description": stage.description,
        "store": str(store.root),
        "context": {"problem": problem, "data_root": None, "checkpoint_every": 0.0},
    }
    last = worker.perform(request, told.append)
    return [*told, last]


def contents(folder: Path) -> dict[str, object]:
    """All files below, apart from when and where they were made."""
    files = [path for path in folder.rglob("*") if path.name != "provenance.json"]
    return {str(path.relative_to(folder)): content(path) for path in files}


def content(path: Path) -> object:
    if path.suffix == ".safetensors":
        return bits(load_file(path))
    return path.read_bytes() if path.is_file() else None


def store_with_inputs(stage: Stage, root: Path, problem: str) -> Store:
    store = Store(root)
    for needed in with_inputs(stage.inputs.values()):
        assert do(needed, store, problem)[-1]["event"] == "done"
    return store


def killed_and_done_again(stage: Stage, store: Store, problem: str, kill_at, moment: int) -> str:
    """What became of the stage: ``"done"`` if it was over before the moment came."""
    kill_at(moment)
    try:
        return do(stage, store, problem)[-1]["event"]
    except Killed:
        kill_at(0)
    if store.has(stage.key):
        return "there already"
    last = do(stage, store, problem)[-1]
    return last.get("message", "done again")


@pytest.mark.parametrize("make", [pruning, search])
def test_a_stage_that_is_killed_at_any_change_on_disk_ends_the_same(tmp_path, kill_at, make):
    problem = tiny.write(tmp_path, SHORT)
    stage = make(problem)
    store = store_with_inputs(stage, tmp_path / "runs", problem)
    do(stage, store, problem)
    folder, expected = store.path(stage.key), contents(store.path(stage.key))
    became: dict[int, str] = {}
    while "done" not in became.values():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(store.root / "partial", ignore_errors=True)
        moment = len(became) + 1
        became[moment] = killed_and_done_again(stage, store, problem, kill_at, moment)
        if folder.exists() and contents(folder) != expected:
            became[moment] += ", to another end"
    assert len(became) > 8  # in four checkpoints, and at the end
    assert set(became.values()) == {"done", "done again"}, became


def test_the_same_stage_is_the_same_bytes(tmp_path):
    problem = tiny.write(tmp_path, SHORT)
    stage = pruning(problem)
    stores = [Store(tmp_path / str(number)) for number in range(5)]
    for store in stores:
        do(stage, store, problem)
    for path in stores[0].path(stage.key).iterdir():
        if path.name != "provenance.json":
            found = {(store.path(stage.key) / path.name).read_bytes() for store in stores}
            assert len(found) == 1, path.name


def test_a_stage_goes_on_from_its_last_checkpoint(tmp_path, kill_at):
    problem = tiny.write(tmp_path, SHORT)
    stage, store = pruning(problem), Store(tmp_path / "runs")
    moment = 0
    while (kept := tiny.checkpointed(store.partial(stage.key))) is None or kept["step"] != 3:
        moment += 1
        shutil.rmtree(store.partial(stage.key))
        kill_at(moment)
        with pytest.raises(Killed):
            do(stage, store, problem)
    kill_at(0)
    _, first, *_ = do(stage, store, problem)
    assert (first["event"], first["step"], first["steps"]) == ("step", 3, 4)


def test_a_finished_training_run_has_these_files_and_no_checkpoint(tmp_path):
    problem = tiny.write(tmp_path, SHORT)
    stage, store = pruning(problem), Store(tmp_path / "runs")
    do(stage, store, problem)
    assert sorted(p.name for p in store.path(stage.key).iterdir()) == [
        "mask.safetensors",
        "metrics.json",
        "point.safetensors",
        "provenance.json",
        "stage.json",
        "start.safetensors",
    ]


def test_a_stage_that_another_process_did_meanwhile_is_not_done_again(tmp_path):
    problem = tiny.write(tmp_path, SHORT)
    stage, store = pruning(problem), Store(tmp_path / "runs")
    do(stage, store, problem)
    before = store.path(stage.key).stat().st_mtime_ns
    begun, done = do(stage, store, problem)
    assert (begun["event"], done["event"]) == ("begun", "done")
    assert store.path(stage.key).stat().st_mtime_ns == before


def test_times_and_machines_stand_apart_from_results(tmp_path):
    problem = tiny.write(tmp_path, SHORT)
    stage, store = pruning(problem), Store(tmp_path / "runs")
    do(stage, store, problem)
    where = read_json(store.path(stage.key) / "provenance.json")
    assert {"began", "seconds", "torch", "python", "threads", "sparsescape"} <= where.keys()
    assert not where.keys() & store.metrics(stage.key).keys()


def published_or_killed(results: dict, store: Store, kill_at, moment: int) -> bool:
    """Whether it was all published before the moment came."""
    kill_at(moment)
    try:
        publish.publish(results, [], store)
    except Killed:
        return False
    finally:
        kill_at(0)
    return True


def test_a_study_that_is_killed_while_it_is_published_is_whole_or_not_there(
    tmp_path, kill_at, monkeypatch
):
    monkeypatch.setattr(page, "write", lambda results, folder: (folder / "figures").mkdir())
    study = {"study": "difficulty", "settings": {"seeds": 1}, "problem": {"name": "tiny"}}
    store, moment = Store(tmp_path / "runs"), 1
    while not published_or_killed({**study, "value": moment}, store, kill_at, moment):
        for found in store.studies():
            names = sorted(path.name for path in found.iterdir())
            assert names == ["figures", "provenance.json", "results.json"]
        folder = publish.publish({**study, "value": -moment}, [], store)
        assert read_json(folder / "results.json")["value"] == -moment
        moment += 1
    assert store.studies() == [folder]
    assert moment > 5
