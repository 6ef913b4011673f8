"""Models of the world, their training, and the return of an action sequence under them."""

from elites.dynamics.ensemble import Architecture, ProbabilisticEnsemble
from elites.dynamics.plain import Dynamics, FunctionDynamics, Noise
from elites.dynamics.returns import Return, Sequences
from elites.dynamics.simulator import MujocoDynamics
from elites.dynamics.training import Fit, Training

__all__ = [
    "Architecture",
    "Dynamics",
    "Fit",
    "FunctionDynamics",
    "MujocoDynamics",
    "Noise",
    "ProbabilisticEnsemble",
    "Return",
    "Sequences",
    "Training",
]
