"""benchmarks/sb3.py and benchmarks/pace.py."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, *flags: object) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--env", "Pendulum-v1", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("agent", ["td3", "sac"])
def test_a_run_of_theirs_is_evaluated_as_ours_are(agent: str, tmp_path: Path) -> None:
    out = tmp_path / f"{agent}-0"
    run("sb3.py", "--agent", agent, "--steps", 350, "--random-steps", 100, "--evaluate-every", 100, "--out", out)
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert [(row["phase"], int(row["env_steps"])) for row in rows] == [
        ("evaluation", 200),
        ("evaluation", 300),
        ("final", 350),
    ]
    assert all(-2000 < float(row["return"]) < 0 for row in rows)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["final_evaluation_mean"] == float(rows[-1]["return"])
    assert summary["env_steps"] == 350


def test_paces_beside_theirs() -> None:
    lines = run("pace.py", "--agent", "sb3-td3", "sb3-sac", "td3", "--rounds", 1, "--block", 2).splitlines()
    assert "of sb3-td3's" in lines[0]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["sb3-td3", "sb3-sac", "td3"]
