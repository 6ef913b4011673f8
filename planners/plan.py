"""The contract between a search and its user: Objective, Plan, Planner, and the warm start from plan to plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from elites.fields import check
from elites.planners.distributions import Distribution, Fill, State
from elites.planners.distributions.distribution import filling, moved
from elites.spaces import Space

# (*B, N, *E) candidates -> (*B, N) values; larger is better.
# *B: independent problems   N: candidates   *E: the shape of one point, e.g. (H, A); the first of several axes is time
Objective = Callable[[Tensor], Tensor]


@runtime_checkable
class RoughObjective(Protocol):
    """An objective with a rough form: the same function at less cost, exact enough to choose among samples."""

    def __call__(self, points: Tensor, /) -> Tensor: ...

    def rough(self, points: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Plan:
    """The result of a search, and the warm start of the next one."""

    best: Tensor  # (*B, *E)  always finite, always inside the space
    value: Tensor  # (*B)  the objective at `best`; -inf if it is not finite
    elites: Tensor  # (*B, K, *E)  best first
    ok: Tensor  # (*B)  bool; False if no finite value was found and `best` is the fallback
    evaluations: int  # candidates scored, per problem
    by: Distribution | None = None  # the distribution that drew the candidates, if any
    state: State | None = None  # its last state; None for a guess
    gradient: bool = False  # whether the search found that the objective has a gradient; then the next one need not try

    @classmethod
    def at(cls, point: Tensor, batch: tuple[int, ...] = ()) -> Plan:
        """A warm start from a guess. point: (*B, *E)."""
        value = torch.full(batch, -torch.inf, dtype=point.dtype, device=point.device)
        return cls(point, value, point.unsqueeze(len(batch)), value.isfinite(), 0)

    def map(self, function: Callable[[Tensor], Tensor]) -> Plan:
        """Applies a function to every tensor: `plan.map(lambda x: x[rows])` takes some problems of a batch."""
        best, value, elites, ok = map(function, (self.best, self.value, self.elites, self.ok))
        state = None if self.state is None else like_state(self.state, map(function, self.state))
        return replace(self, best=best, value=value, elites=elites, ok=ok, state=state)

    def merged(self, part: Plan, rows: Tensor) -> Plan:
        """The plan (B, …) with these rows replaced by `part`. It has as many elites as the smaller of both."""
        count = min(self.elites.shape[1], part.elites.shape[1])

        def put(mine: Tensor, other: Tensor) -> Tensor:
            return mine.index_copy(0, rows, other)

        state = None
        if self.state is not None and part.state is not None and self.by == part.by:
            state = like_state(part.state, map(put, self.state, part.state))
        return Plan(
            best=put(self.best, part.best),
            value=put(self.value, part.value),
            elites=put(self.elites[:, :count], part.elites[:, :count]),
            ok=put(self.ok, part.ok),
            evaluations=max(self.evaluations, part.evaluations),
            by=None if state is None else part.by,
            state=state,
            gradient=part.gradient,
        )


def like_state(state: State, tensors: object) -> State:
    """A state of the same type, with other tensors."""
    return type(state)(*tensors)  # type: ignore[misc]


@runtime_checkable
class Planner(Protocol):
    """A frozen dataclass of hyperparameters; it holds no state."""

    def plan(
        self,
        objective: Objective,
        space: Space,
        start: Plan | None = None,
        *,
        batch: tuple[int, ...] = (),
        rng: Generator | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """Maximises the objective over the space, for every problem of the batch.

        start: None is a cold start, a Plan is a warm start. rng: None draws a seed from the system.
        deadline: a `time.perf_counter()` value. After it, the search returns the best so far. One round always runs.
        """
        ...


def shift(plan: Plan, steps: int = 1, fill: Fill = "repeat", space: Space | None = None) -> Plan:
    """Moves the plan forward in time by `steps`: drops the first steps and fills the end.

    fill: `repeat` repeats the last step, as the CEM-GD paper does (sec. 2.3). `zero` is 0, projected into the space.
    `center` is the centre of the space. Only a plan without a state, filled by `repeat`, needs no space.
    """
    check("shift: fill", fill, Fill)
    if space is None and (plan.state is not None or fill != "repeat"):
        raise ValueError(f"shift: expected the space that the plan is in, with fill {fill!r}, got none")
    time = plan.value.ndim  # the first axis of a point
    if plan.best.ndim == time:
        raise ValueError("shift: expected points with a time axis, got points of shape ()")
    tail = None if space is None else filling(space, fill)
    state = plan.state
    if plan.by is not None and state is not None and space is not None:
        state = plan.by.shifted(state, space, steps, fill)
    best, elites = moved(plan.best, time, steps, tail), moved(plan.elites, time + 1, steps, tail)
    return replace(plan, best=best, elites=elites, state=state)
