"""Several environments of one kind at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

Array = NDArray[Any]
Environments = VectorEnv[Any, Any, Any]


def make(name: str, episode_steps: int | None = None) -> gymnasium.Env[Any, Any]:
    """gymnasium.make, with what goes wrong in one line."""
    try:
        return gymnasium.make(name, max_episode_steps=episode_steps)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise ValueError(f"env: {' '.join(str(error).split())}") from None


def together(envs: Sequence[gymnasium.Env[Any, Any]]) -> SyncVectorEnv:
    """Whose episodes end without the next ones beginning by themselves."""
    return SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=AutoresetMode.DISABLED)  # type: ignore[misc]


def reset(envs: Environments, seeds: Sequence[int], which: Array | None = None) -> Array:
    """Observations (N, S), where new episodes begin in those where which (N) is true, or in all."""
    options = None if which is None else {"reset_mask": which}
    observation, _ = envs.reset(seed=list(seeds), options=options)  # type: ignore[arg-type]  # it takes lists, too
    return np.asarray(observation)


def inside(envs: Environments, action: Array) -> Array:
    """Actions (N, A) of float32 as their space has them: its bounds may not be numbers of float32."""
    space: Any = envs.single_action_space
    return action if action.dtype == space.dtype else np.clip(action.astype(space.dtype), space.low, space.high)


def episode_seed(seed: int, episode: int) -> int:
    """Another one for every pair of the two."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])
