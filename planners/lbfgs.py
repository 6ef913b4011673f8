"""Quasi-Newton ascent inside a box."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from elites.fields import Count, Positive, Rate
from elites.planners.ascent import Ascent
from elites.planners.evaluator import Evaluator, certain
from elites.planners.weighting import like
from elites.spaces import Box, Space

SHORTEST, LONGEST = 1e-3, 1e6  # an ascent whose step has shrunk or grown beyond these shares stops
LONGER = 2.0  # the factor after a step that shows no curvature


@dataclass(frozen=True)
class LBFGS(Ascent):
    """The limited-memory BFGS method (Nocedal & Wright 2006, Algorithms 7.4 and 7.5), projected into the box.

    x ← project(x + η H g). H is the inverse curvature that the last steps show. An update costs one evaluation: a trial
    that improves is taken, and its gradient gives the next direction. Else η shrinks. Entries on a bound whose slope
    points outwards stay there.
    """

    steps: Count = 20  # G, evaluations after the first
    memory: Count = 6  # steps whose curvature is remembered
    first: Positive = 0.03  # how far the first step moves an entry (root mean square), in half widths
    shrink: Rate = 0.3  # the factor from one trial to the next
    starts: Count = 8  # points to climb from; CEMGD and Blend bring their own

    def climb(self, evaluator: Evaluator, points: Tensor) -> tuple[Tensor, Tensor]:
        units, curvature = _Units(evaluator.problem.space, points), Curvature(self.memory)
        values, gradient = evaluator.trace(points)
        place, slope = units.place(points), units.slope(gradient())
        going, one = values.isfinite(), torch.ones_like(values)
        eta = one
        direction = self._direction(curvature, slope, units.free(place, slope))
        for step in range(self.steps):
            if evaluator.expired() or certain(~going.any()):
                break
            trial = units.point(place + eta.unsqueeze(-1) * direction)
            found, gradient = evaluator.trace(trial)
            better = going & (found > values)
            points, values = torch.where(like(better, points), trial, points), torch.where(better, found, values)
            if step == self.steps - 1:
                break
            there, steepness = units.place(trial), slope if certain(~better.any()) else units.slope(gradient())
            learned = curvature.learn(there - place, slope - steepness, better)
            taken = better.unsqueeze(-1)
            place, slope = torch.where(taken, there, place), torch.where(taken, steepness, slope)
            ahead = self._direction(curvature, slope, units.free(place, slope))
            direction = torch.where(taken, ahead, direction)
            eta = torch.where(learned, one, torch.where(better, eta * LONGER, eta * self.shrink))
            going = going & (eta > SHORTEST) & (eta < LONGEST)
        return points, values

    def _direction(self, curvature: Curvature, slope: Tensor, free: Tensor) -> Tensor:
        """H g of the free entries. Without any curvature, a step of the first length along their slope."""
        slope = slope * free

        def unknown() -> Tensor:
            length: Tensor = torch.linalg.vector_norm(slope, dim=-1, keepdim=True)
            length = length.clamp_min(torch.finfo(slope.dtype).tiny)
            return length.reciprocal() * (self.first * math.sqrt(slope.shape[-1]))

        return free * curvature.inverse(slope, unknown)


class Curvature:
    """The last pairs of a step s and the fall y of the slope along it, (*B, K, D) each, where y · s > 0."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.pairs: list[tuple[Tensor, ...]] = []  # s, y, 1 / y·s and y·s / y·y; all 0 if y·s is not positive

    def learn(self, step: Tensor, fall: Tensor, taken: Tensor) -> Tensor:
        """Returns where a pair was learned (*B, K)."""
        dot, square, limits = _dot(step, fall), _dot(fall, fall), torch.finfo(step.dtype)
        lengths = _dot(step, step).sqrt() * square.sqrt()
        curved = taken.unsqueeze(-1) & (dot > limits.eps * lengths) & (dot > limits.tiny) & (square > limits.tiny)
        inverse, ratio = torch.where(curved, dot, 1).reciprocal(), dot / torch.where(curved, square, 1)
        pair: tuple[Tensor, ...] = step, fall, inverse, ratio
        if not certain(curved.all()):
            pair = tuple(torch.where(curved, x, 0) for x in pair)
        self.pairs = [*self.pairs, pair][-self.memory :]
        return curved.squeeze(-1)

    def inverse(self, slope: Tensor, unknown: Callable[[], Tensor]) -> Tensor:
        """H g by the two loops of Algorithm 7.4. unknown: gives H's first guess where no pair is known."""
        along = []
        for step, fall, inverse, _ in reversed(self.pairs):
            along.append(inverse * _dot(step, slope))
            slope = slope - along[-1] * fall
        found = self._scale(unknown) * slope
        for (step, fall, inverse, _), before in zip(self.pairs, reversed(along), strict=True):
            found = found + step * (before - inverse * _dot(fall, found))
        return found

    def _scale(self, unknown: Callable[[], Tensor]) -> Tensor:
        """y·s / y·y of each row's last pair (eq. 7.20)."""
        if self.pairs and certain((self.pairs[-1][-1] > 0).all()):
            return self.pairs[-1][-1]
        scale = unknown()
        for *_, ratio in self.pairs:
            scale = torch.where(ratio > 0, ratio, scale)
        return scale


class _Units:
    """Points (*B, K, *E) as rows of half widths from the centre (*B, K, D)."""

    def __init__(self, box: Space, points: Tensor) -> None:
        assert isinstance(box, Box)
        self.box, self.shape = box, points.shape
        self.half = torch.where(box.half > 0, box.half, 1)  # an empty side has one point
        self.low, self.high = (((end - box.centre) / self.half).flatten() for end in (box.low, box.high))

    def place(self, points: Tensor) -> Tensor:
        return self._rows((points - self.box.centre) / self.half)

    def slope(self, gradient: Tensor) -> Tensor:
        return self._rows(gradient * self.half)

    def free(self, place: Tensor, slope: Tensor) -> Tensor:
        """1, or 0 for an entry on a bound whose slope points outwards (*B, K, D)."""
        out = ((place >= self.high) & (slope > 0)) | ((place <= self.low) & (slope < 0))
        return (~out).to(place)

    def point(self, place: Tensor) -> Tensor:
        return self.box.project(self.box.centre + self.half * place.reshape(self.shape))

    def _rows(self, x: Tensor) -> Tensor:
        return x.flatten(x.ndim - len(self.box.shape))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)
