"""Going on with episodes that were interrupted: an environment cannot be saved, but it can be gone through again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elites.agents.learner import Array
from elites.agents.lockstep import Lockstep
from elites.runs.arena import Arena
from elites.runs.progress import Progress

CLOSE = 1e-3  # relative, and absolute: by how much another processor may differ


def observations(arena: Arena, progress: Progress, resumed: bool, tell: Callable[[str], None]) -> Array:
    """(N, S), of every environment in its episode at the step where it was, or at its beginning."""
    name = arena.name
    if not arena.seeded:
        tell(
            f"{name}: its episodes begin by themselves (autoreset mode {arena.mode}), so their seeds cannot be set and "
            "a resumed run begins new ones; mode DISABLED is resumed bit for bit"
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
                f"{name}: gave other observations for the same seed and actions, so the episode that was interrupted "
                "cannot be gone on with"
            )
        tell(f"{name}: other last digits here than where the checkpoint was written; not bit for bit from here on")
    return found


def gone_through_again(envs: Lockstep, progress: Progress) -> Array:
    """The longest episode sets out first."""
    seeds, actions = progress.seeds, progress.actions
    longest = max(actions, key=len)
    observation = envs.reset(seeds)
    for left in range(len(longest), -1, -1):
        if (begins := np.array([len(taken) == left for taken in actions])).any():
            observation = envs.reset(seeds, begins)
        if left:
            meanwhile = longest[-left]  # any action, where the episode has not begun
            action = [taken[-left] if len(taken) >= left else meanwhile for taken in actions]
            step = envs.step(np.stack(action))
            observation = step.observation
            if step.ended.any():
                envs.reset(seeds, step.ended)
    return observation
