"""The contract of a distribution over candidates. A search holds its state; only the distribution looks inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from elites.fields import Fraction, NonNegative, Range, check
from elites.planners.draw import Draw
from elites.spaces import Space

State = tuple[Tensor, ...]  # a NamedTuple of tensors (*B, …)
Fill = Literal["repeat", "zero", "center"]


@dataclass(frozen=True)
class Refit:
    """How far a fit moves: s ← (1 - rate) s + rate · the candidates' statistic."""

    centre: Fraction = 1.0
    spread: Fraction = 1.0  # the rate of the variance, as in eq. 2b of the CEM-GD paper; 0 keeps the spread
    floor: NonNegative = 0.0  # the smallest spread, in the unit of the first one


@runtime_checkable
class Distribution(Protocol):
    """Frozen hyperparameters. *B: problems. *E: the shape of a point. *U: the shape of its own coordinates.

    A fit averages own coordinates: values before the tanh, values at the knots, or the points themselves.
    spread: of the first round. For a box, in half widths. For choices, the share of uniform draws.
    """

    def begin(self, space: Space, batch: tuple[int, ...], spread: float) -> State:
        """The state of a cold start."""
        ...

    def around(self, space: Space, point: Tensor, spread: float) -> State:
        """A state centred on points (*B, *E)."""
        ...

    def renewed(self, state: State, space: Space, spread: float) -> State:
        """A state with the same centre, to the bit, and the first spread."""
        ...

    def shifted(self, state: State, space: Space, steps: int, fill: Fill) -> State:
        """The state moved forward in time; see `elites.planners.shift`."""
        ...

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        """Candidates in own coordinates, (*B, count, *U)."""
        ...

    def points(self, own: Tensor, space: Space) -> Tensor:
        """(*B, N, *U) -> points inside the space, (*B, N, *E)."""
        ...

    def own(self, points: Tensor, space: Space) -> Tensor:
        """(*B, N, *E) -> (*B, N, *U), for points that `sample` did not draw."""
        ...

    def fit(self, state: State, own: Tensor, weights: Tensor, space: Space, refit: Refit) -> State:
        """Moves towards the moments of (*B, k, *U) with weights (*B, k) of sum 1. If all are 0, the state stays."""
        ...

    def centre(self, state: State, space: Space) -> Tensor:
        """A point, (*B, *E)."""
        ...


def relative(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (*B, k) over the largest, so equal ones sum exactly. Their sum (*B), or 1; and whether any counts."""
    scaled = weights / weights.amax(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    total = scaled.sum(-1)
    return scaled, total.clamp_min(1), total > 0


def moved(x: Tensor, axis: int, steps: int, tail: Tensor | None) -> Tensor:
    """x without its first steps along a time axis. The end repeats the last step, or is `tail` (1, …)."""
    check("shift: steps", steps, Annotated[int, Range(0)])
    horizon = x.shape[axis]
    kept = x.narrow(axis, min(steps, horizon), max(horizon - steps, 0))
    last = x.narrow(axis, horizon - 1, 1)
    return torch.cat([kept, *[last if tail is None else tail.expand_as(last)] * min(steps, horizon)], axis)


def filling(space: Space, fill: Fill) -> Tensor | None:
    """The step (1, …) that fills the end of a shifted plan; None repeats the last step."""
    if fill == "repeat":
        return None
    return (space.centre if fill == "center" else space.project(torch.zeros_like(space.centre)))[-1:]
