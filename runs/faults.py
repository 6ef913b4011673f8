"""Exceptions that end a run early, each with one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from elites.runs import memory


class Stopped(Exception):
    """The user asked to stop. The run has been saved."""


class Fault(Exception):
    """An environment gave `got` instead of `expected`. The cause is the environment's own exception.

    number: the index of the environment; None if it is not known.
    """

    def __init__(self, number: int | None, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.number, self.expected, self.got = number, expected, got


class EnvironmentFault(ValueError):
    """A Fault, worded for users. The run before it has been saved. The cause is the environment's exception."""


class OutOfMemory(ValueError):
    """An allocation does not fit. The last checkpoint stays unchanged. The cause is the allocator's exception."""


def in_a_line(error: BaseException) -> str:
    """An exception's type and last line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__


@contextmanager
def fitting(name: str, device: torch.device | str, when: Callable[[], str]) -> Iterator[None]:
    """Turns a failed allocation into one line: the memory needed, and the memory free."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        wanted = memory.asked_for(error)
        if wanted is None:
            raise
        free = memory.in_words(memory.free_bytes(torch.device(device)))
        asked = memory.in_words(wanted)
        raise OutOfMemory(f"{name}: expected to need at most {free} of memory, got {asked}, {when()}") from error
