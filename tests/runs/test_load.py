"""`elites.load`: the agent of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import elites
from elites.runs import train
from tests.runs.small import RUNS, TD3_RUN, Listening


@pytest.mark.parametrize("number", [0, 2])
def test_the_agent_of_a_run(tmp_path: Path, number: int) -> None:
    watching = Listening()
    train(RUNS[number], tmp_path, observers=[watching])
    agent = elites.load(tmp_path)
    env = RUNS[number].make_environment()
    observation, _ = env.reset(seed=0)
    action = agent.act(observation[None], explore=False)
    assert env.action_space.contains(action[0])
    watching.run.agent.begin(np.ones(1, dtype=bool))
    if number == 0:
        assert np.array_equal(action, watching.run.agent.act(observation[None], explore=False))
        assert agent.replay.total == watching.run.agent.replay.total == 160  # type: ignore[attr-defined]
    else:
        state, expected = (each.model.state_dict() for each in (agent, watching.run.agent))  # type: ignore[attr-defined]
        assert all(torch.equal(value, expected[name]) for name, value in state.items())


def test_what_has_no_agent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the folder of a run, found no config.yaml in it"):
        elites.load(tmp_path)
    train(TD3_RUN, tmp_path / "a", stop=lambda: True)
    for path in (tmp_path / "a/checkpoints").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="expected a run with a checkpoint, found none"):
        elites.load(tmp_path / "a")
    config = (tmp_path / "a/config.yaml").read_text()
    (tmp_path / "a/config.yaml").write_text(config.replace("Pendulum-v1", "gone:Gone-v0"))
    (tmp_path / "a/checkpoints/000001.json").touch()
    with pytest.raises(ValueError, match="env: expected to make gone:Gone-v0, got ModuleNotFoundError: No m"):
        elites.load(tmp_path / "a")


def test_agents_alone_load_nothing_of_a_run() -> None:
    code = (
        "import sys; from elites.agents.mpc import MPC; import elites.agents.lockstep\n"
        "sys.exit(bool({'resource', 'matplotlib', 'elites.runs'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
