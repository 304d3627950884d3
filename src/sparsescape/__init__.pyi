from . import distributions, init, schedules, scores
from .errors import InputError
from .landscape.alignment import Alignment, align
from .landscape.bands import Band, Cycle, neb
from .landscape.curves import Bezier, Curve, Line, PolygonalChain
from .landscape.dimensions import ExtraDimensions, extra_dimensions
from .landscape.goals import Goal
from .landscape.paths import Attempt, FoundPath, Trial, find_path
from .landscape.profiles import Profile, profile
from .landscape.search import fit_curve
from .masks import Mask
from .objective import Objective
from .problems.problem import Problem, Recipe
from .sparsifiers import structures
from .sparsifiers.base import LayerCollapse, Sparsifier
from .sparsifiers.dropgrow import DropGrow
from .sparsifiers.dynamic import MEST, SET, SETITOP, GraNet, RigL, RigLITOP, SRigL
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
    "Alignment",
    "AtInitialization",
    "Attempt",
    "Band",
    "Bezier",
    "Curve",
    "Cycle",
    "DeepR",
    "DropGrow",
    "ExtraDimensions",
    "FoundPath",
    "Goal",
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
    "SynFlow",
    "TopKAST",
    "Trial",
    "View",
    "align",
    "distributions",
    "extra_dimensions",
    "find_path",
    "fit_curve",
    "init",
    "neb",
    "profile",
    "schedules",
    "scores",
    "structures",
]

__version__: str
