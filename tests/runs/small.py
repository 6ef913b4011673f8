"""Small runs, and an observer that writes down what it hears."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from elites.agents import TD3, Network
from elites.dynamics import EnsembleConfig, Training
from elites.networks.architecture import Architecture
from elites.planners import CEM
from elites.runs import LearnSettings, Observer, PETSSettings, Status, Summary, Watched, train

TD3_RUN = LearnSettings(
    env="Pendulum-v1",
    episode_steps=30,
    agent=TD3(network=Network.of(Architecture((8, 8))), batch=8),
    random_steps=40,
    steps=160,
    evaluate_every=80,
    evaluation_episodes=2,
)
PETS_RUN = PETSSettings(
    planner=CEM(samples=8, elites=2, iterations=2),
    horizon=5,
    model=EnsembleConfig(members=2, architecture=Architecture((8,), "silu")),
    training=Training(epochs=2),
    env="elites/CartpoleSwingup-v0",
    random_episodes=1,
    episodes=2,
    episode_steps=10,
)
RUNS = [TD3_RUN, replace(TD3_RUN, seed=1, num_envs=2), PETS_RUN, replace(PETS_RUN, seed=1)]


def in_turn(folder: Path) -> list[Any]:
    return [returns(train(settings, folder / str(i))) for i, settings in enumerate(RUNS)]


def returns(summary: Summary) -> Any:
    return summary.episode_returns, summary.evaluation_returns, summary.random_returns, summary.env_steps


class Listening(Observer):
    speaks = True

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.said: list[str] = []
        self.statuses: list[Status] = []

    def began(self, run: Watched) -> None:
        self.run = run
        self.heard.append("began")

    def tell(self, text: str) -> None:
        self.said.append(text)

    def status(self, status: Status) -> None:
        self.statuses.append(status)

    def row(self, row: Any) -> None:
        self.heard.append(row["phase"])

    def saving(self) -> None:
        self.heard.append("saving")

    def saved(self, checkpoint: Path) -> None:
        assert checkpoint.exists()
        self.heard.append("saved")

    def ended(self, summary: Summary) -> None:
        assert (self.run.folder / "summary.json").exists() or not summary.finished
        self.heard.append("ended")

    def close(self) -> None:
        self.heard.append("closed")


class Endless(gymnasium.Env[Any, Any]):
    """Without a limit of steps; episodes end after 30. `surprise` is called at every step, with its number."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    surprise: Any = staticmethod(lambda step: None)
    steps = 0

    def __init__(self, **_: Any) -> None:
        if type(self).surprise == "constructor":
            raise AttributeError("mujoco has no\nattribute 'mjXX'")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.normal(size=2)
        self.left = 30
        return self.at.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        type(self).steps += 1
        self.left -= 1
        self.at = self.at + action + 0.1 * self.np_random.normal(size=2)
        told = type(self).surprise(type(self).steps)
        return self.at.copy() if told is None else told, -float(self.at @ self.at), False, self.left == 0, {}


if "Endless-v0" not in gymnasium.registry:
    gymnasium.register("Endless-v0", Endless, max_episode_steps=None, disable_env_checker=True)
