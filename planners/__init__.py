"""The search core: objectives over spaces, and the planners that maximise them."""

from elites.config import choices
from elites.planners.ascent import Ascent
from elites.planners.blend import Blend
from elites.planners.cem import CEM, TopK
from elites.planners.cem_gd import CEMGD
from elites.planners.cma_es import CMAES
from elites.planners.distributions import (
    Categorical,
    ClippedNormal,
    Coloured,
    Distribution,
    Fill,
    FullNormal,
    Noise,
    NormalMixture,
    Refit,
    Smoothed,
    SplineKnots,
    State,
    TanhNormal,
    TruncatedNormal,
    Uniform,
    White,
)
from elites.planners.draw import Draw
from elites.planners.evaluator import Evaluator
from elites.planners.grad_cem import GradCEM
from elites.planners.gradient_ascent import GradientAscent
from elites.planners.icem import ICEM
from elites.planners.lbfgs import LBFGS
from elites.planners.memory import EliteMemory
from elites.planners.mppi import MPPI, Softmax
from elites.planners.plan import Objective, Plan, Planner, RoughObjective, shift
from elites.planners.planner import SamplingPlanner, Solver, first_state
from elites.planners.predictive_sampling import PredictiveSampling
from elites.planners.problem import Problem
from elites.planners.random_shooting import RandomShooting
from elites.planners.search import Search
from elites.planners.weighting import Weighting, only_the_best

PLANNERS: dict[str, type] = {
    "random_shooting": RandomShooting,
    "predictive_sampling": PredictiveSampling,
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "gradient_ascent": GradientAscent,
    "cem_gd": CEMGD,
    "grad_cem": GradCEM,
    "lbfgs": LBFGS,
    "blend": Blend,
}
ASCENTS: dict[str, type] = {"gradient_ascent": GradientAscent, "lbfgs": LBFGS}
DISTRIBUTIONS: dict[str, type] = {
    "truncated_normal": TruncatedNormal,
    "clipped_normal": ClippedNormal,
    "tanh_normal": TanhNormal,
    "spline_knots": SplineKnots,
    "full_normal": FullNormal,
    "normal_mixture": NormalMixture,
    "uniform": Uniform,
    "categorical": Categorical,
}
NOISES: dict[str, type] = {"white": White, "coloured": Coloured, "smoothed": Smoothed}

choices(Planner, PLANNERS | {"cma_es": CMAES})  # the package cma is an extra
choices(Ascent, ASCENTS)
choices(Distribution, DISTRIBUTIONS)
choices(Noise, NOISES)

__all__ = [
    "ASCENTS",
    "CEM",
    "CEMGD",
    "CMAES",
    "DISTRIBUTIONS",
    "ICEM",
    "LBFGS",
    "MPPI",
    "NOISES",
    "PLANNERS",
    "Ascent",
    "Blend",
    "Categorical",
    "ClippedNormal",
    "Coloured",
    "Distribution",
    "Draw",
    "EliteMemory",
    "Evaluator",
    "Fill",
    "FullNormal",
    "GradCEM",
    "GradientAscent",
    "Noise",
    "NormalMixture",
    "Objective",
    "Plan",
    "Planner",
    "PredictiveSampling",
    "Problem",
    "RandomShooting",
    "Refit",
    "RoughObjective",
    "SamplingPlanner",
    "Search",
    "Smoothed",
    "Softmax",
    "Solver",
    "SplineKnots",
    "State",
    "TanhNormal",
    "TopK",
    "TruncatedNormal",
    "Uniform",
    "Weighting",
    "White",
    "first_state",
    "only_the_best",
    "shift",
]
