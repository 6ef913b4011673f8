"""Projected gradient ascent with a backtracking line search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from elites.fields import Count, Positive, Rate
from elites.planners.ascent import Ascent
from elites.planners.evaluator import Evaluator, certain
from elites.planners.weighting import like, take

Gradient = Callable[[], Tensor]


@dataclass(frozen=True)
class GradientAscent(Ascent):
    """Projected gradient ascent with a backtracking line search (CEM-GD paper, sec. 2.2).

    x ← project(x + η d), with the first η = η_init, ρ η_init, ρ² η_init, … that improves. If all J trials of a sequence
    fail, it stops and keeps its last accepted point.
    """

    steps: Count = 10  # G, gradient updates
    trials: Count = 8  # J, step sizes tried in an update
    step: Positive = 0.01  # η_init, the first step size
    decay: Rate = 0.67  # ρ, the factor from one trial to the next
    starts: Count = 8  # points to climb from, 1 in the paper's baseline; CEMGD and GradCEM bring their own
    direction: Literal["gradient", "adam"] = "gradient"  # the gradient, or Adam's direction from it
    line_search: Literal["sequential", "batched"] = "batched"  # trials after the first: one by one, or in one call

    def climb(self, evaluator: Evaluator, points: Tensor) -> tuple[Tensor, Tensor]:
        gradient: Gradient | None
        values, gradient = evaluator.trace(points)
        going = values.isfinite()
        moment = Adam(points) if self.direction == "adam" else None
        for _ in range(self.steps):
            if evaluator.expired() or certain(~going.any()):
                break
            if gradient is None:
                _, gradient = evaluator.trace(points)
            slope, gradient = gradient(), None  # frees the graph
            direction = moment.direction(slope) if moment else slope
            points, values, going, gradient = self._searched(evaluator, points, values, direction, going)
        return points, values

    def _searched(
        self, evaluator: Evaluator, origin: Tensor, values: Tensor, direction: Tensor, going: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Gradient | None]:
        """The line search: points, values, whether each continues, and the new gradient if the first trial sufficed."""
        trial = evaluator.problem.space.project(origin + self.step * direction)
        # the first trial mostly succeeds, so its gradient is kept for the next step
        scores, gradient = evaluator.trace(trial)
        found = going & (scores > values)
        points, values = torch.where(like(found, trial), trial, origin), torch.where(found, scores, values)
        waiting = going & ~found
        if self.trials == 1 or certain(~waiting.any()):
            return points, values, found, gradient
        del gradient  # frees the graph before more memory is used
        shorter = self.step * self.decay ** torch.arange(1, self.trials, dtype=origin.dtype, device=origin.device)
        shorter = shorter.reshape(-1, *[1] * len(evaluator.problem.space.shape))
        for eta in torch.split(shorter, len(shorter) if self.line_search == "batched" else 1):
            points, values, waiting = self._tried(evaluator, origin, direction, eta, (points, values, waiting))
            if certain(~waiting.any()):
                break
        return points, values, going & ~waiting, None

    def _tried(
        self,
        evaluator: Evaluator,
        origin: Tensor,
        direction: Tensor,
        eta: Tensor,
        before: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points, values, and which ascents still wait, after trials of these η (J, 1, …) for those that wait."""
        (points, values, waiting), axis = before, origin.ndim - len(evaluator.problem.space.shape)
        trials = evaluator.problem.space.project(origin.unsqueeze(axis) + eta * direction.unsqueeze(axis))
        scores = evaluator.evaluate(trials.flatten(axis - 1, axis)).reshape(*values.shape, len(eta))
        better = waiting.unsqueeze(-1) & (scores > values.unsqueeze(-1))
        first = better.to(torch.uint8).argmax(-1, keepdim=True)  # the first η that improves, which is the largest
        found = better.any(-1)
        points = torch.where(like(found, points), take(trials, first).squeeze(axis), points)
        values = torch.where(found, scores.gather(-1, first).squeeze(-1), values)
        return points, values, waiting & ~found


class Adam:
    """The direction m̂ / (√v̂ + ε) of Kingma & Ba 2015, Algorithm 1. Its moments last for one ascent."""

    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, points: Tensor) -> None:
        self.t, self.m, self.v = 0, torch.zeros_like(points), torch.zeros_like(points)

    def direction(self, gradient: Tensor) -> Tensor:
        self.t += 1
        self.m = self.BETA_1 * self.m + (1 - self.BETA_1) * gradient
        self.v = self.BETA_2 * self.v + (1 - self.BETA_2) * gradient.square()
        m_hat = self.m / (1 - self.BETA_1**self.t)
        v_hat = self.v / (1 - self.BETA_2**self.t)
        return m_hat / (v_hat.sqrt() + self.EPSILON)
