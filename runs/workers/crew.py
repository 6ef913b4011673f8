"""A crew of workers. Each plays its share of a generation."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from elites.agents.learner import Array
from elites.agents.playing import Scores, Watch
from elites.runs.workers.player import Call, Generation, Player, Task, joined

PATIENCE_S = 300.0  # without a step of its environments, a worker hangs
MOST_DEATHS = 3  # of workers in one generation

Tell = Callable[[str], None]


@dataclass(frozen=True)
class EarlyStop:
    """Stops hopeless candidates: at a step, those whose return so far is in the lowest share."""

    step: int
    share: float

    def kept(self, so_far: Array) -> Array:
        """Returns so far (N, R) -> the candidates that go on (N). NaN is the lowest."""
        values = np.nan_to_num(so_far.mean(1), nan=-np.inf)
        kept = np.ones(len(values), dtype=bool)
        kept[np.argsort(values, kind="stable")[: int(self.share * len(values))]] = False
        return kept


class Crew(ABC):
    """Workers that play the same task. The scores do not depend on their number or place."""

    size: int

    @abstractmethod
    def each(self, calls: Sequence[Sequence[Call]], watch: Watch) -> list[Any]:
        """Makes the calls of every worker, all at the same time. The first call of a generation is `begin`."""

    def play(self, generation: Generation, watch: Watch, early: EarlyStop | None = None) -> Scores:
        """Plays a generation. An early-stopped candidate has returns of NaN."""
        ends = np.linspace(0, count := len(generation.seeds), min(self.size, count) + 1).astype(int)
        rows = [slice(first, end) for first, end in itertools.pairwise(ends)]
        shares = [generation.share(part) for part in rows]
        if early is None:
            return joined(self.each([[("begin", share, 0), ("finish", None)] for share in shares], watch))
        so_far = self.each([[("begin", share, early.step)] for share in shares], watch)
        kept = early.kept(np.concatenate(so_far))
        scores = joined(self.each([[("finish", kept[part])] for part in rows], watch))
        return Scores(np.where(kept[:, None], scores.returns, np.nan), scores.lengths, scores.seen)

    def close(self) -> None:  # noqa: B027
        """Ends the workers."""


class Here(Crew):
    """This process alone. It plays on one thread, as every worker: so the bits are the same, and no thread waits."""

    size = 1

    def __init__(self, task: Task) -> None:
        self.player = Player(task)

    def each(self, calls: Sequence[Sequence[Call]], watch: Watch) -> list[Any]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return [self.player.run(each, watch) for each in calls]
        finally:
            torch.set_num_threads(threads)


def crew_of(workers: int | str | None, task: Task, tell: Tell) -> Crew:
    """workers: a number of processes, `ray`, `ray://HOST:PORT`, or None for one process for each core.

    tell: is told of workers that died.
    """
    if isinstance(workers, str):
        from elites.runs.workers.rays import Rays

        return Rays(workers, task, tell)
    count = cores() if workers is None else workers
    if count == 1:
        return Here(task)
    from elites.runs.workers.processes import Processes

    return Processes(count, task, tell)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
