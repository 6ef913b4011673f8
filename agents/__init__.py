"""Those who act and learn: the MPC agent, PETS, and the model-free agents."""

from elites.agents.cgp import CGP, QCEM, QGP
from elites.agents.learner import Learner, Transition
from elites.agents.mpc import MPC, Report, Returns
from elites.agents.off_policy import Algorithm, OffPolicy
from elites.agents.pets import PETS, PETSConfig
from elites.agents.replay import Grown, Replay
from elites.agents.sac import SAC
from elites.agents.td3 import DDPG, TD3
from elites.config import choices

AGENTS: dict[str, type] = {"cgp": CGP, "qgp": QGP, "cem": QCEM, "td3": TD3, "ddpg": DDPG, "sac": SAC}

choices(Algorithm, AGENTS)

__all__ = [
    "AGENTS",
    "CGP",
    "DDPG",
    "MPC",
    "PETS",
    "QCEM",
    "QGP",
    "SAC",
    "TD3",
    "Algorithm",
    "Grown",
    "Learner",
    "OffPolicy",
    "PETSConfig",
    "Replay",
    "Report",
    "Returns",
    "Transition",
]
