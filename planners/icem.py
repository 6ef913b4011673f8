"""iCEM: the cross-entropy method with coloured noise and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from elites.fields import Count, Fraction, NonNegative, Positive, Range, Rate
from elites.planners.noise import Coloured
from elites.planners.plan import Plan
from elites.planners.problem import Problem, Solver
from elites.planners.proposals import ClippedNormal
from elites.planners.search import search
from elites.planners.weights import TopK


@dataclass(frozen=True)
class ICEM(Solver):
    """Pinneri et al. 2020, Algorithm 1: actions correlated in time, elites carried over, a population that decays."""

    samples: Count = 100  # N, of the first iteration
    iterations: Count = 5
    elites: Count = 10  # K
    alpha: Rate = 0.9  # weight of the new elites; the paper's momentum is 1 - alpha
    beta: NonNegative = 2.0  # colour: the exponent of the noise's power spectrum
    decay: Annotated[float, Range(1)] = 1.25  # γ: iteration i draws max(N γ^-i, 2K)
    carry: Fraction = 0.3  # ξ: the share of the elites that are candidates again, the best of them first
    spread: Positive = 0.5  # the first one, in half widths of the box
    floor: NonNegative = 0.0  # the least spread, in half widths

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elites > self.samples:
            raise ValueError(
                f"ICEM.elites: expected at most samples, got {self.elites} elites of {self.samples} samples"
            )

    def solve(self, problem: Problem) -> Plan:
        later = [max(int(self.samples / self.decay**i), 2 * self.elites) for i in range(1, self.iterations)]
        return search(
            problem,
            proposal=ClippedNormal(Coloured(self.beta)),
            weights=TopK(self.elites, self.alpha, self.floor * problem.box.half),
            samples=[self.samples, *later],
            spread=self.spread,
            keep=self.elites,
            carry=round(self.carry * self.elites),
            carry_mean=True,
            warm="mean",
        )
