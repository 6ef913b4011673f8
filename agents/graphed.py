"""Plans and updates as CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from elites.agents.replay import Rows
from elites.networks.graphs import Graph, Waits, no_waiting, warm_up
from elites.planners import Plan

WARM_UP = 2  # runs before the recording, in which libraries set themselves up
Planning = Callable[[Tensor, "Plan | None", int], Plan]  # states (B, S), the last plan and its age -> a plan


class _Recorded(NamedTuple):
    states: Tensor  # the graph reads these two
    start: Plan | None
    graph: Graph[Plan]


class GraphedPlans:
    """A planning function that is recorded for every shape of its inputs: the first plan takes longer.

    It plans without a graph if its functions wait for the GPU, for example because they copy numbers to it.
    """

    def __init__(self, plan: Planning, rng: Generator) -> None:
        self.plan, self.rng = plan, rng
        self.refused = False
        self._recorded: dict[Hashable, _Recorded] = {}

    @property
    def recorded(self) -> int:
        """The number of kinds of plans that have a graph."""
        return len(self._recorded)

    def __call__(self, states: Tensor, start: Plan | None, age: int) -> Plan:
        key: Hashable = states.shape, age
        if start is not None:
            key = key, start.by, start.gradient, *(x.shape for x in tensors_of(start))
        if key not in self._recorded and not self.refused:
            self._record(key, states, start, age)
        if self.refused:
            return self.plan(states, start, age)
        known = self._recorded[key]
        known.states.copy_(states)
        if start is not None and known.start is not None:
            torch._foreach_copy_(tensors_of(known.start), tensors_of(start))
        return known.graph().map(torch.clone)  # the next call changes the graph's own tensors

    def _record(self, key: Hashable, states: Tensor, start: Plan | None, age: int) -> None:
        states, start = states.clone(), None if start is None else start.map(torch.clone)
        try:
            warm_up(lambda: self.plan(states, start, age), self.rng, WARM_UP)
        except Waits as why:
            self.refused = True
            text = (
                f"graphs: expected functions that never wait for the GPU, got one that does; plans have no graph: {why}"
            )
            warnings.warn(text, stacklevel=2)
            return
        self._recorded[key] = _Recorded(states, start, Graph(lambda: self.plan(states, start, age), self.rng))


class Drawn:
    """A minibatch in place of the replay from which it was sampled."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def sample(self, *_: Any) -> Rows:
        return self.rows

    def segments(self, *_: Any) -> Drawn:
        return self

    def ahead(self, *_: Any) -> Rows:
        return self.rows


class GraphedUpdates:
    """Updates of an algorithm, one graph for each kind of update: `period` tells them apart.

    Minibatches are sampled outside the graph, because a replay grows. The first updates run without a graph.
    """

    def __init__(self, update: Callable[[Any, int], dict[str, Tensor]], period: int, rng: Generator) -> None:
        """update: an update of these rows with this number, which returns its figures."""
        self.update, self.period, self.rng = update, period, rng
        self._runs = 0
        self._rows: Rows | None = None  # the graphs read these
        self._recorded: dict[int, Graph[dict[str, Tensor]]] = {}

    def __call__(self, rows: Rows, step: int) -> dict[str, Tensor]:
        self._runs += 1
        if self._runs <= WARM_UP * self.period:
            with no_waiting():
                return self.update(Drawn(rows), step)
        if self._rows is None:
            self._rows = Rows({name: column.clone() for name, column in vars(rows).items()})
        mine = self._rows
        torch._foreach_copy_(list(vars(mine).values()), list(vars(rows).values()))
        kind = step % self.period
        if kind not in self._recorded:
            self._recorded[kind] = Graph(lambda: self.update(Drawn(mine), step), self.rng)
        return self._recorded[kind]()


def tensors_of(plan: Plan) -> list[Tensor]:
    return [plan.best, plan.value, plan.elites, plan.ok, *(plan.state or ())]
