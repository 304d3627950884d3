"""The command line: one function per command, whose signature is its flags."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from .errors import InputError, unknown

if TYPE_CHECKING:
    from .studies.executor import Context
    from .studies.graph import Stage
    from .studies.store import Store

Distribution = Literal["uniform", "erk", "global"]


def study_difficulty(
    problem: str = "digits-conv",
    sparsity: float = 0.98,
    distribution: Distribution = "erk",
    seeds: int = 3,
    steps: int | None = None,
    curve_steps: int = 1000,
    curve_lr: float = 0.05,
    points: int = 61,
    store: Path = Path("runs"),
    workers: int = 0,
    data_root: str | None = None,
    checkpoint_every: float = 30.0,
) -> None:
    """Why does training not find the sparse network that pruning finds? (Evci et al. 2019)

    Args:
        problem: a name (see: sparsescape list problems) or my_file.py:make_problem.
        sparsity: share of the weights that are closed, from 0 to below 1.
        distribution: of what pruning keeps over the layers: uniform, erk or global.
        seeds: how many seeds, from 0 on.
        steps: training steps instead of the problem's own.
        curve_steps: steps of the search for each curve.
        curve_lr: learning rate of that search.
        points: points in [0, 1] at which paths are evaluated.
        store: folder of finished stages and studies.
        workers: worker processes; 0 for as many as there are cores.
        data_root: folder of the data, for problems that need files.
        checkpoint_every: seconds between two checkpoints of a stage.
    """
    from .report import publish, terminal
    from .studies import difficulty
    from .studies.executor import Context

    settings = difficulty.Settings(
        problem=problem,
        sparsity=sparsity,
        distribution=distribution,
        seeds=seeds,
        steps=steps,
        curve_steps=curve_steps,
        curve_lr=curve_lr,
        points=points,
    )
    planned = difficulty.plan(settings)
    stages = [stage for seed in planned for stage in seed.all()]
    kept = _compute(stages, store, Context(problem, data_root, checkpoint_every), workers)
    results = difficulty.results(settings, planned, kept)
    folder = publish.publish(results, stages, kept)
    terminal.print_results(results)
    print(f"\n{folder / 'report.html'}")


def study_methods(
    problem: str = "digits-conv",
    sparsity: float = 0.9,
    distribution: Distribution = "erk",
    seeds: int = 3,
    steps: int | None = None,
    flops: float = 0.1,
    methods: tuple[str, ...] = (),
    store: Path = Path("runs"),
    workers: int = 0,
    data_root: str | None = None,
    checkpoint_every: float = 30.0,
) -> None:
    """Every sparse-training method on one problem, at equal steps and at equal training FLOPs.

    Args:
        problem: a name (see: sparsescape list problems) or my_file.py:make_problem.
        sparsity: share of the weights that are closed at the end, from 0 to below 1.
        distribution: of what is kept over the layers, where a method leaves it open.
        seeds: how many seeds, from 0 on.
        steps: training steps instead of the problem's own.
        flops: the budget of equal FLOPs, as a share of what dense training costs; 0 leaves that
            half of the study out.
        methods: names (see: sparsescape list methods); all that fit the problem unless given.
        store: folder of finished stages and studies.
        workers: worker processes; 0 for as many as there are cores.
        data_root: folder of the data, for problems that need files.
        checkpoint_every: seconds between two checkpoints of a stage.
    """
    from .report import publish, terminal
    from .studies import methods as study
    from .studies.executor import Context

    settings = study.Settings(
        problem=problem,
        sparsity=sparsity,
        distribution=distribution,
        seeds=seeds,
        steps=steps,
        flops=flops,
        methods=methods or study.DEFAULT,
    )
    context = Context(problem, data_root, checkpoint_every)
    cells = study.equal_steps(settings)
    kept = _compute([cell.stage for cell in cells], store, context, workers)
    cells += study.equal_flops(settings, cells, kept)
    _compute([cell.stage for cell in cells], store, context, workers)
    results = study.results(settings, cells, kept)
    folder = publish.publish(results, [cell.stage for cell in cells], kept)
    terminal.print_results(results)
    print(f"\n{folder / 'report.html'}")


def train(
    problem: str = "digits-conv",
    method: str = "gradual-magnitude",
    sparsity: float = 0.9,
    distribution: Distribution = "erk",
    seed: int = 0,
    steps: int | None = None,
    store: Path = Path("runs"),
    data_root: str | None = None,
    checkpoint_every: float = 30.0,
) -> None:
    """Train one problem with one method; prints the run's name and what it reached.

    Args:
        problem: a name (see: sparsescape list problems) or my_file.py:make_problem.
        method: a name (see: sparsescape list methods).
        sparsity: share of the weights that are closed at the end, from 0 to below 1.
        distribution: of what is kept over the layers: uniform, erk or global.
        seed: decides the initialization, the order of the data and every other draw.
        steps: training steps instead of the problem's own.
        store: folder of finished stages and studies.
        data_root: folder of the data, for problems that need files.
        checkpoint_every: seconds between two checkpoints.
    """
    from .studies import single
    from .studies.executor import Context

    stage = single.training(
        problem,
        method=method,
        sparsity=sparsity,
        distribution=distribution,
        seed=seed,
        steps=steps,
    )
    kept = _compute([stage], store, Context(problem, data_root, checkpoint_every), workers=1)
    _print_metrics(kept, stage.key)


def path(
    run_a: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_A")],
    run_b: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_B")],
    /,
    space: Literal["sparse", "dense"] = "sparse",
    search: Literal["curve", "trials"] = "curve",
    degree: int = 3,
    curve_steps: int = 1000,
    curve_lr: float = 0.05,
    points: int = 61,
    seed: int = 0,
    problem: str | None = None,
    store: Path = Path("runs"),
    data_root: str | None = None,
) -> None:
    """Search for a path between two training runs, and say whether it climbs.

    Args:
        run_a: name of the run where the path starts (see: sparsescape list runs).
        run_b: name of the run where it ends.
        space: sparse holds the path in the mask of RUN_B; dense leaves all weights free.
        search: curve fits one curve, for the flags below; trials makes all the trials of
            find_path, one after the other, until one has no climb (at most 7000 passes).
        degree: of the Bézier curve; 1 is the straight line.
        curve_steps: steps of the search.
        curve_lr: learning rate of the search.
        points: points at which the path is evaluated.
        seed: decides the draws of the search.
        problem: my_file.py:make_problem, where the runs are of a problem of one's own.
        store: folder of finished stages and studies.
        data_root: folder of the data, for problems that need files.
    """
    from .studies import single
    from .studies.executor import Context
    from .studies.store import Store

    ends = [Store(store).stage(run) for run in (run_a, run_b)]
    if search == "trials":
        stage = single.best_path(*ends, space=space, points=points, seed=seed)
    else:
        one = {"curve_steps": curve_steps, "curve_lr": curve_lr, "degree": degree, "seed": seed}
        stage = single.path(*ends, space=space, points=points, search=one)
    context = Context(single.locator(stage, problem), data_root)
    kept = _compute([stage], store, context, workers=1)
    for attempt in kept.metrics(stage.inputs["curve"].key).get("attempts", ()):
        what = f"{attempt['goal']} at degree {attempt['degree']}"
        print(f"{what:20} climb {attempt['climb']} with {attempt['passes']} passes")
    _print_metrics(kept, stage.key)


def diagnose(
    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")],
    /,
    reference: str | None = None,
    curve_steps: int | None = None,
    seed: int = 0,
    problem: str | None = None,
    store: Path = Path("runs"),
    data_root: str | None = None,
) -> None:
    """Say which kind of stuck a training run is, with the evidence, and what to try.

    Args:
        run: name of the run (see: sparsescape list runs).
        reference: name of a better run to compare it with, a pruned one for instance.
        curve_steps: steps of each search for a path to the reference, instead of its own.
        seed: decides the draws.
        problem: my_file.py:make_problem, where the run is of a problem of one's own.
        store: folder of finished stages and studies.
        data_root: folder of the data, for problems that need files.
    """
    from .report.diagnosis import print_diagnosis
    from .studies import single
    from .studies.executor import Context
    from .studies.store import Store

    kept = Store(store)
    better = None if reference is None else kept.stage(reference)
    stage = single.diagnosis(kept.stage(run), better, curve_steps=curve_steps, seed=seed)
    context = Context(single.locator(stage, problem), data_root)
    _compute([stage], store, context, workers=1)
    print_diagnosis(kept.metrics(stage.key))
    print(f"\n{'run':15} {stage.key}")


def report(study: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STUDY")], /) -> None:
    """Print the tables and verdicts of a finished study and draw its report anew.

    Args:
        study: the study's folder (see: sparsescape list runs).
    """
    from .report import page, terminal
    from .studies.store import read_json

    if not (study / "results.json").is_file():
        raise InputError(f"There is no results.json in {str(study)!r}.")
    results = read_json(study / "results.json")
    page.write(results, study)
    terminal.print_results(results)
    print(f"\n{study / 'report.html'}")


def list_(
    what: tyro.conf.Positional[Literal["problems", "methods", "runs"]],
    /,
    store: Path = Path("runs"),
) -> None:
    """List the problems and methods that can be named, or the runs and studies in the store.

    Args:
        what: problems, methods or runs.
        store: folder of finished stages and studies.
    """
    if what == "problems":
        from .problems.catalogue import CATALOGUE

        rows = [(name, entry.summary) for name, entry in CATALOGUE.items()]
    elif what == "methods":
        from .sparsifiers.catalogue import METHODS

        rows = [(name, method.summary) for name, method in METHODS.items()]
    else:
        from .studies.single import summaries
        from .studies.store import Store

        rows = summaries(Store(store))
    for name, summary in rows:
        print(f"{name}  {summary}")


STUDIES: dict[str, Callable[..., None]] = {
    "difficulty": study_difficulty,
    "methods": study_methods,
}
COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "path": path,
    "diagnose": diagnose,
    "report": report,
    "list": list_,
}
_STUDY_HELP = "study {" + ",".join(STUDIES) + "}: run one of the studies, with all its stages"


def main(arguments: Sequence[str] | None = None) -> int:
    """The program: 0 where all went well, 2 for input that cannot be used, 1 for a failure."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _dispatch(words)
    except InputError as error:
        print(f"sparsescape: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if type(error).__name__ != "StageError":
            raise
        print(f"sparsescape: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sparsescape: stopped; run it again to go on", file=sys.stderr)
        return 130
    return 0


def _dispatch(words: list[str]) -> None:
    """Find the function of a command and call it with its flags."""
    if words[:1] == ["study"]:
        _call("sparsescape study", STUDIES, words[1:], "Run a study.", "study")
    else:
        about = f"Train sparse networks, and see why they are stuck.\n\n{_STUDY_HELP}"
        _call("sparsescape", COMMANDS, words, about, "command")


def _call(
    prog: str, commands: dict[str, Callable[..., None]], words: list[str], about: str, kind: str
) -> None:
    if words and not words[0].startswith("-") and words[0] not in commands:
        raise unknown(kind, words[0], [*commands, *(["study"] if commands is COMMANDS else [])])
    tyro.extras.subcommand_cli_from_dict(commands, prog=prog, description=about, args=words)


def _compute(stages: list[Stage], store: Path, context: Context, workers: int) -> Store:
    """Do the stages that are not done yet, in front of the person who waits."""
    from rich.console import Console

    from .report.live import LiveProgress
    from .studies.executor import LocalExecutor
    from .studies.graph import with_inputs
    from .studies.store import Store

    kept, executor = Store(store), LocalExecutor(workers)
    missing = {s.key: s.label for s in with_inputs(stages) if not kept.has(s.key)}
    with LiveProgress(Console(stderr=True), missing) as live:
        executor.run(stages, kept, context, live)
    return kept


def _print_metrics(store: Store, key: str) -> None:
    metrics = store.metrics(key)
    for name, value in metrics.items():
        if not isinstance(value, list):
            print(f"{name:15} {value}")
    print(f"{'run':15} {key}")
