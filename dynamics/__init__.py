"""Models of the world, their training, and the return of an action sequence under them."""

from typing import TYPE_CHECKING, Any

from elites.dynamics.dynamics import Dynamics
from elites.dynamics.ensemble import EnsembleConfig, ProbabilisticEnsemble
from elites.dynamics.function import FunctionDynamics
from elites.dynamics.returns import Return, Sequences
from elites.dynamics.training import Fit, Training

if TYPE_CHECKING:
    from elites.dynamics.simulator import MujocoDynamics

__all__ = [
    "Dynamics",
    "EnsembleConfig",
    "Fit",
    "FunctionDynamics",
    "MujocoDynamics",
    "ProbabilisticEnsemble",
    "Return",
    "Sequences",
    "Training",
]


def __getattr__(name: str) -> Any:
    """Loads the simulator, and with it MuJoCo, at the first use."""
    if name == "MujocoDynamics":
        from elites.dynamics.simulator import MujocoDynamics

        return MujocoDynamics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
