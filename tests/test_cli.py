import argparse
import functools
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import tiny
from sparsescape.cli import COMMANDS, STUDIES, main
from sparsescape.cli.computing import Computing
from sparsescape.landscape.diagnosis.rules import VERDICTS
from sparsescape.problems.catalogue import CATALOGUE
from sparsescape.sparsifiers.catalogue import METHODS
from sparsescape.studies.executors import local
from sparsescape.studies.stages import diagnoses
from sparsescape.studies.stages.context import Context
from sparsescape.studies.stages.job import Job

TRAINING = ["train", "--method", "gradual-magnitude", "--sparsity", "0.8"]
QUICK = ["--curve-steps", "5", "--points", "6"]

REFUSED = {  # what a problem file's make_problem does → what the sentence speaks of
    "return problem(model=lambda: no_such_network())": "NameError",
    "1 / 0": "ZeroDivisionError",
    "return None": "NoneType",
    "return network": "function",
    "return ss.Recipe(steps=0)": "steps",
    "return problem(model=lambda: None)": "NoneType",
    "return problem(model=lambda: nn.Linear(7, 2))": "inputs",
    "return problem(model=lambda: nn.Sequential(network(), nn.Threshold(9, torch.nan)))": "NaN",
    "return problem(train=(data(0)[0], data(0)[1].float()))": "targets",
    "return problem(train=(data(0)[0], data(0)[1] + 5))": "targets",
    "return problem(train=data(0, count=0))": "training data.*empty",
    "return problem(test=data(0, count=0))": "test data.*empty",
    "return problem(train=(data(0)[0], data(0)[1][:9]))": "64 inputs.*9 targets",
    "return problem(train=None)": "training data",
    "return problem(dense=('no-such-layer',))": "no-such-layer",
    "import secrets; return problem(train=data(secrets.randbits(30)))": "other train data each",
}


@pytest.fixture
def refused(capsys, tmp_path):
    """Run a command that must be refused: the one sentence it says, all of it on stderr."""

    def run(*words: str) -> str:
        assert main([*words]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert re.fullmatch(r"sparsescape: [^\n]+\n", shown.err)
        assert "Traceback" not in shown.err
        assert not list(tmp_path.glob("runs/stages/*"))
        assert not list(tmp_path.glob("runs/*/results.json"))
        return shown.err

    return run


def trained(capsys, *words: str) -> str:
    """Train the tiny problem; the name of the run."""
    assert main([*words]) == 0
    (name,) = re.findall(r"^run +(train-\S+)$", capsys.readouterr().out, re.MULTILINE)
    return name


# ---------------------------------------------------------------------------- bad input


def test_an_unknown_command_is_named_with_the_nearest(refused):
    assert "'studdy'; did you mean 'study'?" in refused("studdy", "difficulty")
    assert "'trian'; did you mean 'train'?" in refused("trian")


def test_an_unknown_study_is_named_with_the_nearest(refused):
    assert "no study named 'dificulty'; did you mean 'difficulty'?" in refused("study", "dificulty")


@pytest.mark.parametrize("command", [["study", "difficulty"], ["train"]])
def test_an_unknown_problem_is_named_with_the_nearest(refused, tmp_path, command):
    said = refused(*command, "--problem", "digit-conv", "--store", str(tmp_path / "runs"))
    assert "no problem named 'digit-conv'; did you mean 'digits-conv'?" in said
    assert not (tmp_path / "runs").exists()


def test_an_unknown_method_is_named_with_the_nearest(refused, tmp_path):
    said = refused("train", "--method", "gradual", "--store", str(tmp_path / "runs"))
    assert "no method named 'gradual'; did you mean 'gradual-magnitude'?" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", [["study", "difficulty"], ["train"]])
@pytest.mark.parametrize("sparsity", ["1", "1.5", "-0.1", "nan"])
def test_a_sparsity_that_is_none_is_refused(refused, tmp_path, command, sparsity):
    said = refused(*command, "--sparsity", sparsity, "--store", str(tmp_path / "runs"))
    assert re.search(rf"Sparsity .* not {float(sparsity)}", said)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("command", "flag", "value"),
    [
        ("study difficulty", "--seeds", "0"),
        ("study difficulty", "--steps", "0"),
        ("study difficulty", "--curve-steps", "0"),
        ("study difficulty", "--curve-lr", "-1"),
        ("study difficulty", "--points", "2"),
        ("study difficulty", "--workers", "-1"),
    ],
)
def test_a_number_that_makes_no_sense_is_named_with_its_flag(
    refused, tmp_path, monkeypatch, command, flag, value
):
    monkeypatch.setattr(local, "_Pool", None)  # before any work is done
    problem = tiny.write(tmp_path)
    where = ["--problem", problem, "--store", str(tmp_path / "runs")]
    assert flag in refused(*command.split(), *where, flag, value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("steps", ["0", "-3"])
def test_a_run_of_no_steps_is_refused(refused, tmp_path, steps):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    assert f"steps is at least 1, not {steps}" in refused("train", *where, "--steps", steps)


@pytest.mark.parametrize(
    ("problem", "about"),
    [
        ("no_such_file.py:make_problem", "no file 'no_such_file.py'"),
        ("no_such_file.py", "write my_file.py:make_problem"),
        (":make_problem", "write my_file.py:make_problem"),
        ("no_such_file.py:", "write my_file.py:make_problem"),
    ],
)
def test_a_problem_file_that_is_not_there_is_refused(refused, tmp_path, problem, about):
    assert about in refused(*tiny.study(problem, tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("body", REFUSED)
def test_a_problem_that_cannot_be_trained_is_refused(refused, tmp_path, body):
    said = refused(*tiny.study(tiny.write(tmp_path, body), tmp_path / "runs"))
    assert re.search(REFUSED[body], said)


@pytest.mark.usefixtures("here")
def test_a_problem_file_without_the_function_is_refused(refused, tmp_path):
    problem = tiny.write(tmp_path).replace("make_problem", "make_prblem")
    said = refused(*tiny.study(problem, tmp_path / "runs"))
    assert "no function named 'make_prblem'" in said


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("text", ["def make_problem(:", "import no_such_module"])
def test_a_problem_file_that_cannot_be_imported_is_refused(refused, tmp_path, text):
    (tmp_path / "broken.py").write_text(text)
    words = tiny.study(f"{tmp_path / 'broken.py'}:make_problem", tmp_path / "runs")
    assert "cannot be imported" in refused(*words)


@pytest.mark.usefixtures("here")
def test_data_that_is_missing_is_said_with_where_it_was_looked_for(refused, tmp_path):
    flags = ["--data-root", str(tmp_path / "nowhere"), "--store", str(tmp_path / "runs")]
    assert "nowhere" in refused("train", "--problem", "mnist-lenet300", *flags)


def test_a_store_that_is_a_file_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "not a folder" in refused("train", "--store", str(tmp_path / "file"))


@pytest.mark.parametrize("command", ["report", "path"])
def test_what_is_not_in_the_store_is_refused(refused, tmp_path, command):
    nothing = [str(tmp_path / "runs")] if command == "report" else ["train-0", "train-1"]
    store = [] if command == "report" else ["--store", str(tmp_path / "runs")]
    assert "no results.json" in (said := refused(command, *nothing, *store)) or "empty" in said


def test_runs_of_a_store_that_is_not_there_are_not_listed(refused, tmp_path):
    said = refused("list", "runs", "--store", str(tmp_path / "nothere"))
    assert "There is no store" in said
    assert "nothere" in said
    assert not (tmp_path / "nothere").exists()


@pytest.mark.parametrize("command", [["study", "difficulty"], ["train"]])
def test_checkpoints_are_not_made_before_they_are_due(refused, tmp_path, command):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    said = refused(*command, *where, "--checkpoint-every", "-1")
    assert "--checkpoint-every is 0 or more, not -1.0" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--plan-rate", "1e9"], "give --plan as well"), (["--address", "x"], "give --executor ray")],
)
def test_flags_that_do_not_go_together_are_refused_in_a_sentence(refused, tmp_path, flags, said):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    assert said in refused("study", "difficulty", *where, *flags)


@pytest.mark.parametrize(
    "words",
    [["train", "--no-such-flag"], ["train", "--seed", "x"], ["list", "nothing"]],
)
def test_words_that_no_command_takes_end_with_status_2(words, capsys):
    with pytest.raises(SystemExit) as ending:
        main(words)
    assert ending.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "names"), [([], [*COMMANDS, "study"]), (["study"], [*STUDIES])], ids=["none", "study"]
)
def test_without_a_command_all_of_them_are_named(refused, words, names):
    assert all(name in refused(*words) for name in names)


def test_a_flag_that_a_study_does_not_have_is_answered_with_that_studys_own(capsys, monkeypatch):
    """Not with those of all studies, nor with the help of a command that there is not."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["study", "dimensions", "--sparsities", "0.9"])
    said = capsys.readouterr().err
    assert said.count("--sparsity ") == 1
    assert "sparsescape study dimensions --help" in said


def test_a_refusal_of_the_installed_program(tmp_path):
    """Once through real worker processes: nothing but the sentence comes out."""
    problem = tiny.write(tmp_path, "return problem(train=data(0, count=0))")
    ended = subprocess.run(
        [tiny.COMMAND, *tiny.study(problem, tmp_path / "runs")], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert re.fullmatch(r"sparsescape: The training data cannot [^\n]+\n", ended.stderr)


def test_a_reader_that_has_enough_is_no_failure():
    """``sparsescape list problems | head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as pipe:
        ended = subprocess.run(
            [tiny.COMMAND, "list", "problems"], stdout=pipe, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


def _heeding_ctrl_c():
    """Whoever starts the tests in the background of a shell has them ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_stops_with_one_sentence(tmp_path):
    """A terminal sends SIGINT to the program and to its workers."""
    note = tmp_path / "paused"
    process = subprocess.Popen(
        [tiny.COMMAND, *tiny.study(tiny.write(tmp_path, "wait()"), tmp_path / "runs")],
        env={**os.environ, "PAUSED": str(note)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heeding_ctrl_c,
    )
    with process:
        tiny.eventually(lambda: note.exists() or process.poll() is not None, "never began")
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert said == "sparsescape: stopped; run it again to go on\n"


# ---------------------------------------------------------------------------- what it does


@pytest.mark.usefixtures("here")
def test_train_then_path_between_two_runs(tmp_path, capsys, refused):
    problem, store = tiny.write(tmp_path), ["--store", str(tmp_path / "runs")]
    given = ["--problem", problem]
    first, second = (trained(capsys, *TRAINING, *given, *store, "--seed", s) for s in "01")
    assert first != second

    assert main(["path", first, second, "--space", "dense", *QUICK, *given, *store]) == 0
    found = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    metrics = json.loads((tmp_path / "runs/stages" / found["run"] / "metrics.json").read_text())
    assert found["run"].startswith("along-")
    assert {"barrier", "climb", "decreasing"} <= found.keys()
    assert float(found["climb"]) == pytest.approx(metrics["climb"], rel=1e-5)
    assert int(found["passes"]) > 0
    assert len(metrics["t"]) == 6

    assert main(["list", "runs", *store]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in listed) == sorted([first, second])
    assert all("tiny.py" in line and "sparsity 0.8" in line for line in listed)


@pytest.mark.usefixtures("here")
def test_a_path_can_be_searched_for_by_several_trials(tmp_path, capsys):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    first, second = (trained(capsys, *TRAINING, *where, "--seed", s) for s in "01")
    words = ["path", first, second, "--space", "dense", "--search", "trials", "--points", "6"]
    words += ["--curve-steps", "4"]
    assert main([*words, *where]) == 0
    said = capsys.readouterr().out
    (found,) = (tmp_path / "runs/stages").glob("find-*")
    metrics = json.loads((found / "metrics.json").read_text())
    passes = [a["passes"] for a in metrics["attempts"]]
    assert passes == [0, *[4] * 6, *[8] * 4][: len(passes)]
    assert metrics["steps"] == sum(a["passes"] for a in metrics["attempts"])
    best = min(a["climb"] for a in metrics["attempts"])
    assert f"climb {best:.6g} with" in said
    # On the grid; the trials look at places between, too, and may see more of a climb.
    assert float(re.search(r"^climb +(\S+)$", said, re.MULTILINE)[1]) <= best * (1 + 1e-5) + 1e-6
    assert main([*words, *where]) == 0
    assert capsys.readouterr().out == said


@pytest.mark.usefixtures("here")
def test_a_path_that_cannot_be_is_refused_in_one_sentence(tmp_path, capsys):
    problem, store = tiny.write(tmp_path), ["--store", str(tmp_path / "runs")]
    given = ["--problem", problem]
    first, second = (trained(capsys, *TRAINING, *given, *store, "--seed", s) for s in "01")
    other = trained(capsys, *TRAINING, "--problem", "digits-mlp", "--steps", "1", *store)
    for words, about in [
        ([first, second, "--space", "sparse", *given], "start of the curve"),
        ([first, second], "give that file"),
        ([first, second, "--problem", "digits-conv"], "give that file"),
        ([first, other, *given], "different"),
        ([first, "train-0", *given], "train-0"),
        ([first, second, "--degree", "0", *given], "--degree"),
        ([first, second, "--points", "2", *given], "--points"),
        ([first, second, "--curve-lr", "0", *given], "--curve-lr"),
    ]:
        assert main(["path", *words, *QUICK[:2], *store]) == 2, words
        said = capsys.readouterr().err
        assert re.fullmatch(r"sparsescape: [^\n]+\n", said), words
        assert about in said
    assert not list(tmp_path.glob("runs/stages/fit-*"))


@pytest.mark.usefixtures("here")
def test_a_path_may_lead_to_a_run_of_another_length(tmp_path, capsys):
    """As a diagnosis of a run beside a longer one advises."""
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    short = trained(capsys, *TRAINING, *where, "--steps", "5")
    long = trained(capsys, *TRAINING, *where)
    assert main(["path", short, long, "--space", "dense", *QUICK, *where]) == 0


@pytest.mark.usefixtures("here")
def test_a_path_to_a_dense_run_is_free_in_either_space(tmp_path, capsys):
    problem = tiny.write(tmp_path)
    where = ["--problem", problem, "--store", str(tmp_path / "runs")]
    sparse = trained(capsys, *TRAINING, *where)
    dense = trained(capsys, "train", "--method", "dense", *where)
    assert main(["path", sparse, dense, "--space", "sparse", *QUICK, *where]) == 0


@pytest.mark.usefixtures("here")
def test_a_run_is_diagnosed_beside_another_and_kept(tmp_path, capsys, monkeypatch):
    """20 steps of the tiny problem are too few."""
    given = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    run, other = (trained(capsys, *TRAINING, *given, "--seed", s) for s in "01")
    assert main(["diagnose", run, *given]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("under-trained")
    (name,) = re.findall(r"^run +(diagnose-\S+)$", shown, re.MULTILINE)
    folder = tmp_path / "runs/stages" / name
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["verdict"] == "under-trained"
    assert metrics["open"] == ["good enough"]
    assert (folder / "better.safetensors").is_file()
    assert {"gradient_inside", "smallest_dense", "signals"} <= metrics["stationarity"].keys()

    monkeypatch.setattr(local, "_Pool", None)  # what is done is not done again
    assert main(["diagnose", run, *given]) == 0
    assert capsys.readouterr().out == shown
    monkeypatch.setattr(local, "_Pool", tiny.PoolHere)

    for words, about in [
        ([other, "--reference", run], "good enough|under-trained"),
        ([run, "--reference", run], "^good enough"),
    ]:
        assert main(["diagnose", *words, *given]) == 0
        shown = capsys.readouterr().out
        assert re.search(about, shown)
        assert "open without" not in shown


@pytest.mark.usefixtures("here")
def test_the_commands_that_a_diagnosis_gives_are_commands(tmp_path, capsys, monkeypatch):
    """All of every rule's, filled in with the settings of a run, up to where they would run."""
    given = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    run = trained(capsys, *TRAINING, *given)
    job = Job(
        {}, {"run": tmp_path / "runs/stages" / run}, tmp_path, Context(""), lambda steps: None
    )
    called = []
    for table in (COMMANDS, STUDIES):
        for name, function in table.items():

            def note(*args, _function=function, **flags):
                called.append(inspect.signature(_function).bind(*args, **flags))

            monkeypatch.setitem(table, name, functools.wraps(function)(note))
    commands = [
        remedy.command.format_map(diagnoses._words(job, 20))
        for rule in VERDICTS.values()
        for remedy in rule.remedies
        if remedy.command
    ]
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "sparsescape"
        assert main(words) == 0, command
    assert len(called) == len(commands) > 5


@pytest.mark.usefixtures("here")
def test_a_run_that_diverged_has_no_diagnosis(tmp_path, capsys):
    problem = tiny.write(tmp_path, "return problem(recipe=recipe(lr=1e9))")
    given = ["--problem", problem, "--store", str(tmp_path / "runs")]
    run = trained(capsys, *TRAINING, *given)
    assert main(["diagnose", run, *given]) == 0
    assert capsys.readouterr().out.startswith("diverged")


@pytest.mark.usefixtures("here")
def test_a_diagnosis_that_cannot_be_is_refused_in_one_sentence(tmp_path, capsys):
    given = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    run = trained(capsys, *TRAINING, *given)
    assert main(["diagnose", run, *given]) == 0
    kept = re.search(r"diagnose-\S+", capsys.readouterr().out)[0]
    for words, about in [
        ([run], "give that file"),
        (["train-0", *given[:2]], "train-0"),
        ([kept, *given[:2]], "not a training run"),
        ([run, "--reference", kept, *given[:2]], "not a training run"),
        ([run, "--curve-steps", "0", *given[:2]], "--curve-steps"),
    ]:
        assert main(["diagnose", *words, *given[2:]]) == 2, words
        said = capsys.readouterr().err
        assert re.fullmatch(r"sparsescape: [^\n]+\n", said), words
        assert about in said


@pytest.mark.usefixtures("here")
@pytest.mark.filterwarnings("ignore:The layer .* has lost all its weights")
@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"small-dense", "n-m", "sr-ste"}))
def test_every_method_trains(tmp_path, capsys, method):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    assert main(["train", "--method", method, "--sparsity", "0.75", *where]) == 0
    found = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    if method != "str":  # which chooses its sparsity
        assert found["active"] == ("128" if method == "dense" else "32")
    assert int(found["nonzeros"]) <= int(found["active"])  # what was just grown is 0
    assert found["diverged"] == "False"


@pytest.mark.usefixtures("here")
def test_a_training_run_is_done_once(tmp_path, capsys, monkeypatch):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    first = trained(capsys, *TRAINING, *where)
    monkeypatch.setattr(local, "_Pool", None)
    assert trained(capsys, *TRAINING, *where) == first


def test_lists_name_every_problem_and_method(capsys):
    for what, table in (("problems", CATALOGUE), ("methods", METHODS)):
        assert main(["list", what]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == list(table)
        assert all(len(line.split()) > 1 for line in lines)


def test_a_store_where_nothing_was_done_has_no_runs(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    assert main(["list", "runs", "--store", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out == ""
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("words", "function"),
    [([name], function) for name, function in COMMANDS.items()]
    + [(["study", name], function) for name, function in STUDIES.items()],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_help_of_each_command_names_every_flag(words, function, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ending:
        main([*words, "--help"])
    assert ending.value.code == 0
    shown = capsys.readouterr().out
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "computing":
            for field in fields(Computing):
                assert re.search(f"--{field.name.replace('_', '-')}[ ,]", shown)
        elif parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            assert f"--{name.replace('_', '-')} " in shown
        about = re.search(rf"^ +{name}: (\S+ \S+)", inspect.getdoc(function), re.MULTILINE)
        assert about, f"{name} is not described"
        assert about[1] in shown


def test_the_help_of_path_names_its_two_runs(capsys):
    with pytest.raises(SystemExit):
        main(["path", "--help"])
    usage = capsys.readouterr().out.partition("\n\n")[0]
    assert re.search(r"RUN.A.*RUN.B", usage)


def test_the_help_of_the_program_names_every_command(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["--help"])
    assert ending.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*COMMANDS, "study", *STUDIES))


# ---------------------------------------------------------------------------- again


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[list[str], Path]:
    """A finished study: the words of its command, and its folder."""
    folder = tmp_path_factory.mktemp("done")
    words = tiny.study(tiny.write(folder), folder / "runs", "--seeds", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_Pool", tiny.PoolHere)
        assert main(words) == 0
    return words, tiny.results_file(folder / "runs").parent


def test_a_run_whose_mask_was_given_is_not_told_to_train_with_another(done):
    _, folder = done
    told = {}
    for stage in (folder.parent / "stages").glob("train-*"):
        described = json.loads((stage / "stage.json").read_text(encoding="utf-8"))
        job = Job({}, {"run": stage}, stage, Context(""), lambda steps: None)
        found = argparse.Namespace(remedies=VERDICTS["under-trained"].remedies)
        (remedy,) = diagnoses._remedies(found, job, 20)
        assert "diagnosis.better" in remedy["code"]
        told["mask" in described["inputs"]] = remedy["command"]
    assert told[True] == ""
    assert "--steps 40" in told[False]


def imported_by(words: list[str]) -> tuple[str, str]:
    """What a command prints, and which heavy packages it imports for it."""
    program = (
        "import sys; from sparsescape.cli import main; assert main(sys.argv[1:]) == 0\n"
        "heavy = 'torch matplotlib sklearn scipy.stats numpy'.split()\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return shown.stdout, shown.stderr.strip()


def test_a_finished_study_is_shown_again_without_torch_or_matplotlib(done):
    words, folder = done
    printed, imported = imported_by(words)
    assert "torch" not in imported
    assert "matplotlib" not in imported
    assert "sklearn" not in imported
    assert "Findings" in printed
    assert str(folder / "report.html") in printed


@pytest.mark.parametrize("more", [[], ["--plan", "--plan-rate", "1e9"]])
def test_a_device_that_torch_does_not_know_is_refused_where_all_is_done(done, refused, more):
    words, _ = done
    assert "The device 'cudaa' cannot be used" in refused(*words, *more, "--device", "cudaa")


def test_runs_and_methods_are_listed_without_torch(done):
    _, folder = done
    printed, imported = imported_by(["list", "runs", "--store", str(folder.parent)])
    assert "train" in printed
    assert imported == "[]"
    printed, imported = imported_by(["list", "methods"])
    assert "rigl" in printed
    assert imported == "[]"


def test_report_draws_a_finished_study_anew(done, capsys):
    _, folder = done
    before = (folder / "results.json").read_bytes()
    page = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == page
    assert (folder / "results.json").read_bytes() == before
    assert "Findings" in capsys.readouterr().out


def test_a_study_is_reported_by_the_name_that_is_listed(done, capsys, monkeypatch, tmp_path):
    _, folder = done
    monkeypatch.chdir(tmp_path)
    assert main(["report", folder.name, "--store", str(folder.parent)]) == 0
    assert "Findings" in capsys.readouterr().out
    assert main(["report", "difficulty-0", "--store", str(folder.parent)]) == 2
    assert "There is no study named 'difficulty-0'" in capsys.readouterr().err


def test_a_finished_study_is_listed_with_its_command(done, capsys):
    words, folder = done
    assert main(["list", "runs", "--store", str(folder.parent)]) == 0
    first, *runs = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{folder.name}  sparsescape study difficulty --problem ")
    assert len(runs) == 5
    assert words[3] in first
    assert sum("steps from where train-" in run for run in runs) == 0
    assert any("20 steps from fresh weights with the mask of train-" in run for run in runs)
    listed = [re.search(r"sparsity (\S+), (\S+), seed (\d+)", run).groups() for run in runs]
    assert listed == sorted(listed)
    named = Path(words[3].rpartition(":")[0]).name + ":make_problem, "
    assert all(named in run for run in runs)  # its function too: a file may hold several


@pytest.mark.usefixtures("here")
def test_the_methods_study_compares_at_equal_steps_and_at_equal_flops(tmp_path, capsys):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    words = ["study", "methods", "--methods", "rigl", "--seeds", "2", "--sparsity", "0.75"]
    assert main([*words, *where]) == 0
    shown = capsys.readouterr()
    rounds = re.findall(r"^\[(\d+) of (\d+) planned, \d+ s\] ", shown.err, re.MULTILINE)
    done, planned = zip(*((int(d), int(p)) for d, p in rounds), strict=True)
    assert list(done) == list(range(1, planned[-1] + 1))  # over all rounds of the study
    assert list(planned) == sorted(planned)
    assert len(set(planned)) > 1
    folder = next((tmp_path / "runs").glob("methods-*"))
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found = {(run["method"], run["budget"]) for run in results["runs"]}
    sparse = {(name, budget) for name in ("static", "rigl") for budget in ("steps", "flops")}
    assert found == {("dense", "steps"), *sparse}
    dense = next(run["flops"] for run in results["runs"] if run["method"] == "dense")
    for run in results["runs"]:
        if run["budget"] == "flops":
            assert run["flops"] == pytest.approx(results["settings"]["flops"] * dense, rel=0.3)
    budget = results["settings"]["flops"] * dense
    for row in results["table"]:
        share = row["flops"]["mean"] / budget - 1
        told = row["budget"] == "flops" and abs(share) > 0.05
        assert row["off"] == (pytest.approx(share) if told else None)
    assert "rigl" in shown.out
    assert main([*words, *where, "--flops", "0"]) == 0
    (other,) = {*(tmp_path / "runs").glob("methods-*")} - {folder}
    half = json.loads((other / "results.json").read_text(encoding="utf-8"))
    assert half["runs"] == [run for run in results["runs"] if run["budget"] == "steps"]
    assert "Equal training FLOPs" not in (other / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("here")
def test_without_classes_methods_are_judged_by_test_loss(tmp_path, capsys):
    body = """def pair(seed):
    inputs, _ = data(seed)
    return inputs, inputs[:, :2].sin()
return problem(train=pair(0), test=pair(1), loss=F.mse_loss)"""
    where = ["--problem", tiny.write(tmp_path, body), "--store", str(tmp_path / "runs")]
    words = ["study", "methods", "--methods", "rigl", "--seeds", "2", "--sparsity", "0.75"]
    assert main([*words, *where, "--flops", "0"]) == 0
    (file,) = (tmp_path / "runs").glob("methods-*/results.json")
    results = json.loads(file.read_text(encoding="utf-8"))
    losses = {(run["method"], run["seed"]): run["test_loss"] for run in results["runs"]}
    (row,) = (row for row in results["table"] if row["method"] == "rigl")
    gains = [losses["static", seed] - losses["rigl", seed] for seed in range(2)]
    assert row["gain"]["mean"] == pytest.approx(sum(gains) / 2)
    assert "too few seeds" not in capsys.readouterr().out


def test_a_method_named_twice_is_refused(refused, tmp_path):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    said = refused("study", "methods", "--methods", "set", "rigl", "set", *where)
    assert "--methods names set twice" in said


@pytest.mark.usefixtures("here")
def test_small_dense_of_a_problem_that_is_not_scaled_is_refused_before_any_work(refused, tmp_path):
    where = ["--problem", tiny.write(tmp_path), "--store", str(tmp_path / "runs")]
    said = refused("study", "methods", "--methods", "set", "small-dense", *where)
    assert "small-dense needs a problem that says how its model is `scaled`" in said


@pytest.mark.usefixtures("here")
def test_the_sparsity_of_a_method_is_that_of_its_mask(tmp_path):
    """SET's last update may be at the last step, and what it grew is then still 0; STR has found
    its own sparsity."""
    body = "return problem(recipe=recipe(prune_every=1, prune_end=20))"
    where = ["--problem", tiny.write(tmp_path, body), "--store", str(tmp_path / "runs")]
    words = ["study", "methods", "--methods", "set", "str", "--seeds", "1", "--sparsity", "0.75"]
    assert main([*words, *where, "--flops", "0"]) == 0
    (file,) = (tmp_path / "runs").glob("methods-*/results.json")
    results = json.loads(file.read_text(encoding="utf-8"))
    runs = {run["method"]: run for run in results["runs"]}
    rows = {row["method"]: row["sparsity"]["mean"] for row in results["table"]}
    assert runs["set"]["nonzeros"] < runs["set"]["active"]
    assert rows["set"] == runs["set"]["sparsity"] == rows["static"] == 0.75
    assert rows["str"] == 1 - runs["str"]["nonzeros"] / runs["str"]["weights"]


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"study": "none"}', '{"study": 3}'])
def test_what_is_no_study_is_not_reported(text, tmp_path, refused):
    (tmp_path / "results.json").write_text(text)
    refused("report", str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_a_store_with_a_broken_study_says_which(tmp_path, refused):
    folder = tmp_path / "kept" / "methods-0"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("no JSON")
    assert "is no JSON" in refused("list", "runs", "--store", str(tmp_path / "kept"))
