"""The settings of a policy search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import torch

from elites import config
from elites.agents.adversarial import Imitation
from elites.agents.learner import Learner
from elites.agents.policy_search import Form, PolicySearch, Shown
from elites.envs import sizes
from elites.fields import Count, Fraction
from elites.planners import CEM, ClippedNormal, Planner
from elites.runs.environments import Environments, one_of, several
from elites.runs.folder import RunFolder
from elites.runs.observers import Observers
from elites.runs.run import Run
from elites.runs.schedule import Generations
from elites.runs.search_loop import SearchLoop
from elites.runs.settings import RunSettings
from elites.runs.stages import limit_of
from elites.runs.summary import Summary
from elites.runs.workers import Task, crew_of
from elites.runs.workers.crew import EarlyStop

CONFIGS = Path(__file__).parents[1] / "configs/search"
CEM_OF_POLICIES = CEM(samples=100, elites=10, alpha=1.0, spread=1.0, distribution=ClippedNormal(), answer="mean")


@dataclass(frozen=True)
class SearchSettings(Generations, RunSettings):
    """All settings of a policy search, for configs/search/ and --set."""

    FIXED: ClassVar[tuple[str, ...]] = (*RunSettings.FIXED, "policy", "planner")
    planner: Planner = CEM_OF_POLICIES
    policy: Form = Form()
    shown: Shown = "mean"  # who is evaluated
    imitation: Imitation | None = None  # a hypernetwork that imitates the elites, as in CEM-AH
    episodes: Count = 1  # of each candidate in a generation
    common_seeds: bool = False  # whether all candidates of a generation have the same seeds
    hopeless: Fraction = 0.0  # the share of candidates that stop after a quarter of the longest episode
    workers: Count | str | None = None  # processes, ray or ray://HOST:PORT; null is one process for each core

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.workers, str) and self.workers != "ray" and not self.workers.startswith("ray://"):
            raise ValueError(f"workers: expected a number, ray or ray://HOST:PORT, got {self.workers!r}")

    def make_agent(self, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> PolicySearch:
        if torch.device(device).type != "cpu":
            raise ValueError(f"--device {device}: expected cpu; policies of a search act on CPUs, in its workers")
        observed, _ = sizes(env)
        limit_of(env)
        parts = self.policy, self.planner, self.generations, observed, env.action_space
        return PolicySearch(*parts, self.seed, self.shown, self.imitation)

    def make_run(
        self,
        agent: Learner,
        envs: Environments,
        folder: RunFolder,
        evaluation: Environments | None,
        observers: Observers,
        stop: Callable[[], bool],
    ) -> Run:
        assert isinstance(agent, PolicySearch)
        crew = crew_of(self.workers, Task(self.env, self.episode_steps, agent.population), observers.tell)
        env = one_of(envs)
        assert env is not None
        return SearchLoop(
            agent,
            envs,
            crew,
            folder,
            self,
            self.seed,
            episodes=self.episodes,
            common=self.common_seeds,
            early=EarlyStop(-(-limit_of(env) // 4), self.hopeless) if self.hopeless else None,
            evaluation=evaluation,
            observers=observers,
            stop=stop,
        )

    def make_evaluation_environments(self) -> Environments | None:
        shown = self.evaluation_episodes
        return several(self.env, shown, self.episode_steps) if shown else None

    def title(self) -> str:
        name = config.dump(self)["planner"]["name"].rpartition(":")[2]
        return f"{self.env_name}-search-{name}-{self.seed}"

    def report(self, summary: Summary) -> str:
        found = f"{summary.agent['generations']} generations, {summary.agent['episodes']} episodes"
        if summary.final_evaluation_mean is None:
            return f"{found}, no evaluation"
        return f"{found}, final evaluation {summary.final_evaluation_mean:.1f} ± {summary.final_evaluation_std:.1f}"
