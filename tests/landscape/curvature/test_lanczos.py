"""Lanczos against full eigendecompositions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, eigsh

from helpers import draw
from sparsescape.landscape.curvature.lanczos import extreme_eigenvalues, krylov

DOUBLE = torch.float64


def symmetric(size: int, seed: int = 0, rank: int | None = None) -> torch.Tensor:
    """A random symmetric matrix with some large eigenvalues, most of them small, of both signs."""
    turned, _ = torch.linalg.qr(draw(size, size, seed=seed, dtype=DOUBLE))
    values = draw(size, seed=seed + 1, dtype=DOUBLE).sign() * torch.logspace(1, -3, size)
    if rank is not None:
        values[rank:] = 0
    return turned @ torch.diag(values) @ turned.T


@given(size=st.integers(1, 40), seed=st.integers(0, 1000), tight=st.booleans())
def test_both_ends_and_their_bounds(size, seed, tight):
    """With a basis for all vectors, and with one that has to be restarted."""
    matrix = symmetric(size, seed)
    exact = torch.linalg.eigvalsh(matrix)
    start = draw(size, seed=seed + 2, dtype=DOUBLE)
    found = extreme_eigenvalues(
        lambda v: matrix @ v, start, tol=1e-10, max_products=2000, memory=0 if tight else 2**30
    )
    assert found.converged
    for pair, value in ((found.smallest, exact[0]), (found.largest, exact[-1])):
        assert pair.value == pytest.approx(value.item(), abs=1e-8 * float(exact.abs().max()))
        residual = (matrix @ pair.vector - pair.value * pair.vector).norm()
        assert residual <= pair.bound * 1.01 + 1e-12
        assert pair.vector.norm() == pytest.approx(1, abs=1e-8)


@given(size=st.integers(2, 60), seed=st.integers(0, 1000), products=st.integers(1, 20))
def test_bounds_hold_however_early_it_is_given_up(size, seed, products):
    matrix = symmetric(size, seed)
    exact = torch.linalg.eigvalsh(matrix)
    start = draw(size, seed=seed + 2, dtype=DOUBLE)
    found = extreme_eigenvalues(lambda v: matrix @ v, start, tol=0, max_products=products)
    for pair in (found.smallest, found.largest):
        nearest = (exact - pair.value).abs().min().item()
        assert nearest <= pair.bound + 1e-12
    assert found.products <= products


def test_single_precision_keeps_its_bounds_too():
    matrix = symmetric(80)
    exact, single = torch.linalg.eigvalsh(matrix), matrix.float()
    found = extreme_eigenvalues(lambda v: single @ v, draw(80, seed=5), tol=1e-6)
    for pair in (found.smallest, found.largest):
        assert (exact - pair.value).abs().min().item() <= pair.bound
    assert found.largest.value == pytest.approx(exact[-1].item(), rel=1e-6)


def test_scipy_finds_the_same_with_no_fewer_products():
    matrix, count = symmetric(200).numpy(), 0

    def product(vector):
        nonlocal count
        count += 1
        return matrix @ vector

    operator = LinearOperator(matrix.shape, matvec=product, dtype=np.float64)
    (theirs,) = eigsh(operator, k=1, which="LA", tol=1e-5, return_eigenvectors=False)
    ours = extreme_eigenvalues(
        lambda v: torch.from_numpy(matrix) @ v,
        draw(200, seed=1, dtype=DOUBLE),
        tol=1e-5,
        ends=("largest",),
    )
    assert ours.largest.value == pytest.approx(theirs, rel=1e-5)
    assert ours.products <= count


def test_a_matrix_of_zeros_is_done_at_once():
    found = extreme_eigenvalues(lambda v: 0 * v, torch.ones(50))
    assert (found.smallest.value, found.largest.value, found.products) == (0, 0, 1)
    assert found.converged


def test_few_distinct_eigenvalues_take_few_products():
    """A start meets one vector of each eigenspace: the Krylov space has as many dimensions."""
    values = torch.tensor([2.0, 2.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0] * 20, dtype=DOUBLE)
    found = extreme_eigenvalues(lambda v: values * v, draw(160, seed=1, dtype=DOUBLE), tol=1e-12)
    assert found.products <= 4
    assert found.smallest.value == pytest.approx(-1)
    assert found.largest.value == pytest.approx(2)


def test_what_was_not_reached_is_said():
    matrix = symmetric(60)
    found = extreme_eigenvalues(
        lambda v: matrix @ v, draw(60, seed=1, dtype=DOUBLE), tol=1e-12, max_products=3
    )
    assert not found.converged
    assert found.products == 3


def test_the_basis_stays_orthonormal_where_plain_lanczos_would_lose_it():
    """One eigenvalue far out converges at once, after which rounding brings it back."""
    values = torch.cat([torch.tensor([1e4]), torch.linspace(0, 1, 299)])
    space = krylov(lambda v: values * v, draw(300, seed=1), 100)
    gram = space.vectors[: space.size] @ space.vectors[: space.size].T
    assert (gram - torch.eye(space.size)).abs().max() < 1e-5


@given(size=st.integers(2, 30), steps=st.integers(1, 12), seed=st.integers(0, 1000))
def test_a_quadrature_is_exact_up_to_degree_2m_minus_1(size, steps, seed):
    matrix = symmetric(size, seed)
    start = draw(size, seed=seed + 2, dtype=DOUBLE)
    space = krylov(lambda v: matrix @ v, start, steps)
    nodes, turned = space.eigen()
    power, norm = start.clone(), float(start @ start)
    scale = float(torch.linalg.eigvalsh(matrix).abs().max())
    for degree in range(2 * space.size):
        exact = float(start @ power) / norm
        assert (turned[0] ** 2 @ nodes**degree) == pytest.approx(exact, abs=1e-9 * scale**degree)
        power = matrix @ power
    assert math.isclose(float((turned[0] ** 2).sum()), 1)
