import copy
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from sparsescape.studies import graph
from sparsescape.studies.difficulty import Settings, plan
from sparsescape.studies.graph import Stage, with_inputs

CHANGES = {  # every setting of the study, as it is and as it might be
    "problem": ("digits-conv", "digits-mlp"),
    "sparsity": (0.95, 0.9),
    "distribution": ("erk", "uniform"),
    "seeds": (2, 3),
    "steps": (None, 100),
    "curve_steps": (1000, 999),
    "curve_lr": (0.05, 0.01),
    "points": (61, 31),
    "search": ("curves", "trials"),
    "execution": ("auto", "masked"),
}
SETTINGS = Settings(**{name: value for name, (value, _) in CHANGES.items()})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
settings = st.dictionaries(st.text(), json_values, max_size=4)


def keys(study: Settings) -> set[str]:
    return {stage.key for seed in plan(study) for stage in with_inputs(seed.all())}


def reversed_everywhere(value):
    if isinstance(value, Mapping):
        return {key: reversed_everywhere(value[key]) for key in reversed(value)}
    return value


@given(settings, st.text(min_size=1), json_values, json_values)
def test_a_key_depends_on_every_setting(common, name, one, other):
    same = one == other and repr(one) == repr(other)
    stages = [Stage("a", {**common, name: value}) for value in (one, other)]
    assert (stages[0].key == stages[1].key) == same


@given(settings, st.text(min_size=1), json_values)
def test_a_key_depends_on_which_settings_there_are(common, name, value):
    without = {key: item for key, item in common.items() if key != name}
    assert Stage("a", without).key != Stage("a", {**without, name: value}).key


@given(settings)
def test_a_key_does_not_depend_on_the_order_of_the_settings(common):
    assert Stage("a", common).key == Stage("a", reversed_everywhere(common)).key


def test_a_setting_deep_inside_counts():
    deep = {"problem": {"recipe": {"lr": 0.1, "steps": [1, 2]}}}
    other = copy.deepcopy(deep)
    other["problem"]["recipe"]["steps"][1] = 3
    assert Stage("a", deep).key != Stage("a", other).key


def test_a_key_depends_on_the_kind():
    assert Stage("a", {"x": 1}).key.partition("-")[2] != Stage("b", {"x": 1}).key.partition("-")[2]


def test_a_key_depends_on_the_keys_of_the_inputs_however_far_up():
    def third(seed: int) -> Stage:
        first = Stage("a", {"seed": seed})
        return Stage("c", {}, {"of": Stage("b", {}, {"of": first})})

    assert third(0).key == third(0).key
    assert third(0).key != third(1).key


def test_a_key_depends_on_the_roles_of_the_inputs():
    one, two = Stage("a", {"seed": 1}), Stage("a", {"seed": 2})
    straight = Stage("b", {}, {"start": one, "end": two})
    swapped = Stage("b", {}, {"start": two, "end": one})
    alone = Stage("b", {}, {"start": one})
    assert len({straight.key, swapped.key, alone.key}) == 3


def test_a_key_depends_on_the_schema(monkeypatch):
    before = Stage("a", {"x": 1}).key
    monkeypatch.setattr(graph, "SCHEMA", graph.SCHEMA + 1)
    assert Stage("a", {"x": 1}).key != before


def test_labels_of_a_stage_and_of_its_inputs_are_no_part_of_its_key():
    named = Stage("b", {}, {"of": Stage("a", {}, label="first")}, label="second")
    assert named.key == Stage("b", {}, {"of": Stage("a", {})}).key


def test_inputs_come_before_what_reads_them_and_each_stage_once():
    first = Stage("a", {})
    left, right = Stage("b", {"side": 0}, {"of": first}), Stage("b", {"side": 1}, {"of": first})
    last = Stage("c", {}, {"left": left, "right": right})
    ordered = with_inputs([last, Stage("b", {"side": 1}, {"of": first}), first])
    assert [s.key for s in ordered] == [first.key, left.key, right.key, last.key]


def test_the_order_of_the_difficulty_study_has_every_input_first():
    done: set[str] = set()
    ordered = with_inputs(stage for seed in plan(SETTINGS) for stage in seed.all())
    for stage in ordered:
        assert {needed.key for needed in stage.inputs.values()} <= done
        done.add(stage.key)
    assert len(done) == len(ordered)


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_of_the_study_changes_keys(name):
    assert keys(replace(SETTINGS, **{name: CHANGES[name][1]})) != keys(SETTINGS)


def test_another_seed_leaves_the_stages_of_the_others_as_they_are():
    assert keys(SETTINGS) < keys(replace(SETTINGS, seeds=3))


def test_another_sparsity_does_not_train_the_dense_network_again():
    (one, *_), (other, *_) = plan(SETTINGS), plan(replace(SETTINGS, sparsity=0.9))
    shared = {arm for arm in one.runs if one.runs[arm].key == other.runs[arm].key}
    assert shared == {"dense"}


def test_an_edit_in_a_problem_file_changes_every_key(tmp_path: Path):
    study = replace(SETTINGS, problem=tiny.write(tmp_path))
    before = keys(study)
    tiny.write(tmp_path, f"{tiny.TINY}  # as before")
    assert not before & keys(study)


def test_where_a_problem_file_lies_is_no_part_of_the_keys(tmp_path: Path):
    here, there = (tiny.write(tmp_path / name) for name in ("here", "there"))
    assert keys(replace(SETTINGS, problem=here)) == keys(replace(SETTINGS, problem=there))


def test_keys_are_the_same_in_every_process():
    program = (
        "from sparsescape.studies.difficulty import Settings, plan\n"
        f"for seed in plan({SETTINGS!r}): print(*(s.key for s in seed.all()))"
    )
    expected = [" ".join(stage.key for stage in seed.all()) for seed in plan(SETTINGS)]
    for hash_seed in ("1", "2"):
        child = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert child.stdout.splitlines() == expected
