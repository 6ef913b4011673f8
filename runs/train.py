"""From settings to a run."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from elites.cli import Screen
from elites.runs import kinds
from elites.runs.folder import Run
from elites.runs.loop import Loop
from elites.runs.observers import Observer
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary


def never() -> bool:
    return False


def train(
    settings: RunSettings,
    folder: Path | str,
    *,
    resume: bool = False,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = never,
    device: torch.device | str = "cpu",
) -> Summary:
    """Runs to the end of the schedule, or until `stop` says so; the folder holds all that it takes to go on.

    A new run needs a folder that holds none. resume: goes on with the one that the folder holds, by these settings,
    which may be others than before but for those in FIXED. stop: asked between steps and in lessons; where it says yes,
    the run is saved and the summary is not `finished`. Mistakes are ValueErrors of one line.

    It takes no signals and works in threads and processes. In the main thread alone it seeds the global generators of
    random, NumPy and torch, for what users bring; the library draws from its own.
    """
    settings_before = kinds.settings_of(Path(folder)) if resume else settings
    seed_globally(settings.seed)
    envs = settings.make_environments()
    agent = settings.make_agent(settings.make_environment(), device)
    screen = Screen(quiet=True)
    path = Path(folder)
    run = Run.resume(path, screen.warn)[0] if resume else Run.begin(path, kinds.dump(settings), screen.warn)
    loop = Loop(agent, envs, run, settings, settings.seed, screen, settings.make_evaluation_environments())
    if resume and (state := run.load()):
        loop.load_state_dict(state)
    if settings != settings_before:
        run.configure(kinds.dump(settings))
        loop.reopen()
    figures = loop()
    run.close()
    names = {each.name for each in fields(Summary)}
    own = {name: value for name, value in figures.items() if name in names}
    return Summary(**own, finished=True, agent={n: value for n, value in figures.items() if n not in names})


def seed_globally(seed: int) -> None:
    """For what users bring; the library draws from generators of its own."""
    if threading.current_thread() is threading.main_thread():
        for each in (random.seed, np.random.seed, torch.manual_seed):
            each(seed)
