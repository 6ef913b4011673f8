"""Candidates from the whole space, independent of the results so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elites.planners.distributions.distribution import Fill, Refit, State, filling, moved, relative
from elites.planners.draw import Draw
from elites.planners.weighting import like
from elites.spaces import Box, Choices, Space


class Centre(NamedTuple):
    point: Tensor  # (*B, *E)


@dataclass(frozen=True)
class Uniform:
    """Uniform over a box or over choices. In a box with an infinite bound, samples are normal.

    Its state is the mean of the last elites. A fit ignores `Refit`.
    """

    def begin(self, space: Space, batch: tuple[int, ...], spread: float) -> State:
        return Centre(space.centre.expand(*batch, *space.shape))

    def around(self, space: Space, point: Tensor, spread: float) -> State:
        return Centre(point)

    def renewed(self, state: State, space: Space, spread: float) -> State:
        return state

    def shifted(self, state: State, space: Space, steps: int, fill: Fill) -> State:
        (point,) = state
        return Centre(moved(point, point.ndim - len(space.shape), steps, filling(space, fill)))

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        if isinstance(space, Choices):
            numbers = draw.uniform(count, *space.lead, len(space.sizes))
            return space.rows((numbers * torch.tensor(space.sizes, device=space.device)).long())
        assert isinstance(space, Box)
        if space.bounded:
            return space.project(space.low + (space.high - space.low) * draw.uniform(count, *space.shape))
        return space.project(space.centre + space.half * draw.normal(count, *space.shape))

    def points(self, own: Tensor, space: Space) -> Tensor:
        return own

    def own(self, points: Tensor, space: Space) -> Tensor:
        return points

    def fit(self, state: State, own: Tensor, weights: Tensor, space: Space, refit: Refit) -> State:
        (point,) = state
        scaled, total, counts = relative(weights)
        found = (like(scaled, own) * own).sum(weights.ndim - 1) / like(total, point)
        return Centre(torch.where(like(counts, point), found, point))

    def centre(self, state: State, space: Space) -> Tensor:
        return space.project(state[0])
