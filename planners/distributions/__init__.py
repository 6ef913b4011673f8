"""Distributions over candidates: how to draw them, and how to fit to the good ones."""

from elites.planners.distributions.categorical import Categorical
from elites.planners.distributions.distribution import Distribution, Fill, Refit, State
from elites.planners.distributions.full_normal import FullNormal
from elites.planners.distributions.mixture import NormalMixture
from elites.planners.distributions.noise import Coloured, Noise, Smoothed, White
from elites.planners.distributions.normals import BoxNormal, ClippedNormal, TanhNormal, TruncatedNormal
from elites.planners.distributions.spline_knots import SplineKnots
from elites.planners.distributions.uniform import Uniform
from elites.spaces import Choices, Space

__all__ = [
    "BoxNormal",
    "Categorical",
    "ClippedNormal",
    "Coloured",
    "Distribution",
    "Fill",
    "FullNormal",
    "Noise",
    "NormalMixture",
    "Refit",
    "Smoothed",
    "SplineKnots",
    "State",
    "TanhNormal",
    "TruncatedNormal",
    "Uniform",
    "White",
    "suited",
]


def suited(distribution: Distribution, space: Space) -> Distribution:
    """Over choices, replaces a normal by `Categorical` with the same noise."""
    if not isinstance(space, Choices):
        return distribution
    if isinstance(distribution, ClippedNormal | TanhNormal):
        return Categorical(distribution.noise)
    return Categorical() if isinstance(distribution, BoxNormal) else distribution
