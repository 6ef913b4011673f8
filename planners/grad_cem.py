"""Grad-CEM: gradient steps on the candidates inside each CEM iteration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from elites.planners.cem import CEM
from elites.planners.evaluator import Evaluator
from elites.planners.gradient_ascent import GradientAscent
from elites.planners.plan import Plan
from elites.planners.planner import Solver
from elites.spaces import Space


@dataclass(frozen=True)
class GradCEM(Solver):
    """Bharadhwaj et al. 2020, Algorithm 1: every candidate climbs before the elites are chosen.

    With a line search, a candidate never gets worse. `GradientAscent(steps=1, trials=1)` has the paper's fixed step.
    """

    cem: CEM = CEM(samples=20)
    ascent: GradientAscent = GradientAscent(steps=1)

    def require(self, space: Space) -> None:
        self.ascent.require(space)

    def solve(self, evaluator: Evaluator) -> Plan:
        search = self.cem.search(evaluator.problem)
        while not search.done:
            points, values = self.ascent.climb(evaluator, search.ask())
            search.tell(values, points)
            if evaluator.expired():
                search.stop()
        return replace(search.plan, evaluations=evaluator.evaluations)
