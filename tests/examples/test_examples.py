"""The examples as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from elites.planners import PLANNERS

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs an example with a user's module on the path."""
    path = os.pathsep.join([str(ROOT / "tests/plugins"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def mean_return(planner: str) -> float:
    done = run("examples/plug_in.py", "--planner", planner, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    row = json.loads(done.stdout)
    assert len(row["returns"]) == 10
    return float(row["mean_return"])


@pytest.mark.parametrize("planner", ["cem", "configs/planners/mppi.yaml"])
def test_plug_in_swings_the_pendulum_up(planner: str) -> None:
    assert mean_return(planner) >= -200


def test_plug_in_takes_a_planner_from_where_the_user_works(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text((ROOT / "tests/plugins/rank_weighted.py").read_text())
    options = ["--planner", "mine:RankWeighted", "--set", "planner.samples=30", "--set", "seeds=1", "--json", "--quiet"]
    command = [sys.executable, str(ROOT / "examples/plug_in.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["planner"] == "mine:RankWeighted"


@pytest.mark.slow
@pytest.mark.parametrize("planner", PLANNERS.keys() - {"random_shooting"})
def test_plug_in_with_every_planner(planner: str) -> None:
    assert mean_return(planner) >= -200


def test_plug_in_shows_progress_and_a_table() -> None:
    done = run("examples/plug_in.py", "--planner", "predictive_sampling", "--set", "seeds=1", "--set", "horizon=5")
    assert done.returncode == 0, done.stderr
    assert "200/200 steps" in done.stderr
    header, row = done.stdout.splitlines()
    assert header.split()[:3] == ["planner", "mean", "return"]
    assert row.startswith("predictive_sampling")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--planner", "cem_dg"], "unknown planner 'cem_dg'; did you mean 'cem_gd'?"),
        (["--planner", "no/such.yaml"], "no/such.yaml: cannot be read: No such file or directory"),
        (["--set", "planner.sampels=3"], "planner.sampels: unknown key; known are cold, warm, ascent, top_k"),
        (["--set", "planner.top_q=3"], "planner.top_q: unknown key; did you mean 'top_k'?"),
        (["--set", "planner.top_k=0"], "planner.top_k: expected an integer of at least 1, got 0"),
        (["--set", "horizon=0"], "horizon: expected an integer of at least 1, got 0"),
        (["--set", "horizon"], "--set horizon: expected KEY=VALUE"),
    ],
)
def test_plug_in_says_in_one_line_what_is_wrong(arguments: list[str], message: str) -> None:
    done = run("examples/plug_in.py", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("plug_in: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGINT to one process")
def test_plug_in_stops_on_ctrl_c() -> None:
    process = subprocess.Popen(
        [sys.executable, "examples/plug_in.py", "--planner", "cem", "--set", "seeds=300"],  # far from done
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stderr is not None
    seen = b""
    while b"/200 steps" not in seen:
        seen += os.read(process.stderr.fileno(), 4096)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130, rest
    assert b"plug_in: stopped" in rest
    assert b"Traceback" not in rest


def test_simulator(tmp_path: Path) -> None:
    options = ["--planner", "cem", "--set", "steps=3", "--set", "horizon=5", "--json"]
    done = run("examples/simulator.py", *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 3
    film = tmp_path / "cheetah.gif"
    done = run("examples/simulator.py", *options, "--video", str(film))  # not every machine has OpenGL
    assert done.returncode == 0, done.stderr
    assert film.exists() or "simulator: no video: rendering failed" in done.stderr
    done = run("examples/simulator.py", "--planner", "grad_cem")
    assert done.returncode == 2
    assert "simulator: MujocoDynamics: has no gradient; expected a sampling planner" in done.stderr
    assert "Traceback" not in done.stderr


def test_landscape_draws(tmp_path: Path) -> None:
    own = "rank_weighted:RankWeighted"
    options = ["--landscape", "schwefel", "--out", str(tmp_path)]
    done = run("benchmarks/landscape.py", *options, "--planner", "cem", "--planner", own)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "landscape_schwefel.png").read_bytes().startswith(b"\x89PNG")
    assert run("benchmarks/landscape.py", "--planner", "cme").returncode == 2


def test_barrier_draws_and_counts(tmp_path: Path) -> None:
    rows = tmp_path / "barrier.csv"
    done = run("benchmarks/barrier.py", "--trials", "2", "--steps", "2", "--out", str(tmp_path), "--csv", str(rows))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'barrier.png'}\n"
    assert (tmp_path / "barrier.png").read_bytes().startswith(b"\x89PNG")
    assert len(rows.read_text().splitlines()) == 1 + 2 * 4 * 6 + 1
