"""Curves among the results of a stage: a file for each of their control points."""

from __future__ import annotations

from pathlib import Path

from ...landscape.curves.bezier import Bezier
from ...landscape.curves.curve import Curve
from ...points import load_point, save_point
from .job import Job


def save_curve(curve: Curve, folder: Path, prefix: str = "") -> None:
    """Write ``control-1.safetensors`` and so on."""
    for number, point in enumerate(curve.control_points(), start=1):
        save_point(point, _control(folder, number, prefix))


def load_curve(job: Job, role: str, prefix: str = "") -> Bezier:
    """The curve that an input of the job left, between the job's own ends."""
    folder = job.inputs[role]
    degree = 1 + len(list(folder.glob(f"{prefix}control-*.safetensors")))
    names = job.objective().parameters
    curve = Bezier(job.point("start"), job.point("end"), degree=degree, names=names)
    points = [load_point(_control(folder, number, prefix)) for number in range(1, degree)]
    curve.set_control_points(points)
    return curve


def _control(folder: Path, number: int, prefix: str) -> Path:
    return folder / f"{prefix}control-{number}.safetensors"
