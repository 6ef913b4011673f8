"""Smooth sequences: a normal at a few knots, and a curve through them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from elites.fields import Count
from elites.planners.distributions.distribution import Fill, Refit, State, filling, moved
from elites.planners.distributions.noise import steps as steps_of
from elites.planners.distributions.normals import BoxNormal, Normal, box_of
from elites.planners.draw import Draw
from elites.spaces import Space


@dataclass(frozen=True)
class SplineKnots(BoxNormal):
    """A normal at knots over the horizon, with a curve through them: smooth sequences in fewer dimensions.

    The own coordinates are the values at the knots, (K, A). Every knot is at a step, so any sequence gives its values.
    `cubic` is a Hermite spline with finite differences as slopes. In a point with one axis, every entry is a knot.
    """

    knots: Count = 8  # number of knots over the horizon
    order: Literal["zero", "linear", "cubic"] = "cubic"  # the order of the curve between the knots

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        mean, std = state
        axis = len(draw.batch)
        noise = draw.normal(count, *mean.shape[axis:])
        return mean.unsqueeze(axis) + std.unsqueeze(axis) * noise

    def points(self, own: Tensor, space: Space) -> Tensor:
        if len(space.shape) < 2:
            return space.project(own)
        lead = own.ndim - len(space.shape)
        curve = self.curve(steps_of(space)).to(own)
        return space.project((curve @ own.flatten(lead + 1)).reshape(*own.shape[:lead], *space.shape))

    def own(self, points: Tensor, space: Space) -> Tensor:
        if len(space.shape) < 2:
            return points
        return points.index_select(points.ndim - len(space.shape), self.times(steps_of(space)).to(points.device))

    def shifted(self, state: State, space: Space, steps: int, fill: Fill) -> State:
        """Moves the curve forward in time and takes its values at the knots."""
        mean, std = state
        curve = self.points(mean, space)
        curve = moved(curve, curve.ndim - len(space.shape), steps, filling(space, fill))
        return Normal(self.own(curve, space), std)

    def fit(self, state: State, own: Tensor, weights: Tensor, space: Space, refit: Refit) -> State:
        """The fit of a normal, with the mean clamped to the box. A knot outside it would not change the points."""
        mean, std = super().fit(state, own, weights, space, refit)
        box = box_of(self, space)
        return Normal(mean.clamp(self.own(box.low, space), self.own(box.high, space)), std)

    def curve(self, horizon: int) -> Tensor:
        """(H, K), from the values at the knots to the curve at every step. It is made once; do not change it."""
        return _curve(self, horizon, torch.get_default_dtype())

    def times(self, horizon: int) -> Tensor:
        """The steps of the knots, (K)."""
        return torch.linspace(0, horizon - 1, min(self.knots, horizon)).round().long()

    def matrix(self, at: Tensor, horizon: int) -> Tensor:
        """(H, K): the matrix for knots at these steps (K)."""
        time = torch.arange(horizon)
        left = (torch.searchsorted(at, time, right=True) - 1).clamp(0, max(len(at) - 2, 0))
        knots = torch.eye(len(at))
        if len(at) == 1:
            return knots.expand(horizon, 1)
        if self.order == "zero":
            return knots[torch.searchsorted(at, time, right=True) - 1]
        width = (at[left + 1] - at[left]).unsqueeze(1).float()
        s = (time - at[left]).unsqueeze(1) / width
        if self.order == "linear":
            return (1 - s) * knots[left] + s * knots[left + 1]
        (slope,) = torch.gradient(knots, spacing=(at.float(),), dim=0)
        return (
            (2 * s**3 - 3 * s**2 + 1) * knots[left]
            + (s**3 - 2 * s**2 + s) * width * slope[left]
            + (3 * s**2 - 2 * s**3) * knots[left + 1]
            + (s**3 - s**2) * width * slope[left + 1]
        )

    def _half(self, space: Space) -> Tensor:
        return self.own(box_of(self, space).half, space)


@functools.lru_cache
def _curve(spline: SplineKnots, horizon: int, _: torch.dtype) -> Tensor:
    with torch.inference_mode(False), torch.device("cpu"):
        return spline.matrix(spline.times(horizon), horizon)
