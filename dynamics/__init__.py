"""Models of the world, and the return of an action sequence under them."""

from elites.dynamics.plain import Dynamics, FunctionDynamics, Noise
from elites.dynamics.returns import Return

__all__ = ["Dynamics", "FunctionDynamics", "Noise", "Return"]
