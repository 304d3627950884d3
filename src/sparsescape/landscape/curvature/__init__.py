"""Slope and curvature at a point: derivatives, eigenvalues, steps down, signals."""
