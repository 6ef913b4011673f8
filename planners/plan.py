"""The contract between a search and whoever uses it: Objective, Plan, Planner, and the warm start from plan to plan."""

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
# *B: independent problems   N: candidates   *E: the shape of one point, e.g. (H, A); time is its first axis of several
Objective = Callable[[Tensor], Tensor]


@runtime_checkable
class RoughObjective(Protocol):
    """An objective that declares a rough form: the same function at less cost, good enough to choose among samples."""

    def __call__(self, points: Tensor, /) -> Tensor: ...

    def rough(self, points: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Plan:
    """What a search found, and the warm start of the next one."""

    best: Tensor  # (*B, *E)  always finite, always inside the space
    value: Tensor  # (*B)  the objective at `best`; -inf where it is not finite
    elites: Tensor  # (*B, K, *E)  best first
    ok: Tensor  # (*B)  bool; False where no finite value was found and `best` is the fallback
    evaluations: int  # candidates scored, per problem
    by: Distribution | None = None  # what drew the candidates, and
    state: State | None = None  # its state at the end; None of a guess, or where nothing was drawn

    @classmethod
    def at(cls, point: Tensor, batch: tuple[int, ...] = ()) -> Plan:
        """A warm start from a guess. point: (*B, *E)."""
        value = torch.full(batch, -torch.inf, dtype=point.dtype, device=point.device)
        return cls(point, value, point.unsqueeze(len(batch)), value.isfinite(), 0)

    def map(self, function: Callable[[Tensor], Tensor]) -> Plan:
        """The plan with every tensor changed alike: `plan.map(lambda x: x[rows])` takes some problems of a batch."""
        best, value, elites, ok = map(function, (self.best, self.value, self.elites, self.ok))
        state = None if self.state is None else like_state(self.state, map(function, self.state))
        return replace(self, best=best, value=value, elites=elites, ok=ok, state=state)

    def merged(self, part: Plan, rows: Tensor) -> Plan:
        """The plan (B, …) with the part in the place of those rows; as many elites as both have."""
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
        )


def like_state(state: State, tensors: object) -> State:
    """Other tensors in the NamedTuple of a state."""
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

        start: None is a cold start, a Plan a warm one. rng: None draws a seed from the system.
        deadline: a `time.perf_counter()` value, after which the best so far is returned; one round always runs.
        """
        ...


def shift(plan: Plan, steps: int = 1, fill: Fill = "repeat", space: Space | None = None) -> Plan:
    """The plan moved on in time by `steps`: the first steps are dropped, the end is filled.

    fill: `repeat` the last step, as CEM-GD's paper does (sec. 2.3); `zero`, projected; `center` of the space.
    A plan without a state can repeat its last step without the space.
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
