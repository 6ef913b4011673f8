"""How candidates are drawn around a mean with a spread, and stay inside the box.

A proposal has a space of its own, in which mean, spread and elites are averaged: before the tanh for `TanhNormal`, the
points themselves for the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from elites.fields import Checked, Count, Positive
from elites.planners.noise import Noise, White, steps
from elites.planners.problem import Problem
from elites.spaces import Box


@runtime_checkable
class Proposal(Protocol):
    def sample(self, problem: Problem, mean: Tensor, std: Tensor, samples: int) -> Tensor:
        """mean, std (*B, *E) -> candidates (*B, samples, *E); all three in the proposal's own space."""
        ...

    def encode(self, x: Tensor, box: Box) -> Tensor:
        """Points of the box -> own space. x: (..., *E)."""
        ...

    def decode(self, u: Tensor, box: Box) -> Tensor:
        """Own space -> points inside the box. u: (..., *E)."""
        ...


class _Direct:
    """The own space is the box itself."""

    def encode(self, x: Tensor, box: Box) -> Tensor:
        return x

    def decode(self, u: Tensor, box: Box) -> Tensor:
        return box.project(u)


@dataclass(frozen=True)
class TruncatedNormal(Checked, _Direct):
    """Normal, truncated at `cut` spreads as in PETS (Chua et al. 2018) and at the box.

    PETS keeps samples inside by shrinking the variance towards a bound, to 0 on it; truncating there as well leaves
    half a normal, so that a mean on a bound can move.
    """

    cut: Positive = 2.0

    def sample(self, problem: Problem, mean: Tensor, std: Tensor, samples: int) -> Tensor:
        scale = std.clamp_min(torch.finfo(std.dtype).tiny)
        low = ((problem.box.low - mean) / scale).clamp(-self.cut, 0)
        high = ((problem.box.high - mean) / scale).clamp(0, self.cut)
        # x = Φ⁻¹(U(Φ(low), Φ(high))), with erf = 2 Φ(√2 ·) - 1
        erf_low, erf_high = (low / math.sqrt(2)).erf(), (high / math.sqrt(2)).erf()
        uniform = problem.uniform(samples, *problem.box.shape)
        axis = len(problem.batch)
        erf = erf_low.unsqueeze(axis) + uniform * (erf_high - erf_low).unsqueeze(axis)
        return problem.box.project(mean.unsqueeze(axis) + std.unsqueeze(axis) * math.sqrt(2) * erf.erfinv())


@dataclass(frozen=True)
class ClippedNormal(Checked, _Direct):
    """Normal, white or correlated in time; what falls outside lands on the bound."""

    noise: Noise = White()

    def sample(self, problem: Problem, mean: Tensor, std: Tensor, samples: int) -> Tensor:
        axis = len(problem.batch)
        noise = self.noise.draw(problem, samples)
        return problem.box.project(mean.unsqueeze(axis) + std.unsqueeze(axis) * noise)


@dataclass(frozen=True)
class TanhNormal(Checked):
    """Normal before a tanh onto the box: x = c + h tanh((u - c) / h), c and h the box's centre and half width.

    On [-1, 1] this is CGP's Algorithm 1 (Simmons-Edler et al. 2019). Near the centre u and x have one unit.
    """

    noise: Noise = White()

    def sample(self, problem: Problem, mean: Tensor, std: Tensor, samples: int) -> Tensor:
        if not problem.box.bounded:
            raise ValueError("TanhNormal: expected a box with finite bounds, got an infinite one")
        axis = len(problem.batch)
        return torch.addcmul(mean.unsqueeze(axis), std.unsqueeze(axis), self.noise.draw(problem, samples))

    def encode(self, x: Tensor, box: Box) -> Tensor:
        """A point on a bound, whose tanh⁻¹ is infinite, is taken to 99 % of the way."""
        return box.centre + box.half * box.to_unit(x).clamp(-0.99, 0.99).atanh()

    def decode(self, u: Tensor, box: Box) -> Tensor:
        return u.tanh() if box.unit else box.from_unit(box.to_unit(u).tanh())


@dataclass(frozen=True)
class SplineKnots(Checked, _Direct):
    """Normal at a few knots over the horizon, interpolated: a search over smooth sequences in fewer dimensions.

    Knots lie on steps, so a spline's knots are read off its values there. `cubic` is Hermite with finite differences
    for slopes. A point of one axis has no time, and every entry is its own knot.
    """

    knots: Count = 8
    order: Literal["zero", "linear", "cubic"] = "cubic"

    def sample(self, problem: Problem, mean: Tensor, std: Tensor, samples: int) -> Tensor:
        axis, shape = len(problem.batch), problem.box.shape
        if len(shape) < 2:
            return ClippedNormal().sample(problem, mean, std, samples)
        at = torch.linspace(0, steps(problem) - 1, min(self.knots, steps(problem))).round().long()
        where = at.to(mean.device)
        noise = problem.normal(samples, len(at), *shape[1:])
        values = mean.index_select(axis, where).unsqueeze(axis) + std.index_select(axis, where).unsqueeze(axis) * noise
        curve = self.matrix(at, steps(problem)).to(mean)
        return problem.box.project((curve @ values.flatten(axis + 2)).reshape(*values.shape[: axis + 1], *shape))

    def matrix(self, at: Tensor, horizon: int) -> Tensor:
        """(H, K): the curve's values at every step, as a linear function of its values at the knots' times, at (K)."""
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


@dataclass(frozen=True)
class Uniform(_Direct):
    """Uniform over the box, whatever the mean and the spread; a box with an infinite bound is sampled normally."""

    def sample(self, problem: Problem, mean: Tensor, std: Tensor, samples: int) -> Tensor:
        box = problem.box
        if box.bounded:
            return box.project(box.low + (box.high - box.low) * problem.uniform(samples, *box.shape))
        return box.project(box.centre + box.half * problem.normal(samples, *box.shape))
