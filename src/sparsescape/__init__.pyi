from . import distributions, init, schedules, scores
from .data import Examples
from .errors import InputError
from .kernels import export
from .kernels.checkpoint import load_sparse, save_sparse
from .kernels.convert import to_dense, to_sparse
from .kernels.measure import layer_times
from .kernels.modules import SparseConv2d, SparseLinear
from .landscape.alignment.matching import Alignment, align
from .landscape.curvature.spectrum import Spectrum, spectrum
from .landscape.curvature.stationarity import Stationarity, stationarity
from .landscape.curves.bezier import Bezier, Line
from .landscape.curves.chain import PolygonalChain
from .landscape.curves.curve import Curve
from .landscape.diagnosis.diagnose import Diagnosis, diagnose
from .landscape.dimensions.extra import ExtraDimensions, extra_dimensions
from .landscape.planes import (
    Plane,
    Surface,
    plane_through,
    principal_plane,
    random_plane,
    survey,
)
from .landscape.profiles.profile import Profile, profile
from .landscape.search.bands import Band, Cycle, neb
from .landscape.search.fit import fit_curve
from .landscape.search.goals import Goal
from .landscape.search.paths import Attempt, FoundPath, find_path
from .landscape.search.trials import Trial
from .masks import Mask
from .objective import Objective
from .problems.problem import Problem, Recipe
from .sparsifiers import structures
from .sparsifiers.base import Sparsifier
from .sparsifiers.collapse import LayerCollapse
from .sparsifiers.dropgrow import DropGrow
from .sparsifiers.dynamic import MEST, SET, SETITOP, GraNet, RigL, RigLITOP
from .sparsifiers.escape import Escape
from .sparsifiers.foresight import FORCE, SNIP, AtInitialization, GraSP, SynFlow
from .sparsifiers.pruning import ACDC, GradualMagnitude, OneShot
from .sparsifiers.redistribution import DSR, SNFS, DeepR
from .sparsifiers.reparameterized import MovementPruning, PowerPropagation, TopKAST
from .sparsifiers.static import Static
from .sparsifiers.structured import NM, SRSTE, SRigL
from .sparsifiers.thresholds import STR
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
    "Diagnosis",
    "DropGrow",
    "Escape",
    "Examples",
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
    "Plane",
    "PolygonalChain",
    "PowerPropagation",
    "Problem",
    "Profile",
    "Recipe",
    "RigL",
    "RigLITOP",
    "SRigL",
    "SparseConv2d",
    "SparseLinear",
    "Sparsifier",
    "Spectrum",
    "Static",
    "Stationarity",
    "Surface",
    "SynFlow",
    "TopKAST",
    "Trial",
    "View",
    "align",
    "diagnose",
    "distributions",
    "export",
    "extra_dimensions",
    "find_path",
    "fit_curve",
    "init",
    "layer_times",
    "load_sparse",
    "neb",
    "plane_through",
    "principal_plane",
    "profile",
    "random_plane",
    "save_sparse",
    "schedules",
    "scores",
    "spectrum",
    "stationarity",
    "structures",
    "survey",
    "to_dense",
    "to_sparse",
]

__version__: str
