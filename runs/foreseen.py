"""What a model foresaw of an episode, beside what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elites.agents.pets import PETS

Array = NDArray[Any]
Segment = tuple[Array, Array, Array]  # steps (T,), from 1 on; what came (T, S); the particles (P, T, S)


@dataclass(frozen=True, eq=False)
class Foreseen:
    """An episode in segments, each open loop from what came before it."""

    segments: Sequence[Segment]

    @property
    def came(self) -> Array:
        """(T, S), of the whole episode."""
        return np.concatenate([came for _, came, _ in self.segments])

    @property
    def size(self) -> int:
        return int(self.came.shape[1])

    @property
    def spread(self) -> Array:
        """(S,): from the least to the most that came."""
        spread: Array = np.maximum(np.ptp(self.came, 0), 1e-6)
        return spread

    def worst(self, most: int) -> Array:
        """The entries with the largest mean error |mean of the particles - what came| / spread, in their order."""
        error = np.concatenate([particles.mean(0) - came for _, came, particles in self.segments])
        size = np.nan_to_num(np.abs(error).mean(0) / self.spread, nan=np.inf)
        entries: Array = np.sort(np.argsort(-size)[:most])
        return entries


def foreseen(agent: PETS, length: int) -> Foreseen:
    """The last `length` transitions, `horizon` at a time. An angle goes on where the segment before it ended."""
    first, horizon = len(agent.replay) - length, agent.config.horizon
    segments: list[Segment] = []
    for start in range(0, length, horizon):
        came, particles = agent.predict(first + start, min(horizon, length - start))
        for entry in agent.task.angles if segments else ():
            turns = np.round((segments[-1][1][-1, entry] - came[0, entry]) / (2 * np.pi))
            came[:, entry] += 2 * np.pi * turns
            particles[..., entry] += 2 * np.pi * turns
        segments.append((np.arange(start + 1, start + 1 + len(came)), came, particles))
    return Foreseen(segments)
