"""examples/pets.py as a user runs it: its files, its messages, and resuming after every interruption."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import pytest
import torch

from elites.networks import library
from elites.runs import checkpoint

ROOT = Path(__file__).parents[2]
TINY = [
    "--planner=cem",
    "--set=planner.samples=8",
    "--set=planner.elites=2",
    "--set=planner.iterations=2",
    "--set=horizon=5",
    "--set=model.architecture.hidden=[16]",
    "--set=training.epochs=3",
    "--set=random_episodes=2",
    "--set=episodes=3",
    "--set=episode_steps=12",
]


def start(*arguments: Any, cwd: Path = ROOT, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "examples/pets.py"), *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=1200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def outcome(folder: Path) -> tuple[Any, Any, Any]:
    """The results that must not depend on interruptions: figures, returns, and every tensor of the last checkpoint."""
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    timeless = [{k: v for k, v in row.items() if k not in ("steps_per_s", "act_ms")} for row in rows]
    summary = json.loads((folder / "summary.json").read_text())
    state = checkpoint.newest(folder / "checkpoints", pytest.fail)
    agent = state["agent"]
    tensors = [*agent["model"].values(), *agent["replay"]["rows"].columns.values(), agent["rng"], agent["mpc"]["rng"]]
    return timeless, summary["episode_returns"], [tensor.tolist() for tensor in tensors]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = run(*TINY, "--out", folder)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_what_a_run_leaves(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    asked = "episode_returns best_return last_three_mean plan_ms_median plan_ms_p95 peak_memory_mb env_steps wall_s"
    assert {*asked.split(), "fallbacks"} <= summary.keys()
    assert len(summary["episode_returns"]) == 3
    assert summary["env_steps"] == 5 * 12
    assert summary["fallbacks"] == 0
    assert summary["engine"] == library.engine().split()[0]
    rows = list(csv.DictReader((whole / "metrics.csv").read_text().splitlines()))
    assert [row["phase"] for row in rows] == ["random"] * 2 + ["learning"] * 3
    assert float(rows[-1]["model_rmse"]) > 0
    for picture in ("returns.png", "predictions.png"):
        assert (whole / picture).read_bytes().startswith(b"\x89PNG")
    assert b"ftyp" in (whole / "best.mp4").read_bytes()[:12]
    assert list(whole.glob("events.out.tfevents.*"))
    config = (whole / "config.yaml").read_text()
    assert "samples: 8" in config
    assert "learning_rate: 0.001" in config  # every default is written
    assert not [path for path in whole.rglob("*") if path.suffix in (".pkl", ".pt", ".pth", ".part")]


def test_what_a_person_sees(whole: Path) -> None:
    said = (whole / "stderr").read_text().splitlines()
    assert said[0] == f"elites/CartpoleSwingup-v0 in {whole}; engine: {library.engine()}"
    assert said[1].startswith("episode   1/5  random")
    assert "rmse" in said[5]
    assert said[6].startswith("best return ")
    assert len(said) == 7


def test_json_is_one_line_and_nothing_else(tmp_path: Path) -> None:
    done = run(*TINY, "--set=episodes=1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(json.loads(done.stdout)["episode_returns"]) == 1
    assert (tmp_path / "outputs/CartpoleSwingup-v0-cem-0/summary.json").exists()  # the default folder


def test_the_same_again(whole: Path, tmp_path: Path) -> None:
    assert run("--config", whole / "config.yaml", "--out", tmp_path / "again", "--quiet").returncode == 0
    assert outcome(tmp_path / "again") == outcome(whole)


def kill_and_resume(folder: Path, kills: int, chance: random.Random) -> int:
    """Runs to the end, killed at random moments. Returns the number of kills."""
    killed = 0
    while not (folder / "summary.json").exists() or killed == 0:
        begun = (folder / "config.yaml").exists()
        arguments = ["--resume", folder] if begun else [*TINY, "--set=checkpoint_s=0", "--out", folder]
        process = start(*arguments, "--quiet")
        try:
            process.communicate(timeout=chance.uniform(0.5, 8) if killed < kills else 300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
            continue
        assert process.returncode == 0
        if killed == 0:
            shutil.rmtree(folder)  # it ended before a kill: try again
    return killed


def test_killed_and_resumed(whole: Path, tmp_path: Path) -> None:
    kill_and_resume(tmp_path / "run", 2, random.Random(0))
    assert outcome(tmp_path / "run") == outcome(whole)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(whole: Path, tmp_path: Path) -> None:
    chance, killed = random.Random(1), 0
    for attempt in range(100):
        folder = tmp_path / f"run{attempt}"
        killed += kill_and_resume(folder, 4, chance)
        assert outcome(folder) == outcome(whole)
        if killed >= 20:
            break
    assert killed >= 20


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGINT to one process")
def test_ctrl_c_and_resume(whole: Path, tmp_path: Path) -> None:
    process = start(*TINY, "--out", tmp_path / "run")
    assert process.stderr
    while not process.stderr.readline().startswith("episode   3/5"):
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"--resume {tmp_path / 'run'} goes on from here" in said
    assert said.rstrip().endswith("pets: stopped")
    assert "Traceback" not in said
    assert run("--resume", tmp_path / "run", "--quiet").returncode == 0
    assert outcome(tmp_path / "run") == outcome(whole)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that was stopped, with two checkpoints."""
    folder = tmp_path / "stopped"
    process = start(*TINY, "--set=checkpoint_s=0", "--out", folder)
    assert process.stderr
    while not process.stderr.readline().startswith("episode   4/5"):
        pass
    process.kill()
    process.communicate()
    return folder


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_used(whole: Path, stopped: Path) -> None:
    newest = sorted((stopped / "checkpoints").glob("*.json"))[-1]
    tensors = newest.with_suffix(".safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-100])
    done = run("--resume", stopped, "--quiet")
    assert done.returncode == 0, done.stderr
    assert f"{newest}: damaged checkpoint: its digest does not match; trying the one before it" in done.stderr
    assert outcome(stopped) == outcome(whole)


def test_no_checkpoint_is_intact(stopped: Path) -> None:
    for path in (stopped / "checkpoints").glob("*.safetensors"):
        path.write_bytes(b"")
    done = run("--resume", stopped, "--quiet")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == f"pets: {stopped / 'checkpoints'}: expected a checkpoint, found only damaged ones"
    assert "Traceback" not in done.stderr


def no_file_above(size: int) -> Callable[[], None]:
    """Limits the size of files, as if the disk were full."""
    import resource

    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk(whole: Path, stopped: Path) -> None:
    done = run("--resume", stopped, "--quiet", preexec_fn=no_file_above(4096))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("pets: ")
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert run("--resume", stopped, "--quiet").returncode == 0  # nothing was lost
    assert outcome(stopped) == outcome(whole)


def test_more_episodes_for_a_run_that_has_ended(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    done = run("--resume", tmp_path / "run", "--set", "episodes=4", "--json")
    assert done.returncode == 0, done.stderr
    longer, before = json.loads(done.stdout)["episode_returns"], outcome(whole)[1]
    assert longer[:3] == before
    assert len(longer) == 4


@pytest.mark.parametrize("env", ["Pendulum-v1", "InvertedPendulum-v5"])
def test_other_environments(tmp_path: Path, env: str) -> None:
    """With a learned reward, and a termination from the registry."""
    done = run(*TINY, "--env", env, "--set=episodes=1", "--json", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["env"] == env
    config = (tmp_path / "run/config.yaml").read_text()
    assert f"env: {env}" in config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "CartpoleSwingup-v0"], "env: CartpoleSwingup-v0 does not exist; did you mean 'elites/Cartpole"),
        (["--env", "elites/CartpolSwingup-v0"], "doesn't exist in namespace elites. Did you mean: `CartpoleSwingup`?"),
        (["--env=CartPole-v1", "--planner=cem_gd"], "GradientAscent: expected a Box, as choices have no gradient, got"),
        (["--planner", "cem_dg"], "planner.name: unknown planner 'cem_dg'; did you mean 'cem_gd'?"),
        (["--set", "horizont=3"], "horizont: unknown key; did you mean 'horizon'?"),
        (["--set", "model.members=0"], "flags: model.members: expected an integer of at least 1, got 0"),
        (["--seed", "-1"], "flags: seed: expected an integer in [0, 4294967295], got -1"),
        (["--config", "wrong.yaml"], "wrong.yaml: horizon: expected an integer of at least 1, got 0"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory"),
        (["--resume", "nowhere"], "nowhere: expected the folder of a run, found no config.yaml in it"),
        (["--resume", "nowhere", "--seed", "3"], "--resume keeps the run's own settings"),
        pytest.param(
            ["--out", "/dev/null/run"],
            "Not a directory: '/dev/null/run'",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/null"),
        ),
        (["--device", "quantum"], "--device quantum: "),
        (["--device", "cuda"], "--device cuda: ") if not torch.cuda.is_available() else (["--set", "x"], "KEY=VALUE"),
        (["--set", "termination=hopper"], "termination: expected one of never, Hopper-v5, "),
        (["--set", "replan_every=99"], "replan_every: expected an integer in [1, "),
        (["--env", "Pendulum-v1", "--set", "reward=known"], "reward: Pendulum-v1 has no known reward; known are "),
    ],
)
def test_mistakes_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "wrong.yaml").write_text("horizon: 0\n")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("pets: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_a_run_is_not_overwritten(whole: Path) -> None:
    before = outcome(whole)
    done = run(*TINY, "--out", whole)
    assert done.returncode == 2
    assert f"pets: {whole}: holds a run already; --resume {whole} continues it\n" == done.stderr
    assert outcome(whole) == before


SHOWN = (*TINY, "--env=elites/HalfCheetah-v0", "--set=episodes=1")


def test_where_nothing_can_be_filmed(tmp_path: Path) -> None:
    done = run(*SHOWN, "--out", tmp_path / "run", env=os.environ | {"IMAGEIO_FFMPEG_EXE": "no-ffmpeg"})
    assert done.returncode == 0, done.stderr
    assert "no video: filming failed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run/best.mp4").exists()
    assert (tmp_path / "run/returns.png").exists()


@pytest.mark.skipif(not find_library("EGL"), reason="films without a screen are EGL's")
def test_films_need_no_screen(tmp_path: Path) -> None:
    screens = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")
    environment = {name: value for name, value in os.environ.items() if name not in screens}
    done = run(*SHOWN, "--out", tmp_path / "run", env=environment)
    assert (tmp_path / "run/best.mp4").exists(), done.stderr
    assert done.stderr.count("settotalmass") <= 1, "MuJoCo finds fault with its model every time that it is loaded"


@pytest.mark.slow
@pytest.mark.parametrize("planner", ["cem_gd", "cem", "icem", "mppi"])
def test_it_swings_up(tmp_path: Path, planner: str) -> None:
    """The default settings, only seed 0; docs/guides/pets.md has the others."""
    done = run("--planner", planner, "--json", "--out", tmp_path / "run")
    summary = json.loads(done.stdout)
    assert summary["last_three_mean"] >= 44
    assert summary["best_return"] >= 45
