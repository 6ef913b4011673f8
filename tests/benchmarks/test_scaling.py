"""benchmarks/scaling.py: its fitted line, and the picture from a CSV."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_a_straight_line_is_found_and_what_is_none_is_told(scaling: Any) -> None:
    x = np.array([1.0, 2.0, 5.0, 9.0])
    line, worst = scaling.straight(x, 3 + 2 * x)
    assert line == pytest.approx(3 + 2 * x)
    assert worst == pytest.approx(0, abs=1e-9)
    assert scaling.straight(x, x**2)[1] > 0.3


def test_every_case_plans(scaling: Any) -> None:
    """The cases of the shortest horizon; each kind of panel has its own model and shape."""
    cases = scaling.cases()
    assert {case.panel for case in cases} == {"horizon", "samples", "members", "actions", "problems"}
    short = next(case for case in cases if case.panel == "horizon")
    plan = short.plan()
    assert np.shape(plan()) == (1, 6)
    many = next(case for case in cases if case.problems == 4 and case.planner == "cem 50")
    assert np.shape(many.plan()()) == (4, 6)


def test_the_picture_from_the_csv(tmp_path: Path) -> None:
    picture = tmp_path / "scaling.png"
    command = [sys.executable, "benchmarks/scaling.py", "--draw", "--csv", "results/scaling.csv", "--out", str(picture)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
