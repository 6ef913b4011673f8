"""Runs of a learner: train(), the loop and schedule, evaluations, the folder, checkpoints, the commands."""

from elites.runs.environments import episode_seed, together
from elites.runs.faults import EnvironmentFault, OutOfMemory
from elites.runs.folder import RunFolder
from elites.runs.kinds import settings_of
from elites.runs.learn import LearnSettings
from elites.runs.load import load
from elites.runs.loop import Loop
from elites.runs.observers import Observer, Status, Watched
from elites.runs.pets import PETSSettings
from elites.runs.pictures import Pictures
from elites.runs.progress import Best, Row
from elites.runs.recorders import MetricsCSV, TensorBoard
from elites.runs.schedule import Episodes, Schedule, Steps
from elites.runs.screen import OnScreen
from elites.runs.search import SearchSettings
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary
from elites.runs.train import train

__all__ = [
    "Best",
    "EnvironmentFault",
    "Episodes",
    "LearnSettings",
    "Loop",
    "MetricsCSV",
    "Observer",
    "OnScreen",
    "OutOfMemory",
    "PETSSettings",
    "Pictures",
    "Row",
    "RunFolder",
    "RunSettings",
    "Schedule",
    "SearchSettings",
    "Status",
    "Steps",
    "Summary",
    "TensorBoard",
    "Watched",
    "episode_seed",
    "load",
    "settings_of",
    "together",
    "train",
]
