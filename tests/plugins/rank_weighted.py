"""A planner of one's own: candidates weighted by rank, as CMA-ES recombines them (Hansen 2016, eq. 49)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from elites.fields import Count, Positive
from elites.planners import ClippedNormal, Plan, Problem, Solver, search
from elites.planners.weights import best, like


@dataclass(frozen=True)
class LogRanks:
    """Weights falling with the logarithm of the rank; the other half of the two parts that `search` takes."""

    parents: int

    def update(self, points: Tensor, values: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        axis = values.ndim - 1
        points, values = best(points, values, self.parents)
        rank = torch.arange(1, self.parents + 1, dtype=values.dtype, device=values.device)
        weight = torch.where(values.isfinite(), torch.log(torch.tensor(self.parents + 1.0)) - rank.log(), 0)
        total = weight.sum(-1, keepdim=True)
        found = like(total.squeeze(-1) > 0, mean)
        weight = like(weight / torch.where(total > 0, total, 1), points)
        new_mean = (weight * points).sum(axis)
        new_std = (weight * (points - new_mean.unsqueeze(axis)).square()).sum(axis).sqrt()
        return torch.where(found, new_mean, mean), torch.where(found, new_std, std)


@dataclass(frozen=True)
class RankWeighted(Solver):
    """The hyperparameters, each with its range; `plan` comes from Solver."""

    samples: Count = 100
    iterations: Count = 5
    spread: Positive = 0.5

    def solve(self, problem: Problem) -> Plan:
        return search(
            problem,
            proposal=ClippedNormal(),
            weights=LogRanks(max(self.samples // 2, 1)),
            samples=[self.samples] * self.iterations,
            spread=self.spread,
        )
