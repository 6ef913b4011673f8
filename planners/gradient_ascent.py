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
from elites.planners.weighting import like

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
        problem = evaluator.problem
        axis, points, waiting = len(problem.batch), origin, going
        batched = self.line_search == "batched" and self.trials > 1
        eta = self.step * self.decay ** torch.arange(self.trials, dtype=origin.dtype, device=origin.device)
        eta = eta.reshape(-1, *[1] * len(problem.space.shape))
        for trials in torch.split(eta, [1, self.trials - 1] if batched else [1] * self.trials):
            candidates = problem.space.project(origin.unsqueeze(axis + 1) + trials * direction.unsqueeze(axis + 1))
            flat = candidates.flatten(axis, axis + 1)
            if points is origin:  # the first trial; it mostly succeeds, so its gradient is kept for the next step
                scores, gradient = evaluator.trace(flat)
            else:
                gradient = None  # frees the graph before more memory is used
                scores = evaluator.evaluate(flat)
            scores = scores.reshape(*values.shape, len(trials))
            better = waiting.unsqueeze(-1) & (scores > values.unsqueeze(-1))
            first = better.to(torch.uint8).argmax(-1, keepdim=True)  # the first η that improves, which is the largest
            found = better.any(-1)
            index = like(first, candidates).expand(*first.shape, *problem.space.shape)
            points = torch.where(like(found, points), candidates.gather(axis + 1, index).squeeze(axis + 1), points)
            values = torch.where(found, scores.gather(-1, first).squeeze(-1), values)
            waiting = waiting & ~found
            if certain(~waiting.any()):
                break
        return points, values, going & ~waiting, gradient


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
