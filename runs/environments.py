"""Makes a run's environments: errors in one line, and several equal environments at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from elites.envs import name_of
from elites.envs.rows import ManyRows, OneRow
from elites.runs.faults import Fault, in_a_line

Array = NDArray[Any]
Environments = VectorEnv[Any, Any, Any]


def make(name: str, episode_steps: int | None = None) -> gymnasium.Env[Any, Any]:
    """gymnasium.make, with errors in one line."""
    try:
        return gymnasium.make(name, max_episode_steps=episode_steps)
    except gymnasium.error.Error as error:
        if f"elites/{name}" in gymnasium.registry:
            raise ValueError(f"env: {name} does not exist; did you mean 'elites/{name}'?") from error
        raise ValueError(f"env: {' '.join(str(error).split())}") from error
    except Exception as error:  # from the environment's constructor or its imports
        raise ValueError(f"env: expected to make {name}, got {in_a_line(error)}") from error


class Guarded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One of several environments. Its exceptions and observations of a wrong shape become a Fault with its number."""

    def __init__(self, env: gymnasium.Env[Any, Any], number: int) -> None:
        super().__init__(env)
        self.number = number
        self.shape = env.observation_space.shape

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # as in Gymnasium's own wrappers
        """The spec without this wrapper."""
        return self.env.spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        try:
            observation, info = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise Fault(self.number, "an observation", in_a_line(error)) from error
        return self._checked(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:
            raise Fault(self.number, "an observation", in_a_line(error)) from error
        return self._checked(observation), reward, terminated, truncated, info

    def _checked(self, observation: Any) -> Any:
        if self.shape is not None and np.shape(observation) != self.shape:
            raise Fault(self.number, f"an observation of shape {self.shape}", f"one of {np.shape(observation)}")
        return observation


def together(envs: Sequence[gymnasium.Env[Any, Any]]) -> SyncVectorEnv:
    """A vector of environments without autoreset: the caller begins every episode."""
    guarded = [Guarded(env, number) for number, env in enumerate(envs)]
    return SyncVectorEnv([lambda env=env: env for env in guarded], autoreset_mode=AutoresetMode.DISABLED)  # type: ignore[misc]


def several(name: str, count: int, episode_steps: int | None = None) -> Environments:
    """`count` environments of this id, without autoreset. A world of rows has one call for a step of all."""
    first = make(name, episode_steps)
    if isinstance(world := first.unwrapped, OneRow) and first.spec is not None:
        many = ManyRows(world.world, count, first.spec.max_episode_steps, AutoresetMode.DISABLED)
        many.spec = first.spec
        return many
    return together([first, *(make(name, episode_steps) for _ in range(count - 1))])


def episode_seed(seed: int, episode: int) -> int:
    """A different seed for every pair (seed, episode)."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])


def one_of(envs: Environments) -> gymnasium.Env[Any, Any] | None:
    """The first of the environments. None if they run in processes of their own."""
    ours: Sequence[gymnasium.Env[Any, Any]] = getattr(envs, "envs", ())
    return ours[0] if ours else None


def name_and_spec(envs: Environments) -> tuple[str, EnvSpec | None]:
    """The name and the spec of one of the environments. The spec is None if it was not made by an id."""
    return name_of(envs), (one_of(envs) or envs).spec
