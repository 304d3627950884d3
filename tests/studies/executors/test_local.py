"""Real worker processes, and what becomes of a study when one of them or the parent dies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tiny
from sparsescape.errors import InputError, StageError
from sparsescape.problems import catalogue
from sparsescape.studies.executors.local import LocalExecutor
from sparsescape.studies.graph import Stage
from sparsescape.studies.stages.context import Context
from sparsescape.studies.store import Store

MEET = """
print("a line that is no answer")
os.write(1, b"{not JSON\\n")
os.system("echo and one from a child")
met = Path(__file__).with_name("met")
met.mkdir(exist_ok=True)
(met / str(os.getpid())).touch()
last = time.monotonic() + 60
while len(list(met.iterdir())) < 2:
    if time.monotonic() > last:
        raise TimeoutError("no other worker came")
    time.sleep(0.005)
return problem()
"""


def checks(problem: str, *steps: int, **inputs: Stage) -> list[Stage]:
    """Stages that try the problem; the number of steps only tells them apart."""
    described = catalogue.describe(problem)
    return [
        Stage("check", {"problem": described, "steps": n}, inputs, label=f"check {n}")
        for n in steps
    ]


def run(problem: str, stages: list[Stage], store: Store, workers: int = 1) -> list[dict]:
    events: list[dict] = []
    LocalExecutor(workers).run(stages, store, Context(problem), events.append)
    return events


def ended(process: int) -> bool:
    """Whether there is no such process, or only what is left of it for its parent to see."""
    status = Path(f"/proc/{process}/stat")
    try:
        os.kill(process, 0)
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.usefixtures("deadline")
def test_two_stages_at_once_and_their_reader_after_both(tmp_path, store):
    """The first two wait for each other, and print what is no part of the protocol."""
    problem = tiny.write(tmp_path, MEET)
    first, second = checks(problem, 1, 2)
    (last,) = checks(problem, 3, left=first, right=second)
    events = [(e["event"], e["key"]) for e in run(problem, [last], store, workers=2)]
    assert set(events[:2]) == {("begun", first.key), ("begun", second.key)}
    assert set(events[2:4]) == {("done", first.key), ("done", second.key)}
    assert events[4:] == [("begun", last.key), ("done", last.key)]
    assert store.metrics(last.key) == {"train": 64, "test": 64}


@pytest.mark.usefixtures("deadline")
def test_a_file_in_the_working_directory_does_not_hide_a_module(tmp_path, store, monkeypatch):
    """A user's queue.py, say, which the command line itself does not see either."""
    problem = tiny.write(tmp_path)
    tmp_path.joinpath("queue.py").write_text("raise RuntimeError('not the queue of Python')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    assert run(problem, checks(problem, 1), store)[-1]["event"] == "done"


@pytest.mark.usefixtures("deadline")
def test_a_stage_that_refuses_what_it_is_given_raises_input_error(tmp_path, store):
    problem = tiny.write(tmp_path, "return problem(train=data(0, count=0))")
    with pytest.raises(InputError, match=r"^The training data cannot be used: .*empty\.$"):
        run(problem, checks(problem, 1), store)


@pytest.mark.usefixtures("deadline")
def test_a_stage_that_fails_raises_stage_error_with_its_label(tmp_path, store):
    (broken,) = [Stage("no such kind", {}, label="seed 7: a label")]
    with pytest.raises(StageError, match=f"seed 7: a label .{broken.key}.: KeyError") as failure:
        run(tiny.write(tmp_path), [broken], store)
    assert "Traceback" in str(failure.value)


@pytest.mark.usefixtures("deadline")
def test_a_worker_that_is_killed_raises_stage_error(tmp_path, store):
    problem = tiny.write(tmp_path, "os.kill(os.getpid(), 9)  # SIGKILL")
    with pytest.raises(StageError, match=r"check 1 .* its worker ended \(SIGKILL\)"):
        run(problem, checks(problem, 1, 2), store)
    assert not store.root.joinpath("stages").exists()


@pytest.mark.usefixtures("deadline")
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path, store):
    problem, note = tiny.write(tmp_path, "wait()"), tmp_path / "paused"
    parent = subprocess.Popen(
        [tiny.COMMAND, *tiny.study(problem, store.root)],
        env={**os.environ, "PAUSED": str(note)},
        stderr=subprocess.DEVNULL,
    )
    with parent:
        tiny.eventually(lambda: note.exists() and note.read_text(), "the worker never began")
        worker = int(note.read_text())
        assert not ended(worker)
        parent.kill()
    tiny.eventually(lambda: ended(worker), "the worker outlives its parent")


# ---------------------------------------------------------------------------- without processes


@pytest.mark.usefixtures("here")
def test_a_stage_that_is_done_is_not_begun_again(tmp_path, store):
    problem = tiny.write(tmp_path)
    (first,) = checks(problem, 1)
    (second,) = checks(problem, 2, of=first)
    assert [e["key"] for e in run(problem, [first], store)] == [first.key] * 2
    assert [e["key"] for e in run(problem, [second], store)] == [second.key] * 2
    assert run(problem, [first, second], store) == []


def test_nothing_is_started_where_there_is_nothing_to_do(tmp_path, store, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    assert run(tiny.write(tmp_path), [], store) == []


@pytest.mark.usefixtures("here")
def test_stages_before_the_one_that_fails_are_kept(tmp_path, store):
    problem = tiny.write(tmp_path)
    good, broken = checks(problem, 1)[0], Stage("no such kind", {})
    with pytest.raises(StageError):
        run(problem, [good, broken], store)
    assert store.has(good.key)
    assert not store.has(broken.key)
