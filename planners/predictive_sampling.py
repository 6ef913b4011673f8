"""Predictive sampling, the simplest search that improves on a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from elites.fields import Count, Positive
from elites.planners.distributions import Distribution, Refit, SplineKnots, suited
from elites.planners.planner import SamplingPlanner, first_state
from elites.planners.problem import Problem
from elites.planners.search import Search
from elites.planners.weighting import only_the_best


@dataclass(frozen=True)
class PredictiveSampling(SamplingPlanner):
    """Samples around the last plan and takes the best, or the last plan (Howell et al. 2022, Algorithm 1).

    μ ← argmax of the candidates. The spread stays.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {"proposal": "distribution"}

    samples: Count = 100  # candidates of each iteration
    iterations: Count = 1  # rounds of drawing and taking the best
    spread: Positive = 0.5  # the constant standard deviation, in half widths of the box
    distribution: Distribution = SplineKnots()

    def search(self, problem: Problem) -> Search:
        distribution = suited(self.distribution, problem.space)
        return Search(
            problem,
            distribution,
            first_state(distribution, problem, self.spread),
            weighting=only_the_best,
            refit=Refit(spread=0),
            samples=[self.samples] * self.iterations,
        )
