"""Plays in N environments in lockstep, in any of Gymnasium's autoreset modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elites.agents.learner import Array

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

DISABLED, NEXT_STEP, SAME_STEP = MODES = ("DISABLED", "NEXT_STEP", "SAME_STEP")
# number of the step (0 before the first), observations, rewards, whether each episode is running -> whether to go on
Watch = Callable[[int, Array, Array, Array], bool]


@dataclass(frozen=True, eq=False)
class Step:
    """The result of N actions, in rows (N, …), one for each environment."""

    observation: Array  # for the next action
    reward: Array
    next_observation: Array  # the transition's next observation; if an episode ended, its last one
    terminated: Array
    truncated: Array
    ended: Array  # bool: terminated or truncated
    began: Array  # bool: whether an episode began automatically, with `observation`
    where: Array  # (n,): the rows with a transition; in other rows the action was ignored and an episode began

    @property
    def whole(self) -> bool:
        """Whether every row has a transition."""
        return len(self.where) == len(self.reward)

    def rows(self, column: Array) -> Array:
        """(N, …) -> (n, …): the rows with a transition."""
        return column if self.whole else column[self.where]


class Lockstep:
    """Steps N environments, and tells which rows are transitions.

    DISABLED: the caller resets ended episodes, with a seed. NEXT_STEP: the step after an end begins the next episode
    and ignores the action. SAME_STEP: the step that ends an episode gives the first observation of the next one, and
    info["final_obs"] has the last observation of the ended one.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        self.envs, self.count = envs, envs.num_envs
        self.mode = str(getattr(envs.metadata.get("autoreset_mode"), "name", None))
        if self.mode not in MODES:
            raise ValueError(f"environments: expected an autoreset mode of {', '.join(MODES)}, got {self.mode}")
        self.waiting = np.zeros(self.count, dtype=bool)  # for a reset, which is their next step
        self._everywhere, self._nowhere = np.arange(self.count), np.zeros(self.count, dtype=bool)

    @property
    def seeded(self) -> bool:
        """Whether the caller seeds every episode, so that it can be replayed."""
        return self.mode == DISABLED

    def reset(self, seeds: Sequence[int], which: Array | None = None) -> Array:
        """Begins new episodes in the environments with which (N,) true, or in all. Returns observations (N, S)."""
        options = None if which is None else {"reset_mask": which}
        observation, _ = self.envs.reset(seed=list(seeds), options=options)  # type: ignore[arg-type]  # it takes lists
        self.waiting = np.zeros(self.count, dtype=bool)
        return np.asarray(observation)

    def step(self, action: Array) -> Step:
        observation, reward, terminated, truncated, info = self.envs.step(action)
        last, ended = observation, terminated | truncated
        began, where = self._nowhere, self._everywhere
        if self.mode == NEXT_STEP:
            began, where = self.waiting, np.flatnonzero(~self.waiting)
            self.waiting = ended
        elif self.mode == SAME_STEP and ended.any():
            began, last = ended, np.array(observation)
            for i in np.flatnonzero(ended):
                last[i] = info["final_obs"][i]
        return Step(observation, reward, last, terminated, truncated, ended, began, where)

    def executed(self, action: Array) -> Array:
        """Actions (N, *A) in their space's dtype and bounds, which the action's own dtype cannot always represent."""
        space: Any = self.envs.single_action_space
        if action.dtype == space.dtype:
            return action
        cast = action.astype(space.dtype)
        return np.clip(cast, space.low, space.high) if hasattr(space, "low") else cast


@dataclass(frozen=True, eq=False)
class Played:
    """An episode in each of N environments: returns and lengths (N,), and the actions (N, *A) of every step."""

    returns: Array
    lengths: Array
    actions: Sequence[Array]

    def actions_of(self, i: int) -> Array:
        """(T, *A)."""
        return np.stack([action[i] for action in self.actions[: self.lengths[i]]])


def play(act: Callable[[Array], Array], envs: Lockstep, seeds: Sequence[int], watch: Watch) -> Played | None:
    """Plays an episode in each environment, with these seeds. None if `watch` stops it."""
    count = envs.count
    returns, lengths, under_way = np.zeros(count), np.zeros(count, dtype=int), np.ones(count, dtype=bool)
    actions: list[Array] = []
    observation = envs.reset(seeds)
    go_on = watch(0, observation, returns, under_way)
    while go_on and under_way.any():
        action = envs.executed(act(observation))
        step = envs.step(action)
        actions.append(action)
        go_on = watch(len(actions), step.next_observation, step.reward, under_way)
        returns += np.where(under_way, step.reward, 0.0)
        lengths += under_way
        observation = step.observation
        if step.ended.any():
            under_way &= ~step.ended
            if envs.seeded:
                observation = envs.reset(seeds, step.ended)  # ignored from here on
    return Played(returns, lengths, actions) if go_on else None
