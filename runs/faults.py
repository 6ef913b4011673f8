"""What ends a run before its time, in one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from elites.runs import memory


class Stopped(Exception):
    """Somebody asked to; what is to be kept has been saved."""


class Fault(Exception):
    """An environment did not give what was expected, but what it `got`. Its cause is the environment's own exception.

    number: of the environment among several; None where nobody knows which it was.
    """

    def __init__(self, number: int | None, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.number, self.expected, self.got = number, expected, got


class EnvironmentFault(ValueError):
    """A Fault as a user reads it. All that came before it has been saved; the cause is the environment's exception."""


class OutOfMemory(ValueError):
    """What was asked for does not fit. The last checkpoint is as it was; the cause is the allocator's exception."""


def in_a_line(error: BaseException) -> str:
    """Its type and its last line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__


@contextmanager
def fitting(name: str, device: torch.device | str, when: Callable[[], str]) -> Iterator[None]:
    """An allocation that fails says in one line what was to be held, and what would fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        wanted = memory.asked_for(error)
        if wanted is None:
            raise
        free = memory.in_words(memory.free_bytes(torch.device(device)))
        asked = memory.in_words(wanted)
        raise OutOfMemory(f"{name}: expected to hold no more than {free}, got {asked} at once, {when()}") from error
