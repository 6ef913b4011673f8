"""Model predictive path integral control."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from elites.fields import Count, Positive
from elites.planners.distributions import ClippedNormal, Noise, Refit, Smoothed, suited
from elites.planners.planner import SamplingPlanner, first_state
from elites.planners.problem import Problem
from elites.planners.search import Search
from elites.planners.weighting import teaches


@dataclass(frozen=True)
class Softmax:
    """w_i = exp(v_i / λ) / Σ exp(v_j / λ), the largest value subtracted first (Williams et al. 2017, alg. 2).

    standardise: λ is in standard deviations of the values, so one λ suits every scale of reward.
    """

    temperature: float  # λ
    standardise: bool

    def __call__(self, values: Tensor) -> tuple[Tensor, Tensor]:
        tiny = torch.finfo(values.dtype).tiny
        advantage = values - values.amax(-1, keepdim=True)
        if self.standardise:
            advantage = advantage / deviation(values, advantage).clamp_min(tiny)
        weight = torch.where(teaches(values), (advantage / self.temperature).exp(), 0)
        index = torch.arange(values.shape[-1], device=values.device).expand(values.shape)
        return index, weight / weight.sum(-1, keepdim=True).clamp_min(tiny)


def deviation(values: Tensor, advantage: Tensor) -> Tensor:
    """(*B, N) -> the standard deviation of the finite values, (*B, 1)."""
    finite = values > -torch.inf
    count = finite.sum(-1, keepdim=True).clamp_min(1)
    mean = torch.where(finite, advantage, 0).sum(-1, keepdim=True) / count
    apart = torch.where(finite, advantage - mean, 0)
    return (apart.square().sum(-1, keepdim=True) / count).sqrt()


@dataclass(frozen=True)
class MPPI(SamplingPlanner):
    """The mean moves to the weighted average of the candidates, μ ← Σ w_i x_i with `Softmax` weights. The spread stays.

    The values come from the objective alone. A cost of control must be part of the objective.
    """

    samples: Count = 100  # candidates of each iteration
    iterations: Count = 5  # rounds of drawing, scoring and averaging
    spread: Positive = 0.5  # the constant standard deviation, in half widths of the box
    temperature: Positive = 0.1  # λ; a low temperature favours the best candidates
    standardise: bool = True  # whether the temperature is in standard deviations of the candidates' values
    noise: Noise = Smoothed()  # how the samples are correlated in time

    def search(self, problem: Problem) -> Search:
        distribution = suited(ClippedNormal(self.noise), problem.space)
        return Search(
            problem,
            distribution,
            first_state(distribution, problem, self.spread, warm="mean"),
            weighting=Softmax(self.temperature, self.standardise),
            refit=Refit(spread=0),
            samples=[self.samples] * self.iterations,
            answer="mean",
        )
