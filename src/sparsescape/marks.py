"""Loops over marks, compiled by numba: bools as bytes, of which the compiler makes vectors."""

from __future__ import annotations

import numpy as np

from .compilation import compiled

BLOCK = 64
"""So many marks are looked at without asking whether there is room for their places."""


@compiled
def list_marked(marks, places):
    """Write where the marks are into ``places``, as far as they have room; returns how many.

    Without a branch for each, which would be guessed wrongly every other time.
    """
    found = 0
    for start in range(0, len(marks), BLOCK):
        stop = min(start + BLOCK, len(marks))
        if found + BLOCK > len(places):
            return _list_while_there_is_room(marks, start, places, found)
        for i in range(start, stop):
            places[found] = i
            found += np.int64(marks[i] != 0)
    return found


@compiled
def list_few_marked(marks, places):
    """The same where nearly all of eight marks in a row are none."""
    found, whole = 0, len(marks) // 8 * 8
    words = marks[:whole].view(np.uint64)
    for word in range(len(words)):
        if not words[word]:
            continue
        if found + 8 > len(places):
            return _list_while_there_is_room(marks, 8 * word, places, found)
        for i in range(8 * word, 8 * word + 8):
            places[found] = i
            found += np.int64(marks[i] != 0)
    return _list_while_there_is_room(marks, whole, places, found)


@compiled
def _list_while_there_is_room(marks, start, places, found):
    for i in range(start, len(marks)):
        if marks[i] and found < len(places):
            places[found] = i
            found += 1
    return found


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
