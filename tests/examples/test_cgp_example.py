"""examples/cgp.py as a user runs it. The tests of examples/pets.py cover the shared parts."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from elites.agents import Grown
from elites.networks import library
from elites.runs import checkpoint

ROOT = Path(__file__).parents[2]
TINY = [
    "--env=InvertedPendulum-v5",  # its episodes terminate
    "--num-envs=2",
    "--set=agent.network.policy.hidden=[8,8]",
    "--set=agent.network.value.hidden=[8,8]",
    "--set=agent.batch=8",
    "--set=random_steps=40",
    "--set=steps=240",
    "--set=evaluate_every=80",
    "--set=evaluation_episodes=2",
    "--set=episode_steps=30",
]


def start(*arguments: Any, cwd: Path = ROOT) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "examples/cgp.py"), *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=1200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def outcome(folder: Path) -> tuple[Any, ...]:
    """The results that must not depend on interruptions: figures, returns, and every tensor of the agent."""
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    timeless = [{k: v for k, v in row.items() if k not in ("steps_per_s", "act_ms")} for row in rows]
    summary = json.loads((folder / "summary.json").read_text())
    agent = checkpoint.newest(folder / "checkpoints", pytest.fail)["agent"]
    tensors = {name: agent[name] for name in ("nets", "replay", "updates", "finished", "rng")}
    plain = json.dumps(tensors, default=lambda of: vars(of) if isinstance(of, Grown) else of.tolist())
    return timeless, summary["evaluation_returns"], plain


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run in the mode with the most steps."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = run(*TINY, "--mode", "offline", "--out", folder)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_what_a_run_leaves(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["evaluation_steps"] == [80, 160, 240]
    assert summary["final_evaluation_mean"] == summary["evaluation_returns"][-1]
    assert summary["env_steps"] == 240
    assert (whole / "returns.png").read_bytes().startswith(b"\x89PNG")
    assert list(whole.glob("events.out.tfevents.*"))
    config = (whole / "config.yaml").read_text()
    assert "mode: offline" in config
    assert "policy_noise: 0.2" in config  # every default is written


def test_what_a_person_sees(whole: Path) -> None:
    said = (whole / "stderr").read_text().splitlines()
    assert said[0] == f"InvertedPendulum-v5 in {whole}; engine: {library.engine()}"
    assert said[1].startswith("step  80/240  evaluation  return ")
    assert said[3].startswith("step 240/240  final       return ")
    assert said[-1].startswith("final evaluation ")


def test_a_film(tmp_path: Path) -> None:
    done = run(*TINY, "--env=Pendulum-v1", "--set=steps=80", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert b"ftyp" in (tmp_path / "run/best.mp4").read_bytes()[:12]
    assert "no video" not in done.stderr


def kill(process: subprocess.Popen[str], folder: Path, saves: int) -> None:
    """Kills a run after its next few checkpoints, so that no clock is involved."""
    before = saved(folder)
    while saved(folder) < before + saves and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()


def saved(folder: Path) -> int:
    return max((int(path.stem) for path in checkpoint.written(folder / "checkpoints")), default=0)


def test_killed_and_resumed(whole: Path, tmp_path: Path) -> None:
    folder, chance = tmp_path / "run", random.Random(0)
    kill(start(*TINY, "--mode=offline", "--set=checkpoint_s=0", "--out", folder, "--quiet"), folder, 1)
    for _ in range(2):
        kill(start("--resume", folder, "--quiet"), folder, chance.randint(1, 20))
    assert not (folder / "summary.json").exists()
    assert run("--resume", folder, "--quiet").returncode == 0
    assert outcome(folder) == outcome(whole)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGINT to one process")
def test_ctrl_c_and_resume(whole: Path, tmp_path: Path) -> None:
    process = start(*TINY, "--mode=offline", "--out", tmp_path / "run")
    assert process.stderr
    while "evaluation" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"cgp.py --resume {tmp_path / 'run'} goes on from here" in said
    assert said.rstrip().endswith("cgp: stopped")
    assert run("--resume", tmp_path / "run", "--quiet").returncode == 0
    assert outcome(tmp_path / "run") == outcome(whole)


def test_a_run_made_longer_is_the_longer_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    flags = ("--agent=sac", "--quiet")
    assert run(*TINY, *flags, "--set=steps=130", "--out", folder).returncode == 0
    assert run("--resume", folder, "--set=steps=240", "--quiet").returncode == 0
    assert run(*TINY, *flags, "--set=steps=240", "--out", tmp_path / "at once").returncode == 0
    longer, at_once = (json.loads((path / "summary.json").read_text()) for path in (folder, tmp_path / "at once"))
    assert longer["evaluation_steps"] == [80, 130, 160, 240]
    for key in ("episode_returns", "final_evaluation_mean"):
        assert longer[key] == at_once[key]


@pytest.mark.parametrize("agent", ["qgp", "qt_opt", "td3", "ddpg", "sac"])
def test_every_agent_runs(tmp_path: Path, agent: str) -> None:
    rate = "--set=agent.network.value_optimizer.rate=0.01"
    done = run(*TINY, "--agent", agent, "--set=steps=60", rate, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["evaluation_returns"]) == 1
    assert f"name: {agent}" in (tmp_path / f"outputs/InvertedPendulum-v5-{agent}-0/config.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "tdd"], "agent.name: unknown algorithm 'tdd'; did you mean 'td3'?"),
        (["--agent", "td3", "--mode", "offline"], "agent.mode: unknown key"),
        (
            ["--env", "CartPole-v1", "--agent", "sac"],
            "action space: expected a Box, which this agent's policy needs, got Choices((2,))",
        ),
        (["--env", "Pendulam-v1"], "env: Environment `Pendulam` doesn't exist"),
        (["--num-envs", "0"], "num_envs: expected an integer of at least 1, got 0"),
        (["--set", "agent.search.samples=2"], "elites"),
        (["--resume", "nowhere", "--agent", "td3"], "--resume keeps the run's own settings"),
    ],
)
def test_mistakes_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("cgp: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("num_envs=3", "num_envs: expected 2, as at the run's beginning, got 3"),
        ("seed=5", "seed: expected 0, as at the run's beginning, got 5"),
        ("agent.network.policy.hidden=[16,16]", "settings: do not fit the checkpoints in "),
        ("agent=sac", "settings: do not fit the checkpoints in "),
        ("agent=qt_opt", "settings: do not fit the checkpoints in "),
    ],
)
def test_what_a_run_keeps(whole: Path, assignment: str, message: str) -> None:
    """A changed value is refused in one line, and the run stays the same."""
    before = outcome(whole), (whole / "config.yaml").read_text()
    done = run("--resume", whole, "--set", assignment, "--quiet")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert (outcome(whole), (whole / "config.yaml").read_text()) == before


def test_a_mode_belongs_to_whatever_agent_there_is(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("agent: qgp\nsteps: 41\n")  # too few steps without the flags' random_steps
    for number, flags in enumerate((["--config", tmp_path / "agent.yaml"], ["--set=agent=qgp"])):
        done = run(*TINY, "--set=steps=41", *flags, "--mode=offline", "--quiet", "--out", tmp_path / str(number))
        assert done.returncode == 0, done.stderr
        config = (tmp_path / str(number) / "config.yaml").read_text()
        assert "name: qgp" in config
        assert "mode: offline" in config


ENDLESS = """
import gymnasium, numpy

class Endless(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return numpy.zeros(1, numpy.float32), {}

    def step(self, action):
        return numpy.zeros(1, numpy.float32), 0.0, False, False, {}

gymnasium.register("Endless-v0", Endless)
"""


def test_an_environment_whose_episodes_need_not_end(tmp_path: Path) -> None:
    """Evaluations would never end, so a message tells what helps."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    flags = [flag for flag in TINY if "env" not in flag and "episode_steps" not in flag] + ["--env=endless:Endless-v0"]
    done = run(*flags, "--set=evaluation_episodes=0", "--set=steps=41", "--out", "a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Endless-v0 does not limit its episodes; episode_steps=1000 sets a limit" in done.stderr
    done = run(*flags, "--set=episode_steps=30", "--set=steps=41", "--out", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "does not limit its episodes" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["cgp", "td3"])
def test_it_swings_up_a_pendulum(tmp_path: Path, agent: str) -> None:
    """Only seed 0; docs/guides/model_free.md has the others."""
    done = run("--agent", agent, "--json", "--out", tmp_path / "run")
    assert json.loads(done.stdout)["final_evaluation_mean"] >= -200
