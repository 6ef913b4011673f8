"""Episodes with the agent of a run."""

from __future__ import annotations

from dataclasses import replace

from elites.runs.environments import Environments, episode_seed, together
from elites.runs.evaluation import evaluation_seeds
from elites.runs.settings import RunSettings


def stage(settings: RunSettings, episodes: int, env: str | None = None) -> Environments:
    """An environment for each episode: the run's, or another one with the same spaces."""
    played = replace(settings, env=env or settings.env)
    first, own = played.make_environment(), settings.make_environment()
    for name in ("observation_space", "action_space"):
        if (got := getattr(first, name)) != (wanted := getattr(own, name)):
            raise ValueError(f"{env}: expected the {name.replace('_', ' ')} of {settings.env}, {wanted}, got {got}")
    own.close()
    return together([first, *(played.make_environment() for _ in range(episodes - 1))])


def seeds_of(seed: int | None, episodes: int) -> list[int]:
    """The seeds of a run's evaluations, or other seeds."""
    if seed is None:
        return evaluation_seeds(episodes)
    return [episode_seed(seed, number) for number in range(episodes)]
