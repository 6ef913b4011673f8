"""Policy searches: the agent's mathematics, runs that are stopped and resumed, and bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elites
from elites.agents.adversarial import Imitation
from elites.agents.playing import Scores, Seen
from elites.agents.policy_search import Form, PolicySearch
from elites.networks import Architecture, NormalHead
from elites.planners import CEM, CMAES, ICEM, MPPI, ClippedNormal, GradientAscent, PredictiveSampling, RandomShooting
from elites.planners.memory import EliteMemory
from elites.runs import Observer, SearchSettings, Summary, train
from elites.runs.deploy import compared, exported, with_policy
from elites.spaces import Box

ALGORITHM_1 = CEM(samples=10, elites=2, alpha=1.0, spread=1.0, distribution=ClippedNormal(), answer="mean")
RUN = SearchSettings(
    env="Pendulum-v1",
    episode_steps=20,
    planner=ALGORITHM_1,
    generations=6,
    evaluate_every=3,
    evaluation_episodes=2,
    workers=1,
)
SAMPLED = Form(Architecture((4,), "tanh"), NormalHead("none", "free"), sampled=True)


def search(planner: Any = ALGORITHM_1, generations: int = 3, **options: Any) -> PolicySearch:
    return PolicySearch(Form(inputs="raw"), planner, generations, 3, Box([-1.0], [1.0]), **options)


def scores(returns: Any) -> Scores:
    found = np.asarray(returns, float)[:, None]
    seen = Seen(np.ones(len(found)), np.zeros((len(found), 3)), np.zeros((len(found), 3)))
    return Scores(found, np.ones_like(found, dtype=int), seen)


# --- the agent -------------------------------------------------------------------------------------------------------


def test_one_generation_on_the_first_weight() -> None:
    """R = θ₁: the elites are the top tenth of a normal, with mean φ(z) / 0.1 = 1.755 and spread 0.4113."""
    samples = 200_000
    agent = search(replace(ALGORITHM_1, samples=samples, elites=samples // 10))
    agent.tell(scores(agent.ask()[:, 0]))
    mean, std = agent.search.state[:2]
    z = 1.2815515655446004
    first = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / 0.1
    assert first == pytest.approx(1.755, abs=5e-4)
    torch.testing.assert_close(mean, torch.tensor([first, 0, 0, 0]), atol=0.02, rtol=0)
    torch.testing.assert_close(std, torch.tensor([0.4113, 1, 1, 1]), atol=0.02, rtol=0)


@pytest.mark.parametrize("returns", [[5.0] * 10, [math.nan] * 10])
def test_a_generation_that_teaches_nothing(returns: list[float]) -> None:
    agent = search()
    before = [part.clone() for part in agent.search.state]
    agent.ask()
    agent.tell(scores(returns))
    assert all(torch.equal(a, b) for a, b in zip(agent.search.state, before, strict=True))
    assert agent.generation == 1


def test_who_acts() -> None:
    for shown in ("mean", "best", "drawn"):
        agent = search(shown=shown)
        points = agent.ask()
        agent.tell(scores(points[:, 3]))
        acting = agent.points(4)
        observation = np.zeros((4, 3))
        expected = torch.tanh(acting[:, 3]).expand(4).numpy()  # the bias alone
        if shown == "best":
            assert torch.equal(acting[0], points[points[:, 3].argmax()])
        if shown == "mean":
            assert torch.equal(acting[0], agent.search.state[0])
        if shown != "drawn":
            np.testing.assert_allclose(agent.act(observation)[:, 0], expected, rtol=1e-6)
            np.testing.assert_allclose(agent.act(observation[0]), expected[:1], rtol=1e-6)
        else:
            assert len(np.unique(agent.act(observation))) == 4
            np.testing.assert_array_equal(agent.act(observation), agent.act(observation))


@pytest.mark.parametrize(
    "planner", [ICEM(samples=12), MPPI(samples=8), PredictiveSampling(samples=8), CEM(memory=EliteMemory())], ids=repr
)
def test_any_planner_that_samples_in_iterations(planner: Any) -> None:
    agent = search(planner, generations=4)
    for _ in range(4):
        agent.tell(scores(-(agent.ask() - 1).square().sum(1)))
    assert agent.search.round == 4
    assert agent.search.value > -4


@pytest.mark.parametrize("planner", [GradientAscent(), RandomShooting()])
def test_other_planners_are_refused(planner: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"that samples in iterations \(cem, icem, mppi, …\), got {type(planner).__name__}"
    ):
        search(planner)


# --- runs -------------------------------------------------------------------------------------------------------------


def columns(folder: Path) -> list[tuple[str, ...]]:
    lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(lines[0]) if name != "steps_per_s"]
    return [tuple(line[i] for i in kept) for line in lines]


def returns(summary: Summary) -> Any:
    return summary.episode_returns, summary.evaluation_returns, summary.env_steps, summary.agent


def stopping(every: int) -> Callable[[], bool]:
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] % every == 0

    return stop


IMITATION = Imitation(
    noises=4, states=8, noise_size=2, pretraining=3, discriminator_steps=4, generator_steps=1, ahead=2
)
CHANGES: dict[str, dict[str, Any]] = {
    "running": {},
    "sampled": {"policy": SAMPLED, "common_seeds": True},
    "each": {"policy": Form(inputs="each"), "common_seeds": True},
    "imitation": {"imitation": IMITATION, "shown": "ensemble"},
    "cma_es": {"planner": CMAES(samples=10)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_stopped_anywhere_and_resumed(tmp_path: Path, change: dict[str, Any]) -> None:
    """The same numbers, when a run is stopped in generations, between them, in lessons and in evaluations."""
    settings = replace(RUN, episodes=2, **change)
    whole = train(settings, tmp_path / "whole")
    assert whole.env_steps == 6 * 10 * 2 * 20
    assert whole.finished
    assert len(whole.evaluation_returns) == 2
    summary = train(settings, tmp_path / "parts", stop=stopping(61))
    starts = 1
    while not summary.finished:
        summary, starts = train(settings, tmp_path / "parts", resume=True, stop=stopping(61)), starts + 1
    assert starts > 3
    assert returns(summary) == returns(whole)
    assert columns(tmp_path / "parts") == columns(tmp_path / "whole")


def test_another_number_of_workers_and_more_generations(tmp_path: Path) -> None:
    more = replace(RUN, generations=8)
    whole = train(more, tmp_path / "whole")
    train(RUN, tmp_path / "parts")
    grown = train(replace(more, workers=2), tmp_path / "parts", resume=True)
    assert grown.episode_returns == whole.episode_returns
    assert grown.evaluation_returns[-1] == whole.evaluation_returns[-1]


def test_common_seeds_are_the_same_luck() -> None:
    from elites.runs.search_loop import seeds_of

    assert (seeds_of(1, 2, 5, 3, True) == seeds_of(1, 2, 5, 3, True)[0]).all()
    assert len(np.unique(seeds_of(1, 2, 5, 3, False))) == 15
    assert not (seeds_of(1, 3, 5, 3, False) == seeds_of(1, 2, 5, 3, False)).any()


class Lines(Observer):
    speaks = True

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        self.lines.append(text)


def test_generations_without_a_finite_return(tmp_path: Path) -> None:
    lines, settings = Lines(), replace(RUN, env="small_worlds:NaN-v0", evaluation_episodes=0, generations=2)
    summary = train(replace(settings, episode_steps=None), tmp_path, observers=[lines])
    assert summary.finished
    assert "generation 2: no return is finite, so the search stays where it is" in lines.lines


def test_an_environment_that_raises(tmp_path: Path) -> None:
    settings = replace(RUN, env="small_worlds:Hot-v0", episode_steps=None)
    with pytest.raises(ValueError, match=r"expected an observation in generation 1, got RuntimeError: the motor is"):
        train(settings, tmp_path)
    with pytest.raises(ValueError, match=r"an observation in generation 1"):
        train(settings, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": Form(head=NormalHead()), "env": "CartPole-v1"}, "policy.head: expected nothing for"),
        ({"policy": Form(squashed=True)}, "policy.squashed: expected false"),
        ({"policy": Form(sampled=True)}, "policy.sampled: expected false without a head"),
        ({"env": "small_worlds:Endless-line-v0", "episode_steps": None}, "does not limit its episodes"),
        ({"workers": "many"}, "workers: expected a number, ray or ray://HOST:PORT, got 'many'"),
        ({"planner": GradientAscent()}, "that samples in iterations"),
    ],
)
@pytest.mark.filterwarnings("ignore:Endless-line")
def test_bad_input(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(replace(RUN, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_policy_is_refused_on_resume(tmp_path: Path) -> None:
    train(RUN, tmp_path)
    with pytest.raises(ValueError, match="policy: expected Form"):
        train(replace(RUN, policy=SAMPLED), tmp_path, resume=True)


def test_a_report_of_searches(tmp_path: Path) -> None:
    from elites.runs.report.reading import read

    train(RUN, tmp_path)
    found = read(tmp_path, "a")
    assert [row["episode"] for row in found.rows if "return" in row] == [10, 20, 30, 40, 50, 60]


def test_a_loaded_search_acts_as_in_its_last_evaluation(tmp_path: Path) -> None:
    from elites.runs.environments import several
    from elites.runs.evaluation import evaluate

    summary = train(RUN, tmp_path)
    agent = elites.load(tmp_path)
    found = evaluate(agent, several("Pendulum-v1", 2, 20), lambda *_: True)
    assert found is not None
    assert found.returns.mean() == summary.final_evaluation_mean


DEPLOYED: dict[str, dict[str, Any]] = {
    "linear": {},
    "normal, hidden": {"policy": replace(SAMPLED, sampled=False, inputs="raw"), "shown": "best"},
    "each, ensemble": {"policy": Form(inputs="each"), "imitation": IMITATION, "shown": "ensemble"},
    "choices": {"env": "CartPole-v1", "policy": Form(Architecture((4,), "tanh", "all"))},
    "choices, ensemble": {"env": "CartPole-v1", "imitation": IMITATION, "shown": "ensemble"},
}


@pytest.mark.parametrize("change", DEPLOYED.values(), ids=DEPLOYED)
def test_the_policy_that_a_search_shows_acts_alone(tmp_path: Path, change: dict[str, Any]) -> None:
    """`compared` raises if a file's actions differ from the agent's."""
    train(replace(RUN, generations=2, **change), tmp_path)
    agent = with_policy(tmp_path)
    (file, *_) = files = exported(agent, tmp_path)
    assert file.name == "policy.pt2"
    found = compared(agent, files, 20)
    assert found.keys() == {"policy, in the agent", *(f"{file.name}, alone" for file in files)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"policy": SAMPLED}, "policy.sampled=true"), ({"shown": "drawn"}, "shown=drawn, a policy for each episode")],
)
def test_a_policy_with_uncertain_actions_is_not_deployed(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    train(replace(RUN, generations=2, **change), tmp_path)
    with pytest.raises(ValueError, match=f"whose actions are certain, got {reason}"):
        with_policy(tmp_path)
