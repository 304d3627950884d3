"""Spectra of the Hessian, inside a mask and out of it, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import panels
from .style import BLUE, GREEN, ORANGE, other

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..landscape.spectrum import Spectrum

_COLOURS = {"inside": BLUE, "outside": ORANGE, "dense": GREEN}
_FLOOR = 1e-5
"""Share of the highest density below which nothing is drawn, since no probe saw it."""


def spectra(found: Mapping[str, Spectrum]) -> Figure:
    """Densities of eigenvalues on one logarithmic axis, a line for each of the subspaces.

    Args:
        found: name ("inside", "outside", "dense") → its spectrum.

    >>> import torch
    >>> from sparsescape import Objective, spectrum
    >>> model, data = torch.nn.Linear(3, 2), (torch.randn(9, 3), torch.arange(9) % 2)
    >>> figure = spectra({"dense": spectrum(Objective(model, data), model)})
    >>> figure.axes[0].get_xlabel()
    'eigenvalue of the Hessian'
    """
    figure = panels.sheet(2.2)
    [[axes]] = panels.grid(
        figure, 1, 1, left=0.6, right=0.15, top=0.12, bottom=0.42, gap=(0.0, 0.0)
    )
    highest = max(float(s.density.max()) for s in found.values())
    for name, s in found.items():
        colour = _COLOURS.get(name, other(name))
        axes.plot(s.grid, s.density, color=colour, label=f"{name} ({s.count} coordinates)")
    axes.set_yscale("log")
    axes.set_ylim(_FLOOR * highest, 2 * highest)
    axes.set_xlabel("eigenvalue of the Hessian")
    axes.set_ylabel("density")
    axes.legend(loc="upper right")
    return figure
