"""A population plays: every policy its own episodes, all in lockstep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Generator

from elites.agents.learner import Array, State
from elites.agents.population import Policies

NOISE_STEPS = 50  # drawn at once
TINY = 1e-8  # what varies less is not scaled
FEWER = 0.75  # the share of policies under way below which the others leave the batched product


Watch = Callable[[int, int], None]  # the step and the number of episodes under way


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


Inputs = Callable[[Array], Array]  # observations (…, S) -> the policies' inputs (…, S)


def each_alone(observation: Array) -> Array:
    """Standardises every observation over its own entries, as the published code of CEM-AH does in its maze."""
    apart: Array = observation - observation.mean(-1, keepdims=True)
    std = np.sqrt((apart**2).sum(-1, keepdims=True) / max(observation.shape[-1] - 1, 1))
    return apart / np.where(std < TINY, 1.0, std)


class Standardiser:
    """The mean and spread of all observations so far."""

    def __init__(self, size: int) -> None:
        self.count, self.mean, self.square = 0.0, np.zeros(size), np.zeros(size)  # square: Σ (x - mean)²

    @property
    def std(self) -> Array:
        std: Array = np.sqrt(self.square / max(self.count, 1.0))
        return np.where(std < TINY, 1.0, std)

    def __call__(self, observation: Array) -> Array:
        scaled: Array = (observation - self.mean) / self.std
        return scaled

    def take(self, seen: Seen) -> None:
        """Takes what all policies of a generation saw, with the present mean as the centre of its sums."""
        count, total, square = seen.count.sum(), seen.total.sum(0), seen.square.sum(0)
        apart, everything = total / max(count, 1.0), max(self.count + count, 1.0)
        self.square = self.square + square - count * apart**2 + self.count * count / everything * apart**2
        self.mean, self.count = self.mean + apart * count / everything, self.count + count

    def state_dict(self) -> State:
        return {"count": self.count, "mean": torch.from_numpy(self.mean), "square": torch.from_numpy(self.square)}

    def load_state_dict(self, state: State) -> None:
        self.count, self.mean, self.square = state["count"], state["mean"].numpy(), state["square"].numpy()


@dataclass(frozen=True, eq=False)
class Scores:
    """Returns and lengths (N, R) of R episodes of each of N policies, and what they saw.

    visited: the observations (T, S) of each policy, if they were recorded.
    """

    returns: Array
    lengths: Array
    seen: Seen
    visited: Sequence[Array] = ()


class Episodes:
    """The episodes under way: R of each of N policies. An observation or reward that is not finite ends one with NaN.

    seeds: (N, R). inputs: what the policies see in an observation. A Standardiser learns from `scores`. record: whether
    to keep all observations.
    """

    def __init__(
        self, policies: Policies, stage: Stage, seeds: Array, inputs: Inputs | None = None, record: bool = False
    ) -> None:
        self.record: list[tuple[Array, Array]] | None = [] if record else None
        self.policies, self.stage, self.inputs = policies, stage, inputs
        self.centre = inputs.mean if isinstance(inputs, Standardiser) else None
        self.shape = count, each = seeds.shape
        first = np.asarray(stage.begin([int(seed) for seed in seeds.flat]), np.float64)
        self.seen = first.reshape(count * each, -1)
        well: Array = np.all(np.isfinite(self.seen), axis=-1)
        self._returns, self._lengths = np.where(well, 0.0, np.nan), np.zeros(count * each, dtype=np.int64)
        self.sums = np.zeros((2, count, self.seen.shape[-1]))
        self.rngs = [Generator().manual_seed(int(row[0])) for row in seeds]
        self.now, self.noise, self.steps = policies, policies.noise(self.rngs, 0), 0
        self.acting = np.arange(count)  # the policies in the batched product (n)
        self.live = self._at = np.arange(count * each)  # the rows under way (m), and their places among n R
        self._stop(~well)

    @property
    def returns(self) -> Array:
        """(N, R)."""
        return self._returns.reshape(self.shape)

    @property
    def lengths(self) -> Array:
        """(N, R)."""
        return self._lengths.reshape(self.shape)

    def step(self) -> None:
        """A step of every episode that has not ended."""
        live, seen = self.live, self.seen.reshape(*self.shape, -1)[self.acting]
        action = self._act(seen)[self._at]
        if self.record is not None:
            self.record.append((live // self.shape[1], self.seen[live].astype(np.float32)))
        if self.centre is not None:
            self._add(seen)
        observation, reward, terminated, truncated = self.stage.step(live, action)
        finite = np.isfinite(observation).all(-1) & np.isfinite(reward)
        self._returns[live] += np.where(finite, reward, np.nan)
        self._lengths[live] += 1
        self.seen[live] = observation
        self.steps += 1
        self._stop(~finite | terminated | truncated)

    def _act(self, seen: Array) -> Array:
        """Actions (n R, *A) of the policies under way, in the environment's units."""
        if self.steps % NOISE_STEPS == 0:
            self.noise = self.policies.noise(self.rngs, NOISE_STEPS)
        noise = None if self.noise is None else self.noise[self.acting, self.steps % NOISE_STEPS]
        state = seen if self.inputs is None else self.inputs(seen)
        action = self.now.act(torch.from_numpy(state.astype(np.float32)), noise)
        return self.policies.of.spaces.to_env(action.flatten(0, 1))

    def _add(self, seen: Array) -> None:
        """Adds what the rows under way see to the sums."""
        live = np.zeros(seen.shape[:2], dtype=bool)
        live.ravel()[self._at] = True
        apart = np.where(live[..., None], seen - self.centre, 0.0)
        self.sums[:, self.acting] += apart.sum(1), (apart**2).sum(1)

    def _stop(self, ended: Array) -> None:
        """Stops rows (m,). If many policies have none left, they leave the batched product."""
        if not ended.any():
            return
        self.live, self._at = self.live[~ended], self._at[~ended]
        each = self.shape[1]
        under_way, place = np.unique(self._at // each, return_inverse=True)
        if 0 < len(under_way) < FEWER * len(self.acting):
            self.acting, self._at = self.acting[under_way], place * each + self._at % each
            self.now = self.policies.rows(torch.from_numpy(self.acting))

    @torch.no_grad()
    def go_on(self, until: float = math.inf, watch: Watch = lambda step, under_way: None) -> None:
        """Plays to a step, or to the end of all episodes."""
        while self.steps < until and self.live.size:
            self.step()
            watch(self.steps, self.live.size)

    def keep(self, which: Array) -> None:
        """Stops the episodes of all other policies. which: (N) bool."""
        self._stop(~which[self.live // self.shape[1]])

    @property
    def scores(self) -> Scores:
        seen = Seen(self.lengths.sum(1).astype(np.float64), *self.sums)
        return Scores(self.returns, self.lengths, seen, self._visited())

    def _visited(self) -> Sequence[Array]:
        if not self.record:
            return ()
        who, what = (np.concatenate(parts) for parts in zip(*self.record, strict=True))
        return [what[who == policy] for policy in range(self.shape[0])]


def play_all(policies: Policies, stage: Stage, seeds: Array, inputs: Inputs | None = None) -> Scores:
    """Plays an episode for each of the seeds (N, R).

    A policy's scores have the same bits in any population: its actions do not depend on N, and its noise is its own.
    """
    episodes = Episodes(policies, stage, seeds, inputs)
    episodes.go_on()
    return episodes.scores
