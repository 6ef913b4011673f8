"""The search core: objectives over boxes, and the planners that maximise them."""

from elites.config import choices
from elites.planners.cem import CEM
from elites.planners.cem_gd import CEMGD
from elites.planners.grad_cem import GradCEM
from elites.planners.gradient_ascent import GradientAscent
from elites.planners.icem import ICEM
from elites.planners.mppi import MPPI
from elites.planners.noise import Coloured, Noise, Smoothed, White
from elites.planners.plan import Fill, Objective, Plan, Planner, shift
from elites.planners.predictive_sampling import PredictiveSampling
from elites.planners.problem import Problem, Solver
from elites.planners.proposals import ClippedNormal, Proposal, SplineKnots, TanhNormal, TruncatedNormal, Uniform
from elites.planners.random_shooting import RandomShooting
from elites.planners.search import search
from elites.planners.weights import Best, Softmax, TopK, Weights

PLANNERS: dict[str, type] = {
    "random_shooting": RandomShooting,
    "predictive_sampling": PredictiveSampling,
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "gradient_ascent": GradientAscent,
    "cem_gd": CEMGD,
    "grad_cem": GradCEM,
}
PROPOSALS: dict[str, type] = {
    "truncated_normal": TruncatedNormal,
    "clipped_normal": ClippedNormal,
    "tanh_normal": TanhNormal,
    "spline_knots": SplineKnots,
    "uniform": Uniform,
}
NOISES: dict[str, type] = {"white": White, "coloured": Coloured, "smoothed": Smoothed}

choices(Planner, PLANNERS)
choices(Proposal, PROPOSALS)
choices(Noise, NOISES)

__all__ = [
    "CEM",
    "CEMGD",
    "ICEM",
    "MPPI",
    "NOISES",
    "PLANNERS",
    "PROPOSALS",
    "Best",
    "ClippedNormal",
    "Coloured",
    "Fill",
    "GradCEM",
    "GradientAscent",
    "Noise",
    "Objective",
    "Plan",
    "Planner",
    "PredictiveSampling",
    "Problem",
    "Proposal",
    "RandomShooting",
    "Smoothed",
    "Softmax",
    "Solver",
    "SplineKnots",
    "TanhNormal",
    "TopK",
    "TruncatedNormal",
    "Uniform",
    "Weights",
    "White",
    "search",
    "shift",
]
