"""Measures memory, time, and the time of the matrix products alone."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from elites.runs.bench.peers import through
from elites.runs.bench.setting import Setting, State, Work, ensemble

T = TypeVar("T")


def memory(make: Callable[[], T], use: Callable[[T], object], device: str) -> tuple[T, int, int]:
    """The object made, the bytes it holds between plans, and the peak of a plan above them, by the allocator's count.

    The bytes held are those allocated by `make` and a first `use` and not freed. A second `use` gives the peak.
    """
    if torch.device(device).type == "cuda":
        before = torch.cuda.memory_allocated(device)
        made = make()
        use(made)
        held = torch.cuda.memory_allocated(device) - before
        torch.cuda.reset_peak_memory_stats(device)
        use(made)
        return made, held, torch.cuda.max_memory_allocated(device) - before - held
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        made = make()
        use(made)
        gc.collect()
        with record_function("second use"):
            use(made)
    live = held = peak = 0
    events: Any = profiler.profiler and profiler.profiler.kineto_results
    for event in sorted(events.events(), key=lambda event: event.start_ns()):
        if event.name() == "second use":
            held = peak = live
        elif event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return made, held, peak - held


def keep_to(threads: int) -> str:
    """Limits torch and, on Linux, all present and future threads to as many cores. Returns a note on that."""
    torch.set_num_threads(threads)
    said = f"{threads} thread{'s' * (threads > 1)}"
    if sys.platform != "linux":
        return f"{said} but for JAX's"
    cores = sorted(os.sched_getaffinity(0))[:threads]
    for task in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)
    return f"{said} on core{'s' * (len(cores) > 1)} {', '.join(map(str, cores))}"


def now(device: str) -> float:
    """The time after the device has finished its work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Floor:
    """The matrix products of a plan alone: the least time that a plan can take."""

    def __init__(self, setting: Setting, state: State) -> None:
        self.setting, self.layers = setting, ensemble(setting, state).mlp.layers()

    def operations(self, work: Work) -> int:
        """2 · rows · Σ in · out for each model step; a gradient for the inputs takes as many again."""
        each = 2 * sum(weight.shape[1] * weight.shape[2] for weight, *_ in self.layers)
        steps = sum(count * rows * (1 + gradient) for (rows, gradient), count in work.items())
        return each * self.setting.horizon * steps

    def seconds(self, work: Work) -> float:
        """The seconds at the machine's current speed for products of these shapes."""
        step = {rows: self.step(rows) for rows, _ in work}
        return self.setting.horizon * sum(step[rows] * (1 + gradient) * n for (rows, gradient), n in work.items())

    def step(self, rows: int) -> float:
        """The seconds of one model step's products: (M, rows / M, in) × (M, in, out) for each layer."""
        weight = self.layers[0].weight
        x = torch.randn(len(weight), rows // len(weight), weight.shape[1], device=weight.device)
        through(x, self.layers, lambda x: x)
        repeats = max(3, 4000 // rows)
        began = now(self.setting.device)
        for _ in range(repeats):
            through(x, self.layers, lambda x: x)
        return (now(self.setting.device) - began) / repeats


def paired(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios of two series, round by round."""
    return float(np.median([a / b for a, b in zip(numerators, denominators, strict=True)]))
