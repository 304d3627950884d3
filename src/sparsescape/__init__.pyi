from . import distributions, init, schedules, scores
from .errors import InputError
from .landscape.curves import Bezier, Curve, Line, PolygonalChain
from .landscape.paths import FoundPath, Trial, find_path
from .landscape.planes import (
    Plane,
    Surface,
    plane_through,
    principal_plane,
    random_plane,
    survey,
)
from .landscape.profiles import Profile, profile
from .landscape.search import fit_curve
from .masks import Mask
from .objective import Objective
from .problems.problem import Problem, Recipe
from .sparsifiers import structures
from .sparsifiers.base import LayerCollapse, Sparsifier
from .sparsifiers.dropgrow import DropGrow
from .sparsifiers.dynamic import MEST, SET, SETITOP, GraNet, RigL, RigLITOP, SRigL
from .sparsifiers.escape import Escape
from .sparsifiers.foresight import FORCE, SNIP, AtInitialization, GraSP, SynFlow
from .sparsifiers.pruning import ACDC, GradualMagnitude, OneShot
from .sparsifiers.redistribution import DSR, SNFS, DeepR
from .sparsifiers.reparameterized import STR, MovementPruning, PowerPropagation, TopKAST
from .sparsifiers.static import Static
from .sparsifiers.structured import NM, SRSTE
from .sparsifiers.views import View

__all__ = [
    "ACDC",
    "DSR",
    "FORCE",
    "MEST",
    "NM",
    "SET",
    "SETITOP",
    "SNFS",
    "SNIP",
    "SRSTE",
    "STR",
    "AtInitialization",
    "Bezier",
    "Curve",
    "DeepR",
    "DropGrow",
    "Escape",
    "FoundPath",
    "GraNet",
    "GraSP",
    "GradualMagnitude",
    "InputError",
    "LayerCollapse",
    "Line",
    "Mask",
    "MovementPruning",
    "Objective",
    "OneShot",
    "Plane",
    "PolygonalChain",
    "PowerPropagation",
    "Problem",
    "Profile",
    "Recipe",
    "RigL",
    "RigLITOP",
    "SRigL",
    "Sparsifier",
    "Static",
    "Surface",
    "SynFlow",
    "TopKAST",
    "Trial",
    "View",
    "distributions",
    "find_path",
    "fit_curve",
    "init",
    "plane_through",
    "principal_plane",
    "profile",
    "random_plane",
    "schedules",
    "scores",
    "structures",
    "survey",
]

__version__: str
