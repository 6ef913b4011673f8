"""The base of gradient ascents: the points to climb from, and the plan of the points that they reach."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from elites.planners.distributions import Uniform
from elites.planners.evaluator import Evaluator
from elites.planners.plan import Plan
from elites.planners.planner import Solver
from elites.planners.weighting import best, like
from elites.spaces import Box, Space


class Ascent(Solver):
    """A planner that climbs. A cold start begins at random points, a warm start at the plan's elites."""

    starts: int  # points to climb from

    @abstractmethod
    def climb(self, evaluator: Evaluator, points: Tensor) -> tuple[Tensor, Tensor]:
        """points (*B, K, *E) -> the last point of each ascent (*B, K, *E) and its value (*B, K), never worse."""

    def solve(self, evaluator: Evaluator) -> Plan:
        problem = evaluator.problem
        axis, centre, box = len(problem.batch), problem.fallback, problem.space
        distribution = Uniform()
        cold = distribution.begin(box, problem.batch, 1.0)
        points = distribution.sample(cold, box, self.starts, problem.draw)
        if problem.start:
            others = problem.start.elites.narrow(axis, 1, min(self.starts, problem.start.elites.shape[axis]) - 1)
            points = torch.cat([problem.start.best.unsqueeze(axis), others, points], axis).narrow(axis, 0, self.starts)
        points, values = self.climb(evaluator, points)
        elites, values = best(points, values, self.starts)
        ok = values.select(-1, 0).isfinite()
        found = torch.where(like(ok, centre), elites.select(axis, 0), centre)
        return Plan(found, values.select(-1, 0), elites, ok, evaluator.evaluations)

    def require(self, space: Space) -> None:
        if not isinstance(space, Box):
            name = type(self).__name__
            raise ValueError(f"{name}: expected a Box, as choices have no gradient, got {space!r}; use CEM or ICEM")


def climbed(found: Plan, points: Tensor, values: Tensor) -> Plan:
    """The plan whose first elites climbed to points (*B, k, *E) with values (*B, k), best first."""
    axis, count = found.value.ndim, values.shape[-1]
    ok = values.select(-1, 0).isfinite()
    rest = found.elites.narrow(axis, count, found.elites.shape[axis] - count)
    return replace(
        found,
        best=torch.where(like(ok, found.best), points.select(axis, 0), found.best),
        value=torch.where(ok, values.select(-1, 0), found.value),
        elites=torch.cat([points, rest], axis),
    )
