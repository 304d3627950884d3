"""Two processes give the masks of one that accumulates the same micro-batches."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import sparsescape as ss

sys.path.insert(0, str(Path(__file__).parent))
import distributed_worker as worker

from sparsescape.training.ranks import process_group

HERE = Path(__file__).parent


# In the last two gradients lie together, and are reduced after every backward pass.
@pytest.fixture(scope="module", params=["ddp", "fsdp", "ddp with views", "fsdp of one group"])
def found(request, tmp_path_factory):
    """What two processes found, for every method: (rank 0's, rank 1's)."""
    return by_two_processes(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def found_on_nonzeros(tmp_path_factory):
    """The same, where the layers are truly sparse."""
    return by_two_processes("sparse-ddp", tmp_path_factory)


def by_two_processes(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp(kind)
    started = [
        subprocess.Popen(
            [
                sys.executable,
                HERE / "distributed_worker.py",
                kind,
                folder / "out",
                folder / "store",
                str(rank),
                "2",
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs[0][-3000:]
    return [torch.load(folder / f"out.{rank}") for rank in range(2)]


def assert_same(one, two):
    for name, value in one.items():
        if name == "half-way":
            continue
        if value.dtype == torch.bool:
            assert torch.equal(value, two[name]), name
        else:
            torch.testing.assert_close(value, two[name])


@pytest.mark.parametrize("method", worker.METHODS)
def test_ranks_agree_with_each_other_and_with_one_process(found, method):
    alone = worker.train("alone", method, 0, 1)
    assert found[0][method].keys() == found[1][method].keys() == alone.keys()
    assert_same(found[0][method], found[1][method])
    assert_same(found[0][method], alone)


@pytest.mark.parametrize("method", worker.METHODS)
def test_one_process_goes_on_where_two_stopped(found, method):
    resumed = worker.train("alone", method, 0, 1, resume=found[0][method]["half-way"])
    assert_same(resumed, found[0][method])


@pytest.mark.parametrize("method", worker.METHODS_ON_NONZEROS)
def test_ranks_agree_on_truly_sparse_layers(found_on_nonzeros, method):
    one, two = (found[method] for found in found_on_nonzeros)
    alone = worker.train("sparse", method, 0, 1)
    assert one.keys() == two.keys() == alone.keys()
    assert_same(one, two)
    assert_same(one, alone)
    resumed = worker.train("sparse", method, 0, 1, resume=one["half-way"])
    assert_same(resumed, one)


@pytest.fixture
def group():
    """A process group of one."""
    with process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1):
        yield


def wrapped(model):
    return nn.parallel.DistributedDataParallel(model)


AT_LEARNING_RATE_0 = """
import sys, torch, sparsescape as ss
from torch.distributed.fsdp import fully_shard
from sparsescape.training.ranks import process_group

place, rank = f"file://{sys.argv[1]}", int(sys.argv[2])
with process_group("gloo", init_method=place, rank=rank, world_size=2):
    model = torch.nn.Linear(8, 1, bias=False)  # of whose one row the second rank has nothing
    fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    sparsifier = ss.SET(0.5).attach(model, optimizer)
    model(torch.ones(2, 8)).sum().backward()
    optimizer.step()
    print(sparsifier.step)
"""


def test_ranks_agree_that_a_step_at_learning_rate_0_counts(tmp_path):
    words = [sys.executable, "-c", AT_LEARNING_RATE_0, str(tmp_path / "store")]
    started = [subprocess.Popen([*words, r], stdout=subprocess.PIPE, text=True) for r in "01"]
    assert [process.communicate(timeout=240)[0].strip() for process in started] == ["1", "1"]


MOVING = {
    "dsr": lambda **more: ss.DSR(0.6, update_every=1, threshold=0.3, **more),
    "snfs": lambda **more: ss.SNFS(0.6, update_every=1, **more),
    "deep-r": lambda **more: ss.DeepR(0.6, **more),
}


@pytest.mark.parametrize("method", MOVING.values(), ids=MOVING)
def test_a_method_that_moves_weights_between_replicated_layers_is_refused(group, method):
    model = worker.make_model("sparse")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    held = [layer.positions() for layer in model[::2]]
    for given in (wrapped(model), torch.compile(wrapped(model), backend="eager")):
        with pytest.raises(ss.InputError, match=r"DistributedDataParallel cannot follow"):
            method().attach(given, optimizer)
    assert all(torch.equal(h, layer.positions()) for h, layer in zip(held, model[::2], strict=True))
    method(dense=["2", "4"]).attach(wrapped(model), optimizer)  # one layer keeps its count


def test_it_is_refused_in_the_first_pass_where_the_model_is_wrapped_later(group):
    model = worker.make_model("sparse")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ss.DSR(0.6, update_every=9).attach(model, optimizer)
    with pytest.raises(ss.InputError, match=r"DistributedDataParallel cannot follow"):
        wrapped(model)(worker.part(0, 0))


def test_a_mask_of_another_size_is_refused_before_anything_moves(group):
    model = worker.make_model("sparse")
    held = {f"{n}.weight": model[int(n)].positions() for n in "024"}
    # As many elsewhere in the first layer, another number in the last.
    moved = {"0.weight": torch.arange(len(held["0.weight"])), "4.weight": torch.tensor([0, 1])}
    shapes = {n: model[int(n[0])].dense_shape for n in held}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ss.InputError, match=r"DistributedDataParallel cannot follow"):
        ss.Static(ss.Mask.from_indices(held | moved, shapes)).attach(wrapped(model), optimizer)
    assert all(torch.equal(model[int(n[0])].positions(), h) for n, h in held.items())


class Losing(ss.Static):
    """A method of one's own that closes a weight."""

    def next_mask(self, step):
        active = self.active
        active["0.weight"][0] = False
        return active


def test_a_method_of_ones_own_that_closes_weights_is_refused_when_it_does(group):
    model = wrapped(worker.make_model("sparse"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Losing(sparsity=0.6).attach(model, optimizer)
    model(worker.part(0, 0)).square().mean().backward()
    with pytest.raises(ss.InputError, match=r"DistributedDataParallel cannot follow"):
        optimizer.step()


def test_norms_of_a_sharded_model_stay_dense_too(group):
    from torch.distributed.fsdp import fully_shard

    def masked(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return ss.Static(sparsity=0.5).attach(model, optimizer).mask.shapes

    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    normed = [nn.Sequential(nn.Linear(6, 8), nn.LayerNorm([4, 8])) for _ in range(2)]
    assert masked(fully_shard(normed[0], mesh=mesh)) == masked(normed[1])


@pytest.mark.parametrize("sparsity", [0.5, 0.999])
def test_dense_gradients_add_up_where_few_of_those_that_share_memory_are_open(group, sparsity):
    torch.manual_seed(0)
    model = nn.Linear(200, 300)
    seen = []

    class Seen(ss.RigL):
        def grow_score(self, name):
            seen.append(self.gradient(name))
            return super().grow_score(name)

    wrapped = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Seen(sparsity, update_every=1).attach(model, optimizer)
    passes = torch.randn(3, 5, 200)
    for x in passes:
        wrapped(x).sum().backward()
    optimizer.step()
    torch.testing.assert_close(seen[0], passes.sum((0, 1)).expand(300, 200))


def test_no_hook_is_left_behind_where_a_sparsifier_is_detached_before_the_step(group):
    model = nn.Linear(8, 8)
    wrapped = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.RigL(0.5, update_every=1).attach(model, optimizer)
    wrapped(torch.ones(2, 8)).sum().backward()
    sparsifier.detach()
    assert not model.weight._backward_hooks


@pytest.mark.parametrize("kind", ["sharded", "truly sparse"])
def test_a_tied_weight_goes_by_its_other_name_in_a_model_of_any_kind(group, kind):
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    if kind == "sharded":
        fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (1,)))
    else:
        mask = ss.Mask.from_scores(ss.scores.magnitude(model), sparsity=0.5)
        ss.to_sparse(model, 0.0, mask=mask, dense=["2"])
        assert not isinstance(model[0], ss.SparseLinear)  # tied to what stays dense
    sparsifier = ss.RigL(0.5, dense=["2"])
    sparsifier.attach(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert list(sparsifier.mask) == ["3.weight"]


SCORED = {
    "snip": lambda: ss.SNIP(0.6, data=(torch.ones(2, 6), torch.tensor([0, 1]))),
    "synflow": lambda: ss.SynFlow(0.6, inputs=torch.ones(1, 6)),
    "magnitude": lambda: ss.AtInitialization(0.6, score_of=ss.scores.magnitude),
}


def scored_mask(method, model):
    return SCORED[method]().attach(model, torch.optim.SGD(model.parameters(), lr=0.1)).mask


def flat_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


@pytest.mark.parametrize("method", SCORED)
def test_what_is_around_a_model_does_not_change_its_scores(group, method):
    alone = scored_mask(method, flat_model())
    for around in (wrapped, partial(torch.compile, backend="eager")):
        assert scored_mask(method, around(flat_model())) == alone


@pytest.mark.parametrize("method", SCORED)
def test_scores_of_a_sharded_model_are_those_of_the_whole_or_refused(group, method):
    from torch.distributed.fsdp import fully_shard

    sharded = fully_shard(flat_model(), mesh=torch.distributed.init_device_mesh("cpu", (1,)))
    if method == "magnitude":
        assert scored_mask(method, sharded) == scored_mask(method, flat_model())
        return
    with pytest.raises(ss.InputError, match=r"scores a whole model: attach it before sharding"):
        scored_mask(method, sharded)
