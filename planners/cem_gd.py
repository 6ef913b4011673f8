"""CEM-GD: the cross-entropy method, then gradient ascent from its elites."""

from __future__ import annotations

from dataclasses import dataclass, replace

from elites.fields import Count
from elites.planners.ascent import Ascent, climbed
from elites.planners.cem import CEM
from elites.planners.evaluator import Evaluator
from elites.planners.gradient_ascent import GradientAscent
from elites.planners.plan import Plan
from elites.planners.planner import Solver, driven
from elites.planners.weighting import best
from elites.spaces import Space


@dataclass(frozen=True)
class CEMGD(Solver):
    """Algorithm 1 of the CEM-GD paper (Huang et al.): many samples in the first plan, then few, always with gradients.

    N_init = cold.samples × cold.iterations, N_r = warm.samples × warm.iterations. The warm search is centred on
    the last plan's best, shifted, with the first spread (sec. 2.3).
    """

    cold: CEM = CEM(samples=500, iterations=5, elites=50)
    warm: CEM = CEM(samples=10, iterations=5, elites=1)
    ascent: Ascent = GradientAscent()
    top_k: Count = 1  # number of elites that take gradient steps

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, cem in (("cold", self.cold), ("warm", self.warm)):
            if self.top_k > cem.samples:
                raise ValueError(f"CEMGD.top_k: expected at most {name}.samples = {cem.samples}, got {self.top_k}")
        if self.cold.distribution != self.warm.distribution:
            cold, warm = self.cold.distribution, self.warm.distribution
            raise ValueError(f"CEMGD: expected one distribution for both searches, got cold {cold} and warm {warm}")

    def require(self, space: Space) -> None:
        self.ascent.require(space)

    def solve(self, evaluator: Evaluator) -> Plan:
        # Sample N action sequences using CEM: N_init at t = 0, N_r around the last plan at t > 0.
        cem = self.warm if evaluator.problem.start else self.cold
        found = driven(cem.search(evaluator.problem, keep=self.top_k), evaluator)
        # Take the k with the highest reward; optimise each by G gradient updates, J trial steps each.
        axis = len(evaluator.problem.batch)
        points, values = self.ascent.climb(evaluator, found.elites.narrow(axis, 0, self.top_k))
        points, values = best(points, values, self.top_k)
        # Choose the sequence with the highest reward.
        return replace(climbed(found, points, values), evaluations=evaluator.evaluations)
