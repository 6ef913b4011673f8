"""Model predictive path integral control."""

from __future__ import annotations

from dataclasses import dataclass

from elites.fields import Count, Positive
from elites.planners.noise import Noise, Smoothed
from elites.planners.plan import Plan
from elites.planners.problem import Problem, Solver
from elites.planners.proposals import ClippedNormal
from elites.planners.search import search
from elites.planners.weights import Softmax


@dataclass(frozen=True)
class MPPI(Solver):
    """The mean moves to the candidates' average, weighted by exp(value / temperature) (Williams et al. 2017, alg. 2).

    The values are the objective's alone: a cost of control is part of the objective.
    """

    samples: Count = 100
    iterations: Count = 5
    spread: Positive = 0.5  # in half widths of the box; it stays
    temperature: Positive = 0.1  # λ
    standardise: bool = True  # the temperature counts in standard deviations of the candidates' values
    noise: Noise = Smoothed()

    def solve(self, problem: Problem) -> Plan:
        return search(
            problem,
            proposal=ClippedNormal(self.noise),
            weights=Softmax(self.temperature, self.standardise),
            samples=[self.samples] * self.iterations,
            spread=self.spread,
            warm="mean",
            answer="mean",
        )
