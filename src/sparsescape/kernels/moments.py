"""The loops of BatchNorm: a plane of memory for every channel, its moments, and what they do to it.

A plane is gone over once for its mean, once for its variance (around the mean: nothing cancels) and
once to be normalized; but for the first time it comes from the second-level cache. Sums are taken
in registers over a few thousand numbers, and those of a plane in double precision.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ..compilation import compiled
from .drivers import Compiled
from .lanes import load, multiplied, scaled, splat, store, total

WIDE = 64
"""Numbers that are worked on at once, in several registers."""

STRETCH = 4096
"""Numbers whose sum is taken in the precision that they have."""


@compiled
def _sum_of(numbers, start, stop):
    one, whole = numbers.dtype.type(1), 0.0
    for i in range(start, stop, STRETCH):
        end = min(stop, i + STRETCH)
        full = end - (end - i) % WIDE
        lanes = splat(numbers.dtype.type(0), WIDE)
        for k in range(i, full, WIDE):
            lanes = scaled(lanes, one, load(numbers, k, WIDE))
        whole += total(lanes)
        for k in range(full, end):
            whole += numbers[k]
    return whole


@compiled
def _sum_of_squares(numbers, start, stop, mean):
    """Of what is left of the numbers without the mean."""
    one, whole = numbers.dtype.type(1), 0.0
    around = splat(-mean, WIDE)
    for i in range(start, stop, STRETCH):
        end = min(stop, i + STRETCH)
        full = end - (end - i) % WIDE
        lanes = splat(numbers.dtype.type(0), WIDE)
        for k in range(i, full, WIDE):
            rest = scaled(around, one, load(numbers, k, WIDE))
            lanes = multiplied(lanes, rest, rest)
        whole += total(lanes)
        for k in range(full, end):
            whole += (numbers[k] - mean) ** 2
    return whole


@compiled
def _sums_of_gradient(gradient, numbers, start, stop, mean):
    """Σ g, and Σ g · (x − mean)."""
    one, whole, product = numbers.dtype.type(1), 0.0, 0.0
    around = splat(-mean, WIDE)
    for i in range(start, stop, STRETCH):
        end = min(stop, i + STRETCH)
        full = end - (end - i) % WIDE
        lanes = products = splat(numbers.dtype.type(0), WIDE)
        for k in range(i, full, WIDE):
            own = load(gradient, k, WIDE)
            lanes = scaled(lanes, one, own)
            products = multiplied(products, own, scaled(around, one, load(numbers, k, WIDE)))
        whole += total(lanes)
        product += total(products)
        for k in range(full, end):
            whole += gradient[k]
            product += gradient[k] * (numbers[k] - mean)
    return whole, product


def _normalize(parts, length, eps, weight, bias, source, target, means, variances):
    """target = (source − mean) / √(variance + eps) · weight + bias."""
    for part in prange(len(parts) - 1):
        for channel in range(parts[part], parts[part + 1]):
            start, stop = channel * length, (channel + 1) * length
            full = stop - length % WIDE
            means[channel] = _sum_of(source, start, stop) / length
            mean = means[channel]
            variances[channel] = _sum_of_squares(source, start, stop, mean) / length
            scale = source.dtype.type(weight[channel] / np.sqrt(variances[channel] + eps))
            shift = source.dtype.type(bias[channel] - mean * scale)
            for k in range(start, full, WIDE):
                store(target, k, scaled(splat(shift, WIDE), scale, load(source, k, WIDE)))
            for k in range(full, stop):
                target[k] = source[k] * scale + shift


def _normalize_back(
    parts, length, weight, means, inverses, gradient, source, target, of_weight, of_bias
):
    """The gradients to the source, the weight and the bias, of that to the target.

    With r = 1 / √(variance + eps) and h = (x − mean) · r, Σ g h to the weight, Σ g to the bias, and
    weight · r · (g − mean of g − h · mean of g h) to x: linear in g and x once the sums are known.
    """
    for part in prange(len(parts) - 1):
        for channel in range(parts[part], parts[part + 1]):
            start, stop = channel * length, (channel + 1) * length
            full = stop - length % WIDE
            mean, inverse = means[channel], inverses[channel]
            whole, product = _sums_of_gradient(gradient, source, start, stop, mean)
            of_bias[channel], of_weight[channel] = whole, product * inverse
            scale = source.dtype.type(weight[channel] * inverse)
            slope = source.dtype.type(-scale * inverse * inverse * product / length)
            shift = source.dtype.type(-scale * whole / length - slope * mean)
            for k in range(start, full, WIDE):
                lanes = scaled(splat(shift, WIDE), slope, load(source, k, WIDE))
                store(target, k, scaled(lanes, scale, load(gradient, k, WIDE)))
            for k in range(full, stop):
                target[k] = gradient[k] * scale + source[k] * slope + shift


normalize, normalize_back = Compiled(_normalize), Compiled(_normalize_back)
