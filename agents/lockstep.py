"""Playing in lockstep: N environments, a step at a time, in any of Gymnasium's autoreset modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elites.agents.learner import Array

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

DISABLED, NEXT_STEP, SAME_STEP = MODES = ("DISABLED", "NEXT_STEP", "SAME_STEP")
# number of the step, 0 before the first; observations, rewards, who is under way -> whether to go on
Watch = Callable[[int, Array, Array, Array], bool]


@dataclass(frozen=True, eq=False)
class Step:
    """What came of N actions, in rows (N, …), one for each environment."""

    observation: Array  # to act on next
    reward: Array
    next_observation: Array  # of the transition: an episode's last observation where one ended
    terminated: Array
    truncated: Array
    ended: Array  # bool: either of these
    began: Array  # bool: whether an episode began by itself, with `observation`
    where: Array  # (n,): the rows that are transitions; in the others the action was ignored and an episode began

    @property
    def whole(self) -> bool:
        """Whether all are."""
        return len(self.where) == len(self.reward)

    def rows(self, column: Array) -> Array:
        """(N, …) -> (n, …): of the transitions."""
        return column if self.whole else column[self.where]


class Lockstep:
    """N environments, for which it tells what is a transition and what is not.

    DISABLED: who plays resets what has ended, with a seed. NEXT_STEP: the step after an end begins the next episode,
    whatever the action. SAME_STEP: the step that ends an episode gives the next one's first observation; the ended
    one's last observation is in info["final_obs"].
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        self.envs, self.count = envs, envs.num_envs
        self.mode = str(getattr(envs.metadata.get("autoreset_mode"), "name", None))
        if self.mode not in MODES:
            raise ValueError(f"environments: expected an autoreset mode of {', '.join(MODES)}, got {self.mode}")
        self.waiting = np.zeros(self.count, dtype=bool)  # for their reset, which their next step is
        self._everywhere, self._nowhere = np.arange(self.count), np.zeros(self.count, dtype=bool)

    @property
    def seeded(self) -> bool:
        """Whether every episode begins with a seed of ours, and so can be gone through again."""
        return self.mode == DISABLED

    def reset(self, seeds: Sequence[int], which: Array | None = None) -> Array:
        """Observations (N, S), where new episodes begin in those where which (N,) is true, or in all."""
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
        """Actions (N, *A) as their space has them: a box's bounds may be no numbers of the action's own precision."""
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
    """An episode in each environment, begun with these seeds; None where `watch` says no."""
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
                observation = envs.reset(seeds, step.ended)  # of no account from here on
    return Played(returns, lengths, actions) if go_on else None
