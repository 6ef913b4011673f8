"""A short run of benchmarks/pace.py without Stable-Baselines3 and SBX."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/pace.py"


def pace(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--env", "Pendulum-v1", "--rounds", "1", "--block", "2", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_row_for_each() -> None:
    done = pace("--agent", "td3", "qt_opt-4", "cgp-float32")
    assert done.returncode == 0, done.stderr
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert head[1:3] == ["learning, steps/s", "of td3's"]
    assert [row[0] for row in rows] == ["td3", "qt_opt-4", "cgp-float32"]
    assert next(float(row[2]) for row in rows) == 1
    assert all(float(cell.split()[0]) >= 0 for row in rows for cell in row[1:])


def test_a_thread_is_a_core() -> None:
    done = pace("--agent", "td3", "--threads", "1", "--batch", "16")
    assert done.returncode == 0, done.stderr
    head, _, row = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert "Pendulum-v1, batch 16, 1 thread" in done.stderr
    if sys.platform == "linux":
        assert "1 thread on core " in done.stderr
        assert 0 < float(row[head.index("cores")]) <= 1  # processor time is at most wall time


def test_everybody_learns_in_such_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from pace import side

    for name in ("td3", "sac", "cgp-float32"):
        assert side(name, "Pendulum-v1", 16).agent.algorithm.batch == 16


@pytest.mark.parametrize("name", ["rounds", "block", "batch", "threads"])
def test_a_mistake_is_one_line(name: str) -> None:
    done = pace(f"--{name}", "0")
    assert (done.returncode, done.stderr) == (2, f"pace: --{name}: expected at least 1, got 0\n")


def test_a_library_that_is_not_there() -> None:
    done = pace("--agent", "sbx-td3")
    said = "pace: No module named 'sbx'; make .venv-mbrl/peers installs it into .venv-mbrl\n"
    assert (done.returncode, done.stderr) == (2, said)
