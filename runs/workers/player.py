"""One worker's share of a generation. It plays here, in a process of its own, or in an actor of Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from elites.agents.learner import Array
from elites.agents.playing import Episodes, Inputs, Scores, Seen, Stage
from elites.agents.population import Population
from elites.runs.stages import stage

Watch = Callable[[int, int], None]  # the step, and the number of episodes under way
Call = tuple[Any, ...]  # the name of a Player's method, and its arguments


@dataclass(frozen=True)
class Task:
    """What all workers of a search play."""

    env: str
    episode_steps: int | None
    population: Population


@dataclass(frozen=True, eq=False)
class Generation:
    """The candidates of a generation: points (N, D), seeds of their episodes (N, R), and what policies see."""

    points: Tensor
    seeds: Array
    inputs: Inputs | None = None

    def share(self, rows: slice) -> Generation:
        return Generation(self.points[rows], self.seeds[rows], self.inputs)


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
        self._episodes = Episodes(policies, self._stage, share.seeds, share.inputs)
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
    return Scores(rows([each.returns for each in scores]), rows([each.lengths for each in scores]), seen)
