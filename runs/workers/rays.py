"""Workers that are actors of Ray, on this machine or on a cluster."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from elites.agents.playing import Watch
from elites.runs.faults import Fault
from elites.runs.workers.crew import MOST_DEATHS, PATIENCE_S, Crew, Tell
from elites.runs.workers.player import Call, Player, Task

ANSWER_S = 10.0  # for an address to answer
WAIT_S = 0.2  # between two looks at the actors


class Actor:
    """A `Player` whose progress can be read while it plays."""

    def __init__(self, task: Task) -> None:
        import torch

        torch.set_num_threads(1)
        self.player, self.step, self.under_way = Player(task), 0, 0

    def run(self, calls: Sequence[Call]) -> tuple[str, Any]:
        """("done", result), ("fault", …) or ("error", text)."""
        try:
            return "done", self.player.run(calls, self._watch)
        except Fault as fault:
            return "fault", (fault.number, fault.expected, fault.got)
        except ValueError as error:
            return "error", str(error)

    def progress(self) -> tuple[int, int]:
        return self.step, self.under_way

    def _watch(self, step: int, under_way: int) -> None:
        self.step, self.under_way = step, under_way


class Rays(Crew):
    """One actor for each processor of a cluster. An actor that dies is replaced, and its share is played again.

    address: `ray` for this machine, or `ray://HOST:PORT`. tell: is told of actors that died.
    """

    def __init__(self, address: str, task: Task, tell: Tell, patience_s: float = PATIENCE_S) -> None:
        self.ray = connected(address)
        self.task, self.tell, self.patience_s = self.ray.put(task), tell, patience_s
        self.size = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        self._kind = self.ray.remote(num_cpus=1, max_concurrency=2)(Actor)
        self.actors = [self._kind.remote(self.task) for _ in range(self.size)]
        self._made: list[list[Call]] = []  # the calls of this generation
        self._deaths = 0

    def each(self, calls: Sequence[Sequence[Call]], watch: Watch) -> list[Any]:
        if calls[0][0][0] == "begin":
            self._made, self._deaths = [[] for _ in calls], 0
        for number, more in enumerate(calls):
            self._made[number] += more
        running = {self.actors[number].run.remote(list(more)): number for number, more in enumerate(calls)}
        heard = Heard(len(calls))
        results: dict[int, Any] = {}
        while running:
            done, _ = self.ray.wait(list(running), timeout=WAIT_S)
            for each in done:
                self._take(running, each, results)
            self._look(sorted(running.values()), heard, watch)
        return [results[number] for number in range(len(calls))]

    def _take(self, running: dict[Any, int], each: Any, results: dict[int, Any]) -> None:
        """Takes a result, or replaces the actor that died."""
        number = running.pop(each)
        try:
            kind, content = self.ray.get(each)
        except self.ray.exceptions.RayActorError:
            running[self._replaced(number)] = number
            return
        if kind == "fault":
            raise Fault(*content)
        if kind == "error":
            raise ValueError(content)
        results[number] = content

    def _look(self, numbers: Sequence[int], heard: Heard, watch: Watch) -> None:
        """Reads the actors' progress. A worker without a step for too long is given up."""
        asked = {number: self.actors[number].progress.remote() for number in numbers}
        silent = self.ray.exceptions.GetTimeoutError, self.ray.exceptions.RayActorError  # `_take` meets the dead
        for number, each in asked.items():
            with suppress(*silent):
                heard.take(number, *self.ray.get(each, timeout=WAIT_S))
            if heard.silent_s(number) > self.patience_s:
                what = f"a step of the environments within {self.patience_s:g} s"
                raise Fault(None, what, f"none from worker {number + 1}, which is given up")
        watch(int(heard.step.max()), int(heard.under_way[list(numbers)].sum()))

    def _replaced(self, number: int) -> Any:
        """Starts another actor for a share. Returns the promise of its result."""
        self._deaths += 1
        if self._deaths > MOST_DEATHS:
            raise ValueError(f"worker {number + 1} of Ray died, after {MOST_DEATHS} other deaths in this generation")
        candidates = len(self._made[number][0][1].seeds)
        self.tell(f"worker {number + 1} of Ray died; its {candidates} candidates are played again")
        self.actors[number] = self._kind.remote(self.task)
        return self.actors[number].run.remote(list(self._made[number]))

    def close(self) -> None:
        for actor in self.actors:
            self.ray.kill(actor)
        self.ray.shutdown()


class Heard:
    """When each worker last made a step."""

    def __init__(self, count: int) -> None:
        self.at = np.full(count, time.monotonic())
        self.step, self.under_way = np.zeros(count, dtype=int), np.zeros(count, dtype=int)

    def take(self, number: int, step: int, under_way: int) -> None:
        if (step, under_way) != (self.step[number], self.under_way[number]):
            self.at[number], self.step[number], self.under_way[number] = time.monotonic(), step, under_way

    def silent_s(self, number: int) -> float:
        return float(time.monotonic() - self.at[number])


def connected(address: str) -> Any:
    """The module of Ray, connected. Raises one line if it is not installed, or if the address does not answer."""
    try:
        import ray
    except ImportError:
        raise ValueError('workers: ray needs pip install "elites[ray]"') from None
    if address != "ray":
        host, _, port = address.removeprefix("ray://").partition(":")
        try:
            socket.create_connection((host, int(port or 10001)), timeout=ANSWER_S).close()
        except (OSError, ValueError) as error:
            raise ValueError(f"workers: {address} did not answer within {ANSWER_S:g} s: {error}") from None
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of its own future
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "ignore_reinit_error": True}
    if address == "ray":
        paths = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
        ray.init(include_dashboard=False, runtime_env=paths, **quiet)
    else:
        ray.init(address, **quiet)
    return ray
