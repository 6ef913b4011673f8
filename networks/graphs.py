"""CUDA graphs: work that is recorded once, and whose kernels then start in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Generator

T = TypeVar("T")


class Graph(Generic[T]):
    """Work on tensors whose memory stays the same. A call repeats it, and returns the same tensors with new values.

    The work runs as Python code only here. It may not wait for the device. rng: the generator from which it draws; the
    recording draws nothing, and every call draws on.
    """

    def __init__(self, work: Callable[[], T], rng: Generator) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(rng)
        stream = torch.cuda.Stream(rng.device)  # type: ignore[no-untyped-call]
        with torch.cuda.device(rng.device), torch.cuda.graph(self._graph, stream=stream):
            self.result = work()

    def __call__(self) -> T:
        self._graph.replay()
        return self.result


def warm_up(work: Callable[[], object], rng: Generator, times: int = 2) -> None:
    """Runs work before its recording, so that libraries can set themselves up. The generator stays as it is.

    Raises `Waits` if the work waits for the device.
    """
    before, here = rng.get_state(), torch.cuda.current_stream(rng.device)
    stream = torch.cuda.Stream(rng.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(here)
    try:
        with torch.cuda.stream(stream), no_waiting():
            for _ in range(times):
                work()
    finally:
        here.wait_stream(stream)
        rng.set_state(before)


class Waits(RuntimeError):
    """Work that waits for the device cannot be recorded."""


@contextmanager
def no_waiting() -> Iterator[None]:
    """Work inside raises `Waits` if it waits for the device."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as error:
        if "synchronizing CUDA operation" in str(error):
            raise Waits(str(error)) from error
        raise
    finally:
        torch.cuda.set_sync_debug_mode(before)
