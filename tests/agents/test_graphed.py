"""Plans and updates as CUDA graphs, without a GPU: a stand-in runs the recorded work again at every call."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from elites import Box
from elites.agents import AGENTS, MPC, PETSConfig, graphed
from elites.agents.agent import Agent
from elites.dynamics import Return
from elites.networks import graphs
from elites.planners import CEM, CEMGD, Plan


class Again:
    """A graph: the work's results stay at their places, and a call runs it again."""

    made = 0

    def __init__(self, work: Any, rng: Generator) -> None:
        before = rng.get_state()
        self.work, self.result = work, work()
        rng.set_state(before)
        Again.made += 1

    def __call__(self) -> Any:
        new = self.work()
        if isinstance(new, Plan):
            for mine, other in zip(graphed.tensors_of(self.result), graphed.tensors_of(new), strict=True):
                mine.copy_(other)
        else:
            self.result = new
        return self.result


@contextlib.contextmanager
def anything() -> Iterator[None]:
    yield


def run_twice(work: Any, rng: Generator, times: int = 2) -> None:
    before = rng.get_state()
    for _ in range(times):
        work()
    rng.set_state(before)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphed, "Graph", Again)
    monkeypatch.setattr(graphed, "warm_up", run_twice)
    monkeypatch.setattr(graphed, "no_waiting", anything)
    Again.made = 0


# --- plans ------------------------------------------------------------------------------------------------------------


def agent_of(planner: Any, graphs: bool, **options: Any) -> MPC:
    def dynamics(state: Tensor, action: Tensor) -> Tensor:
        return state + 0.1 * action

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return -(next_state - 1).square().sum(1)

    agent = MPC(planner, 5, Return(dynamics, reward), Box([-1.0] * 2, [1.0] * 2), seed=0, **options)
    if graphs:
        agent._graphs = graphed.GraphedPlans(agent._searched, agent.rng)
    return agent


PLANNERS = [  # and the kinds of plans: CEM-GD's cold plan leaves more elites than a warm one
    (CEM(samples=10, elites=3), 2),
    (CEMGD(CEM(samples=20, elites=4), CEM(samples=8, elites=1)), 3),
]


@pytest.mark.parametrize(("planner", "kinds"), PLANNERS)
@pytest.mark.parametrize("every", [1, 2])
def test_a_recorded_plan_has_the_same_bits(planner: Any, kinds: int, every: int) -> None:
    plain, recorded = (agent_of(planner, graphs, replan_every=every) for graphs in (False, True))
    for number in range(6):
        observation = torch.full((3, 2), 0.1 * number)
        assert torch.equal(plain(observation), recorded(observation))
        assert plain.last
        assert recorded.last
        assert torch.equal(plain.last.plan.value, recorded.last.plan.value)
    assert Again.made == kinds


def test_a_plan_stays_when_the_next_is_made() -> None:
    agent = agent_of(CEM(samples=10, elites=3), True)
    plans = []
    for number in range(4):
        agent(torch.full((2,), 0.1 * number))
        assert agent.last
        plans.append((agent.last.plan, agent.last.plan.best.clone()))
    assert all(torch.equal(plan.best, best) for plan, best in plans)


def test_rows_that_start_anew_are_planned_without_a_graph() -> None:
    plain, recorded = (agent_of(CEM(samples=10, elites=3), graphs) for graphs in (False, True))
    for number in range(5):
        for agent in (plain, recorded):
            if number == 2:
                agent.reset([True, False, False])
        observation = torch.full((3, 2), 0.1 * number)
        assert torch.equal(plain(observation), recorded(observation))
    assert Again.made == 2


def test_functions_that_wait_for_the_gpu_are_planned_without_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(*_: Any) -> None:
        raise graphs.Waits("called a synchronizing CUDA operation")

    monkeypatch.setattr(graphed, "warm_up", waits)
    agent, plain = agent_of(CEM(samples=10, elites=3), True), agent_of(CEM(samples=10, elites=3), False)
    with pytest.warns(UserWarning, match=r"never wait for the GPU, got one that does; plans have no graph"):
        first = agent(torch.zeros(2))
    assert torch.equal(first, plain(torch.zeros(2)))
    assert torch.equal(agent(torch.ones(2)), plain(torch.ones(2)))  # and no second warning


def test_graphs_need_a_gpu() -> None:
    with pytest.raises(ValueError, match="graphs: expected a CUDA device, got cpu"):
        MPC(CEM(), 5, Return(lambda s, a: s + a, lambda s, a, n: -n.square().sum(1)), Box([-1.0], [1.0]), graphs=True)
    assert PETSConfig().graphs is False


# --- updates ----------------------------------------------------------------------------------------------------------


def learner_of(name: str, **options: Any) -> Agent:
    agent = Agent(AGENTS[name](batch=16, **options), 3, Box([-1.0] * 2, [1.0] * 2), 0)
    rng, count = np.random.default_rng(0), 200
    agent.replay.extend(
        {
            "state": rng.normal(size=(count, 3)),
            "action": rng.uniform(-1, 1, (count, 2)),
            "reward": rng.normal(size=count),
            "next_state": rng.normal(size=(count, 3)),
            "terminated": np.zeros(count, bool),
            "truncated": np.arange(count) % 50 == 49,
            "where": np.zeros(count, int),
        }
    )
    return agent


def recorded(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """The agent with graphs, on a CPU. A loaded state makes new ones."""
    assert agent.algorithm.period
    monkeypatch.setattr(agent, "_new_graphs", lambda: agent._recorder(agent.algorithm.period or 0))
    agent._graphed = agent._new_graphs()
    return agent


class Once(Again):
    """A recording of an update runs nothing."""

    def __init__(self, work: Any, rng: Generator) -> None:
        self.work = work
        Again.made += 1

    def __call__(self) -> Any:
        return self.work()


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(("name", "kinds"), [("td3", 2), ("sac", 1), ("ddpg", 1)])
def test_recorded_updates_have_the_same_bits(
    name: str, kinds: int, n_step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphed, "Graph", Once)
    plain, graphs = learner_of(name, n_step=n_step), recorded(learner_of(name, n_step=n_step), monkeypatch)
    for _ in range(12):
        plain.update()
        graphs.update()
    for part in plain.nets.modules:  # n-step rows are contiguous only in the copy, so another kernel multiplies them
        exact = {"rtol": 0.0, "atol": 0.0} if n_step == 1 else {}
        torch.testing.assert_close(plain.nets.vector(part), graphs.nets.vector(part), **exact)
    assert plain.figures().keys() == graphs.figures().keys()
    assert Again.made == kinds


def test_a_loaded_state_is_updated_and_not_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphed, "Graph", Once)
    plain, graphs = learner_of("td3"), recorded(learner_of("td3"), monkeypatch)
    state = copy.deepcopy(plain.state_dict())
    for _ in range(6):
        graphs.update()
    before = graphs._graphed
    graphs.load_state_dict(state)
    assert graphs._graphed is not before
    for _ in range(6):
        plain.update()
        graphs.update()
    assert torch.equal(plain.nets.vector("policy"), graphs.nets.vector("policy"))


def test_updates_without_one_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"PPO\.graphs: expected an agent whose updates have one shape"):
        learner_of("ppo", graphs=True)
    with pytest.raises(ValueError, match=r"TD3\.graphs: expected a CUDA device, got cpu"):
        learner_of("td3", graphs=True)
