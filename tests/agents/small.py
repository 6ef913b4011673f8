"""Small agents and critics for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Generator, Tensor

from elites import Box
from elites.agents import Agent, Network, Transition
from elites.networks import Architecture

UNIT = Box([-1.0], [1.0])
TINY = Network.of(Architecture((8,), "tanh"))


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def filled(algorithm: Any, size: int = 1, rows: int = 60, episode: int = 10) -> Agent:
    """An agent with transitions of noise, in episodes of ten steps."""
    agent, noise = Agent(algorithm, 2, Box([-1.0] * size, [1.0] * size), seed=0), np.random.default_rng(0)
    agent.begin(np.array([True]))
    for step in range(rows):
        state, following = noise.normal(size=(2, 2))
        end = step % episode == episode - 1
        action, reward = noise.uniform(-1, 1, size), noise.normal()
        agent.observe(Transition.one(state, action, reward, following, end and step % 20 < 10, end))
    return agent


def losses(agent: Agent, step: int = 1) -> dict[str, Tensor]:
    return {name: loss for name, loss, *_ in agent.algorithm.update(agent.nets, agent.replay, step)}


class Quadratic:
    """Q = -½ k (a - c)², for both critics."""

    def __init__(self, k: float, c: float) -> None:
        self.k, self.c = k, c

    def values(self, state: Tensor, action: Tensor) -> Tensor:
        return (-0.5 * self.k * (action - self.c).square().sum(-1)).expand(2, -1)

    def least(self, state: Tensor, actions: Tensor, precision: str) -> Tensor:
        return self.values(state, actions.flatten(0, 1))[0].view(actions.shape[:2])
