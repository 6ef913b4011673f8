"""examples/deploy.py: exports policies of runs, for processes without the library."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from elites.runs import checkpoint
from elites.runs.deploy import WANTED

EXAMPLES = Path(__file__).parents[2] / "examples"
SETS = ["agent.network.policy.hidden=[8,8]", "agent.network.value.hidden=[8,8]", "agent.batch=8"]
SETS += ["random_steps=60", "steps=70", "evaluation_episodes=0"]
TINY = [f"--set={one}" for one in SETS]


def script(name: str, *arguments: Any, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize("agent", ["cgp", "sac", "ppo"])
def test_a_policy_acts_alone(tmp_path: Path, agent: str) -> None:
    """The script itself compares the actions with the agent's."""
    assert script("cgp.py", *TINY, "--env=Pusher-v5", "--agent", agent, "--out", tmp_path / "run").returncode == 0
    done = script("deploy.py", "run", "--steps=20", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    files = ["policy.pt2", "policy.onnx"] if importlib.util.find_spec("onnxscript") else ["policy.pt2"]
    assert found["files"] == [f"run/{file}" for file in files]
    searches = set() if agent == "ppo" else {f"πCEM, {iterations} iterations" for iterations in (2, 4)}
    assert set(found["ms"]) == {"policy, in the agent", *(f"{file}, alone" for file in files), *searches}
    assert all(ms > 0 for ms in found["ms"].values())


def test_a_policy_that_has_not_learned_is_not_deployed(tmp_path: Path) -> None:
    """An offline run after the Q-function has learned, and before the policy has."""
    run = tmp_path / "run"
    assert script("cgp.py", *TINY, "--mode=offline", "--out", run).returncode == 0
    newest = max((run / "checkpoints").glob("*.json"))
    state = checkpoint.read(newest)
    state["agent"]["finished"] = 3
    checkpoint.write(run / "checkpoints", state)
    done = script("deploy.py", run)
    assert done.returncode == 2
    assert done.stderr == f"deploy: {run}: {WANTED}, got an untrained policy: elites learn --resume {run}\n"
    assert not list(run.glob("policy.*"))


PETS = "planner.samples=8 planner.elites=2 horizon=4 model.architecture.hidden=[8] training.epochs=1"
PETS += " random_episodes=1 episodes=1"


def test_a_run_without_a_policy_is_told_what_it_is(tmp_path: Path) -> None:
    plan = [f"--set={one}" for one in (*PETS.split(), "episode_steps=5")]
    assert script("pets.py", *plan, "--planner=cem", "--out", tmp_path / "pets", "--quiet").returncode == 0
    assert script("cgp.py", *TINY, "--agent=qt_opt", "--out", tmp_path / "qt_opt").returncode == 0
    for name, what in (
        ("pets", "a run of PETS, which plans with cem and has no policy"),
        ("qt_opt", "a run of qt_opt, which has none that can be exported"),
    ):
        done = script("deploy.py", tmp_path / name)
        assert done.returncode == 2
        assert done.stderr == f"deploy: {tmp_path / name}: {WANTED}, got {what}\n"


def test_mistakes_in_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        ([tmp_path / "nowhere"], "expected the folder of a run, found no config.yaml in it"),
        ([tmp_path / "run", "--steps=0"], "--steps: expected an integer of at least 1, got 0"),
    ):
        done = script("deploy.py", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.startswith("deploy: ")
        assert done.stderr.count("\n") == 1
