"""Workers that are processes on this machine. A worker that dies is replaced, and its share is played again."""

from __future__ import annotations

import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from elites.agents.playing import Watch
from elites.runs.faults import Fault
from elites.runs.workers.crew import MOST_DEATHS, PATIENCE_S, Crew, Tell
from elites.runs.workers.player import Call, Task

Message = tuple[Any, ...]  # see `elites.runs.workers.child`
KILLED = -9  # SIGKILL, which Windows lacks
WAIT_S = 0.1  # between two looks at Ctrl-C


class Child:
    """A worker's process. Its messages come into an inbox."""

    def __init__(self, task: Task, inbox: queue.Queue[tuple[Child, Message]]) -> None:
        command = [sys.executable, "-m", "elites.runs.workers.child"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.heard, self.under_way, self.step = time.monotonic(), 0, 0
        self._inbox = inbox
        self.send(sys.path, task)
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def send(self, *objects: Any) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it died; `_listen` tells
            for each in objects:
                pickle.dump(each, self.process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as messages:
            try:
                while True:
                    self._inbox.put((self, pickle.load(messages)))
            except (EOFError, OSError, pickle.UnpicklingError):
                self._inbox.put((self, ("gone",)))

    def end(self) -> str:
        """Ends the process. Returns how it ended, in words."""
        self.process.kill()
        code = self.process.wait()
        with suppress(OSError):  # the calls that were not sent are lost
            self.process.stdin.close()  # type: ignore[union-attr]
        self._ear.join()
        if code == KILLED:
            return "was killed (SIGKILL), as a system does that is out of memory"
        return f"ended with {signal.Signals(-code).name if code < 0 else f'exit status {code}'}"


class Processes(Crew):
    """tell: is told of workers that died. patience_s: after this time without a step, a worker is given up."""

    def __init__(self, count: int, task: Task, tell: Tell, patience_s: float = PATIENCE_S) -> None:
        self.size, self.task, self.tell, self.patience_s = count, task, tell, patience_s
        self.inbox: queue.Queue[tuple[Child, Message]] = queue.Queue()
        self.children = [Child(task, self.inbox) for _ in range(count)]
        self._made: list[list[Call]] = [[] for _ in range(count)]  # the calls of this generation
        self._deaths = 0

    def each(self, calls: Sequence[Sequence[Call]], watch: Watch) -> list[Any]:
        results: dict[int, Any] = {}
        if calls[0][0][0] == "begin":
            self._made, self._deaths = [[] for _ in self.children], 0
        for number, more in enumerate(calls):
            child = self.children[number]
            child.heard = time.monotonic()
            child.send(list(more))
            self._made[number] += more
        try:
            while len(results) < len(calls):
                self._hear(results, watch, len(calls))
        except BaseException:
            self.close()
            raise
        return [results[number] for number in range(len(calls))]

    def _hear(self, results: dict[int, Any], watch: Watch, count: int) -> None:
        """Takes the next message of a worker that is not done."""
        try:
            child, (kind, *content) = self.inbox.get(timeout=WAIT_S)
        except queue.Empty:
            self._look(results, count)
        else:
            if child not in self.children:
                return  # it was replaced
            number, child.heard = self.children.index(child), time.monotonic()
            if kind == "step":
                child.step, child.under_way = content
            elif kind == "done":
                results[number] = content[0]
                child.under_way = 0
            elif kind == "fault":
                raise Fault(*content)
            elif kind == "error":
                raise ValueError(content[0])
            elif kind == "tell":
                self.tell(content[0])
            elif number not in results:
                self._replace(number)
        busy = [child for number, child in enumerate(self.children[:count]) if number not in results]
        watch(max((child.step for child in busy), default=0), sum(child.under_way for child in busy))

    def _look(self, results: dict[int, Any], count: int) -> None:
        for number, child in enumerate(self.children[:count]):
            if number not in results and time.monotonic() - child.heard > self.patience_s:
                what = f"a step of {self.task.env} within {self.patience_s:g} s"
                raise Fault(None, what, f"none from worker {number + 1}, which is given up")

    def _replace(self, number: int) -> None:
        ended, candidates = self.children[number].end(), len(self._made[number][0][1].seeds)
        self._deaths += 1
        if self._deaths > MOST_DEATHS:
            few = "fewer workers need less memory: workers=1"
            raise ValueError(f"worker {number + 1} {ended}, after {MOST_DEATHS} other deaths in this generation; {few}")
        self.tell(f"worker {number + 1} {ended}; its {candidates} candidates are played again")
        self.children[number] = Child(self.task, self.inbox)
        self.children[number].send(list(self._made[number]))

    def close(self) -> None:
        for child in self.children:
            child.end()
