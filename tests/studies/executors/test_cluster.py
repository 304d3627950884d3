"""A real Ray cluster of two nodes, one of which is killed in the middle of a stage."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

import tiny
from sparsescape.cli import main
from sparsescape.errors import InputError, StageError
from sparsescape.problems import catalogue
from sparsescape.report import page
from sparsescape.studies.executors.cluster import RayExecutor
from sparsescape.studies.graph import Stage
from sparsescape.studies.stages.context import Context
from sparsescape.studies.store import Store

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.usefixtures("deadline"),
    # Ray leaves sockets and log files to the garbage collector when it stops.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]

# On the node whose environment says so, the first worker that comes to a run's 12th step says
# where it is and waits there for ever. What runs elsewhere, or later, does not wait.
DOOMED = """
steps = 0
note = Path(__file__).with_name("paused")

def once(outputs, targets):
    nonlocal steps
    steps += torch.is_grad_enabled()
    if steps == 12 and "DOOMED" in os.environ and not note.exists():
        note.write_text(str(os.getpid()))
        time.sleep(600)
    return F.cross_entropy(outputs, targets)

return problem(loss=once)
"""


class Nodes:
    """A cluster of a node that stays and one that can be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # A node is dead when it has been silent for two seconds: less can be a busy machine's.
        quick = {"health_check_period_ms": 100, "health_check_failure_threshold": 20}
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "object_store_memory": 80 * 2**20,
                "include_dashboard": False,
                "_system_config": quick,
            },
        )
        self.doomed = self.cluster.add_node(
            num_cpus=1, object_store_memory=80 * 2**20, env_vars={"DOOMED": "1"}
        )

    def kill_one(self) -> None:
        self.cluster.remove_node(self.doomed, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes():
    made = Nodes()
    yield made
    ray.shutdown()
    made.cluster.shutdown()


def checks(problem: str, *steps: int) -> list[Stage]:
    described = catalogue.describe(problem)
    return [Stage("check", {"problem": described, "steps": n}, label=f"check {n}") for n in steps]


def run(nodes: Nodes, problem: str, stages: list[Stage], store: Store, **options) -> list[dict]:
    events: list[dict] = []
    executor = RayExecutor(nodes.cluster.address, **options)
    executor.run(stages, store, Context(problem), events.append)
    return events


def kept(store: Store) -> dict[str, bytes]:
    """Every file of every finished stage, times included."""
    files = [path for path in (store.root / "stages").rglob("*") if path.is_file()]
    return {str(path.relative_to(store.root)): path.read_bytes() for path in files}


def is_running(process: int) -> bool:
    """Whether a process is there and has not ended, with nobody yet who asked for its status."""
    status = Path(f"/proc/{process}/stat")
    if status.exists():
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_address_where_no_cluster_is_is_refused_at_once(tmp_path, monkeypatch):
    """A host that nobody listens at is not left to Ray, which would try for minutes."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    problem = tiny.write(tmp_path)
    for address, reason in [
        (f"127.0.0.1:{port}", "refused"),
        (f"ray://127.0.0.1:{port}", "refused"),
        ("nonsense", "Invalid address format"),
        ("http://127.0.0.1", "Invalid Ray address"),
    ]:
        executor = RayExecutor(address)
        with pytest.raises(InputError, match=f"^There is no Ray cluster at '{address}'.*{reason}"):
            executor.run(checks(problem, 1), Store(tmp_path / "runs"), Context(problem), print)


def test_a_stage_that_refuses_what_it_is_given_raises_input_error(nodes, tmp_path):
    problem = tiny.write(tmp_path, "return problem(train=data(0, count=0))")
    with pytest.raises(InputError, match=r"^The training data cannot be used: .*empty\.$"):
        run(nodes, problem, checks(problem, 1), Store(tmp_path / "runs"))


def test_a_worker_that_dies_every_time_raises_stage_error(nodes, tmp_path):
    problem = tiny.write(tmp_path, "os.kill(os.getpid(), 9)")
    with pytest.raises(StageError, match=r"check 1 .* died once too often"):
        run(nodes, problem, checks(problem, 1), Store(tmp_path / "runs"), retries=0)


def test_a_store_that_the_nodes_do_not_share_is_refused(nodes, tmp_path, monkeypatch):
    """As on a node that has another folder under that name: nobody holds the lock there."""
    problem = tiny.write(tmp_path)
    store = Store(tmp_path / "runs")
    monkeypatch.setattr(Store, "lock", lambda self, key: threading.Lock())
    with pytest.raises(InputError, match=r"^On [\d.]+ the store .* all nodes share"):
        run(nodes, problem, checks(problem, 1), store)
    assert not store.has(checks(problem, 1)[0].key)


@pytest.mark.usefixtures("here")
def test_a_study_whose_node_is_killed_ends_with_the_same_bytes(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "write", lambda results, folder: None)  # pictures take a while
    problem, note = tiny.write(tmp_path, DOOMED), tmp_path / "paused"
    on_cluster, alone = tmp_path / "cluster", tmp_path / "alone"
    more = ["--executor", "ray", "--address", nodes.cluster.address, "--checkpoint-every", "0"]
    before: dict[str, bytes] = {}

    def kill_when_it_waits() -> None:
        tiny.eventually(lambda: note.exists() and note.read_text(), "no stage came to its step")
        time.sleep(1.0)  # in which the node that stays does other stages
        before.update(kept(Store(on_cluster)))
        nodes.kill_one()

    killer = threading.Thread(target=kill_when_it_waits)
    killer.start()
    assert main(tiny.study(problem, on_cluster, *more)) == 0
    killer.join()
    waiting = int(note.read_text())
    tiny.eventually(lambda: not is_running(waiting), "the stage on the killed node still waits")
    assert main(tiny.study(problem, alone)) == 0
    assert tiny.results_file(on_cluster).read_bytes() == tiny.results_file(alone).read_bytes()
    stages = [sorted(p.name for p in Path(s, "stages").iterdir()) for s in (on_cluster, alone)]
    assert stages[0] == stages[1]
    # Nothing done twice: what was finished when the node died is what there is now, times and all.
    assert before
    assert before.items() <= kept(Store(on_cluster)).items()
    assert not list((on_cluster / "partial").iterdir())
    assert not list((on_cluster / "locks").glob("driver-*"))
