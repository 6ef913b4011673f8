"""Environments whose faults name their place: exceptions, and numbers that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from elites.agents.learner import Array
from elites.agents.lockstep import Lockstep, Step
from elites.envs import name_of
from elites.runs.environments import Environments
from elites.runs.faults import Fault, in_a_line

Place = Callable[[int], str]  # the index of an environment -> its place in its episode, in words
LARGEST = np.finfo(np.float32).max  # the largest finite float32; a comparison with NaN is False


class Arena(Lockstep):
    """N environments in lockstep. Every error in them becomes a Fault.

    place, beginning: the place in an episode, at a step and before the first step.
    """

    def __init__(self, envs: Environments, place: Place, beginning: Place) -> None:
        self.name, self.place, self.beginning = name_of(envs), place, beginning
        try:
            super().__init__(envs)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def reset(self, seeds: Sequence[int], which: Array | None = None) -> Array:
        try:
            observation = super().reset(seeds, which)
        except Exception as error:
            raise self._fault(error, self.beginning) from cause_of(error)
        self.check(self.beginning, observation)
        return observation

    def step(self, action: Array) -> Step:
        try:
            step = super().step(action)
        except Exception as error:
            raise self._fault(error, self.place) from cause_of(error)
        self.check(self.place, step.next_observation, step.reward)
        if not self.seeded and step.began.any():
            self.check(self.beginning, step.observation)
        return step

    def check(self, place: Place, observation: Array, reward: Array | None = None) -> None:
        """Raises a Fault for wrong observations (N, S) or rewards (N,). There are no rewards when episodes begin."""
        shape = (self.count, *(self.envs.single_observation_space.shape or ()))
        if observation.shape != shape:
            raise Fault(None, f"observations of shape {shape} at {self._somewhere(place)}", f"{observation.shape}")
        finite = (np.abs(observation) <= LARGEST).all(-1) & (True if reward is None else np.abs(reward) <= LARGEST)
        if finite.all():
            return
        i = int(finite.argmin())
        got = f"observation {observation[i]}" if reward is None else f"reward {reward[i]}, observation {observation[i]}"
        raise Fault(i, f"finite numbers of 32 bits at {place(i)}", got)

    def _fault(self, error: Exception, place: Place) -> Fault:
        if not isinstance(error, Fault):
            return Fault(None, f"an observation at {self._somewhere(place)}", in_a_line(error))
        at = self._somewhere(place) if error.number is None else place(error.number)
        return Fault(error.number, f"{error.expected} at {at}", error.got)

    def _somewhere(self, place: Place) -> str:
        return " or ".join(map(place, range(self.count)))


def cause_of(error: BaseException) -> BaseException | None:
    """The environment's own exception."""
    return error.__cause__ if isinstance(error, Fault) else error
