"""Continues interrupted episodes. An environment cannot be saved, so its episode is replayed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elites.agents.learner import Array
from elites.agents.lockstep import Lockstep
from elites.runs.arena import Arena
from elites.runs.progress import Running

CLOSE = 1e-3  # relative and absolute tolerance for another processor's rounding


def observations(arena: Arena, progress: Running, resumed: bool, tell: Callable[[str], None]) -> Array:
    """The observations (N, S) after every environment has replayed its episode, or begun a new one."""
    name = arena.name
    if not arena.seeded:
        tell(
            f"{name}: autoreset mode {arena.mode} sets the seeds of episodes itself, so a resumed run begins new "
            "episodes; with mode DISABLED it resumes bit for bit"
        )
        if resumed:
            progress.give_up()
    if progress.fresh.all():
        found = arena.reset(progress.seeds)
    else:
        again = Arena(arena.envs, progress.at_repetition, progress.at_repetition)
        found = gone_through_again(again, progress)
    before = progress.observation
    if before.size and not np.array_equal(found, before):
        if found.shape != before.shape or not np.allclose(found, before, rtol=CLOSE, atol=CLOSE):
            raise ValueError(
                f"{name}: expected the same observations for the same seed and actions, got others; the interrupted "
                "episode cannot be continued"
            )
        tell(f"{name}: last digits differ from the checkpoint's machine; the run is no longer bit for bit the same")
    return found


def gone_through_again(envs: Lockstep, progress: Running) -> Array:
    """Replays the episodes so that all reach their last step together: the longest episode starts first."""
    seeds, actions = progress.seeds, progress.actions
    longest = max(actions, key=len)
    observation = envs.reset(seeds)
    for left in range(len(longest), -1, -1):
        if (begins := np.array([len(taken) == left for taken in actions])).any():
            observation = envs.reset(seeds, begins)
        if left:
            meanwhile = longest[-left]  # any action will do for an episode that has not begun
            action = [taken[-left] if len(taken) >= left else meanwhile for taken in actions]
            step = envs.step(np.stack(action))
            observation = step.observation
            if step.ended.any():
                envs.reset(seeds, step.ended)
    return observation
