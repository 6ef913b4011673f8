"""Runs settings: `train`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from elites.runs import chance, kinds
from elites.runs.environments import name_and_spec, one_of
from elites.runs.faults import fitting
from elites.runs.folder import RunFolder, make_folder
from elites.runs.lock import Lock
from elites.runs.mujoco_log import mujoco_log
from elites.runs.observers import Observer, Observers
from elites.runs.recorders import MetricsCSV
from elites.runs.run import Run, never
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary


def train(
    settings: RunSettings,
    folder: Path | str,
    *,
    resume: bool = False,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = never,
    device: torch.device | str = "cpu",
) -> Summary:
    """Runs to the end of the schedule, or until `stop` returns True. The folder then holds all that a resume needs.

    resume: continues the run in the folder. The settings can change, except those in FIXED.
    stop: called between steps and in lessons. If it returns True, the run is saved and the summary is not `finished`.
    `train` works in threads and processes, and handles no signals. Only the main thread seeds the global generators of
    random, NumPy and torch, for users' code. Mistakes raise a ValueError of one line.
    """
    path, watching = Path(folder), Observers([MetricsCSV(), *observers])
    before = settings_before(settings, path) if resume else settings
    chance.seed_globally(settings.seed)
    with ExitStack() as stack:
        log = stack.enter_context(mujoco_log(watching.tell))
        envs = settings.make_environments()
        stack.callback(envs.close)
        if evaluation := settings.make_evaluation_environments():
            stack.callback(evaluation.close)
        name, spec = name_and_spec(envs)
        if spec and spec.max_episode_steps is None:
            watching.tell(f"{name} does not limit its episodes; episode_steps=1000 sets a limit")
        with fitting(name, device, lambda: "for the agent"):
            agent = settings.make_agent(one_of(envs) or settings.make_environment(), device)
            if not resume:
                settings.prepare(agent)
        make_folder(path)
        stack.enter_context(Lock(path))
        run = RunFolder.resume(path) if resume else RunFolder.begin(path, kinds.dump(settings))
        log.into(path)
        loop = settings.make_run(agent, envs, run, evaluation, watching, stop)
        stack.callback(loop.close)
        if resume:
            restore(loop, run, kinds.dump(settings) != kinds.dump(before))
            run.configure(kinds.dump(settings))
        return loop()


def settings_before(settings: RunSettings, folder: Path) -> RunSettings:
    """The settings of the run in a folder. Raises a ValueError if the new settings are of another run."""
    before = kinds.settings_of(folder)
    if type(before) is not type(settings):
        raise ValueError(f"{folder}: expected {type(before).__name__}, got {type(settings).__name__}")
    for name in settings.FIXED:
        first, now = getattr(before, name), getattr(settings, name)
        if first != now:
            raise ValueError(f"{name}: expected {first!r}, as at the run's beginning, got {now!r}")
    return before


def restore(loop: Run, folder: RunFolder, changed: bool) -> None:
    """Restores the loop from the newest intact checkpoint. changed: whether the settings changed."""
    if state := folder.load(loop.observers.tell):
        try:
            loop.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:  # of another agent or size
            reason = str(error).strip().splitlines()[-1].strip()
            raise ValueError(f"settings: do not fit the checkpoints in {folder.path}: {reason}") from error
    if changed:
        loop.reopen()
