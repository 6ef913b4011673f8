"""Those who act and learn: the MPC agent, PETS, and the loop, run folder and checkpoints around them."""

from elites.agents.loop import Learner, Loop, Schedule
from elites.agents.mpc import MPC, Report, Returns
from elites.agents.pets import PETS, PETSConfig
from elites.agents.replay import Replay
from elites.agents.run import Run

__all__ = ["MPC", "PETS", "Learner", "Loop", "PETSConfig", "Replay", "Report", "Returns", "Run", "Schedule"]
