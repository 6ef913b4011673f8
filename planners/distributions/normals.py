"""Normals over a box, with a mean and a spread for every entry. They differ in how they stay inside the box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elites.fields import Checked, Positive
from elites.planners.distributions.distribution import Fill, Refit, State, filling, moved, relative
from elites.planners.distributions.noise import Noise, White
from elites.planners.draw import Draw
from elites.planners.weighting import like
from elites.spaces import Box, Space


class Normal(NamedTuple):
    mean: Tensor  # (*B, *U)
    std: Tensor  # (*B, *U)


class BoxNormal(Checked):
    """The base of the normals in this file. By default the own coordinates are the points themselves."""

    def begin(self, space: Space, batch: tuple[int, ...], spread: float) -> State:
        return self.around(space, space.centre.expand(*batch, *space.shape), spread)

    def around(self, space: Space, point: Tensor, spread: float) -> State:
        mean = self.own(point, space)
        return Normal(mean, (spread * self._half(space)).expand_as(mean))

    def renewed(self, state: State, space: Space, spread: float) -> State:
        mean, _ = state
        return Normal(mean, (spread * self._half(space)).expand_as(mean))

    def shifted(self, state: State, space: Space, steps: int, fill: Fill) -> State:
        mean, std = state
        time, tail = mean.ndim - len(space.shape), filling(space, fill)
        own = None if tail is None else self.own(tail.expand(space.shape), space)[-1:]
        return Normal(moved(mean, time, steps, own), moved(std, time, steps, None))

    def points(self, own: Tensor, space: Space) -> Tensor:
        return space.project(own)

    def own(self, points: Tensor, space: Space) -> Tensor:
        return points

    def fit(self, state: State, own: Tensor, weights: Tensor, space: Space, refit: Refit) -> State:
        """The variance is the biased estimate, so it is 0 for a single candidate."""
        mean, std = state
        axis = weights.ndim - 1
        scaled, total, counts = relative(weights)
        weight, total, counts = like(scaled, own), like(total, mean), like(counts, mean)
        found = (weight * own).sum(axis) / total
        next_mean = found if refit.centre == 1 else (1 - refit.centre) * mean + refit.centre * found
        next_mean = torch.where(counts, next_mean, mean)
        if refit.spread == 0:
            return Normal(next_mean, std)
        variance = (weight * (own - found.unsqueeze(axis)).square()).sum(axis) / total
        if refit.spread < 1:
            variance = (1 - refit.spread) * std.square() + refit.spread * variance
        next_std = torch.maximum(variance.sqrt(), refit.floor * self._half(space))
        return Normal(next_mean, torch.where(counts, next_std, std))

    def centre(self, state: State, space: Space) -> Tensor:
        return self.points(state[0], space)

    def _half(self, space: Space) -> Tensor:
        """(*U): the unit of the spread."""
        return box_of(self, space).half


@dataclass(frozen=True)
class TruncatedNormal(BoxNormal):
    """A normal, truncated at `cut` spreads as in PETS (Chua et al. 2018), and at the bounds of the box.

    PETS instead shrinks the variance near a bound, to 0 on it. Truncation leaves half a normal there, so a mean on a
    bound can move.
    """

    cut: Positive = 2.0  # the truncation, in spreads

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        mean, std = state
        box, axis = box_of(self, space), len(draw.batch)
        scale = std.clamp_min(torch.finfo(std.dtype).tiny)
        low = ((box.low - mean) / scale).clamp(-self.cut, 0)
        high = ((box.high - mean) / scale).clamp(0, self.cut)
        # x = Φ⁻¹(U(Φ(low), Φ(high))), with erf = 2 Φ(√2 ·) - 1
        erf_low, erf_high = (low / math.sqrt(2)).erf(), (high / math.sqrt(2)).erf()
        uniform = draw.uniform(count, *box.shape)
        erf = erf_low.unsqueeze(axis) + uniform * (erf_high - erf_low).unsqueeze(axis)
        return box.project(mean.unsqueeze(axis) + std.unsqueeze(axis) * math.sqrt(2) * erf.erfinv())


@dataclass(frozen=True)
class ClippedNormal(BoxNormal):
    """A normal, white or correlated in time. A sample outside the box moves to its bound."""

    noise: Noise = White()  # how the samples are correlated in time

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        mean, std = state
        axis = len(draw.batch)
        return space.project(mean.unsqueeze(axis) + std.unsqueeze(axis) * self.noise.draw(draw, count))


@dataclass(frozen=True)
class TanhNormal(BoxNormal):
    """A normal u, squashed onto the box: x = c + h tanh((u - c) / h). c and h are the box's centre and half width.

    On [-1, 1] this is CGP's Algorithm 1 (Simmons-Edler et al. 2019). Near the centre, u and x have the same unit.
    """

    noise: Noise = White()  # how the samples are correlated in time

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        mean, std = state
        axis = len(draw.batch)
        return torch.addcmul(mean.unsqueeze(axis), std.unsqueeze(axis), self.noise.draw(draw, count))

    def points(self, own: Tensor, space: Space) -> Tensor:
        box = box_of(self, space)
        return own.tanh() if box.unit else box.from_unit(box.to_unit(own).tanh())

    def own(self, points: Tensor, space: Space) -> Tensor:
        """tanh⁻¹ is infinite on a bound, so points end at 99 % of the half width."""
        box = box_of(self, space)
        if not box.bounded:
            raise ValueError("TanhNormal: expected a box with finite bounds, got an infinite one")
        return box.centre + box.half * box.to_unit(points).clamp(-0.99, 0.99).atanh()


def box_of(distribution: object, space: Space) -> Box:
    if not isinstance(space, Box):
        raise ValueError(f"{type(distribution).__name__}: expected a Box to draw in, got {space!r}")
    return space
