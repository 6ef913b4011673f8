"""One worker's share of a generation. It plays here, in a process of its own, or in an actor of Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elites.agents.learner import Array
from elites.agents.playing import Episodes, Inputs, Scores, Seen, Stage, Watch
from elites.agents.population import Population
from elites.runs.stages import stage

Call = tuple[Any, ...]  # the name of a Player's method, and its arguments


@dataclass(frozen=True)
class Task:
    """The environment and the policies of all workers."""

    env: str
    episode_steps: int | None
    population: Population


@dataclass(frozen=True, eq=False)
class Generation:
    """The candidates of a generation: points (N, D), seeds of their episodes (N, R), and what policies see.

    record: whether to keep all observations.
    """

    points: Tensor
    seeds: Array
    inputs: Inputs | None = None
    record: bool = False

    def share(self, rows: slice) -> Generation:
        return replace(self, points=self.points[rows], seeds=self.seeds[rows])

    def again(self, which: Array) -> Generation:
        """The candidates `which` (n), recorded. Their episodes are the same ones."""
        return replace(self, points=self.points[torch.from_numpy(which)], seeds=self.seeds[which], record=True)


class Player:
    """Plays shares of generations. Its environments stay from one generation to the next."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._stage: Stage | None = None
        self._episodes: Episodes | None = None

    def begin(self, share: Generation, until: int, watch: Watch) -> Array:
        """Plays to a step. Returns the returns so far (n, R)."""
        needed = share.seeds.size
        if self._stage is None or self._stage.count < needed:
            self._stage = stage(self.task.env, needed, self.task.episode_steps)
        policies = self.task.population.at(share.points, share.seeds.shape[1])
        self._episodes = Episodes(policies, self._stage, share.seeds, share.inputs, share.record)
        self._episodes.go_on(until, watch)
        return self._episodes.returns

    def finish(self, kept: Array | None, watch: Watch) -> Scores:
        """Plays to the end. kept: (n) bool, the policies that go on; None is all."""
        assert self._episodes is not None
        if kept is not None:
            self._episodes.keep(kept)
        self._episodes.go_on(watch=watch)
        return self._episodes.scores

    def run(self, calls: Sequence[Call], watch: Watch) -> Any:
        """Makes calls, and returns the result of the last one."""
        found = None
        for name, *arguments in calls:
            found = getattr(self, name)(*arguments, watch)
        return found


def joined(scores: Sequence[Scores]) -> Scores:
    """The scores of all shares, in the candidates' order."""

    def rows(parts: Sequence[Array]) -> Array:
        return np.concatenate(parts)

    seen = Seen(*(rows([getattr(each.seen, name) for each in scores]) for name in ("count", "total", "square")))
    visited = [states for each in scores for states in each.visited]
    return Scores(rows([each.returns for each in scores]), rows([each.lengths for each in scores]), seen, visited)
