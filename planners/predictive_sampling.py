"""Predictive sampling, the simplest search that improves on a plan."""

from __future__ import annotations

from dataclasses import dataclass

from elites.fields import Count, Positive
from elites.planners.plan import Plan
from elites.planners.problem import Problem, Solver
from elites.planners.proposals import Proposal, SplineKnots
from elites.planners.search import search
from elites.planners.weights import Best


@dataclass(frozen=True)
class PredictiveSampling(Solver):
    """Samples around the last plan and takes the best, the last plan included (Howell et al. 2022, Algorithm 1)."""

    samples: Count = 100
    iterations: Count = 1
    spread: Positive = 0.5  # in half widths of the box; it stays
    proposal: Proposal = SplineKnots()

    def solve(self, problem: Problem) -> Plan:
        return search(
            problem,
            proposal=self.proposal,
            weights=Best(),
            samples=[self.samples] * self.iterations,
            spread=self.spread,
        )
