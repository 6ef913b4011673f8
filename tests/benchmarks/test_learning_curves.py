"""benchmarks/learning_curves.py on runs with known figures."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def a_run(folder: Path, returns: list[float]) -> None:
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"plan_ms_median": 12.5, "peak_memory_mb": 300.0}))
    rows = ["episode,phase,env_steps,return,length", "1,random,10,-5.0,10"]
    rows += [f"{i + 2},learning,{10 * i + 20},{value},10" for i, value in enumerate(returns)]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")


def draw(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/learning_curves.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_table_csv_and_picture(tmp_path: Path) -> None:
    a_run(tmp_path / "cem-0", [1.0, 2.0, 3.0, 4.0])
    a_run(tmp_path / "cem-1", [9.0, 4.0, 5.0, 6.0])
    a_run(tmp_path / "my-own-0", [7.0])
    table, picture = tmp_path / "all.csv", tmp_path / "pictures/all.png"
    done = draw(*(tmp_path / name for name in ("cem-0", "cem-1", "my-own-0")), "--csv", table, "--out", picture)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == ["| `cem` | 2 | 4.0 | 3.0 | 6.5 |", "| `my-own` | 1 | 7.0 | 7.0 | 7.0 |"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 5 + 5 + 2
    assert rows[1] == {
        "name": "cem",
        "seed": "0",
        "phase": "learning",
        "episode": "2",
        "env_steps": "20",
        "return": "1.00",
        "plan_ms": "12.5",
        "memory_mb": "300.0",
    }
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert draw("--csv", table).stdout == done.stdout  # from the CSV alone


def test_runs_with_evaluations_are_compared_by_them(tmp_path: Path) -> None:
    """At steps that all seeds have; their episodes are left out."""
    for name, finds in {"td3-0": [1, 5, 7], "td3-1": [3, 4], "theirs-0": [9, 8]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text("{}")
        rows = ["phase,env_steps,return", "learning,50,-99"]
        rows += [f"evaluation,{100 * i + 100},{value}" for i, value in enumerate(finds)]
        (tmp_path / name / "metrics.csv").write_text("\n".join(rows) + "\n")
    runs, picture = [tmp_path / name for name in ("td3-0", "td3-1", "theirs-0")], tmp_path / "all.png"
    done = draw(*runs, "--csv", tmp_path / "all.csv", "--at", 100, 200, "--out", picture)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "| run | seeds | 100 steps | 200 steps |",
        "| --- | ---: | ---: | ---: |",
        "| `td3` | 2 | 2 (1) | 4 (4) |",
        "| `theirs` | 1 | 9 (9) | 8 (8) |",
    ]
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + 3 + 2 + 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "| 200 steps |" in draw("--csv", tmp_path / "all.csv").stdout
    (tmp_path / "all.csv").write_text((tmp_path / "all.csv").read_text() + "late,0,final,,900,1.0,,\n")
    done = draw("--csv", tmp_path / "all.csv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "expected evaluations of all runs at equal steps" in done.stderr


def test_a_run_that_has_not_ended(tmp_path: Path) -> None:
    (tmp_path / "cem-0").mkdir()
    done = draw(tmp_path / "cem-0", "--csv", tmp_path / "all.csv")
    assert done.returncode == 2
    assert f"learning_curves: {tmp_path / 'cem-0'}: expected a run that has ended" in done.stderr
    assert done.stderr.count("\n") == 1


def test_searches_are_compared_after_equal_episodes(tmp_path: Path) -> None:
    for seed, steps in enumerate((700, 900)):
        folder = tmp_path / f"cem-{seed}"
        folder.mkdir()
        (folder / "summary.json").write_text("{}")
        rows = ["generation,phase,env_steps,episodes,return", f"1,learning,{steps},100,-99"]
        (folder / "metrics.csv").write_text("\n".join([*rows, f"1,evaluation,{steps},100,{seed + 3}"]) + "\n")
    runs, files = (
        [tmp_path / "cem-0", tmp_path / "cem-1"],
        ["--csv", tmp_path / "all.csv", "--out", tmp_path / "all.png"],
    )
    done = draw(*runs, *files, "--by", "episodes")
    assert done.stdout.splitlines()[::2] == ["| run | seeds | 100 episodes |", "| `cem` | 2 | 4 (3) |"]
    assert (tmp_path / "all.png").exists()
    done = draw(*runs, *files)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "expected evaluations of all runs at equal steps, found none; choose steps with --at" in done.stderr
