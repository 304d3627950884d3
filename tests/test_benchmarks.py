"""Every program of benchmarks/ still runs: it is asked for help, and run at its smallest."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import sparsescape as ss
import tiny
from sparsescape import cli
from sparsescape.points import snapshot
from sparsescape.problems.catalogue import CATALOGUE, load
from sparsescape.problems.recipe import scaled

FOLDER = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py"))


def one_layer(*seed):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def one_layer_and_data():
    return one_layer(), torch.randn(20, 1, 8, 8)


def one_pair(*_):
    """Two convolutional networks for the digits, with all but a few weights closed."""
    start, end = (load("digits-conv").make_model(seed) for seed in (0, 1))
    mask = ss.Mask.from_scores(ss.scores.magnitude(start), sparsity=0.99)
    for model in (start, end):
        mask.apply_(model)
    return [(0, snapshot(start), snapshot(end), mask)]


def ended_well(words):
    assert cli.main(words) == 0
    return 0.0


SMALLEST: dict[str, tuple[str, dict[str, object]]] = {
    "convolution_ways": ("--sparsity 0.9 --batch 1", {"ROUNDS": 1, "STEPS": 1, "MOST": 2**12}),
    "curvature": (
        "perceptron --rounds 1",
        {"EXAMPLES": 20, "perceptron": one_layer_and_data, "is_there": lambda package: False},
    ),
    "diagnosis_held_back": (
        "--seeds 1 --data stripes",
        {"STEPS": 1, "runs": lambda data, objective, seed: []},
    ),
    "execution": (
        "--rounds 1 --sparsity 0.95",
        {"STEPS": 1, "POINTS": 2, "NETWORKS": {"one layer": one_layer_and_data}},
    ),
    "forecast": ("{tiny} --seeds 1 --curve-steps 5 --points 3", {}),
    "explored_weights": ("--seeds 1 --steps 1", {}),
    "foresight_start": ("--seeds 1 --steps 1", {"SCORED": 16}),
    "masked_step": ("perceptron --rounds 1 --optimizer sgd", {}),
    "opened_search": (
        "--passes 8",
        {"POINTS": 2, "pairs": one_pair, "lists": lambda *_: {"line": (ss.Trial(1, 0),)}},
    ),
    "paths": ("evaluate perceptron --rounds 1 --points 2", {"EXAMPLES": 10}),
    "pipeline": ("{tiny} --batch 4 --rounds 1 --steps 20 --data-root nowhere", {}),
    "search_power": (
        "--passes 64",
        {"hill": lambda w: torch.sigmoid(-w[0]), "pairs": lambda *_: []},
    ),
    "sparse_large": ("rigl --width 100 --sparsity 0.9 --steps 6", {}),
    "sparse_scaling": ("time --largest 1e4", {}),
    "sparse_step": ("perceptron --sparsity 0.95 --rounds 1 --batch 2", {}),
    "store": ("--stages 30", {"METHODS": ("set",), "REPEATS": 1, "seconds": ended_well}),
    "study": (
        "--loop --seeds 1 --curve-steps 2",
        {"POINTS": 2, "RECIPE": scaled(CATALOGUE["digits-conv"].recipe, 20), "network": one_layer},
    ),
    "trainer": ("digits-mlp --turns 2", {"SECONDS": 0.001}),
}
"""Program → its arguments, and what of the program is made smaller for the test."""

LEFT_OUT = {"sparse_against_sparseprop"}
"""Against a package that no environment of ours has: it builds from source."""


@pytest.fixture
def program(request, monkeypatch):
    """The program as a module; what it does to torch is undone."""
    spec = importlib.util.spec_from_file_location(
        f"benchmark_{request.param}", FOLDER / f"{request.param}.py"
    )
    module: ModuleType = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.syspath_prepend(FOLDER)  # where a program that is run finds its neighbours
    spec.loader.exec_module(module)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield module
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def test_none_is_forgotten():
    assert {*SMALLEST, *LEFT_OUT} == set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS, indirect=True)
def test_it_says_what_it_is_for(program, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [program.__name__, "--help"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 0
    assert program.__doc__.splitlines()[0][:20] in capsys.readouterr().out


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("program", SMALLEST, indirect=True)
def test_it_runs_at_its_smallest(program, monkeypatch, capsys, tmp_path):
    words, constants = SMALLEST[program.__name__.removeprefix("benchmark_")]
    for name, value in constants.items():
        monkeypatch.setattr(program, name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", [program.__name__, *words.format(tiny=tiny.write(tmp_path)).split()]
    )
    program.main()
    assert any(character.isdigit() for character in capsys.readouterr().out)
