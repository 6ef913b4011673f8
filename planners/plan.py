"""The contract between a search and whoever uses it: Objective, Plan, Planner, and the warm start from plan to plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from elites.fields import Range, check
from elites.spaces import Box

# (*B, N, *E) candidates -> (*B, N) values; larger is better.
# *B: independent problems   N: candidates   *E: the shape of one point, e.g. (H, A); time is its first axis of several
# It may have an attribute `rough`: the same function at less cost, good enough to choose among samples.
Objective = Callable[[Tensor], Tensor]

Fill = Literal["repeat", "zero", "center"]


@dataclass(frozen=True, eq=False)
class Plan:
    """What a search found, and the warm start of the next one."""

    best: Tensor  # (*B, *E)  always finite, always inside the box
    value: Tensor  # (*B)  the objective at `best`; -inf where it is not finite
    elites: Tensor  # (*B, K, *E)  best first
    mean: Tensor  # (*B, *E)  the proposal at the end, in the proposal's own space (before the tanh, where it squashes)
    std: Tensor  # (*B, *E)
    ok: Tensor  # (*B)  bool; False where no finite value was found and `best` is the fallback
    evaluations: int  # candidates scored, per problem

    @classmethod
    def at(cls, point: Tensor, batch: tuple[int, ...] = ()) -> Plan:
        """A warm start from a guess. point: (*B, *E)."""
        value = torch.full(batch, -torch.inf, dtype=point.dtype, device=point.device)
        return cls(point, value, point.unsqueeze(len(batch)), point, torch.zeros_like(point), value.isfinite(), 0)


@runtime_checkable
class Planner(Protocol):
    """A frozen dataclass of hyperparameters; it holds no state."""

    def plan(
        self,
        objective: Objective,
        box: Box,
        start: Plan | None = None,
        *,
        batch: tuple[int, ...] = (),
        rng: Generator | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """Maximises the objective over the box, for every problem of the batch.

        start: None is a cold start, a Plan a warm one. rng: None draws a seed from the system.
        deadline: a `time.perf_counter()` value, after which the best so far is returned; one round always runs.
        """
        ...


def shift(plan: Plan, steps: int = 1, fill: Fill = "repeat", box: Box | None = None) -> Plan:
    """The plan moved on in time by `steps`: the first steps are dropped, the end is filled.

    fill: `repeat` the last step, as CEM-GD's paper does (sec. 2.3); `zero`, projected; `center` of the box.
    The last two need the box. The spread moves with the mean; its end is always repeated.
    """
    check("shift: fill", fill, Fill)
    check("shift: steps", steps, Annotated[int, Range(0)])
    if fill != "repeat" and box is None:
        raise ValueError(f"shift: expected a box with fill {fill!r}, got none")
    time = plan.value.ndim  # the first axis of a point
    if plan.best.ndim == time:
        raise ValueError("shift: expected points with a time axis, got points of shape ()")
    horizon = plan.best.shape[time]

    def moved(x: Tensor, axis: int, tail: Tensor | None) -> Tensor:
        kept = x.narrow(axis, min(steps, horizon), max(horizon - steps, 0))
        last = x.narrow(axis, horizon - 1, 1) if tail is None else tail.expand_as(x.narrow(axis, horizon - 1, 1))
        return torch.cat([kept, *[last] * min(steps, horizon)], axis)

    tail = None
    if box is not None and fill != "repeat":
        tail = (box.centre if fill == "center" else box.project(torch.zeros_like(box.low)))[-1:]
    return replace(
        plan,
        best=moved(plan.best, time, tail),
        elites=moved(plan.elites, time + 1, tail),
        mean=moved(plan.mean, time, tail),
        std=moved(plan.std, time, None),
    )
