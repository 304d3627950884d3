"""Checkpoints: whole or not at all, and data only."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from helpers import tree_bits
from sparsescape.training import checkpoints
from sparsescape.training.checkpoints import Checkpoint

STATE = {
    "step": 7,
    "name": "a/b é",
    "nothing": None,
    "yes": True,
    "rate": 0.1,
    "weights": {"0.weight": torch.tensor([[-0.0, float("nan")], [1e-42, 2.0]])},
    "state": {0: {"step": torch.tensor(3.0), "half": torch.ones(2, dtype=torch.bfloat16)}, 1: {}},
    "groups": [{"params": [0, 1], "betas": (0.9, 0.999)}],
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3),
}


def test_a_state_comes_back_to_the_bit(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(STATE)
    assert tree_bits(Checkpoint(tmp_path / "run").load()) == tree_bits(STATE)


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)
)
trees = st.recursive(
    leaves,
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(st.one_of(st.integers(), st.text(max_size=9)), children, max_size=3),
        st.dictionaries(st.sampled_from(["tensor", "dict"]), children, max_size=2),
    ),
    max_leaves=8,
)


@given(tree=trees)
def test_any_nesting_comes_back_with_its_keys(tree, tmp_path_factory):
    checkpoint = Checkpoint(tmp_path_factory.mktemp("any") / "run")
    checkpoint.save({"tree": tree})
    assert checkpoint.load() == {"tree": tree}


def test_an_optimizers_state_comes_back(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(optimizer.state_dict())
    other = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    other.load_state_dict(checkpoint.load())
    assert tree_bits(other.state_dict()) == tree_bits(optimizer.state_dict())


def test_where_there_is_none_there_is_none(tmp_path):
    assert Checkpoint(tmp_path / "run").load() is None


def test_the_folder_is_made_and_holds_data_only(tmp_path):
    path = tmp_path / "deep" / "down" / "run"
    Checkpoint(path).save(STATE)
    assert os.listdir(path.parent) == ["run"]
    assert load_file(path).keys() == {"0", "1", "2", "3", "4"}


def test_the_latest_state_is_the_one_that_counts(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run")
    for step in range(3):
        checkpoint.save({"step": step})
    assert checkpoint.load() == {"step": 2}


def test_a_state_saved_does_not_follow_its_tensors(tmp_path):
    tensor = torch.zeros(2)
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save({"a": tensor, "b": tensor[:1]})
    tensor.add_(1)
    assert checkpoint.load()["a"].tolist() == [0, 0]


def power_cut(*_, **__):
    raise OSError("power cut")


def test_a_write_that_fails_leaves_the_state_before(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save({"step": 1})
    with pytest.raises(TypeError):
        checkpoint.save({"step": 2, "what json cannot hold": object()})
    assert Checkpoint(tmp_path / "run").load() == {"step": 1}
    Checkpoint(tmp_path / "run").save({"step": 3})
    assert Checkpoint(tmp_path / "run").load() == {"step": 3}


@pytest.mark.parametrize("moment", ["replace", "write"])
def test_a_cut_while_it_is_written_leaves_the_state_before(tmp_path, monkeypatch, moment):
    Checkpoint(tmp_path / "run").save({"step": 1})
    with monkeypatch.context() as patched:
        if moment == "replace":
            patched.setattr(checkpoints.os, "replace", power_cut)
        else:
            patched.setattr("safetensors.torch.save_file", power_cut)
        with pytest.raises(OSError, match="power cut"):
            Checkpoint(tmp_path / "run").save({"step": 2})
    assert Checkpoint(tmp_path / "run").load() == {"step": 1}
    Checkpoint(tmp_path / "run").save({"step": 3})
    assert Checkpoint(tmp_path / "run").load() == {"step": 3}


def test_discarded_nothing_is_left(tmp_path):
    Checkpoint(tmp_path / "run").save({"step": 1})
    (tmp_path / "run.new").touch()
    Checkpoint(tmp_path / "run").discard()
    assert os.listdir(tmp_path) == []


def test_it_is_due_when_its_time_has_come(tmp_path):
    assert Checkpoint(tmp_path / "run", every=0).due
    assert not Checkpoint(tmp_path / "run", every=3600).due
