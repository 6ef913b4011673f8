"""Agents that learn from recorded data: a run's replay, and Minari datasets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elites.agents import AWAC, AWR, BC, MPO, PPO, SAC, TD3, Agent, Algorithm, Network, Pace
from elites.networks import Architecture
from elites.runs import LearnSettings, checkpoint, data, train
from elites.runs.commands import export, learn
from elites.spaces import Box

TINY = Network.of(Architecture((8, 8)))
RECORDED = LearnSettings(
    env="Pendulum-v1", agent=TD3(network=TINY, batch=8), steps=450, random_steps=400, evaluation_episodes=0
)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with 450 transitions, of which the last episode has not ended."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    train(RECORDED, folder)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The datasets of a test are its own."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))


def from_data(run: Path | str, agent: Algorithm, **changes: Any) -> LearnSettings:
    settings = {"offline_updates": 25, "evaluate_every": 10, "steps": 0, "evaluation_episodes": 1, **changes}
    return LearnSettings(env="Pendulum-v1", agent=agent, data=str(run), **settings)


def exported(run: Path, name: str = "test/pendulum-v0") -> str:
    assert data.export(run, name, RECORDED.make_environment()) == 450
    return f"minari:{name}"


def test_a_dataset_is_the_replay(run: Path) -> None:
    """Read back through Minari itself, and through ours."""
    import minari

    source, replay = exported(run), list(data.of_run(run))
    theirs = list(minari.load_dataset("test/pendulum-v0").iterate_episodes())
    assert [len(episode) for episode in theirs] == [200, 200, 50]
    for episode, mine, again in zip(theirs, replay, data.recorded(source), strict=True):
        np.testing.assert_array_equal(episode.observations[:-1], mine.observation)
        np.testing.assert_array_equal(episode.observations[1:], mine.next_observation)
        np.testing.assert_array_equal(episode.actions, mine.action)
        np.testing.assert_allclose(episode.rewards, mine.reward)
        assert episode.truncations[-1], "Minari has no episodes that go on"
        for name in data.Recorded._fields[:5]:
            np.testing.assert_allclose(getattr(again, name), getattr(mine, name))
    with pytest.raises(ValueError, match="a dataset of this name is there already"):
        data.export(run, "test/pendulum-v0", RECORDED.make_environment())


def test_an_agent_gets_the_transitions_of_a_run(run: Path) -> None:
    """In its own units, with raw actions; and of a dataset the same ones."""
    source, states = exported(run), []
    for of in (str(run), source):
        agent = from_data(of, AWAC(network=TINY)).make_agent(RECORDED.make_environment())
        data.fill(agent, of)
        assert agent.replay.total == 450
        assert [episode.length for episode in agent.replay.episodes()] == [200, 200, 50]
        assert agent.replay.column("action").abs().max() <= 1
        states.append(agent.replay.all())
    for name in ("state", "action", "raw_action", "reward", "next_state"):
        np.testing.assert_allclose(getattr(states[0], name), getattr(states[1], name), atol=1e-6)


@pytest.mark.parametrize("kind", [AWAC, AWR, BC, MPO, SAC, TD3])
def test_agents_learn_offline_and_then_online(run: Path, tmp_path: Path, kind: Any) -> None:
    small: dict[str, Any] = {"value_steps": 5, "policy_steps": 5} if kind is AWR else {"batch": 8}
    small |= {"pace": Pace(1, 8)} if kind is MPO else {}
    settings = from_data(run, kind(network=TINY, **small), steps=30)
    summary = train(settings, tmp_path)
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:4]] == [["evaluation", "0"]] * 3
    assert summary.env_steps == 30
    saved = checkpoint.newest(tmp_path / "checkpoints", pytest.fail)["agent"]
    assert saved["updates"] == 25 + {AWR: 0, MPO: 30 // 8}.get(kind, 30)


def test_an_interrupted_study_goes_on_bit_for_bit(run: Path, tmp_path: Path) -> None:
    """Also where the data is gone."""
    settings, count = from_data(run, AWAC(network=TINY, batch=8), offline_updates=50, steps=5), 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count == 5

    assert not train(settings, tmp_path / "a", stop=stop).finished
    train(replace(settings, data=str(run)), tmp_path / "a", resume=True)
    train(settings, tmp_path / "b")
    states = [checkpoint.newest(tmp_path / name / "checkpoints", pytest.fail)["agent"]["nets"] for name in ("a", "b")]
    assert json.dumps(states[0], default=lambda x: x.tolist()) == json.dumps(states[1], default=lambda x: x.tolist())
    rows = [(tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("a", "b")]
    assert len(rows[0]) == len(rows[1])


def test_data_that_does_not_fit_is_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    agent = from_data(run, AWAC(network=TINY)).make_agent(RECORDED.make_environment())
    wider = Agent(AWAC(network=TINY), 4, Box([-1.0], [1.0]), seed=0)
    with pytest.raises(ValueError, match=r"expected observations of shape \(4,\), as in the environment, got \(3,\)"):
        data.fill(wider, str(run))
    longer = Agent(AWAC(network=TINY), 3, Box([-1.0] * 2, [1.0] * 2), seed=0)
    with pytest.raises(ValueError, match=r"expected actions of shape \(2,\), as in the environment, got \(1,\)"):
        data.fill(longer, str(run))
    with pytest.raises(ValueError, match="PPO learns from its own last steps alone, and cannot learn from data"):
        data.fill(Agent(PPO(network=TINY), 3, Box([-1.0], [1.0]), seed=0), str(run))
    retrace = Agent(MPO(network=TINY, estimate="retrace"), 3, Box([-1.0], [1.0]), seed=0)
    with pytest.raises(ValueError, match="expected densities of its actions, which retrace needs, found none"):
        data.fill(retrace, str(run))
    with pytest.raises(ValueError, match=r"nowhere: expected the folder of a run"):
        data.fill(agent, str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="minari:no/such-v0: expected a Minari dataset"):
        data.fill(agent, "minari:no/such-v0")
    with pytest.raises(ValueError, match="data and offline_updates: expected both or neither"):
        replace(RECORDED, data=str(run))


def test_numbers_that_are_not_finite_and_episodes_without_an_end(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = from_data(run, AWAC(network=TINY)).make_agent(RECORDED.make_environment())
    whole = next(data.of_run(run))
    spoilt = whole._replace(reward=np.where(np.arange(200) == 7, np.nan, whole.reward))
    monkeypatch.setattr(data, "recorded", lambda source: iter([spoilt]))
    with pytest.raises(ValueError, match=r"expected finite numbers, got NaN or infinity in a column 'reward'"):
        data.fill(agent, "here")
    endless = whole._replace(truncated=np.zeros(200, dtype=bool))
    monkeypatch.setattr(data, "recorded", lambda source: iter([endless]))
    with pytest.raises(ValueError, match=r"expected episodes that end, which AWR needs, found none"):
        data.fill(Agent(AWR(network=TINY), 3, Box([-2.0], [2.0]), seed=0), "here")


def test_scores_in_units_of_a_datasets_references(run: Path) -> None:
    source = exported(run)
    assert data.normalised(source, -500.0) is None
    data.dataset("test/pendulum-v0").storage.update_metadata({"ref_min_score": -1000.0, "ref_max_score": -200.0})
    assert data.normalised(source, -600.0) == 0.5
    assert data.normalised(str(run), -600.0) is None


def test_the_commands(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export.main([str(run), "--name", "test/pendulum-v0"], "elites export")
    assert capsys.readouterr().out == "450 transitions in minari:test/pendulum-v0\n"
    small = ["network.policy.hidden=[8]", "batch=8"]
    flags = ["--env=Pendulum-v1", "--agent=bc", *(f"--set=agent.{one}" for one in small), "--set=steps=0", "--json"]
    flags += ["--data=minari:test/pendulum-v0", "--set=offline_updates=5", "--set=evaluation_episodes=1"]
    learn.main([*flags, "--out", str(tmp_path / "run")], "elites learn")
    assert json.loads(capsys.readouterr().out)["env_steps"] == 0
