"""A population plays: every policy its own episodes, all in lockstep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Generator

from elites.agents.learner import Array
from elites.agents.population import Policies

NOISE_STEPS = 50  # drawn at once
FEWER = 0.75  # the share of policies under way below which the others leave the batched product


class Stage(Protocol):
    """Environments in rows, of which any can take a step alone."""

    count: int

    def begin(self, seeds: Sequence[int]) -> Array:
        """Begins an episode in the first n rows. Returns their observations (n, S)."""
        ...

    def step(self, rows: Array, action: Array) -> tuple[Array, Array, Array, Array]:
        """(n,), (n, *A) -> observations (n, S), rewards, whether they terminated and whether they are cut (n)."""
        ...


@dataclass(frozen=True, eq=False)
class Seen:
    """Sums over the observations of each of N policies, about the mean c of a `Standardiser`."""

    count: Array  # (N)
    total: Array  # (N, S): Σ (x - c)
    square: Array  # (N, S): Σ (x - c)²


class Standardiser:
    """The mean and spread of all observations so far."""

    def __init__(self, size: int) -> None:
        self.count, self.mean, self.square = 0.0, np.zeros(size), np.zeros(size)  # square: Σ (x - mean)²

    @property
    def std(self) -> Array:
        std: Array = np.sqrt(self.square / max(self.count, 1.0))
        return np.where(std < 1e-8, 1.0, std)  # an entry that never varies is not scaled

    def __call__(self, observation: Array) -> Array:
        scaled: Array = (observation - self.mean) / self.std
        return scaled

    def take(self, seen: Seen) -> None:
        """Takes what all policies of a generation saw, with the present mean as the centre of its sums."""
        count, total, square = seen.count.sum(), seen.total.sum(0), seen.square.sum(0)
        apart, everything = total / max(count, 1.0), max(self.count + count, 1.0)
        self.square = self.square + square - count * apart**2 + self.count * count / everything * apart**2
        self.mean, self.count = self.mean + apart * count / everything, self.count + count


@dataclass(frozen=True, eq=False)
class Scores:
    """Returns and lengths (N, R) of R episodes of each of N policies, and what they saw."""

    returns: Array
    lengths: Array
    seen: Seen


class Episodes:
    """The episodes under way: R of each of N policies."""

    def __init__(self, policies: Policies, stage: Stage, seeds: Array, normaliser: Standardiser | None) -> None:
        self.policies, self.stage, self.normaliser = policies, stage, normaliser
        self.shape = count, each = seeds.shape
        first = np.asarray(stage.begin([int(seed) for seed in seeds.flat]), np.float64)
        self.seen = first.reshape(count, each, -1)
        self.returns, self.lengths = np.zeros(self.shape), np.zeros(self.shape, dtype=np.int64)
        self.live = np.ones(self.shape, dtype=bool)
        self.sums = np.zeros((2, count, self.seen.shape[-1]))
        self.rngs = [Generator().manual_seed(int(row[0])) for row in seeds]
        self.acting, self.now, self.noise = np.arange(count), policies, policies.noise(self.rngs, 0)
        self.steps = 0

    def step(self) -> None:
        """A step of every episode that has not ended."""
        acting, live = self.acting, self.live[self.acting]
        action = self._act()[live.ravel()]
        i, j = np.nonzero(live)
        where = acting[i], j
        if self.normaliser is not None:
            apart = np.where(live[..., None], self.seen[acting] - self.normaliser.mean, 0.0)
            self.sums[:, acting] += apart.sum(1), (apart**2).sum(1)
        observation, reward, terminated, truncated = self.stage.step(where[0] * self.shape[1] + j, action)
        self.returns[where] += reward
        self.lengths[where] += 1
        self.seen[where] = observation
        self.live[where] = ~(terminated | truncated)
        self.steps += 1
        self._let_go()

    def _act(self) -> Array:
        """Actions (n R, *A) of the policies under way, in the environment's units."""
        if self.steps % NOISE_STEPS == 0:
            self.noise = self.policies.noise(self.rngs, NOISE_STEPS)
        noise = None if self.noise is None else self.noise[self.acting, self.steps % NOISE_STEPS]
        seen = self.seen[self.acting]
        state = seen if self.normaliser is None else self.normaliser(seen)
        action = self.now.act(torch.from_numpy(state.astype(np.float32)), noise)
        return self.policies.of.spaces.to_env(action.flatten(0, 1))

    def _let_go(self) -> None:
        """Takes the policies whose episodes have all ended out of the batched product, if they are many."""
        under_way = self.live[self.acting].any(1)
        if under_way.any() and under_way.mean() < FEWER:
            self.acting = self.acting[under_way]
            self.now = self.policies.rows(torch.from_numpy(self.acting))


@torch.no_grad()
def play_all(
    policies: Policies,
    stage: Stage,
    seeds: Array,
    normaliser: Standardiser | None = None,
    watch: Callable[[int, int], None] = lambda step, under_way: None,
) -> Scores:
    """Plays an episode for each of the seeds (N, R). watch: takes the step and the number of episodes under way.

    A policy's scores have the same bits in any population: its actions do not depend on N, and its noise is its own.
    """
    episodes = Episodes(policies, stage, seeds, normaliser)
    while episodes.live.any():
        episodes.step()
        watch(episodes.steps, int(episodes.live.sum()))
    seen = Seen(episodes.lengths.sum(1).astype(np.float64), *episodes.sums)
    return Scores(episodes.returns, episodes.lengths, seen)
