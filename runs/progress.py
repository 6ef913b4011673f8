"""How far a run has come: its rows, the episodes under way, its best episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elites.agents.lockstep import Step
from elites.runs.environments import episode_seed

Array = NDArray[Any]
# Of an episode: episode (from 1 on), phase, env_steps, return, length, terminated, the agent's figures, steps_per_s,
# and act_ms where it acted. Of an evaluation: phase, env_steps, return (the mean), std, worst, best, length (the mean).
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Best:
    """The best planned episode: with these actions (T, *A) after this seed it can be gone through once more."""

    total: float
    seed: int
    actions: Array


class Progress:
    """In N environments. What it holds, a checkpoint holds."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed = seed
        self.rows: list[Row] = []  # one for each episode that ended, and for each evaluation
        self.numbers = list(range(count))  # of the episodes under way, from 0 on
        self.actions: list[list[Array]] = [[] for _ in range(count)]  # of those episodes
        self.returns = np.zeros(count)  # of those episodes, so far
        self.seeded = np.ones(count, dtype=bool)  # whether they began with their own seed: see `seeds`
        self.observation = np.empty(0)  # (N, S); empty where episodes have yet to begin
        self.chosen: Array | None = None  # (N, *A): of a step that an environment has not come through
        self.steps, self.evaluated = 0, 0  # those learned from; how many they were at the last evaluation
        self.best: Best | None = None
        self.figures: dict[str, float] = {}  # the agent's, for the next row

    @property
    def seeds(self) -> list[int]:
        """Of the episodes under way."""
        return [episode_seed(self.seed, number) for number in self.numbers]

    @property
    def fresh(self) -> Array:
        """(N,) bool: the episodes without a step yet."""
        return np.array([not taken for taken in self.actions])

    def at_step(self, i: int) -> str:
        return f"step {len(self.actions[i]) + 1} of episode {self.numbers[i] + 1}"

    def at_beginning(self, i: int) -> str:
        return f"the beginning of episode {self.numbers[i] + 1}"

    def at_repetition(self, i: int) -> str:
        return f"one of the first {len(self.actions[i])} steps of episode {self.numbers[i] + 1}, gone through again"

    def took(self, action: Array, step: Step) -> None:
        """The episodes under way went on by actions (N, *A), where these were not ignored."""
        for i in range(len(action)) if step.whole else step.where:
            self.actions[i].append(action[i])
        self.returns[step.where] += step.reward[step.where]
        self.observation, self.chosen = step.observation, None

    def consider(self, total: float, seed: int, actions: Array) -> None:
        """As the best episode."""
        if self.best is None or total >= self.best.total:
            self.best = Best(total, seed, actions)

    def renew(self, ended: Array, seeded: bool) -> None:
        """Where (N,) episodes ended, others take their places. seeded: whether these begin with their own seed."""
        for i in np.flatnonzero(ended):
            self.numbers[i] = max(self.numbers) + 1
            self.actions[i] = []
        self.returns[ended], self.seeded[ended] = 0.0, seeded

    def give_up(self) -> None:
        """The episodes under way begin anew, as nobody can go on with them. What was learned from them stays."""
        count = len(self.numbers)
        self.actions, self.returns = [[] for _ in range(count)], np.zeros(count)
        self.seeded, self.observation, self.chosen = np.ones(count, dtype=bool), np.empty(0), None

    def state_dict(self) -> dict[str, Any]:
        best: dict[str, Any] | None = None
        if self.best:
            actions = torch.from_numpy(self.best.actions)
            best = {"return": self.best.total, "seed": self.best.seed, "actions": actions}
        return {
            "rows": self.rows,
            "numbers": self.numbers,
            "actions": [torch.from_numpy(np.stack(taken)) if taken else torch.empty(0) for taken in self.actions],
            "returns": torch.from_numpy(self.returns),
            "seeded": torch.from_numpy(self.seeded),
            "observation": torch.from_numpy(self.observation),
            "chosen": None if self.chosen is None else torch.from_numpy(self.chosen),
            "steps": self.steps,
            "evaluated": self.evaluated,
            "best": best,
            "figures": self.figures,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows, self.numbers, self.figures = state["rows"], state["numbers"], state["figures"]
        self.actions = [list(taken.numpy()) for taken in state["actions"]]
        self.returns, self.seeded = state["returns"].numpy(), state["seeded"].numpy()
        self.observation = state["observation"].numpy()
        self.chosen = None if state["chosen"] is None else state["chosen"].numpy()
        self.steps, self.evaluated = state["steps"], state["evaluated"]
        best = state["best"]
        self.best = Best(best["return"], best["seed"], best["actions"].numpy()) if best else None
