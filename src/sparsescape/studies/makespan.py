"""How long a graph of stages takes, of which some are done side by side."""

from __future__ import annotations

import heapq
from collections.abc import Mapping


def makespan(times: Mapping[str, float], needs: Mapping[str, set[str]], slots: int) -> float:
    """When the last stage ends if so many run side by side, each begun as soon as it can be.

    >>> makespan({"a": 1.0, "b": 2.0, "c": 2.0}, {"a": set(), "b": {"a"}, "c": {"a"}}, slots=2)
    3.0
    """
    running: list[tuple[float, str]] = []
    waiting, now = dict(times), 0.0
    while waiting or running:
        for key in list(waiting):
            under_way = {name for _, name in running}
            if len(running) < slots and not needs[key] & (waiting.keys() | under_way):
                heapq.heappush(running, (now + waiting.pop(key), key))
        now, _ = heapq.heappop(running)
    return now
