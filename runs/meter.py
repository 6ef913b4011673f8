"""The wall time and memory of a run, over all processes that ran it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from elites.runs import memory


class Meter:
    """Counts from its creation, plus the figures of earlier processes from a checkpoint."""

    def __init__(self) -> None:
        self._began, self._before = time.perf_counter(), 0.0
        self._peak: float | None = None

    @property
    def wall_s(self) -> float:
        return self._before + time.perf_counter() - self._began

    @property
    def peak_mb(self) -> float | None:
        """The peak memory. None if it is not known."""
        known = [peak for peak in (self._peak, memory.peak_mb()) if peak is not None]
        return max(known, default=None)

    def state_dict(self) -> dict[str, Any]:
        return {"wall": self.wall_s, "peak": self.peak_mb}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._before, self._peak = state["wall"], state["peak"]
        self._began = time.perf_counter()
