"""What surrounds a learner: train(), its loop and schedule, evaluations, the folder, checkpoints, the command."""

from elites.runs.environments import episode_seed, together
from elites.runs.folder import Run
from elites.runs.kinds import settings_of
from elites.runs.learn import LearnSettings
from elites.runs.load import load
from elites.runs.loop import Loop
from elites.runs.observers import Best, Observer, Row, Status, Watched
from elites.runs.pets import PETSSettings
from elites.runs.schedule import Episodes, Schedule, Steps
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary
from elites.runs.train import train

__all__ = [
    "Best",
    "Episodes",
    "LearnSettings",
    "Loop",
    "Observer",
    "PETSSettings",
    "Row",
    "Run",
    "RunSettings",
    "Schedule",
    "Status",
    "Steps",
    "Summary",
    "Watched",
    "episode_seed",
    "load",
    "settings_of",
    "together",
    "train",
]
