"""benchmarks/pace.py without Stable-Baselines3, briefly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_a_mistake_is_one_line() -> None:
    done = pace("--rounds", "0")
    assert (done.returncode, done.stderr) == (2, "pace: --rounds, --block: expected at least 1, got 0 and 2\n")
