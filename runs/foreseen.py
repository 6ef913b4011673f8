"""A model's predictions of an episode, and the real states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elites.agents.pets import PETS

Array = NDArray[Any]
Segment = tuple[Array, Array, Array]  # steps (T,) from 1 on, real states (T, S), particles (P, T, S)


@dataclass(frozen=True, eq=False)
class Foreseen:
    """An episode in segments. Each is predicted open loop from the real state before it."""

    segments: Sequence[Segment]

    @property
    def came(self) -> Array:
        """The real states (T, S) of the whole episode."""
        return np.concatenate([came for _, came, _ in self.segments])

    @property
    def size(self) -> int:
        return int(self.came.shape[1])

    @property
    def spread(self) -> Array:
        """(S,): the range of the real states."""
        spread: Array = np.maximum(np.ptp(self.came, 0), 1e-6)
        return spread

    @property
    def errors(self) -> Array:
        """(segments, S): the mean over the steps of |mean of the particles - real state| / spread."""
        means = [np.abs(particles.mean(0) - came).mean(0) for _, came, particles in self.segments]
        errors: Array = np.nan_to_num(np.stack(means) / self.spread, nan=np.inf)
        return errors

    def worst(self, most: int) -> Array:
        """The `most` entries with the largest mean error, in their order."""
        lengths = [len(steps) for steps, *_ in self.segments]
        entries: Array = np.sort(np.argsort(-np.average(self.errors, axis=0, weights=lengths))[:most])
        return entries

    def ranked(self) -> list[Segment]:
        """The segments of full length, ordered by their mean error over the entries, best first."""
        full = max(len(steps) for steps, *_ in self.segments)
        order = np.argsort(self.errors.mean(1), kind="stable")
        return [self.segments[i] for i in order if len(self.segments[i][0]) == full]


def foreseen(agent: PETS, length: int) -> Foreseen:
    """The last `length` transitions, `horizon` at a time. An angle continues from the end of the last segment."""
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
