"""The methods of the catalogue with the settings of their papers, made from a plan.

What a paper leaves to the length of a run follows the plan; every other number is the paper's, and
is the default of the method's class.
"""

from __future__ import annotations

from typing import Any

from .. import scores
from .base import Sparsifier
from .dynamic import MEST, SET, SETITOP, GraNet, RigL, RigLITOP
from .escape import Escape
from .foresight import FORCE, SNIP, AtInitialization, GraSP, SynFlow
from .plan import Plan
from .pruning import ACDC, GradualMagnitude, OneShot
from .redistribution import DSR, SNFS, DeepR
from .reparameterized import MovementPruning, PowerPropagation, TopKAST
from .static import Static
from .structured import NM, SRSTE, SRigL
from .thresholds import STR


def static(plan: Plan) -> Sparsifier:
    return Static(plan.mask, dense=plan.dense) if plan.mask is not None else Static(**_random(plan))


# ---------------------------------------------------------------------------- at initialization


def random(plan: Plan) -> Sparsifier:
    def noise(model: Any) -> scores.Scores:
        return scores.random(model, seed=plan.seed)

    return AtInitialization(plan.sparsity, score_of=noise, dense=plan.dense)


def magnitude(plan: Plan) -> Sparsifier:
    return AtInitialization(plan.sparsity, score_of=scores.magnitude, dense=plan.dense)


def snip(plan: Plan) -> Sparsifier:
    return SNIP(plan.sparsity, data=plan.data, loss=plan.loss, dense=plan.dense)


def force(plan: Plan) -> Sparsifier:
    return FORCE(plan.sparsity, data=plan.data, loss=plan.loss, dense=plan.dense)


def grasp(plan: Plan) -> Sparsifier:
    return GraSP(plan.sparsity, data=plan.data, loss=plan.loss, dense=plan.dense)


def synflow(plan: Plan) -> Sparsifier:
    return SynFlow(plan.sparsity, inputs=plan.data[0], dense=plan.dense)


# ---------------------------------------------------------------------------- dense to sparse


def one_shot(plan: Plan) -> Sparsifier:
    return OneShot(plan.sparsity, at=plan.begin, distribution=plan.distribution, dense=plan.dense)


def gradual_magnitude(plan: Plan) -> Sparsifier:
    return GradualMagnitude(plan.sparsity, **_gradual(plan))


def acdc(plan: Plan) -> Sparsifier:
    """The authors' 100 epochs: 10 dense, phases of 5, the last dense one from 75 to 85."""
    return ACDC(
        plan.sparsity,
        begin=plan.steps // 10,
        phase=max(1, plan.steps // 20),
        end=plan.steps * 85 // 100,
        last_dense=min(max(1, plan.steps // 10), plan.steps * 85 // 100 - plan.steps // 10),
        dense=plan.dense,
    )


def granet(plan: Plan) -> Sparsifier:
    """From dense; as the authors do, it prunes from the first step and regenerates to the last."""
    return GraNet(
        **_random(plan),
        initial_sparsity=0.0,
        update_every=plan.every,
        update_until=plan.steps,
        prune_until=plan.end,
    )


def powerpropagation(plan: Plan) -> Sparsifier:
    return PowerPropagation(plan.sparsity, **_gradual(plan))


def movement(plan: Plan) -> Sparsifier:
    return MovementPruning(plan.sparsity, **_gradual(plan))


def str_(plan: Plan) -> Sparsifier:
    return STR(dense=plan.dense)


# ---------------------------------------------------------------------------- sparse to sparse


def set_(plan: Plan) -> Sparsifier:
    """It stops where Evci et al. 2020 stop it: what grows as the learning rate ends stays at 0."""
    return SET(**_from_mask(plan), update_every=plan.every, update_until=_until(plan))


def deep_r(plan: Plan) -> Sparsifier:
    return DeepR(**_random(plan))


def snfs(plan: Plan) -> Sparsifier:
    """The authors' moves weights to the end of training."""
    return SNFS(**_random(plan), update_every=plan.every, update_until=plan.steps)


def dsr(plan: Plan) -> Sparsifier:
    return DSR(**_random(plan), update_every=plan.every, update_until=_until(plan))


def rigl(plan: Plan, **options: Any) -> Sparsifier:
    moving = {"update_every": plan.every, "update_until": _until(plan)}
    return RigL(**_from_mask(plan) | moving | options)


def mest(plan: Plan) -> Sparsifier:
    return MEST(**_moving(plan))


def top_kast(plan: Plan) -> Sparsifier:
    """The backward pass uses twice as many weights as the forward pass."""
    return TopKAST(
        plan.sparsity,
        backward_sparsity=1 - min(1.0, 2 * (1 - plan.sparsity)),
        distribution=plan.distribution,
        update_every=plan.every,
        dense=plan.dense,
    )


def rigl_itop(plan: Plan) -> Sparsifier:
    """Updates of half of the weights, 4000 steps of the authors' 98 000 apart."""
    return RigLITOP(**_random(plan), update_every=max(1, plan.steps // 24), update_until=plan.steps)


def set_itop(plan: Plan) -> Sparsifier:
    """Updates of half of the weights, 1500 steps of the authors' 98 000 apart."""
    return SETITOP(**_random(plan), update_every=max(1, plan.steps // 65), update_until=plan.steps)


def escape(plan: Plan, **options: Any) -> Sparsifier:
    """From the plan's mask, or from the largest weights; a round at every update of the plan, and
    the last one ends at three quarters of training."""
    start = {"mask": plan.mask} if plan.mask is not None else {"sparsity": plan.sparsity}
    planned = {"hold_for": plan.every, "rounds": max(1, _until(plan) // plan.every)}
    settings = {"distribution": plan.distribution, "dense": plan.dense, **planned, **options}
    return Escape(**start, **settings)


# ---------------------------------------------------------------------------- structured


def srigl(plan: Plan) -> Sparsifier:
    return SRigL(**_moving(plan))


def n_m(plan: Plan) -> Sparsifier:
    return NM(at=plan.begin, dense=plan.dense)


def sr_ste(plan: Plan) -> Sparsifier:
    return SRSTE(dense=plan.dense)


# ---------------------------------------------------------------------------- what they share


def _random(plan: Plan) -> dict[str, Any]:
    """A random mask to start from."""
    return {
        "sparsity": plan.sparsity,
        "distribution": plan.distribution,
        "seed": plan.seed,
        "dense": plan.dense,
    }


def _from_mask(plan: Plan) -> dict[str, Any]:
    """The mask that the plan gives, or else a random one."""
    return {**_random(plan), "initial_mask": plan.mask}


def _gradual(plan: Plan) -> dict[str, Any]:
    return {
        "begin": plan.begin,
        "end": plan.end,
        "every": plan.every,
        "distribution": plan.distribution,
        "dense": plan.dense,
    }


def _moving(plan: Plan) -> dict[str, Any]:
    """A random mask that moves, less and less, until three quarters of training."""
    return {**_random(plan), "update_every": plan.every, "update_until": _until(plan)}


def _until(plan: Plan) -> int:
    return plan.steps * 3 // 4
