"""Random shooting, the baseline of all baselines."""

from __future__ import annotations

from dataclasses import dataclass

from elites.fields import Count
from elites.planners.plan import Plan
from elites.planners.problem import Problem, Solver
from elites.planners.proposals import Uniform
from elites.planners.search import search
from elites.planners.weights import Best


@dataclass(frozen=True)
class RandomShooting(Solver):
    """The best of uniform samples, and of the last plan (Nagabandi et al. 2018)."""

    samples: Count = 500

    def solve(self, problem: Problem) -> Plan:
        return search(problem, proposal=Uniform(), weights=Best(), samples=[self.samples], spread=1.0)
