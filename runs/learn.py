"""The settings of a run of a model-free agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import torch

from elites import config
from elites.agents import CGP, Agent, Algorithm
from elites.agents.learner import Learner
from elites.envs import sizes
from elites.fields import Count
from elites.runs.data import fill, normalised
from elites.runs.environments import Environments, several
from elites.runs.schedule import Natural, Steps
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary

CONFIGS = Path(__file__).parents[1] / "configs/learn"


@dataclass(frozen=True)
class LearnSettings(Steps, RunSettings):
    """All settings of a run, for configs/learn/ and --set."""

    FIXED: ClassVar[tuple[str, ...]] = (*RunSettings.FIXED, "num_envs", "data")
    agent: Algorithm = CGP()
    num_envs: Count = 1  # number of environments that collect at once
    data: str = ""  # recorded transitions to learn from: a run's folder, or minari:ID
    offline_updates: Natural = 0  # updates from them before the first step

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.data) != bool(self.offline_updates):
            raise ValueError("data and offline_updates: expected both or neither")

    @property
    def at_random(self) -> int:
        own = 0 if self.data else self.agent.random_steps
        return own if self.random_steps is None else self.random_steps

    @property
    def offline(self) -> Sequence[int]:
        before = range(self.evaluate_every, self.offline_updates, self.evaluate_every)
        return (*before, self.offline_updates) if self.offline_updates else ()

    def make_agent(self, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> Agent:
        observed, _ = sizes(env)
        return Agent(self.agent, observed, env.action_space, self.seed, device)

    def prepare(self, agent: Learner) -> None:
        if self.data and isinstance(agent, Agent):
            fill(agent, self.data)

    def make_environments(self) -> Environments:
        return several(self.env, self.num_envs, self.episode_steps)

    def make_evaluation_environments(self) -> Environments | None:
        shown = self.evaluation_episodes
        return several(self.env, shown, self.episode_steps) if shown else None

    def title(self) -> str:
        agent = config.dump(self)["agent"]
        mode = f"-{agent['mode']}" if agent.get("mode") == "offline" else ""
        data = "-data" if self.data else ""
        return f"{self.env_name}-{agent['name'].rpartition(':')[2]}{mode}{data}-{self.seed}"

    def report(self, summary: Summary) -> str:
        if summary.final_evaluation_mean is not None:
            score = normalised(self.data, summary.final_evaluation_mean)
            where = "" if score is None else f" ({score:.2f} of the dataset's reference scores)"
            return f"final evaluation {summary.final_evaluation_mean:.1f} ± {summary.final_evaluation_std:.1f}{where}"
        return f"{len(summary.episode_returns)} episodes of learning, no evaluation"
