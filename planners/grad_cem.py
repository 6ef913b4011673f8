"""Grad-CEM: gradient steps on the candidates inside each CEM iteration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from elites.planners.cem import CEM
from elites.planners.gradient_ascent import GradientAscent
from elites.planners.plan import Plan
from elites.planners.problem import Problem, Solver


@dataclass(frozen=True)
class GradCEM(Solver):
    """Bharadhwaj et al. 2020, Algorithm 1: every candidate climbs before the elites are chosen.

    With line search a candidate never gets worse; the paper's fixed step is `GradientAscent(steps=1, trials=1)`.
    """

    cem: CEM = CEM(samples=20)
    ascent: GradientAscent = GradientAscent(steps=1)

    def solve(self, problem: Problem) -> Plan:
        return self.cem.solve(problem, refine=partial(self.ascent.climb, problem))
