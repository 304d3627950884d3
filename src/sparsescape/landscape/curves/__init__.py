"""Curves: families of points with two fixed ends."""
