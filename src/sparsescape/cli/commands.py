"""The other commands: one training run, one path, one diagnosis, and what there is already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from .computing import Distribution, Execution, compute_one, how_parallel, is_first, print_metrics


def train(
    problem: str = "digits-conv",
    method: str = "gradual-magnitude",
    sparsity: float = 0.9,
    distribution: Distribution = "erk",
    seed: int = 0,
    steps: int | None = None,
    execution: Execution = "auto",
    store: str = "runs",
    data_root: str | None = None,
    checkpoint_every: float = 30.0,
    parallel: Literal["ddp", "fsdp"] | None = None,
    device: str = "auto",
) -> None:
    """Train one problem with one method; prints the run's name and what it reached.

    Args:
        problem: a name (see: sparsescape list problems), my_file.py:make_problem, or
            hf:MODEL:DATASET (docs/problems.md).
        method: a name (see: sparsescape list methods) or my_file.py:make_sparsifier
            (docs/methods.md).
        sparsity: share of the weights that are closed at the end, from 0 to below 1.
        distribution: of what is kept over the layers: uniform, erk, lamp or global.
        seed: decides the initialization, the order of the data and every other draw.
        steps: training steps instead of the problem's own.
        execution: how what is inside the mask is run: masked, sparse, or auto: sparse where that
            is faster, by a rule (docs/sparse.md).
        store: folder of finished stages and studies, or its URL (docs/machines.md).
        data_root: folder of the data, for problems that need files.
        checkpoint_every: seconds between two checkpoints.
        parallel: under torchrun: the whole model on each rank (ddp), or a shard of it (fsdp).
        device: cpu, cuda and so on; auto takes a GPU, if there is one, for large problems.
    """
    from ..studies import single
    from ..studies.stages.context import Context

    together = how_parallel(parallel)
    stage = single.training(
        problem,
        method=method,
        sparsity=sparsity,
        distribution=distribution,
        seed=seed,
        steps=steps,
        execution=execution,
        parallel=together,
    )
    context = Context(problem, data_root, checkpoint_every, device=device, methods=(method,))
    kept = compute_one(stage, store, context, together)
    if is_first():
        print_metrics(kept, stage.key)


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
    execution: Execution | None = None,
    problem: str | None = None,
    store: str = "runs",
    data_root: str | None = None,
) -> None:
    """Search for a path between two training runs, and say whether it climbs.

    Under torchrun all processes do it together: a part of every batch, some of the points each.

    Args:
        run_a: name of the run where the path starts (see: sparsescape list runs).
        run_b: name of the run where it ends.
        space: sparse holds the path in the mask of RUN_B; dense leaves all weights free.
        search: curve fits one curve, for the flags below; trials makes all the trials of
            find_path, one after the other, until one has no climb: the straight line and ten curves
            of --curve-steps passes each.
        degree: of the Bézier curve; 1 is the straight line.
        curve_steps: steps of the search, or passes of each trial's.
        curve_lr: learning rate of the search.
        points: points at which the path is evaluated.
        seed: decides the draws of the search.
        execution: how it is run inside the mask (see: sparsescape train --help); as RUN_A was,
            unless given.
        problem: my_file.py:make_problem, where the runs are of a problem of one's own.
        store: folder of finished stages and studies, or its URL (docs/machines.md).
        data_root: folder of the data, for problems that need files.
    """
    from ..studies import single
    from ..studies.stages.context import Context
    from ..studies.stores import open_store

    ends = [open_store(store).stage(run) for run in (run_a, run_b)]
    together = how_parallel(None)
    common: Any = {"space": space, "points": points, "execution": execution, "parallel": together}
    if search == "trials":
        stage = single.best_path(*ends, curve_steps=curve_steps, seed=seed, **common)
    else:
        one = {"curve_steps": curve_steps, "curve_lr": curve_lr, "degree": degree, "seed": seed}
        stage = single.path(*ends, search=one, **common)
    context = Context(single.locator(stage, problem), data_root)
    kept = compute_one(stage, store, context, together)
    if not is_first():
        return
    searched = kept.metrics(stage.inputs["curve"].key)
    for attempt in searched.get("attempts", ()):
        what = f"{attempt['goal']} at degree {attempt['degree']}"
        print(f"{what:20} climb {attempt['climb']:.6g} with {attempt['passes']} passes")
    print(f"{'passes':15} {searched['steps']}")
    print_metrics(kept, stage.key)


def diagnose(
    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")],
    /,
    reference: str | None = None,
    curve_steps: int | None = None,
    seed: int = 0,
    execution: Execution | None = None,
    problem: str | None = None,
    store: str = "runs",
    data_root: str | None = None,
) -> None:
    """Say which kind of stuck a training run is, with the evidence, and what to try.

    Args:
        run: name of the run (see: sparsescape list runs).
        reference: name of a better run to compare it with, a pruned one for instance.
        curve_steps: passes of each curve that is tried to reach the reference, instead of 1000.
        seed: decides the draws.
        execution: how it is run inside the mask (see: sparsescape train --help); as RUN was, unless
            given.
        problem: my_file.py:make_problem, where the run is of a problem of one's own.
        store: folder of finished stages and studies, or its URL (docs/machines.md).
        data_root: folder of the data, for problems that need files.
    """
    from ..report.diagnosis import print_diagnosis
    from ..studies import single
    from ..studies.stages.context import Context
    from ..studies.stores import open_store

    kept = open_store(store)
    better = None if reference is None else kept.stage(reference)
    stage = single.diagnosis(
        kept.stage(run), better, curve_steps=curve_steps, seed=seed, execution=execution
    )
    context = Context(single.locator(stage, problem), data_root)
    compute_one(stage, store, context, how_parallel(None))
    if is_first():
        print_diagnosis(kept.metrics(stage.key))
        print(f"\n{'run':15} {stage.key}")


def report(
    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY")],
    /,
    store: str = "runs",
) -> None:
    """Print the tables and verdicts of a finished study and draw its report anew.

    Args:
        study: the study's name (see: sparsescape list runs), or its folder.
        store: folder of finished stages and studies, or its URL (docs/machines.md).
    """
    from ..report import page, terminal
    from ..studies.store import read_results
    from ..studies.stores import existing_store

    is_name = Path(study).name == study and not Path(study).is_dir()
    folder = existing_store(store).study(study) if is_name else Path(study)
    results = read_results(folder)
    page.write(results, folder)
    terminal.print_results(results)
    print(f"\n{folder / 'report.html'}")


def list_(
    what: tyro.conf.Positional[Literal["problems", "methods", "runs"]],
    /,
    store: str = "runs",
) -> None:
    """List the problems and methods that can be named, or the runs and studies in the store.

    Args:
        what: problems, methods or runs.
        store: folder of finished stages and studies, or its URL (docs/machines.md).
    """
    if what == "problems":
        from ..problems.catalogue import CATALOGUE

        rows = [(name, entry.summary) for name, entry in CATALOGUE.items()]
    elif what == "methods":
        from ..sparsifiers.catalogue import METHODS

        rows = [(name, method.summary) for name, method in METHODS.items()]
    else:
        from ..studies.single import summaries
        from ..studies.stores import existing_store

        rows = summaries(existing_store(store))
    for name, summary in rows:
        print(f"{name}  {summary}")


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "path": path,
    "diagnose": diagnose,
    "report": report,
    "list": list_,
}
