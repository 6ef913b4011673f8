"""Random shooting, the simplest baseline."""

from __future__ import annotations

from dataclasses import dataclass

from elites.fields import Count
from elites.planners.distributions import Refit, Uniform
from elites.planners.planner import SamplingPlanner, first_state
from elites.planners.problem import Problem
from elites.planners.search import Search
from elites.planners.weighting import only_the_best


@dataclass(frozen=True)
class RandomShooting(SamplingPlanner):
    """The best of uniform samples, and of the last plan (Nagabandi et al. 2018): argmax x_i, x_i ~ U."""

    samples: Count = 500  # candidates

    def search(self, problem: Problem) -> Search:
        distribution = Uniform()
        state = first_state(distribution, problem, spread=1.0)
        return Search(
            problem, distribution, state, weighting=only_the_best, refit=Refit(spread=0), samples=[self.samples]
        )
