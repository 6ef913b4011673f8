"""The loop of every agent that learns as it acts: episodes, checkpoints, and going on after any interruption."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from elites.agents import checkpoint
from elites.agents.run import Row, Run
from elites.cli import Interrupt, Screen
from elites.envs import name_of
from elites.fields import Count, NonNegative, Range, validate

Array = NDArray[Any]
Natural = Annotated[int, Range(0)]


class Learner(Protocol):
    """What the loop asks of an agent. summary: figures of the whole run, for summary.json."""

    def begin(self) -> None: ...
    def act(self, observation: Array) -> Array: ...
    def act_at_random(self) -> Array: ...
    def observe(
        self, observation: Array, action: Array, reward: float, next_observation: Array, terminated: bool
    ) -> None: ...
    def due(self, episode_begins: bool) -> bool: ...
    def learn(self, progress: Callable[[str], None]) -> dict[str, float]: ...
    def summary(self) -> dict[str, Any]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Schedule:
    """Episodes at random, then planned ones, learning in between, then some that only show what was learned."""

    random_episodes: Natural = 5
    episodes: Count = 8
    evaluation_episodes: Natural = 0
    checkpoint_s: NonNegative = 30.0  # at most so many seconds are lost

    def __post_init__(self) -> None:
        validate(self)

    def phase(self, episode: int) -> str:
        if episode < self.random_episodes:
            return "random"
        return "learning" if episode < self.random_episodes + self.episodes else "evaluation"

    @property
    def total(self) -> int:
        return self.random_episodes + self.episodes + self.evaluation_episodes


class Loop:
    """Runs an agent in an environment, one episode after another; what it holds is what a checkpoint holds.

    An interrupted episode is gone through again on resuming, with the actions that were taken: an environment has no
    way to be saved, but one that is reproducible has no need of it.
    """

    def __init__(
        self,
        agent: Learner,
        env: gymnasium.Env[Any, Any],
        run: Run,
        schedule: Schedule,
        seed: int,
        screen: Screen,
    ) -> None:
        self.agent, self.env, self.run, self.schedule, self.seed, self.screen = agent, env, run, schedule, seed, screen
        self.name = name_of(env)
        self.rows: list[Row] = []  # one for each episode that ended
        self.actions: list[Array] = []  # of the episode under way
        self.steps, self.best_actions, self.figures = 0, np.empty(0), dict[str, float]()
        self._peak, self._wall = 0.0, 0.0
        self._observation = np.empty(0)
        self._began = self._saved = time.perf_counter()
        self._act_ms: list[float] = []  # of this episode
        self._interrupt = Interrupt(screen)

    def __call__(self) -> dict[str, Any]:
        """Runs, or goes on, to the end of the schedule; the summary."""
        with self._interrupt:
            while len(self.rows) < self.schedule.total:
                self._episode()
            self._save()
        self.run.log(self.rows)
        summary = self.summary()
        self.run.summarise(summary)
        return summary

    def _episode(self) -> None:
        episode, phase = len(self.rows), self.schedule.phase(len(self.rows))
        observation, total = self._first(episode)
        began, ended = time.perf_counter(), False
        while not ended:
            if phase != "random" and self.agent.due(not self.actions) and (phase == "learning" or not self.actions):
                self._learn()
            action = self._act(observation, phase)
            following, reward, terminated, truncated = self._step(action)
            if phase != "evaluation":
                self.agent.observe(observation, action, reward, following, terminated)
                self.steps += 1
            self.actions.append(np.asarray(action))
            observation, total, ended = following, total + reward, terminated or truncated
            self._observation = np.asarray(observation)
            if not ended:
                self._between(episode, phase, total)
        self._finish(episode, phase, total, terminated, time.perf_counter() - began)

    def _act(self, observation: Array, phase: str) -> Array:
        if phase == "random":
            return self.agent.act_at_random()
        began = time.perf_counter()
        action = self.agent.act(observation)
        self._act_ms.append(1e3 * (time.perf_counter() - began))
        return action

    def _step(self, action: Array) -> tuple[Array, float, bool, bool]:
        following, reward, terminated, truncated, _ = self.env.step(action)
        if np.isfinite([*following, float(reward)]).all():
            return following, float(reward), bool(terminated), bool(truncated)
        where = f"step {len(self.actions) + 1} of episode {len(self.rows) + 1}"
        raise ValueError(
            f"{self.name}: expected finite numbers at {where}, got reward {reward} and observation {following}; "
            f"the last checkpoint is {self.run.last_checkpoint or 'none yet'}"
        )

    def _first(self, episode: int) -> tuple[Array, float]:
        """The observation to go on from, and the rewards before it."""
        observation, _ = self.env.reset(seed=episode_seed(self.seed, episode))
        self._act_ms = []
        if not self.actions:
            self.agent.begin()
            return observation, 0.0
        total = 0.0
        for action in self.actions:
            observation, reward, *_ = self.env.step(action)
            total += float(reward)
        if not np.array_equal(observation, self._observation):
            raise ValueError(
                f"{self.name}: gave other observations for the same seed and actions, so the episode that was "
                "interrupted cannot be gone on with"
            )
        return observation, total

    def _learn(self) -> None:
        self._save()  # so that stopping while it learns loses nothing

        def progress(text: str) -> None:
            self.screen.status(f"{text}  {self._elapsed()}")
            if self._interrupt.asked:
                raise KeyboardInterrupt

        self.figures = self.agent.learn(progress)

    def _between(self, episode: int, phase: str, total: float) -> None:
        """Between two steps."""
        pace = f"  act {self._act_ms[-1]:.0f} ms" if self._act_ms else ""
        now = f"{len(self.actions):5d} steps  return {total:9.2f}{pace}  {self._elapsed()}"
        self.screen.status(f"{self._label(episode, phase)}  {now}")
        self._pause()

    def _pause(self) -> None:
        if self._interrupt.asked or time.perf_counter() - self._saved >= self.schedule.checkpoint_s:
            self._save()
        if self._interrupt.asked:
            raise KeyboardInterrupt

    def _finish(self, episode: int, phase: str, total: float, terminated: bool, seconds: float) -> None:
        length = len(self.actions)
        row = {"episode": episode + 1, "phase": phase, "env_steps": self.steps, "return": total, "length": length}
        row |= {"terminated": terminated, **self.figures, "steps_per_s": length / max(seconds, 1e-9)}
        if self._act_ms:
            row["act_ms"] = float(np.median(self._act_ms))
        self.rows.append(row)
        if self.best is row:
            self.best_actions = np.stack(self.actions)
        self.actions = []
        self.run.log(self.rows)
        self.screen.line(self._report(row))
        self._pause()

    @property
    def best(self) -> Row | None:
        """Of the planned episodes, the one with the highest return."""
        planned = [row for row in self.rows if row["phase"] != "random"]
        return max(planned, key=lambda row: (row["return"], row["episode"]), default=None)

    def _label(self, episode: int, phase: str) -> str:
        return f"episode {episode + 1:3d}/{self.schedule.total}  {phase:<10}"

    def _elapsed(self) -> str:
        seconds = int(self._wall + time.perf_counter() - self._began)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def _report(self, row: Row) -> str:
        text = f"{self._label(row['episode'] - 1, row['phase'])}  {row['length']:5d} steps  return {row['return']:9.2f}"
        text += f"  {row['steps_per_s']:7.1f} steps/s"
        parts = {"act_ms": "  act {:.0f} ms", "model_rmse": "  rmse {:.3f}", "model_coverage_90": ", {:.0%} in 90 %"}
        return text + "".join(form.format(row[name]) for name, form in parts.items() if name in row)

    # --- to stop and to go on ----------------------------------------------------------------------------------------

    def _save(self) -> None:
        self.run.save(self.state_dict())
        self._saved = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        self._measure()
        actions = np.stack(self.actions) if self.actions else np.empty(0)
        return {
            "agent": self.agent.state_dict(),
            "random": checkpoint.global_random_state(),
            "rows": self.rows,
            "actions": torch.from_numpy(actions),
            "best_actions": torch.from_numpy(self.best_actions),
            "observation": torch.from_numpy(self._observation),
            "figures": self.figures,
            "steps": self.steps,
            "peak": self._peak,
            "wall": self._wall,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        checkpoint.set_global_random_state(state["random"])
        self.rows, self.figures, self.steps = state["rows"], state["figures"], state["steps"]
        self.actions, self.best_actions = list(state["actions"].numpy()), state["best_actions"].numpy()
        self._observation, self._peak, self._wall = state["observation"].numpy(), state["peak"], state["wall"]

    def _measure(self) -> None:
        now = time.perf_counter()
        self._wall, self._began = self._wall + now - self._began, now
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated() / 2**20
        self._peak = max(self._peak, peak)

    def summary(self) -> dict[str, Any]:
        self._measure()
        returns = {
            phase: [row["return"] for row in self.rows if row["phase"] == phase]
            for phase in ("random", "learning", "evaluation")
        }
        learned = returns["learning"]
        return {
            "env": self.name,
            "seed": self.seed,
            "episode_returns": learned,
            "best_return": max(learned, default=None),
            "last_three_mean": float(np.mean(learned[-3:])) if learned else None,
            "random_returns": returns["random"],
            "evaluation_returns": returns["evaluation"],
            **self.agent.summary(),
            "peak_memory_mb": round(self._peak, 1),
            "env_steps": self.steps,
            "wall_s": round(self._wall, 1),
        }


def episode_seed(seed: int, episode: int) -> int:
    """Another one for every pair of the two."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])
