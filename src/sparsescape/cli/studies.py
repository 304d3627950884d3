"""The commands ``sparsescape study NAME``: each plans a study, computes it and tells of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from tyro.conf import OmitArgPrefixes

from .computing import Computing, Conduct, Distribution, Do, Execution, conduct


def study_difficulty(
    problem: str = "digits-conv",
    sparsity: float = 0.98,
    distribution: Distribution = "erk",
    seeds: int = 3,
    steps: int | None = None,
    curve_steps: int = 1000,
    curve_lr: float = 0.05,
    search: Literal["curves", "trials"] = "curves",
    points: int = 61,
    execution: Execution = "auto",
    computing: OmitArgPrefixes[Computing] = Computing(),
) -> None:
    """Why does training not find the sparse network that pruning finds? (Evci et al. 2019)

    Args:
        problem: a name (see: sparsescape list problems) or my_file.py:make_problem.
        sparsity: share of the weights that are closed, from 0 to below 1.
        distribution: of what pruning keeps over the layers: uniform, erk, lamp or global.
        seeds: how many seeds, from 0 on.
        steps: training steps instead of the problem's own.
        curve_steps: steps of the search for each curve.
        curve_lr: learning rate of that search.
        search: trials also searches with several goals, optimizers and restarts (docs/search.md).
        points: points in [0, 1] at which paths are evaluated.
        execution: how what is inside a mask is run: masked, sparse, or auto: sparse where that is
            faster, by a rule (docs/sparse.md).
        computing: where stages are done, and what is kept of them.
    """
    from ..studies import difficulty

    settings = difficulty.Settings(
        problem=problem,
        sparsity=sparsity,
        distribution=distribution,
        seeds=seeds,
        steps=steps,
        curve_steps=curve_steps,
        curve_lr=curve_lr,
        search=search,
        points=points,
        execution=execution,
    )

    def study(do: Do) -> Conduct:
        planned = difficulty.plan(settings)
        stages = [stage for seed in planned for stage in seed.all()]
        kept = do(stages)
        return stages, lambda: difficulty.results(settings, planned, kept)

    conduct(study, problem, computing)


def study_methods(
    problem: str = "digits-conv",
    sparsity: float = 0.9,
    distribution: Distribution = "erk",
    seeds: int = 3,
    steps: int | None = None,
    flops: float = 0.1,
    methods: tuple[str, ...] = (),
    execution: Execution = "auto",
    computing: OmitArgPrefixes[Computing] = Computing(),
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
        methods: names (see: sparsescape list methods) or my_file.py:make_sparsifier
            (docs/methods.md); all of the names that fit the problem unless given.
        execution: how what is inside a mask is run: masked, sparse, or auto: sparse where that is
            faster, by a rule (docs/sparse.md).
        computing: where stages are done, and what is kept of them.
    """
    from ..studies import methods as methods_
    from ..studies import spending

    settings = methods_.Settings(
        problem=problem,
        sparsity=sparsity,
        distribution=distribution,
        seeds=seeds,
        steps=steps,
        flops=flops,
        methods=methods or methods_.DEFAULT,
        execution=execution,
    )

    def study(do: Do) -> Conduct:
        do(methods_.tries(settings))
        cells = methods_.equal_steps(settings)
        kept = do([cell.stage for cell in cells])
        cells += methods_.equal_flops(settings, cells, kept)
        do([cell.stage for cell in cells])
        for _ in range(spending.ROUNDS):
            cells += methods_.again(settings, cells, kept)
            do([cell.stage for cell in cells])
        cells = methods_.nearest(settings, cells, kept)
        stages = [cell.stage for cell in cells]
        return stages, lambda: methods_.results(settings, cells, kept)

    conduct(study, problem, computing, settings.methods)


def study_dimensions(
    problem: str = "digits-conv",
    sparsity: tuple[float, ...] = (0.95, 0.98),
    distribution: Distribution = "erk",
    seeds: int = 3,
    steps: int | None = None,
    choices: tuple[str, ...] = ("random", "gradient", "path-gradient", "distance", "neighbours"),
    search_passes: int = 1000,
    points: int = 31,
    precision: float = 0.2,
    layers: tuple[str, ...] = ("*",),
    execution: Execution = "auto",
    computing: OmitArgPrefixes[Computing] = Computing(),
) -> None:
    """How many closed weights must be opened, while travelling, to get out of a bad solution?

    Args:
        problem: a name (see: sparsescape list problems) or my_file.py:make_problem.
        sparsity: shares of the weights that are closed, each above 0 and below 1.
        distribution: of what pruning keeps over the layers: uniform, erk, lamp or global.
        seeds: how many seeds, from 0 on.
        steps: training steps instead of the problem's own.
        choices: what is opened first: random, gradient, path-gradient, distance, neighbours.
        search_passes: forward and backward passes of each curve that is tried (docs/search.md).
        points: points in [0, 1] at which paths are evaluated, at least.
        precision: how near bisection comes to the smallest count, as a share of it.
        layers: patterns of the layers that are opened alone, too, by gradient; nothing after it for
            none.
        execution: how what is inside a mask is run: masked, sparse, or auto: sparse where that is
            faster, by a rule (docs/sparse.md).
        computing: where stages are done, and what is kept of them.
    """
    from ..studies import dimensions

    settings = dimensions.Settings(
        problem=problem,
        sparsity=sparsity,
        distribution=distribution,
        seeds=seeds,
        steps=steps,
        choices=choices,
        search_passes=search_passes,
        points=points,
        precision=precision,
        layers=layers,
        execution=execution,
    )

    def study(do: Do) -> Conduct:
        tries, cases = dimensions.tries(settings), dimensions.cases(settings)
        do(tries)
        runs = [run for case in cases for run in case.runs.values()]
        kept = do(runs)
        searches = dimensions.searches(settings, cases, kept)
        stages = [*tries, *runs, *(search.stage for search in searches)]
        do(stages)
        return stages, lambda: dimensions.results(settings, cases, searches, kept)

    conduct(study, problem, computing)


def study_escape(
    problem: str = "digits-conv",
    sparsity: float = 0.98,
    distribution: Distribution = "erk",
    seeds: int = 3,
    steps: int | None = None,
    budget: float = 1.0,
    open: tuple[str, ...] = ("0.001", "0.003", "0.01", "0.03"),
    noise: float = 0.5,
    constant_lr: float = 0.1,
    trajectory: int = 40,
    points: int = 61,
    execution: Execution = "auto",
    computing: OmitArgPrefixes[Computing] = Computing(),
) -> None:
    """From a bad sparse solution, which ways of training on lead out, and does knowing how many
    weights to open beat RigL?

    Args:
        problem: a name (see: sparsescape list problems) or my_file.py:make_problem.
        sparsity: share of the weights that are closed, above 0 and below 1.
        distribution: of what is kept over the layers, where a method leaves it open.
        seeds: how many seeds, from 0 on.
        steps: training steps instead of the problem's own, before and from the bad solution.
        budget: the training FLOPs from there on, as a multiple of the bad solution's own.
        open: how many closed weights to open, one after the other: counts, shares of them, or
            measured: what ss.extra_dimensions finds (docs/escape.md).
        noise: of the active weights, relative to their root mean square in each layer.
        constant_lr: learning rate of training on, as a share of the recipe's.
        trajectory: places along each run at which the whole training set is evaluated.
        points: points in [0, 1] at which straight lines are evaluated.
        execution: how what is inside a mask is run: masked, sparse, or auto: sparse where that is
            faster, by a rule (docs/sparse.md).
        computing: where stages are done, and what is kept of them.
    """
    from ..studies import escape, spending

    settings = escape.Settings(
        problem=problem,
        sparsity=sparsity,
        distribution=distribution,
        seeds=seeds,
        steps=steps,
        budget=budget,
        open=tuple(escape.opening(word) for word in open),
        noise=noise,
        constant_lr=constant_lr,
        trajectory=trajectory,
        points=points,
        execution=execution,
    )

    def study(do: Do) -> Conduct:
        tries = escape.tries(settings)
        do(tries)
        kept = do([stage for start in escape.starts(settings) for stage in (start.bad, start.good)])
        pilots = escape.pilots(settings, kept)
        do([cell.stage for cell in pilots])
        cells = escape.equal_flops(settings, pilots, kept)
        do([cell.stage for cell in cells])
        for _ in range(spending.ROUNDS):
            cells += escape.again(settings, cells, kept)
            do([cell.stage for cell in cells])
        cells = escape.nearest(settings, cells, kept)
        stages = [*tries, *(cell.line for cell in cells)]
        do(stages)
        return stages, lambda: escape.results(settings, cells, kept)

    conduct(study, problem, computing)


def study_landscape(
    problem: str = "digits-conv",
    sparsity: float = 0.98,
    distribution: Distribution = "erk",
    seed: int = 0,
    steps: int | None = None,
    curve_steps: int = 1000,
    curve_lr: float = 0.05,
    grid: int = 31,
    snapshots: int = 40,
    execution: Execution = "auto",
    computing: OmitArgPrefixes[Computing] = Computing(),
) -> None:
    """Maps of the loss: between the solutions, around them, and along the runs that found them.

    Args:
        problem: a name (see: sparsescape list problems) or my_file.py:make_problem.
        sparsity: share of the weights that are closed, above 0 and below 1.
        distribution: of what pruning keeps over the layers: uniform, erk, lamp or global.
        seed: which seed of the difficulty study is mapped.
        steps: training steps instead of the problem's own.
        curve_steps: steps of the search for each quadratic path.
        curve_lr: learning rate of that search.
        grid: points along each side of a map.
        snapshots: points kept of each run whose course is mapped.
        execution: how what is inside a mask is run: masked, sparse, or auto: sparse where that is
            faster, by a rule (docs/sparse.md).
        computing: where stages are done, and what is kept of them.
    """
    from ..studies import landscape

    settings = landscape.Settings(
        problem=problem,
        sparsity=sparsity,
        distribution=distribution,
        seed=seed,
        steps=steps,
        curve_steps=curve_steps,
        curve_lr=curve_lr,
        grid=grid,
        snapshots=snapshots,
        execution=execution,
    )

    def study(do: Do) -> Conduct:
        maps = landscape.plan(settings)
        stages = [one.stage for one in maps]
        kept = do(stages)
        return stages, lambda: landscape.results(settings, maps, kept)

    conduct(study, problem, computing)


STUDIES: dict[str, Callable[..., None]] = {
    "difficulty": study_difficulty,
    "methods": study_methods,
    "dimensions": study_dimensions,
    "escape": study_escape,
    "landscape": study_landscape,
}
