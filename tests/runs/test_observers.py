"""The lines on the screen, and the measurements."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from elites.cli import Screen
from elites.networks import library
from elites.runs import OnScreen, Status, Steps, faults, memory, meter
from elites.runs.schedule import Episodes


class Run:
    """The parts of a Watched that the screen uses."""

    env, folder = "Walk-v0", Path("outputs/walk")
    agent = SimpleNamespace(TOLD=("surprise", "what is not in a row"), rng=torch.Generator())

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def seen(schedule: Any, *rows: dict[str, Any], status: Status | None = None) -> list[str]:
    stream = Terminal() if status else io.StringIO()
    screen = OnScreen(Screen(stream))
    screen.began(Run(schedule))  # type: ignore[arg-type]
    if status:
        screen.status(status)
    for row in rows:
        screen.row(row)
    return stream.getvalue().splitlines()


def test_the_figures_that_an_agent_wants_told() -> None:
    row = {"episode": 3, "phase": "learning", "env_steps": 90, "return": -1.25, "length": 30, "terminated": False}
    figures = {"model_rmse": 0.012345, "surprise": 1234.5, "steps_per_s": 812.34, "act_ms": 12.4}
    assert seen(Episodes(2, 3), row | figures) == [
        f"Walk-v0 in outputs/walk; engine: {library.engine()}",
        "episode   3/5  learning       30 steps  return     -1.25    812.3 steps/s  act 12 ms  surprise 1.23e+03",
    ]


def test_evaluations_alone_where_steps_are_counted() -> None:
    episode = {"episode": 3, "phase": "learning", "env_steps": 90, "return": -1.25, "length": 30, "steps_per_s": 1.0}
    shown = {"phase": "final", "env_steps": 95, "return": 2.0, "worst": 1.0, "best": 3.5, "length": 9.5}
    lines = seen(Steps(10, 100), episode, shown, status=Status("learning", 0, 95, 3725.9))
    assert lines[-1].endswith("step  95/100  final       return      2.00  (1.0 to 3.5)  1:02:05")


def test_how_things_stand() -> None:
    (_, line) = seen(Steps(10, 100), status=Status("learning", 0, 95, 61.0, length=7, total=2.5, act_ms=0.6))
    assert line == "step  95/100  learning        7 steps  return      2.50  act 1 ms  0:01:01"
    (_, line) = seen(Steps(10, 100), status=Status("lesson", 0, 95, 61.0, text="epoch 3/9"))
    assert line == "epoch 3/9  0:01:01"


def test_no_more_than_an_eye_sees() -> None:
    stream = Terminal()
    screen = OnScreen(Screen(stream))
    screen.began(Run(Steps(10, 100)))  # type: ignore[arg-type]
    for number in range(100):
        screen.status(Status("lesson", 0, 95, number / 32, text=f"{number}."))
    assert stream.getvalue().count("\r\x1b[K") == 49


# --- measured ---------------------------------------------------------------------------------------------------------


def test_the_wall_time_goes_on_after_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    first = meter.Meter()
    now[0] += 30
    assert first.wall_s == 30
    state = first.state_dict()
    now[0] = 5.0  # the clock of another process
    second = meter.Meter()
    now[0] += 2  # the time until it is loaded
    second.load_state_dict(state)
    assert second.wall_s == 30
    now[0] += 4
    assert second.wall_s == 34
    assert second.state_dict()["wall"] == 34


def test_the_most_memory_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[float | None] = [None]
    monkeypatch.setattr(memory, "peak_mb", lambda: found[0])
    measured = meter.Meter()
    assert measured.peak_mb is None
    for peak, most in ((200.0, 300.0), (400.0, 400.0), (None, 300.0)):
        measured.load_state_dict({"wall": 0.0, "peak": 300.0})
        found[0] = peak
        assert measured.peak_mb == most


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
@pytest.mark.parametrize(("platform", "expected"), [("linux", 512.0), ("darwin", 0.5)])
def test_the_unit_of_a_peak(monkeypatch: pytest.MonkeyPatch, platform: str, expected: float) -> None:
    """KiB on Linux, bytes on macOS."""
    usage = types.SimpleNamespace(ru_maxrss=2**19)
    monkeypatch.setattr("resource.getrusage", lambda who: usage)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert memory.peak_mb() == expected


def test_where_the_platform_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert memory.peak_mb() is None
    monkeypatch.setattr(Path, "read_text", lambda path: "nothing of it")
    assert memory.free_bytes(torch.device("cpu")) is None


MESSAGES = {
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "36000000000 bytes. Error code 12 (Cannot allocate memory)": 36_000_000_000,
    "CUDA out of memory. Tried to allocate 20.50 GiB. GPU 0 has a total capacity of 79.10 GiB": int(20.5 * 2**30),
    "Unable to allocate 1.50 MiB for an array with shape (3, 65536) and data type float64": int(1.5 * 2**20),
    "DefaultCPUAllocator: not enough memory: you tried to allocate 8000 bytes.": 8000,
    "mat1 and mat2 shapes cannot be multiplied": None,
}


@pytest.mark.parametrize("text", MESSAGES)
def test_what_was_to_be_held(text: str) -> None:
    assert memory.asked_for(RuntimeError(text)) == MESSAGES[text]
    assert memory.asked_for(MemoryError(text)) == (MESSAGES[text] or 0)


def test_real_allocations_that_fail() -> None:
    for wanted in (2**46, 2**50):
        with pytest.raises(RuntimeError) as found:
            torch.empty(wanted, dtype=torch.uint8)
        assert memory.asked_for(found.value) == wanted
    assert 10**6 < (memory.free_bytes(torch.device("cpu")) or 0) < 10**14


def test_it_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 12_340_000_000)
    said = "Walk: expected to need at most 12.3 GB of memory, got 36 GB, after 7 steps"
    with pytest.raises(faults.OutOfMemory, match=f"^{said}$"), faults.fitting("Walk", "cpu", lambda: "after 7 steps"):
        raise RuntimeError(next(iter(MESSAGES)))
    with pytest.raises(RuntimeError, match=r"^other$"), faults.fitting("Walk", "cpu", lambda: ""):
        raise RuntimeError("other")
    with pytest.raises(faults.OutOfMemory, match="an unknown amount"), faults.fitting("Walk", "cpu", lambda: ""):
        raise MemoryError
