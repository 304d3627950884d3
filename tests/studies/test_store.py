import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsescape.errors import InputError
from sparsescape.studies.graph import Stage
from sparsescape.studies.store import Store, read_json, write_json

STAGE = Stage("train", {"seed": 0, "lr": 0.1, "problem": {"file": "é.py"}, "t": [0.0, 1 / 3]})

HOLDER = """
import sys
from sparsescape.studies.store import Store
with Store(sys.argv[1]).lock("a-stage"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def finish(store: Store, stage: Stage, **metrics) -> None:
    out = store.partial(stage.key)
    write_json(out / "stage.json", stage.description)
    write_json(out / "metrics.json", metrics)
    store.finish(stage.key)


# ---------------------------------------------------------------------------- stages


def test_a_stage_under_way_is_not_there(store):
    out = store.partial(STAGE.key)
    write_json(out / "metrics.json", {"loss": 1.0})
    assert not store.has(STAGE.key)


def test_a_folder_that_cannot_be_made_is_named(store, monkeypatch):
    """Also for who may do everything: in /proc nobody makes folders."""

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    for make in (lambda: store.partial(STAGE.key), lambda: store.lock(STAGE.key).__enter__()):
        with pytest.raises(InputError, match="cannot be written: Permission denied"):
            make()


def test_finishing_moves_all_of_it_at_once(store, monkeypatch):
    seen = []
    rename = os.rename

    def observed(*paths):
        seen.append(store.has(STAGE.key))
        rename(*paths)
        seen.append(sorted(p.name for p in store.path(STAGE.key).iterdir()))

    monkeypatch.setattr(os, "rename", observed)
    finish(store, STAGE, loss=1.0)
    assert seen == [False, ["metrics.json", "stage.json"]]
    assert list((store.root / "partial").iterdir()) == []


def test_what_a_stage_had_is_there_when_it_is_taken_up_again(store):
    (store.partial("a") / "note").write_text("here")
    assert (store.partial("a") / "note").read_text() == "here"


def test_the_metrics_of_a_finished_stage_are_read_back(store):
    finish(store, STAGE, loss=0.1 + 0.2, decreasing=True, accuracy=None)
    assert store.metrics(STAGE.key) == {"loss": 0.1 + 0.2, "decreasing": True, "accuracy": None}


def test_a_file_that_is_cut_off_is_named(store):
    finish(store, STAGE, loss=0.1)
    (store.path(STAGE.key) / "metrics.json").write_text('{"los')
    with pytest.raises(InputError, match=r"metrics\.json' is damaged: remove the folder"):
        store.metrics(STAGE.key)


def test_a_stage_read_back_is_the_stage(store):
    last = Stage("along", {"t": [0.1]}, {"start": STAGE, "end": Stage("train", {"seed": 1})})
    for stage in (*last.inputs.values(), last):
        finish(store, stage)
    found = store.stage(last.key)
    assert found.key == last.key
    assert found.description == last.description
    assert found.inputs["start"].description == STAGE.description


def test_a_key_that_is_not_there_is_named_with_the_nearest_that_is(store):
    finish(store, STAGE)
    with pytest.raises(InputError, match=f"'train-0'; the nearest are: {STAGE.key}"):
        store.stage("train-0")


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_a_folder_around_the_stages_is_none(store, key):
    finish(store, STAGE)
    with pytest.raises(InputError, match="There is no run named"):
        store.stage(key)


def test_an_empty_store_has_no_stage(store):
    with pytest.raises(InputError, match="empty"):
        store.stage("train-0")


def test_runs_are_the_finished_training_stages(store):
    finish(store, STAGE)
    finish(store, Stage("fit", {}))
    store.partial(Stage("train", {"seed": 1}).key)
    assert store.runs() == [STAGE.key]


def test_studies_are_the_folders_that_are_whole(store):
    for name in ("difficulty-1", "difficulty-0", "difficulty-2.old"):
        (store.root / name).mkdir(parents=True)
        write_json(store.root / name / "results.json", {})
    assert [path.name for path in store.studies()] == ["difficulty-0", "difficulty-1"]


# ---------------------------------------------------------------------------- the root


def test_looking_into_a_store_makes_nothing(tmp_path):
    store = Store(tmp_path / "runs")
    assert not store.has(STAGE.key)
    assert store.runs() == []
    assert store.studies() == []
    assert not store.root.exists()


@pytest.mark.parametrize("below", ["", "runs", "a/b"])
def test_a_root_that_is_or_lies_in_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder that can be written"):
        Store(tmp_path / "file" / below)


def test_a_root_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(InputError, match="not a folder that can be written"):
        Store(tmp_path / "runs")


def test_the_root_stays_where_it_was_when_the_folder_is_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("runs")
    monkeypatch.chdir("/")
    assert store.root == tmp_path / "runs"


# ---------------------------------------------------------------------------- locks


def test_a_lock_is_held_against_another_process_until_that_dies(store):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        file = store.root / "locks" / "a-stage.lock"
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(file).acquire(timeout=0)
        with store.lock("another-stage"):
            pass
        holder.send_signal(signal.SIGKILL)
    with store.lock("a-stage"), pytest.raises(filelock.Timeout):
        filelock.FileLock(file).acquire(timeout=0)


# ---------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null_however_deep(tmp_path, value):
    write_json(tmp_path / "a.json", {"x": [1.5, (value, {"y": value})]})
    assert read_json(tmp_path / "a.json") == {"x": [1.5, [None, {"y": None}]]}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back_to_the_bit(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "number.json"
    write_json(path, value)
    assert read_json(path).hex() == value.hex()


def test_text_is_readable_as_it_is(tmp_path):
    write_json(tmp_path / "a.json", {"name": "scratch ↔ pruned"})
    assert "scratch ↔ pruned" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_value_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert read_json(tmp_path / "a.json") == 1


def test_a_file_changes_all_at_once(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", 1)
    monkeypatch.setattr(os, "replace", lambda *paths: None)  # as if it were killed before
    write_json(tmp_path / "a.json", 2)
    assert read_json(tmp_path / "a.json") == 1


def test_a_run_that_is_not_there_is_refused_with_the_nearest_five_runs(tmp_path):
    names = [f"train-{i:x}aaaaaaaaaaaaaaa" for i in range(9)]
    for name in (*names, "check-5aaaaaaaaaaaaaab", "along-5aaaaaaaaaaaaaab"):
        (tmp_path / "stages" / name).mkdir(parents=True)
    with pytest.raises(InputError) as refused:
        Store(tmp_path).stage("train-5aaaaaaaaaaaaaab")
    near = str(refused.value).rpartition("the nearest are: ")[2].strip(".").split(", ")
    assert near[0] == names[5]
    assert len(near) == 5
    assert set(near) < set(names)
