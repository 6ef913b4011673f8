"""What surrounds a learner: the loop, its schedule, evaluations, the run's folder and checkpoints, the command."""

from elites.runs.environments import episode_seed, together
from elites.runs.folder import Run
from elites.runs.loop import Loop
from elites.runs.schedule import Episodes, Schedule, Steps

__all__ = ["Episodes", "Loop", "Run", "Schedule", "Steps", "episode_seed", "together"]
