"""Models of the world, and the return of an action sequence under them."""

from elites.dynamics.plain import Dynamics, FunctionDynamics, Noise
from elites.dynamics.returns import Return
from elites.dynamics.simulator import MujocoDynamics

__all__ = ["Dynamics", "FunctionDynamics", "MujocoDynamics", "Noise", "Return"]
