"""The agents: MPC, PETS, and the model-free agents. This package loads neither Gymnasium nor MuJoCo."""

from elites.agents.agent import Agent
from elites.agents.algorithm import Algorithm, Losses
from elites.agents.algorithms.awac import AWAC
from elites.agents.algorithms.awr import AWR
from elites.agents.algorithms.bc import BC
from elites.agents.algorithms.cgp import CGP
from elites.agents.algorithms.ddpg import DDPG
from elites.agents.algorithms.dqn import DQN
from elites.agents.algorithms.dspg import DSPG
from elites.agents.algorithms.mpo import MPO
from elites.agents.algorithms.power import PoWER
from elites.agents.algorithms.ppo import PPO
from elites.agents.algorithms.qgp import QGP
from elites.agents.algorithms.qt_opt import QtOpt
from elites.agents.algorithms.reinforce import Reinforce
from elites.agents.algorithms.reps import REPS
from elites.agents.algorithms.rwr import RWR
from elites.agents.algorithms.sac import SAC
from elites.agents.algorithms.td3 import TD3
from elites.agents.algorithms.trpo import TRPO
from elites.agents.algorithms.urex import UREX
from elites.agents.algorithms.vmpo import VMPO
from elites.agents.learner import Learner, Transition
from elites.agents.mpc import MPC, Report, Returns
from elites.agents.nets import Nets, Optimizer, Part
from elites.agents.network import Network
from elites.agents.pace import Pace
from elites.agents.pets import PETS, PETSConfig
from elites.agents.plan_value import PlanValue, ValueLearning
from elites.agents.policy_plans import PolicyReturn
from elites.agents.population import Population
from elites.agents.replay import Episode, Grown, Replay, Rows
from elites.agents.units import Spaces
from elites.config import choices

AGENTS: dict[str, type] = {
    "cgp": CGP, "qgp": QGP, "qt_opt": QtOpt, "td3": TD3, "ddpg": DDPG,
    "sac": SAC, "dspg": DSPG, "mpo": MPO, "awr": AWR, "awac": AWAC, "rwr": RWR, "bc": BC,
    "vmpo": VMPO, "ppo": PPO, "trpo": TRPO, "reps": REPS, "urex": UREX, "power": PoWER,
    "dqn": DQN, "reinforce": Reinforce,
}  # fmt: skip

choices(Algorithm, AGENTS, renamed={"cem": "qt_opt"})

__all__ = [
    "AGENTS",
    "AWAC",
    "AWR",
    "BC",
    "CGP",
    "DDPG",
    "DQN",
    "DSPG",
    "MPC",
    "MPO",
    "PETS",
    "PPO",
    "QGP",
    "REPS",
    "RWR",
    "SAC",
    "TD3",
    "TRPO",
    "UREX",
    "VMPO",
    "Agent",
    "Algorithm",
    "Episode",
    "Grown",
    "Learner",
    "Losses",
    "Nets",
    "Network",
    "Optimizer",
    "PETSConfig",
    "Pace",
    "Part",
    "PlanValue",
    "PoWER",
    "PolicyReturn",
    "Population",
    "QtOpt",
    "Reinforce",
    "Replay",
    "Report",
    "Returns",
    "Rows",
    "Spaces",
    "Transition",
    "ValueLearning",
]
