"""Saves a run at the right times, and tells the observers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from elites.runs.folder import RunFolder
from elites.runs.observers import Observer

SHARE = 0.05  # the largest share of the time, at the default checkpoint_s


class Saver:
    """every_s: the least seconds between two checkpoints. If a checkpoint takes long, the time between them grows."""

    def __init__(self, folder: RunFolder, observers: Observer, every_s: float) -> None:
        self.folder, self.observers, self.every_s = folder, observers, every_s
        self._last, self._took = time.perf_counter(), 0.0

    @property
    def due(self) -> bool:
        return time.perf_counter() - self._last >= self.every_s * max(1.0, self._took / (30 * SHARE))

    def save(self, state: Callable[[], Mapping[str, Any]]) -> None:
        self.observers.saving()
        began = time.perf_counter()
        path = self.folder.save(state())
        self._last = time.perf_counter()
        self._took = self._last - began
        self.observers.saved(path)

    @property
    def last(self) -> str:
        """The last checkpoint, in words."""
        return f"the last checkpoint is {self.folder.last_checkpoint or 'none yet'}"
