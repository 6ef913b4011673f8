"""The loop of every agent that learns as it acts: steps, lessons, checkpoints, and going on after any interruption."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from elites.agents.learner import Learner, Transition
from elites.cli import Interrupt, Screen
from elites.envs import name_of
from elites.runs import checkpoint
from elites.runs.environments import Environments, episode_seed, inside, reset, together
from elites.runs.evaluation import evaluate
from elites.runs.folder import Row, Run
from elites.runs.schedule import Episodes, Phase, Schedule

Array = NDArray[Any]
PHASES = (("random",), ("learning",), ("evaluation", "final"))  # of rows
LARGEST = np.finfo(np.float32).max  # that learning knows; no comparison holds for NaN
LOG_S, LOG_SHARE = 1.0, 0.02  # metrics.csv is not written more often, and takes no larger share of the time


class NotFinite(Exception):
    """What an environment gave is nothing that an agent could learn from."""


class Loop:
    """Runs an agent in N environments at once; what it holds is what a checkpoint holds.

    Episodes that were interrupted are gone through again on resuming, with the actions that were taken: an environment
    has no way to be saved, but one that is reproducible has no need of it.
    envs: an environment, or a VectorEnv whose autoreset is disabled: only then is the last observation of an episode
    its own, and the seed of the next one ours. evaluation: others, for evaluations in between.
    """

    def __init__(
        self,
        agent: Learner,
        envs: gymnasium.Env[Any, Any] | Environments,
        run: Run,
        schedule: Schedule,
        seed: int,
        screen: Screen,
        evaluation: Environments | None = None,
    ) -> None:
        self.agent, self.run, self.schedule, self.seed, self.screen = agent, run, schedule, seed, screen
        self.name = name_of(envs)
        self.envs = envs if isinstance(envs, VectorEnv) else together([envs])
        self.evaluation = evaluation
        for those in (self.envs, *([evaluation] if evaluation else [])):
            if (mode := those.metadata.get("autoreset_mode")) != AutoresetMode.DISABLED:
                raise ValueError(f"{self.name}: expected environments of AutoresetMode.DISABLED, got {mode}")
        count = self.envs.num_envs
        if isinstance(schedule, Episodes) and count > 1:
            raise ValueError(f"{self.name}: expected one environment where episodes are counted, got {count}")
        self.rows: list[Row] = []  # one for each episode that ended, and for each evaluation
        self.numbers = list(range(count))  # of the episodes under way
        self.actions: list[list[Array]] = [[] for _ in range(count)]  # of those episodes
        self.returns = np.zeros(count)  # of those episodes, so far
        self.observation = np.empty(0)
        self.steps, self.evaluated = 0, 0  # those learned from; how many they were at the last evaluation
        self.best: dict[str, Any] = {}  # of the planned episodes: return, seed, actions
        self.figures: dict[str, float] = {}
        self._peak, self._wall = 0.0, 0.0
        self._began = self._saved = self._logged = time.perf_counter()
        self._episode_began = np.full(count, self._began)
        self._rows_logged, self._save_s, self._log_s = 0, 0.0, 0.0
        self._act_ms: list[float] = []  # since an episode ended
        self._interrupt = Interrupt(screen)

    def __call__(self) -> dict[str, Any]:
        """Runs, or goes on, to the end of the schedule; the summary."""
        with self._interrupt:
            try:
                self._go_on()
            except NotFinite as found:
                self._save()  # all that came before it; unless the agent is the cause, which is looked at first
                raise ValueError(f"{found}; {self._left}") from None
            self._save()
        summary = self.summary()
        self.run.summarise(summary)
        return summary

    def _go_on(self) -> None:
        self._begin()
        while phase := self.schedule.phase(self.numbers[0], self.steps):
            if self.evaluation and self.schedule.evaluates(self.steps, self.evaluated):
                self._evaluate("evaluation")
            self._step(phase)
        self.agent.finish(self._pause)
        if self.evaluation and not any(map(self._is_last, self.rows)):
            self._evaluate("final")

    def _is_last(self, row: Row) -> bool:
        return bool(row["phase"] == "final" and row["env_steps"] == self.steps)

    def reopen(self) -> None:
        """Settings have changed: where the run was at its end, and still is, that has to be shown anew."""
        if not self.schedule.phase(self.numbers[0], self.steps):
            self.rows = [row for row in self.rows if not self._is_last(row)]
            self._rows_logged = len(self.rows)

    # --- a step ------------------------------------------------------------------------------------------------------

    def _step(self, phase: Phase) -> None:
        fresh = not all(self.actions)
        if phase != "random" and self.agent.due(fresh) and (phase == "learning" or fresh):
            self._learn()
        action = self._act(phase)
        following, reward, terminated, truncated, _ = self.envs.step(action)
        self._check(self._place, following, reward)
        if phase != "evaluation":
            where = np.arange(len(action))
            step = Transition(self.observation, action, reward, following, terminated, truncated, where)
            self.agent.observe(step)
            self.steps += len(action)
        if phase == "learning":
            self.agent.improve(len(action))
        for taken, mine in zip(self.actions, action, strict=True):
            taken.append(mine)
        self.returns += reward
        self.observation = following
        ended = terminated | truncated
        if ended.any():
            self.figures = self.figures | self.agent.figures()
            for i in np.flatnonzero(ended):
                self._finish(int(i), phase, bool(terminated[i]))
            self._renew(ended)
        self._pause(self._state_of_things(phase))

    def _act(self, phase: Phase) -> Array:
        if phase == "random":
            return inside(self.envs, self.agent.act_at_random(self.envs.num_envs))
        began = time.perf_counter()
        action = self.agent.act(self.observation, explore=phase == "learning")
        self._act_ms.append(1e3 * (time.perf_counter() - began))
        return inside(self.envs, action)

    def _check(self, where: Callable[[int], str], observation: Array, reward: Array | None = None) -> None:
        """What an environment gave; without a reward where an episode begins."""
        finite = (np.abs(observation) <= LARGEST).all(-1) & (True if reward is None else np.abs(reward) <= LARGEST)
        if finite.all():
            return
        i = int(finite.argmin())
        got = f"observation {observation[i]}" if reward is None else f"reward {reward[i]}, observation {observation[i]}"
        raise NotFinite(f"{self.name}: expected finite numbers of 32 bits at {where(i)}, got {got}")

    def _check_agent(self) -> None:
        if found := self.agent.non_finite():
            after = f"after {self.steps} steps"
            raise ValueError(f"{self.name}: expected finite numbers {after}, got {found}; {self._left}")

    def _place(self, i: int) -> str:
        return f"step {len(self.actions[i]) + 1} of episode {self.numbers[i] + 1}"

    def _beginning(self, i: int) -> str:
        return f"the beginning of episode {self.numbers[i] + 1}"

    @property
    def _left(self) -> str:
        return f"the last checkpoint is {self.run.last_checkpoint or 'none yet'}"

    def _learn(self) -> None:
        self._save()  # so that stopping while it learns loses nothing

        def progress(text: str) -> None:
            self.screen.status(f"{text}  {self._elapsed()}")
            if self._interrupt.asked:
                raise KeyboardInterrupt

        self.figures = self.agent.learn(progress)

    def _pause(self, status: str) -> None:
        """Where it may be saved and stopped."""
        self.screen.status(f"{status}  {self._elapsed()}")
        least = self.schedule.checkpoint_s * max(1.0, self._save_s / 1.5)  # at 30 s a twentieth of the time, at most
        if self._interrupt.asked or time.perf_counter() - self._saved >= least:
            self._save()
        if self._interrupt.asked:
            raise KeyboardInterrupt

    # --- episodes ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Every environment in its episode, at the step where it was."""
        longest = max(self.actions, key=len)
        observation = reset(self.envs, self._seeds())
        for left in range(len(longest), -1, -1):
            if (begins := np.array([len(taken) == left for taken in self.actions])).any():
                observation = reset(self.envs, self._seeds(), begins)
            if left:
                meanwhile = longest[-left]  # any action, where the episode has not begun
                action = [taken[-left] if len(taken) >= left else meanwhile for taken in self.actions]
                observation, _, terminated, truncated, _ = self.envs.step(np.stack(action))
                if (ended := terminated | truncated).any():
                    reset(self.envs, self._seeds(), ended)
        self._check(self._beginning, observation)
        if not self.observation.size:
            self.observation = observation
            self.agent.begin(np.ones(self.envs.num_envs, dtype=bool))
        elif not np.array_equal(observation, self.observation):
            raise ValueError(
                f"{self.name}: gave other observations for the same seed and actions, so the episode that was "
                "interrupted cannot be gone on with"
            )
        self._episode_began[:] = time.perf_counter()

    def _seeds(self) -> list[int]:
        return [episode_seed(self.seed, number) for number in self.numbers]

    def _renew(self, ended: Array) -> None:
        """Episodes that ended give way to the next ones."""
        for i in np.flatnonzero(ended):
            self.numbers[i] = max(self.numbers) + 1
            self.actions[i] = []
        self.returns[ended], self._episode_began[ended] = 0.0, time.perf_counter()
        self._act_ms = []
        self.observation = np.empty(0)  # until it is known to be good, so that a checkpoint has none
        observation = reset(self.envs, self._seeds(), ended)
        self._check(self._beginning, observation)
        self.observation = observation
        self.agent.begin(ended)

    def _finish(self, i: int, phase: Phase, terminated: bool) -> None:
        number, length, total = self.numbers[i], len(self.actions[i]), float(self.returns[i])
        pace = self.envs.num_envs * length / max(time.perf_counter() - self._episode_began[i], 1e-9)
        row = {"episode": number + 1, "phase": phase, "env_steps": self.steps, "return": total, "length": length}
        row |= {"terminated": terminated, **self.figures, "steps_per_s": pace}
        if self._act_ms:
            row["act_ms"] = float(np.median(self._act_ms))
        if phase != "random":
            self._consider(total, episode_seed(self.seed, number), np.stack(self.actions[i]))
        self._note(row)
        if self.schedule.along == "episode":
            self.screen.line(self._report(row))

    def _consider(self, total: float, seed: int, actions: Array) -> None:
        if not self.best or total >= self.best["return"]:
            self.best = {"return": total, "seed": seed, "actions": torch.from_numpy(actions)}

    def _evaluate(self, phase: str) -> None:
        assert self.evaluation

        def watch(step: int, observation: Array, reward: Array, under_way: Array) -> bool:
            at = f"step {step}" if step else "the beginning"
            self._check(lambda i: f"{at} of evaluation episode {i + 1}", observation, reward if step else None)
            self.screen.status(f"{phase}  step {step}  {under_way.sum()} episodes under way  {self._elapsed()}")
            return not self._interrupt.asked

        self._check_agent()
        began = time.perf_counter()
        found = evaluate(self.agent, self.evaluation, watch)
        if found is None:
            return self._pause("stopping")
        self._episode_began += time.perf_counter() - began
        self.evaluated = self.steps
        self._consider(float(found.returns.max()), found.best_seed, found.best_actions)
        row = {"phase": phase, "env_steps": self.steps, **found.figures()}
        self._note(row)
        now = self.schedule.progress(self.numbers[0], self.steps)
        spread = f"return {row['return']:9.2f}  ({row['worst']:.1f} to {row['best']:.1f})"
        self.screen.line(f"{now}  {phase:<10}  {spread}  {self._elapsed()}")
        return None

    # --- what is said ------------------------------------------------------------------------------------------------

    def _note(self, row: Row) -> None:
        self.rows.append(row)
        if time.perf_counter() - self._logged >= max(LOG_S, self._log_s / LOG_SHARE):
            self._log()

    def _log(self) -> None:
        began = time.perf_counter()
        self.run.log(self.rows, self._rows_logged)
        self._logged, self._rows_logged = time.perf_counter(), len(self.rows)
        self._log_s = self._logged - began

    def _state_of_things(self, phase: Phase) -> str:
        pace = f"  act {self._act_ms[-1]:.0f} ms" if self._act_ms else ""
        now = self.schedule.progress(self.numbers[0], self.steps)
        return f"{now}  {phase:<10}  {len(self.actions[0]):5d} steps  return {self.returns[0]:9.2f}{pace}"

    def _report(self, row: Row) -> str:
        text = f"{self.schedule.progress(row['episode'] - 1, self.steps)}  {row['phase']:<10}"
        text += f"  {row['length']:5d} steps  return {row['return']:9.2f}  {row['steps_per_s']:7.1f} steps/s"
        parts = {"act_ms": "  act {:.0f} ms", "model_rmse": "  rmse {:.3f}", "model_coverage_90": ", {:.0%} in 90 %"}
        return text + "".join(form.format(row[name]) for name, form in parts.items() if name in row)

    def _elapsed(self) -> str:
        seconds = int(self._wall + time.perf_counter() - self._began)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def summary(self) -> dict[str, Any]:
        self._measure()
        rows = {phase: [row for row in self.rows if row["phase"] in phase] for phase in PHASES}
        random, learned, shown = ([row["return"] for row in those] for those in rows.values())
        found = {
            "env": self.name,
            "seed": self.seed,
            "episode_returns": learned,
            "best_return": max(learned, default=None),
            "last_three_mean": float(np.mean(learned[-3:])) if learned else None,
            "random_returns": random,
            "evaluation_returns": shown,
        }
        if self.evaluation:
            found["evaluation_steps"] = [row["env_steps"] for row in rows[PHASES[2]]]
            found["final_evaluation_mean"], found["final_evaluation_std"] = shown[-1], self.rows[-1]["std"]
        figures = {"peak_memory_mb": round(self._peak, 1), "env_steps": self.steps, "wall_s": round(self._wall, 1)}
        return found | self.agent.summary() | figures

    # --- to stop and to go on ----------------------------------------------------------------------------------------

    def _save(self) -> None:
        self._check_agent()
        if self._rows_logged < len(self.rows):
            self._log()
        began = time.perf_counter()
        self.run.save(self.state_dict())
        self._saved = time.perf_counter()
        self._save_s = self._saved - began

    def state_dict(self) -> dict[str, Any]:
        self._measure()
        return {
            "agent": self.agent.state_dict(),
            "random": checkpoint.global_random_state(),
            "rows": self.rows,
            "numbers": self.numbers,
            "actions": [torch.from_numpy(np.stack(taken)) if taken else torch.empty(0) for taken in self.actions],
            "returns": torch.from_numpy(self.returns),
            "observation": torch.from_numpy(self.observation),
            "steps": self.steps,
            "evaluated": self.evaluated,
            "best": self.best,
            "figures": self.figures,
            "peak": self._peak,
            "wall": self._wall,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if (count := len(state["numbers"])) != self.envs.num_envs:
            raise ValueError(f"{self.name}: expected {count} at once, as in the checkpoint, got {self.envs.num_envs}")
        self.agent.load_state_dict(state["agent"])
        checkpoint.set_global_random_state(state["random"])
        self.rows, self.numbers, self.figures, self.best = (state[n] for n in ("rows", "numbers", "figures", "best"))
        self.actions = [list(taken.numpy()) for taken in state["actions"]]
        self.returns, self.observation = state["returns"].numpy(), state["observation"].numpy()
        self.steps, self.evaluated, self._rows_logged = state["steps"], state["evaluated"], len(self.rows)
        self._peak, self._wall = state["peak"], state["wall"]

    def _measure(self) -> None:
        now = time.perf_counter()
        self._wall, self._began = self._wall + now - self._began, now
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated() / 2**20
        self._peak = max(self._peak, peak)
