"""A chain of states with one reward, at its far end: a test of exploration (as in Nachum et al. 2017)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

State = NDArray[np.float32]


class Chain(gymnasium.Env[State, int]):
    """Action 1 goes one state on, action 0 goes back to the first one. The last state gives 1 and ends the episode.

    Random actions reach the end of the default chain in one try of 1024. Observations are one-hot.
    """

    def __init__(self, length: int = 11, render_mode: str | None = None) -> None:
        self.length, self.place, self.render_mode = length, 0, render_mode
        self.observation_space = Box(0.0, 1.0, (length,), np.float32)
        self.action_space: Any = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[State, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = 0
        return self._observation(), {}

    def step(self, action: int) -> tuple[State, float, bool, bool, dict[str, Any]]:
        self.place = self.place + 1 if action else 0
        there = self.place == self.length - 1
        return self._observation(), float(there), there, False, {}

    def _observation(self) -> State:
        found: State = np.eye(self.length, dtype=np.float32)[self.place]
        return found
