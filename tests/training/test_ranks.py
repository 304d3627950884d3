"""Two processes train as one does, and one goes on where two stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import ranks_worker

import tiny
from sparsescape.errors import InputError
from sparsescape.masks import Mask
from sparsescape.studies.executors import worker
from sparsescape.studies.graph import Stage, with_inputs
from sparsescape.studies.store import Store
from sparsescape.training.ranks import Ranks, blocks

STOPPED = 13
# 15 examples are 8 for one rank and 7 for the other; 2 outputs are 1 row of weights for each.
UNEVEN = """
return problem(recipe=recipe(batch_size=15))
"""

# A list in a list, a block that lies in another and in two places, weights that two layers share,
# and a buffer that is not saved.
NESTED = """
class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 16), nn.Sequential(nn.Linear(16, 16), nn.ReLU()))
        self.twice = nn.Sequential(block := nn.Linear(16, 16), nn.ReLU(), block)
        self.lists = nn.ModuleList([nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])])
        self.lists[0][1].weight = self.lists[0][0].weight
        self.last = nn.Linear(16, 2)
        self.register_buffer("factor", torch.tensor(0.5), persistent=False)

    def forward(self, x):
        x = self.twice(self.first(x))
        for layer in self.lists[0]:
            x = x + torch.relu(layer(x))
        return self.factor * self.last(x)

return problem(model=Nested, recipe=recipe(batch_size=15))
"""


# A layer that the loss does not use; its weights have no gradient, and do not decay.
UNUSED = """
class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last, self.unused = nn.Linear(6, 16), nn.Linear(16, 2), nn.Linear(6, 6)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))

return problem(model=Unused, recipe=recipe(batch_size=15, weight_decay=0.1))
"""

# A layer that few examples reach, and so neither rank in some steps, and one of them in others.
RARE = """
class Rare(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last, self.rare = nn.Linear(6, 16), nn.Linear(16, 2), nn.Linear(16, 16)

    def forward(self, x):
        reached = (x[:, 0] > 1).nonzero().squeeze(1)
        h = torch.relu(self.first(x))
        if len(reached):
            h = h.index_add(0, reached, torch.relu(self.rare(h[reached])))
        return self.last(h)

return problem(model=Rare, recipe=recipe(batch_size=5, momentum=0.9, weight_decay=0.1))
"""


def launch(problem: str, parallel: str, store: Path, world: int, stop: str) -> list[list[dict]]:
    """What each rank's executor told."""
    meeting = store.with_name(f"meeting-{parallel}-{world}")
    words = [problem, parallel, str(store), str(meeting)]
    started = [
        subprocess.Popen(
            [sys.executable, ranks_worker.__file__, *words, str(rank), str(world), stop],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(world)
    ]
    outputs = [process.communicate(timeout=tiny.DEADLINE)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0] * world, outputs[0][-3000:]
    return [json.loads(Path(f"{meeting}.{rank}.json").read_text()) for rank in range(world)]


def alone(stages: tuple[Stage, ...], problem: str, root: Path) -> Store:
    """The same stages, each by one process."""
    store = Store(root)
    for stage in with_inputs(stages):
        request = {
            "key": stage.key,
            "description": stage.description,
            "store": str(root),
            "context": {"problem": problem, "data_root": None, "checkpoint_every": 30.0},
        }
        answer = worker.perform(request, lambda event: None)
        assert answer["event"] == "done", answer
    return store


def assert_same_run(stage: Stage, one: Store, other: Store) -> None:
    """The same mask, and the same numbers within rounding."""
    folders = one.path(stage.key), other.path(stage.key)
    masks = [Mask.load(folder / "mask.safetensors") for folder in folders]
    assert masks[0] == masks[1]
    assert 0 < masks[0].density < 1
    points = [load_file(folder / "point.safetensors") for folder in folders]
    torch.testing.assert_close(points[0], points[1], rtol=1e-4, atol=1e-6)
    metrics = [store.metrics(stage.key) for store in (one, other)]
    assert metrics[0].keys() == metrics[1].keys()
    for name, value in metrics[1].items():
        close = value if isinstance(value, list) else pytest.approx(value, rel=1e-4)
        assert metrics[0][name] == close, name
    assert sorted(p.name for p in folders[0].iterdir()) == sorted(
        p.name for p in folders[1].iterdir()
    )


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_ranks_train_as_one_process_does_and_one_goes_on(tmp_path, parallel):
    problem = tiny.write(tmp_path, UNEVEN)
    together = tmp_path / "together"
    whole, interrupted = ranks_worker.runs(problem, parallel)
    first, second = launch(problem, parallel, together, world=2, stop=str(STOPPED))
    assert first[-1] == second[-1] == {"event": "stopped"}
    assert [e["event"] for e in second] == ["stopped"]  # one of them speaks
    one = alone((whole, interrupted), problem, tmp_path / "alone")
    assert_same_run(whole, Store(together), one)
    kept = together / "partial" / interrupted.key / "checkpoint"
    assert not [p for p in kept.rglob("*") if p.suffix not in (".json", ".safetensors", "")]
    (events,) = launch(problem, parallel, together, world=1, stop="no")
    steps = [e["step"] for e in events if e["event"] == "step"]
    assert steps[0] == STOPPED
    assert_same_run(interrupted, Store(together), one)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("model", [NESTED, UNUSED], ids=["nested-and-shared", "unused"])
def test_two_ranks_train_as_one_process_does_whatever_is_in_the_model(tmp_path, parallel, model):
    problem = tiny.write(tmp_path, model)
    launch(problem, parallel, tmp_path / "together", world=2, stop="no")
    runs = ranks_worker.runs(problem, parallel)
    one = alone(runs, problem, tmp_path / "alone")
    for run in runs:
        assert_same_run(run, Store(tmp_path / "together"), one)


def test_two_ranks_train_what_some_batches_leave_unused(tmp_path):
    problem = tiny.write(tmp_path, RARE)
    launch(problem, "ddp", tmp_path / "together", world=2, stop="no")
    runs = ranks_worker.runs(problem, "ddp")
    one = alone(runs, problem, tmp_path / "alone")
    for run in runs:
        assert_same_run(run, Store(tmp_path / "together"), one)


def test_blocks_come_innermost_first_and_share_nothing_with_what_is_outside():
    inner = nn.Sequential(nn.Linear(2, 2))
    tied = nn.Linear(2, 2)
    tied.weight = inner[0].weight
    lists = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
    numbers = nn.ParameterList([torch.ones(2)]), nn.ParameterDict({"a": torch.ones(2)})
    model = nn.Sequential(nn.Sequential(inner, tied), lists, nn.ModuleList(numbers))
    assert list(blocks(model)) == [lists[0], model[0]]


def test_a_parameter_that_has_no_dimension_cannot_be_sharded():
    model = nn.Linear(2, 2)
    model.scale = nn.Parameter(torch.tensor(1.0))
    alone = Ranks("fsdp", None, torch.device("cpu"), 0, 1)
    with pytest.raises(InputError, match="'scale' has no shards"):
        alone.spread(model)


def torchrun(*words: str) -> str:
    """What two processes say together."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node", "2", "-m", "sparsescape", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=tiny.DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_torchrun_trains_and_searches_and_one_rank_tells(tmp_path):
    problem, store = tiny.write(tmp_path), ["--store", str(tmp_path / "runs")]
    said = torchrun("train", "--problem", problem, "--parallel", "fsdp", *store)
    told = dict(line.split(maxsplit=1) for line in said.splitlines())
    assert Store(tmp_path / "runs").runs() == [told["run"]]
    assert told["active"] == "13"
    assert said.count("active") == 1
    between = [told["run"], told["run"], "--problem", problem, "--curve-steps", "4"]
    said = torchrun("path", *between, "--points", "5", *store)
    told = dict(line.split(maxsplit=1) for line in said.splitlines())
    assert float(told["climb"]) >= 0
    assert said.count("climb") == 1


ALONE_IN_A_GROUP = """
import weakref

import torch

from sparsescape.training.ranks import process_group

with process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1):
    group = weakref.ref(torch.distributed.group.WORLD)
    weight = torch.nn.Parameter(torch.ones(2))
    weight.sum().backward()
    torch.distributed.all_reduce(weight.grad)
    torch.optim.SGD([weight], lr=0.1).step()
    assert group() is not None
assert group() is None, "what holds the group keeps its threads"
"""


def test_no_thread_of_a_process_group_is_left_for_the_end_of_the_interpreter():
    subprocess.run([sys.executable, "-c", ALONE_IN_A_GROUP], check=True, timeout=tiny.DEADLINE)


@pytest.mark.parametrize("size", [2, 3])
def test_the_parts_of_a_batch_are_all_of_it_and_their_shares_make_its_mean(size):
    batch = torch.arange(14.0).reshape(7, 2), torch.arange(7.0)
    ranks = [Ranks("ddp", None, torch.device("cpu"), rank, size) for rank in range(size)]
    parts = [rank.part(batch) for rank in ranks]
    for whole, pieces in zip(batch, zip(*(part for part, _ in parts), strict=True), strict=True):
        assert torch.equal(torch.cat(pieces), whole)
    mean = sum(share * targets.mean() for (_, targets), share in parts) / size
    assert float(mean) == pytest.approx(3.0)


def test_a_batch_that_is_too_small_for_the_ranks_is_refused():
    with pytest.raises(InputError, match="2 examples has no part for each of 3 ranks"):
        Ranks("ddp", None, torch.device("cpu"), 0, 3).part((torch.ones(2, 1), torch.ones(2)))
