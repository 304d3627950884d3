from . import distributions, init, schedules, scores
from .errors import InputError
from .landscape.curves import Bezier, Curve, Line, PolygonalChain
from .landscape.dimensions import ExtraDimensions, extra_dimensions
from .landscape.paths import FoundPath, Trial, find_path
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
    "ExtraDimensions",
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
    "distributions",
    "extra_dimensions",
    "find_path",
    "fit_curve",
    "init",
    "profile",
    "schedules",
    "scores",
    "structures",
]

__version__: str
