"""The cross-entropy method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from elites.fields import Count, NonNegative, Positive, Rate
from elites.planners.distributions import Distribution, Refit, TruncatedNormal, suited
from elites.planners.memory import EliteMemory
from elites.planners.planner import SamplingPlanner, first_state
from elites.planners.problem import Problem
from elites.planners.search import Search
from elites.planners.weighting import teaches, top


@dataclass(frozen=True)
class TopK:
    """The k best, each with weight w_i = 1 / k. If fewer are finite, only these count."""

    k: int

    def __call__(self, values: Tensor) -> tuple[Tensor, Tensor]:
        best, index = top(values, self.k)
        counts = ((best > -float("inf")) & teaches(values)).to(values.dtype)
        return index, counts / counts.sum(-1, keepdim=True).clamp_min(1)


@dataclass(frozen=True)
class CEM(SamplingPlanner):
    """The cross-entropy method: refits a distribution to the elites (CEM-GD paper, eq. 2).

    With weights w_i of the elites x_i:

        μ ← (1 - α) μ + α Σ w_i x_i                      (2a)
        σ² ← (1 - α) σ² + α Σ w_i (x_i - Σ w_j x_j)²     (2b)

    The defaults are the paper's CEM 500. For a Q-function, CGP's Algorithm 1 is
    `CEM(samples=64, iterations=2, elites=6, alpha=1.0, spread=1.0, distribution=TanhNormal())`.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {"proposal": "distribution"}

    samples: Count = 100  # n, candidates per iteration
    iterations: Count = 5  # m, rounds of drawing, scoring and refitting
    elites: Count = 10  # k, candidates to refit to
    alpha: Rate = 0.9  # how far the mean and the variance move towards the elites
    spread: Positive = 0.5  # the first standard deviation, in half widths of the box: PETS's (high - low) / 4
    floor: NonNegative = 0.0  # the smallest spread, in half widths
    distribution: Distribution = TruncatedNormal()
    warm: Literal["best", "mean"] = "best"  # the point of the last plan at which a warm start is centred
    answer: Literal["best", "mean"] = "best"  # the mean suits a noisy objective: the best seen overfits noise
    memory: EliteMemory | None = None  # elites of earlier rounds to refit to as well

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elites > self.samples:
            raise ValueError(
                f"CEM.elites: expected at most samples, got {self.elites} elites of {self.samples} samples"
            )

    def search(self, problem: Problem, keep: int = 1) -> Search:
        """keep: the least number of elites in the plan."""
        distribution = suited(self.distribution, problem.space)
        return Search(
            problem,
            distribution,
            first_state(distribution, problem, self.spread, self.warm),
            weighting=TopK(self.elites),
            refit=Refit(self.alpha, self.alpha, self.floor),
            samples=[self.samples] * self.iterations,
            keep=max(self.elites, keep),
            answer=self.answer,
            memory=self.memory,
        )
