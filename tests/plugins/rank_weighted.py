"""A user's own planner: candidates weighted by rank, as CMA-ES recombines them (Hansen 2016, eq. 49)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from elites.fields import Count, Positive
from elites.planners import ClippedNormal, Problem, Refit, SamplingPlanner, Search, first_state


@dataclass(frozen=True)
class LogRanks:
    """w_i ∝ ln(k + 1) - ln i for the i-th best of k."""

    parents: int  # k

    def __call__(self, values: Tensor) -> tuple[Tensor, Tensor]:
        best, index = values.topk(self.parents, dim=-1)
        rank = torch.arange(1, self.parents + 1, dtype=values.dtype, device=values.device)
        weight = torch.where(best.isfinite(), torch.log(torch.tensor(self.parents + 1.0)) - rank.log(), 0)
        total = weight.sum(-1, keepdim=True)
        return index, weight / torch.where(total > 0, total, 1)


@dataclass(frozen=True)
class RankWeighted(SamplingPlanner):
    """The hyperparameters with their ranges. `plan` and `begin` (ask and tell) come from SamplingPlanner."""

    samples: Count = 100
    iterations: Count = 5
    spread: Positive = 0.5

    def search(self, problem: Problem) -> Search:
        distribution = ClippedNormal()
        return Search(
            problem,
            distribution,
            first_state(distribution, problem, self.spread),
            weighting=LogRanks(max(self.samples // 2, 1)),
            refit=Refit(),
            samples=[self.samples] * self.iterations,
        )
