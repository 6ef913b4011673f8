"""Evaluations: the same episodes every time, all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elites.agents.learner import Learner
from elites.agents.lockstep import Lockstep, Watch, play
from elites.runs.arena import Arena
from elites.runs.environments import Environments

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The returns and lengths (E) of the episodes; the seed and actions (T, *A) of the best one."""

    returns: Array
    lengths: Array
    best_seed: int
    best_actions: Array

    def figures(self) -> dict[str, float]:
        of = self.returns
        figures = {"return": of.mean(), "std": of.std(), "worst": of.min(), "best": of.max()}
        return {name: float(figure) for name, figure in figures.items()} | {"length": float(self.lengths.mean())}


def evaluate(agent: Learner, envs: Lockstep | Environments, watch: Watch) -> Evaluation | None:
    """Plays an episode in each environment. None if `watch` stops it. The agent's generator stays unchanged."""
    stage = envs if isinstance(envs, Lockstep) else Lockstep(envs)
    chance, seeds = agent.rng.get_state(), evaluation_seeds(stage.count)
    try:
        played = play(lambda observation: agent.act(observation, explore=False), stage, seeds, watch)
    finally:
        agent.rng.set_state(chance)
    if played is None:
        return None
    best = int(played.returns.argmax())
    return Evaluation(played.returns, played.lengths, seeds[best], played.actions_of(best))


def evaluate_checked(agent: Learner, envs: Environments, going_on: Callable[[int, int], bool]) -> Evaluation | None:
    """An evaluation whose faults name the episode and the step.

    going_on: (step, number of running episodes) -> whether to go on.
    """
    taken = 0

    def place(i: int) -> str:
        return f"step {taken + 1} of evaluation episode {i + 1}"

    def beginning(i: int) -> str:
        return f"the beginning of evaluation episode {i + 1}"

    def watch(step: int, observation: Array, reward: Array, under_way: Array) -> bool:
        nonlocal taken
        taken = step
        return going_on(step, int(under_way.sum()))

    return evaluate(agent, Arena(envs, place, beginning), watch)


def evaluation_seeds(count: int) -> list[int]:
    """Seeds that are the same for every run. Fewer episodes take the first of them."""
    return [int(word) for word in np.random.SeedSequence(20_190_000).generate_state(count)]
