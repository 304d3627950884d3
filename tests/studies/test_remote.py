"""A store behind fsspec: here a folder that two "machines" reach by its URL alone."""

import os
from pathlib import Path

import fsspec
import pytest

import tiny
from sparsescape.cli import main
from sparsescape.errors import InputError
from sparsescape.studies.executors import local
from sparsescape.studies.graph import Stage
from sparsescape.studies.remote import RemoteStore
from sparsescape.studies.store import Store, read_json, write_json
from sparsescape.studies.stores import open_store

STAGE = Stage("train", {"seed": 0, "problem": {"name": "p"}})


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """From a name to that machine's view of the store."""
    url = f"local://{tmp_path / 'bucket' / 'runs'}"

    def view(name: str) -> RemoteStore:
        monkeypatch.setenv("SPARSESCAPE_CACHE", str(tmp_path / name))
        return RemoteStore(url)

    return view


def finish(store: Store, stage: Stage, **metrics) -> None:
    out = store.partial(stage.key)
    write_json(out / "stage.json", stage.description)
    write_json(out / "metrics.json", metrics)
    (out / "deep").mkdir()
    (out / "deep" / "point.safetensors").write_bytes(b"weights")
    store.finish(stage.key)


def test_what_one_machine_has_done_another_one_reads(machine):
    one, other = machine("one"), machine("other")
    assert not one.has(STAGE.key)
    finish(one, STAGE, loss=0.5)
    assert one.has(STAGE.key)
    assert other.has(STAGE.key)
    assert other.metrics(STAGE.key) == {"loss": 0.5}
    assert not Store(other.root).has(STAGE.key)  # one file was asked for, and no stage
    assert (other.path(STAGE.key) / "deep" / "point.safetensors").read_bytes() == b"weights"
    assert other.root != one.root
    assert other.runs() == [STAGE.key]
    assert other.stage(STAGE.key).key == STAGE.key


def test_what_is_half_sent_is_not_there(machine, monkeypatch):
    one, other = machine("one"), machine("other")

    def broken(*_):
        raise OSError("the line is dead")

    monkeypatch.setattr(one, "_files", _Failing(one._files, broken))
    with pytest.raises(OSError, match="line is dead"):
        finish(one, STAGE, loss=0.5)
    assert not other.has(STAGE.key)
    assert not other.path(STAGE.key).exists()
    assert other.keys() == []


class _Failing:
    """A file system that fails when the mark of a stage is to be written."""

    def __init__(self, files, fail):
        self._files, self.pipe_file = files, fail

    def __getattr__(self, name):
        return getattr(self._files, name)


def test_a_lock_is_seen_from_elsewhere_while_it_is_held(machine):
    one, other = machine("one"), machine("other")
    with one.lock("a"):
        assert other.is_held("a")
    assert not other.is_held("a")


def test_a_stage_that_was_done_but_not_marked_is_done_again(machine):
    one = machine("one")
    finish(one, STAGE, loss=0.5)
    one._files.rm_file(f"{one._base}/done/{STAGE.key}")
    again = machine("one")
    assert not again.has(STAGE.key)
    finish(again, STAGE, loss=0.25)
    assert machine("other").metrics(STAGE.key) == {"loss": 0.25}


def test_a_study_is_the_same_bytes_as_in_a_folder(tmp_path, monkeypatch, machine):
    monkeypatch.setattr(local, "_Pool", tiny.PoolHere)
    problem = tiny.write(tmp_path)
    assert main(tiny.study(problem, tmp_path / "folder")) == 0
    url = machine("one").address
    assert main(tiny.study(problem, url)) == 0
    other = machine("other")
    (found,) = other.studies()
    assert (found / "report.html").is_file()
    expected = tiny.results_file(tmp_path / "folder").read_bytes()
    assert (found / "results.json").read_bytes() == expected
    monkeypatch.setattr(local, "_Pool", None)  # nothing is left to be done
    assert main(tiny.study(problem, url)) == 0


def test_a_copy_that_was_removed_is_fetched_again(machine):
    one = machine("one")
    finish(one, STAGE, loss=0.5)
    os.rename(one.path(STAGE.key), one.root / "gone")
    assert read_json(one.path(STAGE.key) / "metrics.json") == {"loss": 0.5}


def test_a_url_of_a_folder_is_the_same_from_another_folder(tmp_path, monkeypatch):
    """As in a worker on another node, which works in a folder of its own."""
    monkeypatch.setenv("SPARSESCAPE_CACHE", str(tmp_path / "cache"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    here = open_store("file://runs")
    with here.lock("train-0"):
        monkeypatch.chdir(elsewhere)
        assert open_store(here.address).is_held("train-0")
    assert here.root != open_store("file://runs").root


def test_a_store_that_cannot_be_written_is_refused_in_a_sentence(tmp_path, monkeypatch):
    """As in a bucket that is not there, which can be asked for what it holds all the same."""

    def no_bucket(*_, **__):
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setenv("SPARSESCAPE_CACHE", str(tmp_path))
    store = open_store("memory://nowhere/runs")
    monkeypatch.setattr(fsspec.filesystem("memory"), "pipe_file", no_bucket)
    said = r"^The store 'memory://nowhere/runs' cannot be written: .* bucket does not exist$"
    with pytest.raises(InputError, match=said), store.lock("train-0"):
        pass


def test_the_same_in_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARSESCAPE_CACHE", str(tmp_path))
    store = open_store("memory://bucket/runs")
    finish(store, STAGE, loss=0.5)
    assert sorted(fsspec.filesystem("memory").find("/bucket/runs"))[0].endswith(f"done/{STAGE.key}")
    folder = store.root / "study-1"
    folder.mkdir()
    write_json(folder / "results.json", {"study": "tiny"})
    store.keep(folder)
    monkeypatch.setenv("SPARSESCAPE_CACHE", str(tmp_path / "elsewhere"))
    (found,) = open_store("memory://bucket/runs").studies()
    assert read_json(found / "results.json") == {"study": "tiny"}
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


@pytest.mark.parametrize("command", [["study", "difficulty"], ["train"]])
def test_a_store_in_memory_is_refused_where_workers_would_do_the_stages(
    tmp_path, monkeypatch, capsys, command
):
    monkeypatch.setenv("SPARSESCAPE_CACHE", str(tmp_path))
    monkeypatch.setattr(local, "_Pool", None)  # before any work is done
    where = ["--problem", tiny.write(tmp_path), "--store", "memory://bucket/runs"]
    assert main([*command, *where]) == 2
    assert "'memory://bucket/runs' is in the memory of one process" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["nothing://a/b", "s3:/"])
def test_a_url_that_means_nothing_is_refused(url, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARSESCAPE_CACHE", str(tmp_path))
    if url == "nothing://a/b":
        with pytest.raises(InputError, match="cannot be reached: Protocol not known"):
            open_store(url)
    else:
        assert type(open_store(str(Path(tmp_path, url)))) is Store
