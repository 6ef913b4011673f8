"""Environments that end badly, for workers: name them as `small_worlds:Mortal-v0`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

MARK = "SMALL_WORLDS_MARK"  # the environment variable with the path of a file; a world ends badly until it exists


class Line(gymnasium.Env[Any, Any]):
    """The reward is the action. An observation is the action before, and noise from the seed."""

    observation_space = Box(-10, 10, (2,))
    action_space = Box(-1, 1, (1,))

    def __init__(self, at_step_3: str = "") -> None:
        self.at_step_3, self.age = at_step_3, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.age = 0
        return np.array([0, self.np_random.normal()], dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        if self.age == 3:
            getattr(self, f"_{self.at_step_3}", lambda: None)()
        reward = float("nan") if self.at_step_3 == "nan" and self.age == 3 else float(action[0])
        return np.array([action[0], self.np_random.normal()], dtype=np.float32), reward, False, False, {}

    def _dies(self) -> None:
        mark = Path(os.environ[MARK])
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def _always_dies(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _hangs(self) -> None:
        time.sleep(3600)

    def _raises(self) -> None:
        raise RuntimeError("the motor is too hot")


for name, what in {
    "Line": "",
    "Mortal": "dies",
    "Deadly": "always_dies",
    "Hanging": "hangs",
    "Hot": "raises",
    "NaN": "nan",
}.items():
    gymnasium.register(f"{name}-v0", entry_point=Line, max_episode_steps=6, kwargs={"at_step_3": what})
gymnasium.register("Endless-line-v0", entry_point=Line)
