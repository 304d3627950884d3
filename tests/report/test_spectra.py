"""The figure of spectra: a line for each subspace, none of it lost."""

import numpy as np
import pytest

from sparsescape.landscape.spectrum import Spectrum
from sparsescape.report.spectra import spectra
from sparsescape.report.style import style


def made(count: int, scale: float) -> Spectrum:
    nodes = np.linspace(-1, scale, 5)[None]
    grid = np.linspace(-2, scale + 1, 50)
    return Spectrum(nodes, np.full((1, 5), 0.2), count, grid, np.exp(-(grid**2)), 0.1)


def test_every_subspace_has_a_line_with_its_number_of_coordinates():
    found = {"inside": made(272, 9.0), "dense": made(13584, 49.0)}
    with style():
        (axes,) = spectra(found).axes
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels == ["inside (272 coordinates)", "dense (13584 coordinates)"]
    for line, spectrum in zip(axes.get_lines(), found.values(), strict=True):
        assert np.array_equal(line.get_xdata(), spectrum.grid)
        assert np.array_equal(line.get_ydata(), spectrum.density)
    assert len({line.get_color() for line in axes.get_lines()}) == 2
    low, high = axes.get_ylim()
    assert low > 0
    assert high > max(s.density.max() for s in found.values())


@pytest.mark.parametrize("name", ["outside", "a subspace of one's own"])
def test_any_name_can_be_drawn(name):
    with style():
        assert spectra({name: made(3, 1.0)}).axes[0].get_yscale() == "log"
