from . import distributions, init, schedules, scores
from .errors import InputError
from .landscape.curves import Bezier, Curve, Line, PolygonalChain
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
from .sparsifiers.static import Static

__all__ = [
    "ACDC", "AtInitialization", "DSR", "FORCE", "GraSP", "SNIP", "SynFlow", "MEST", "SET", "SETITOP", "SNFS", "Bezier", "Curve", "DeepR", "DropGrow",
    "GraNet", "GradualMagnitude", "InputError", "LayerCollapse", "Line", "Mask", "Objective",
    "OneShot", "PolygonalChain", "Problem", "Profile", "Recipe", "RigL", "RigLITOP", "SRigL",
    "Sparsifier", "Static", "distributions", "fit_curve", "init", "profile", "schedules",
    "scores", "structures",
]

__version__: str
