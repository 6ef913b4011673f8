"""Those who act: the MPC agent."""

from elites.agents.mpc import MPC, Report, Returns

__all__ = ["MPC", "Report", "Returns"]
