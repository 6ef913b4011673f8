"""Our planners in mbrl-lib's trajectory optimizer and agent, built by Hydra."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel
from mbrl.planning import TrajectoryOptimizer, TrajectoryOptimizerAgent, create_trajectory_optim_agent_for_model
from omegaconf import OmegaConf
from torch import Generator, Tensor

from elites.agents.mbrl import Agent, Optimizer

S, A, H = 3, 2, 5
TARGET = torch.linspace(-0.8, 0.8, H * A).reshape(H, A)


# --- the optimizer ----------------------------------------------------------------------------------------------------


def trajectory_optimizer(planner: dict[str, Any], **options: Any) -> TrajectoryOptimizer:
    target = {"_target_": "elites.agents.mbrl.Optimizer", "lower_bound": "???", "upper_bound": "???", "device": "cpu"}
    cfg = OmegaConf.create(target | {"planner": planner, "seed": 0} | options)
    return TrajectoryOptimizer(cfg, -np.ones(A), np.ones(A), H)


class Objective:
    """-‖actions - target‖² of sequences (N, H, A), without a gradient as in mbrl-lib; records its candidates."""

    def __init__(self) -> None:
        self.calls: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        self.calls.append(actions)
        with torch.no_grad():
            return -(actions - TARGET).square().sum((1, 2))


@pytest.mark.parametrize("planner", ["cem", "icem", "mppi"])
def test_sampling_planners_find_the_target(planner: str) -> None:
    optimizer, objective = trajectory_optimizer({"name": planner}), Objective()
    optimizer.keep_last_solution = False
    optimizer.previous_solution = TARGET + 0.2  # a guess, 0.4 away
    found = optimizer.optimize(objective)
    assert found.shape == (H, A)
    assert np.square(found - TARGET.numpy()).sum() < 0.3


def test_warm_from_the_last_solution_until_reset() -> None:
    optimizer, objective = trajectory_optimizer({"name": "cem", "samples": 20, "elites": 4}), Objective()
    first = torch.as_tensor(optimizer.optimize(objective))
    assert len(objective.calls[0]) == 20
    expected = torch.cat([first[1:], torch.zeros(1, A)])  # mbrl-lib shifts it and ends it with the centre
    objective.calls.clear()
    optimizer.optimize(objective)
    assert len(objective.calls[0]) == 21
    assert (objective.calls[0] == expected).all((1, 2)).any()
    optimizer.reset()
    objective.calls.clear()
    optimizer.optimize(objective)
    assert len(objective.calls[0]) == 20


def test_a_guess_between_two_plans_is_the_start() -> None:
    optimizer, objective = trajectory_optimizer({"name": "cem"}), Objective()
    optimizer.optimize(objective)
    guess = torch.full((H, A), 0.3)
    optimizer.previous_solution = guess
    objective.calls.clear()
    optimizer.optimize(objective)
    assert (objective.calls[0] == guess).all((1, 2)).any()


def test_a_warm_start_has_all_of_the_last_plan() -> None:
    """iCEM continues from its last mean and elites, which mbrl-lib does not keep."""
    optimizer, objective = trajectory_optimizer({"name": "icem"}, replan_freq=2), Objective()
    optimizer.replan_freq = 2  # theirs
    optimizer.optimize(objective)
    last, starts = optimizer.optimizer.last, []
    assert not torch.equal(last.state[0], last.best)
    plan = optimizer.optimizer.planner.plan

    def watched(objective: Any, box: Any, start: Any, **options: Any) -> Any:
        starts.append(start)
        return plan(objective, box, start, **options)

    optimizer.optimizer.planner = SimpleNamespace(plan=watched)
    optimizer.optimize(objective)
    assert torch.equal(starts[0].state[0], torch.cat([last.state[0][2:], torch.zeros(2, A)]))
    assert torch.equal(starts[0].elites[:, :-2], last.elites[:, 2:])


def test_candidates_in_multiples() -> None:
    """7 members refuse 21 candidates × 20 particles."""
    optimizer, objective = trajectory_optimizer({"name": "cem", "samples": 20}, population_size_module=7), Objective()
    plain, all_calls = trajectory_optimizer({"name": "cem", "samples": 20}), Objective()
    for _ in range(2):
        np.testing.assert_array_equal(optimizer.optimize(objective), plain.optimize(all_calls))
    assert {len(call) % 7 for call in objective.calls} == {0}
    assert {len(call) % 7 for call in all_calls.calls} != {0}


def test_callback_sees_every_round() -> None:
    optimizer, seen = trajectory_optimizer({"name": "cem", "samples": 20, "iterations": 3}), []
    optimizer.optimize(Objective(), callback=lambda actions, values, i: seen.append((len(actions), len(values), i)))
    assert seen == [(20, 20, 0), (20, 20, 1), (20, 20, 2)]


def test_mistakes_in_the_optimizer() -> None:
    with pytest.raises(InstantiationException, match="planner: sampels: unknown key; did you mean 'samples'"):
        trajectory_optimizer({"name": "cem", "sampels": 3})
    with pytest.raises(ValueError, match="expected values with a gradient"):
        trajectory_optimizer({"name": "cem_gd"}).optimize(Objective())
    low, high = [[-1.0] * A] * H, [[1.0] * A] * H
    plain = Optimizer({"name": "cem"}, low, high, seed=3)  # without Hydra
    assert torch.equal(plain.optimize(Objective()), Optimizer({"name": "cem"}, low, high, seed=3).optimize(Objective()))


# --- the agent --------------------------------------------------------------------------------------------------------


def reward_fn(action: Tensor, next_observation: Tensor) -> Tensor:
    return (next_observation.sum(1) - 0.1 * action.square().sum(1)).reshape(-1, 1)


def termination_fn(action: Tensor, next_observation: Tensor) -> Tensor:
    return (action[:, :1] + 0.1 * next_observation.mean(1, keepdim=True)) > 0.9


def model_env(learned: bool = False, deterministic: bool = False, members: int = 3, known: bool = False) -> ModelEnv:
    """known: with a reward_fn. If the model has a learned reward too, mbrl-lib ignores it."""
    torch.manual_seed(0)
    net = GaussianMLP(S + A, S + learned, "cpu", 2, members, 16, deterministic, "fixed_model" if members > 1 else None)
    for parameter in net.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    env = SimpleNamespace(
        observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (S,)),
        action_space=gymnasium.spaces.Box(np.float32([-1, -2]), np.float32([1, 0.5])),
    )
    model = OneDTransitionRewardModel(net, learned_rewards=learned)
    return ModelEnv(env, model, termination_fn, reward_fn if known or not learned else None, Generator().manual_seed(0))


def agent_of(env: ModelEnv, planner: dict[str, Any], particles: int = 6, **options: Any) -> Agent:
    """An agent as PETS makes it."""
    target = {"_target_": "elites.agents.mbrl.Agent", "action_lb": "???", "action_ub": "???", "planning_horizon": H}
    cfg = OmegaConf.create(target | {"planner": planner, "seed": 0} | options)
    return create_trajectory_optim_agent_for_model(env, cfg, particles)


@pytest.mark.parametrize(("learned", "known"), [(False, True), (True, False), (True, True)])
def test_the_objective_is_theirs(learned: bool, known: bool) -> None:
    """Without noise: the reward, and none after a termination, which some rollouts have."""
    env = model_env(learned, deterministic=True, members=1, known=known)
    agent = agent_of(env, {"name": "cem"})
    observation = np.float32([0.0, 0.2, -0.1])
    actions = torch.randn(50, H, A, generator=Generator().manual_seed(0))
    theirs = env.evaluate_action_sequences(actions, observation, 1)
    assert agent.mpc is not None
    state = torch.as_tensor(agent._state(observation), dtype=torch.float32)
    ours = agent.mpc.returns.at(state, Generator())(actions)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    env.termination_fn = lambda action, next_observation: torch.zeros(len(action), 1, dtype=torch.bool)
    endless = env.evaluate_action_sequences(actions, observation, 1)
    assert 5 < (~torch.isclose(endless, theirs)).sum() < 50  # terminated rollouts differ, others do not


@pytest.mark.parametrize("learned", [False, True])
def test_gradient_planners_act_within_bounds(learned: bool) -> None:
    env = model_env(learned)
    agent = agent_of(env, {"name": "cem_gd", "cold": {"samples": 50, "elites": 5}, "ascent": {"step": 0.1}})
    observation = np.zeros(S)
    for _ in range(3):
        action = agent.act(observation)
        assert action.shape == (A,)
        assert env.action_space.contains(action)
    assert agent.mpc is not None
    returns = agent.mpc.returns
    assert (returns.particles, returns.dynamics.propagation) == (6, None)
    plan = agent.plan(observation)
    assert plan.shape == (H, A)


def test_ascent_improves_on_the_search_that_it_follows() -> None:
    """Equal seeds give equal searches."""
    search = {"samples": 30, "iterations": 1, "elites": 3}
    found = []
    for planner in ({"name": "cem", **search}, {"name": "cem_gd", "cold": search, "ascent": {"step": 0.1}}):
        agent = agent_of(model_env(), planner)
        agent.act(np.zeros(S))
        assert agent.mpc is not None
        assert agent.mpc.last is not None
        found.append(agent.mpc.last.plan.value.item())
    assert found[1] > found[0] + 1e-3


def test_reset_starts_cold_and_replan_freq_takes_actions_of_one_plan() -> None:
    agent = agent_of(model_env(), {"name": "cem", "samples": 20, "iterations": 1}, replan_freq=2)
    evaluations = []
    for step in range(5):
        if step == 4:
            agent.reset()
        agent.act(np.zeros(S))
        assert agent.mpc is not None
        assert agent.mpc.last is not None
        evaluations.append((id(agent.mpc.last), agent.mpc.last.plan.evaluations))
    assert evaluations[0] == evaluations[1] != evaluations[2] == evaluations[3] != evaluations[4]
    assert [count for _, count in evaluations[::2]] == [20, 21, 20]  # a warm plan scores its start as well


def test_mistakes_in_the_agent() -> None:
    bounds = {"action_lb": [-1.0], "action_ub": [1.0]}
    agent = Agent({"name": "cem_gd"}, **bounds)
    agent.reset()
    with pytest.raises(RuntimeError, match="expected set_model_env"):
        agent.act(np.zeros(S))
    with pytest.raises(ValueError, match="call set_model_env"):
        agent.set_trajectory_eval_fn(lambda initial_state, action_sequences: torch.zeros(len(action_sequences)))
    with pytest.raises(InstantiationException, match="planner: name: unknown planner 'cem_dg'; did you mean 'cem_gd'"):
        agent_of(model_env(), {"name": "cem_dg"})
    env = model_env()
    env.reward_fn = lambda action, next_observation: termination_fn(action, next_observation).float()
    with pytest.raises(ValueError, match="expected values with a gradient"):
        agent_of(env, {"name": "cem_gd"}).act(np.zeros(S))


def test_their_agent_with_our_optimizer() -> None:
    """Through mbrl-lib's stochastic model, with 6 × 21 rows for 3 members."""
    optimizer = {"_target_": "elites.agents.mbrl.Optimizer", "planner": {"name": "cem", "samples": 20}, "device": "cpu"}
    cfg = OmegaConf.create(
        {
            "_target_": "mbrl.planning.TrajectoryOptimizerAgent",
            "_recursive_": False,
            "action_lb": "???",
            "action_ub": "???",
            "planning_horizon": H,
            "optimizer_cfg": optimizer | {"lower_bound": "???", "upper_bound": "???"},
        }
    )
    env = model_env()
    agent = create_trajectory_optim_agent_for_model(env, cfg, 6)
    assert isinstance(agent, TrajectoryOptimizerAgent)
    for _ in range(2):
        assert env.action_space.contains(agent.act(np.zeros(S)))
