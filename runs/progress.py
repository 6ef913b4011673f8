"""The progress of a run: its rows, its best episode, the running episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elites.agents.lockstep import Step
from elites.runs.environments import episode_seed

Array = NDArray[Any]
# A row of an episode has episode (from 1 on), phase, env_steps, return, length, terminated, the agent's figures,
# steps_per_s, and act_ms if the agent acted. A row of an evaluation has phase, env_steps, return (the mean), std,
# worst, best, length (the mean).
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Best:
    """The best planned episode. Its seed and its actions (T, *A) are enough to replay it."""

    total: float
    seed: int
    actions: Array


class Progress(ABC):
    """The progress of a run. Checkpoints hold all of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rows: list[Row] = []  # one for each episode or generation that ended, and for each evaluation
        self.steps, self.evaluated = 0, 0  # steps learned from; `along` at the last evaluation
        self.best: Best | None = None
        self.figures: dict[str, float] = {}  # the agent's figures for the next row

    @property
    @abstractmethod
    def number(self) -> int:
        """The number of the generation, or of the first environment's episode, from 0 on."""

    @property
    def along(self) -> int:
        """The steps or generations that the schedule of evaluations counts."""
        return self.steps

    def consider(self, total: float, seed: int, actions: Array) -> None:
        """Takes an episode as the best one if no other is better."""
        if self.best is None or total >= self.best.total:
            self.best = Best(total, seed, actions)

    def state_dict(self) -> dict[str, Any]:
        best: dict[str, Any] | None = None
        if self.best:
            actions = torch.from_numpy(self.best.actions)
            best = {"return": self.best.total, "seed": self.best.seed, "actions": actions}
        counts = {"steps": self.steps, "evaluated": self.evaluated}
        return {"rows": self.rows, **counts, "best": best, "figures": self.figures}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows, self.figures = state["rows"], state["figures"]
        self.steps, self.evaluated = state["steps"], state["evaluated"]
        best = state["best"]
        self.best = Best(best["return"], best["seed"], best["actions"].numpy()) if best else None


class Running(Progress):
    """The progress of episodes in N environments."""

    def __init__(self, seed: int, count: int) -> None:
        super().__init__(seed)
        self.numbers = list(range(count))  # of the running episodes, from 0 on
        self.actions: list[list[Array]] = [[] for _ in range(count)]  # of the running episodes
        self.returns = np.zeros(count)  # of the running episodes, so far
        self.seeded = np.ones(count, dtype=bool)  # whether the running episodes began with their own `seeds`
        self.observation = np.empty(0)  # (N, S); empty if the episodes have not begun
        self.chosen: Array | None = None  # (N, *A): the action of a step that is not finished

    @property
    def number(self) -> int:
        return self.numbers[0]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the running episodes."""
        return [episode_seed(self.seed, number) for number in self.numbers]

    @property
    def fresh(self) -> Array:
        """(N,) bool: whether an episode has no step yet."""
        return np.array([not taken for taken in self.actions])

    def at_step(self, i: int) -> str:
        return f"step {len(self.actions[i]) + 1} of episode {self.numbers[i] + 1}"

    def at_beginning(self, i: int) -> str:
        return f"the beginning of episode {self.numbers[i] + 1}"

    def at_repetition(self, i: int) -> str:
        return f"one of the first {len(self.actions[i])} steps of episode {self.numbers[i] + 1}, gone through again"

    def took(self, action: Array, step: Step) -> None:
        """Adds a step with actions (N, *A) to the running episodes, except in rows that ignored the action."""
        for i in range(len(action)) if step.whole else step.where:
            self.actions[i].append(action[i])
        self.returns[step.where] += step.reward[step.where]
        self.observation, self.chosen = step.observation, None

    def renew(self, ended: Array, seeded: bool) -> None:
        """Replaces the ended (N,) episodes by new ones. seeded: whether the new ones begin with their own seed."""
        for i in np.flatnonzero(ended):
            self.numbers[i] = max(self.numbers) + 1
            self.actions[i] = []
        self.returns[ended], self.seeded[ended] = 0.0, seeded

    def give_up(self) -> None:
        """Begins the running episodes again, because they cannot be continued. The agent keeps their transitions."""
        count = len(self.numbers)
        self.actions, self.returns = [[] for _ in range(count)], np.zeros(count)
        self.seeded, self.observation, self.chosen = np.ones(count, dtype=bool), np.empty(0), None

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "numbers": self.numbers,
            "actions": [torch.from_numpy(np.stack(taken)) if taken else torch.empty(0) for taken in self.actions],
            "returns": torch.from_numpy(self.returns),
            "seeded": torch.from_numpy(self.seeded),
            "observation": torch.from_numpy(self.observation),
            "chosen": None if self.chosen is None else torch.from_numpy(self.chosen),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.numbers = state["numbers"]
        self.actions = [list(taken.numpy()) for taken in state["actions"]]
        self.returns, self.seeded = state["returns"].numpy(), state["seeded"].numpy()
        self.observation = state["observation"].numpy()
        self.chosen = None if state["chosen"] is None else state["chosen"].numpy()
