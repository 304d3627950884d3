"""Loops over marks, compiled by numba: bools as bytes, of which the compiler makes vectors."""

from __future__ import annotations

import numpy as np

from .compilation import compiled


@compiled
def list_marked(marks, places):
    """Write where the marks are into ``places``, whose length is a power of 2 above their number.

    Without a branch, which would be guessed wrongly every other time. Where there turn out to be
    more marks, since another thread makes some, the first places are written over.
    """
    found, last = 0, len(places) - 1
    for i in range(len(marks)):
        places[found & last] = i
        found += np.int64(marks[i] != 0)


@compiled
def list_few_marked(marks, places):
    """The same where nearly all of eight marks in a row are none."""
    found, last, whole = 0, len(places) - 1, len(marks) // 8 * 8
    words = marks[:whole].view(np.uint64)
    for word in range(len(words)):
        if words[word]:
            for i in range(8 * word, 8 * word + 8):
                places[found & last] = i
                found += np.int64(marks[i] != 0)
    for i in range(whole, len(marks)):
        places[found & last] = i
        found += np.int64(marks[i] != 0)


@compiled
def mark_at(places, some, marks):
    """Mark those of the places of which ``some`` says so."""
    for i in range(len(places)):
        marks[places[i]] |= np.uint8(some[i] != 0)


@compiled
def mark_first(some, allowed, count, marks):
    """Mark the first so many of some places that are allowed, without repeats."""
    for place in some:
        if count == 0:
            return
        fresh = allowed[place] & (marks[place] ^ np.uint8(1))
        marks[place] |= fresh
        count -= np.int64(fresh)
