"""Tasks: Gymnasium environments, each with its reward, termination and encoding as batched torch functions.

import elites.envs
env = gymnasium.make("elites/CartpoleSwingup-v0")
task = elites.envs.TASKS["elites/CartpoleSwingup-v0"]
"""

from typing import Any

import gymnasium

from elites.envs.any_env import TERMINATIONS, learned_reward, name_of, sizes, task_of
from elites.envs.barrier import Barrier
from elites.envs.cartpole import CartpoleSwingup
from elites.envs.chain import Chain
from elites.envs.classic import ACROBOT, CARTPOLE
from elites.envs.maze import Maze, Mazes
from elites.envs.mujoco import HalfCheetah, HumanoidStandup, Pusher
from elites.envs.reach import Reach, Reaches
from elites.envs.task import TASKS, Task

_STEPS: dict[type[Any], int] = {CartpoleSwingup: 60, HalfCheetah: 1000, Pusher: 150, HumanoidStandup: 1000, Barrier: 60}

for _env, _steps in _STEPS.items():
    _id = f"elites/{_env.__name__}-v0"
    TASKS[_id] = _env.task
    gymnasium.register(_id, entry_point=f"{_env.__module__}:{_env.__name__}", max_episode_steps=_steps)

gymnasium.register("elites/Chain-v0", entry_point="elites.envs.chain:Chain", max_episode_steps=10)
for _module, _single, _many, _steps in (("maze", "Maze", "Mazes", 10_000), ("reach", "Reach", "Reaches", 100)):
    gymnasium.register(
        f"elites/{_single}-v0",
        entry_point=f"elites.envs.{_module}:{_single}",
        vector_entry_point=f"elites.envs.{_module}:{_many}",
        max_episode_steps=_steps,
    )

TASKS |= {"CartPole-v1": CARTPOLE, "Acrobot-v1": ACROBOT}

__all__ = [
    "TASKS",
    "TERMINATIONS",
    "Barrier",
    "CartpoleSwingup",
    "Chain",
    "HalfCheetah",
    "HumanoidStandup",
    "Maze",
    "Mazes",
    "Pusher",
    "Reach",
    "Reaches",
    "Task",
    "learned_reward",
    "name_of",
    "sizes",
    "task_of",
]
