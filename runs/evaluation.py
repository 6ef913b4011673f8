"""Showing what was learned: the same episodes every time, all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elites.agents.learner import Learner
from elites.runs.environments import Environments, inside, reset

Array = NDArray[Any]
# number of the step, 0 before the first; observations, rewards, who is under way -> whether to go on
Watch = Callable[[int, Array, Array, Array], bool]


@dataclass(frozen=True)
class Evaluation:
    """returns, lengths: (E), of every episode. The best one's seed and actions (T, A)."""

    returns: Array
    lengths: Array
    best_seed: int
    best_actions: Array

    def figures(self) -> dict[str, float]:
        of = self.returns
        figures = {"return": of.mean(), "std": of.std(), "worst": of.min(), "best": of.max()}
        return {name: float(figure) for name, figure in figures.items()} | {"length": float(self.lengths.mean())}


def evaluate(agent: Learner, envs: Environments, watch: Watch) -> Evaluation | None:
    """An episode in each environment; None where `watch` says no. The agent's generator is left as it was."""
    chance = agent.rng.get_state()
    try:
        return _episodes(agent, envs, watch)
    finally:
        agent.rng.set_state(chance)


def _episodes(agent: Learner, envs: Environments, watch: Watch) -> Evaluation | None:
    seeds = evaluation_seeds(envs.num_envs)
    returns, lengths, under_way = np.zeros(len(seeds)), np.zeros(len(seeds), dtype=int), np.ones(len(seeds), dtype=bool)
    actions: list[Array] = []
    observation = reset(envs, seeds)
    asked_for = watch(0, observation, returns, under_way)
    while asked_for and under_way.any():
        action = inside(envs, agent.act(observation, explore=False))
        observation, reward, terminated, truncated, _ = envs.step(action)
        actions.append(action)
        asked_for = watch(len(actions), observation, reward, under_way)
        returns += np.where(under_way, reward, 0.0)
        lengths += under_way
        if (ended := terminated | truncated).any():
            under_way &= ~ended
            observation = reset(envs, seeds, ended)  # of no account from here on
    if not asked_for:
        return None
    best = int(returns.argmax())
    return Evaluation(returns, lengths, seeds[best], np.stack(actions)[: lengths[best], best])


def evaluation_seeds(count: int) -> list[int]:
    """The same for every run; those of fewer episodes are the first of these."""
    return [int(word) for word in np.random.SeedSequence(20_190_000).generate_state(count)]
