from . import distributions, init, schedules, scores
from .errors import InputError
from .landscape.curves import Bezier, Curve, Line, PolygonalChain
from .landscape.profiles import Profile, profile
from .landscape.search import fit_curve
from .masks import Mask
from .objective import Objective
from .problems.problem import Problem, Recipe
from .sparsifiers.base import Sparsifier
from .sparsifiers.pruning import GradualMagnitude, OneShot
from .sparsifiers.static import Static

__all__ = [
    "Bezier",
    "Curve",
    "GradualMagnitude",
    "InputError",
    "Line",
    "Mask",
    "Objective",
    "OneShot",
    "PolygonalChain",
    "Problem",
    "Profile",
    "Recipe",
    "Sparsifier",
    "Static",
    "distributions",
    "fit_curve",
    "init",
    "profile",
    "schedules",
    "scores",
]

__version__: str
