"""The value of a plan's end: λ-returns, known values, and PETS with short plans."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from elites.agents import MPC, PETS, PETSConfig, ValueLearning
from elites.agents.estimates import lambda_returns
from elites.agents.plan_value import PlanValue
from elites.agents.replay import Episode
from elites.envs import Task
from elites.networks.architecture import Architecture
from elites.planners import CEM
from tests.agents.test_pets import SMALL, Reach, reward, run

QUICK = ValueLearning(networks=2, architecture=Architecture((16,), "tanh"), epochs=2, batch=8)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def episode(rewards: Tensor, terminated: bool = False, state: Tensor | None = None) -> Episode:
    """An episode of one environment; state: (T + 1, S)."""
    steps = len(rewards)
    state = torch.zeros(steps + 1, 1) if state is None else state
    ends = torch.arange(steps) == steps - 1
    columns = {"state": state[:-1], "next_state": state[1:], "reward": rewards}
    return Episode({**columns, "terminated": ends & terminated, "truncated": ends & (not terminated)}, True, True)


# --- λ-returns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
def test_lambda_returns_are_the_mean_of_n_step_returns(trace: float, terminated: bool) -> None:
    """By definition (Sutton and Barto 2018, eq. 12.3): weights (1 - λ) λⁿ⁻¹; the longest return gets the rest."""
    steps, discount = 6, 0.9
    rewards, value = torch.randn(steps, generator=rng()).double(), torch.randn(steps, generator=rng(1)).double()
    found = lambda_returns(episode(rewards, terminated), value, discount, trace)
    after = value.clone()
    if terminated:
        after[-1] = 0

    def n_step(start: int, n: int) -> float:
        earned = sum(discount**k * rewards[start + k].item() for k in range(n))
        return earned + discount**n * after[start + n - 1].item()

    for start in range(steps):
        most = steps - start
        wanted = sum((1 - trace) * trace ** (n - 1) * n_step(start, n) for n in range(1, most))
        assert found[start].item() == pytest.approx(wanted + trace ** (most - 1) * n_step(start, most))


# --- learning ---------------------------------------------------------------------------------------------------------


def shrinking(count: int, steps: int) -> list[Episode]:
    """s' = 0.9 s with reward s, so the value is s / (1 - 0.9 γ). Episodes end long before the rewards do."""
    starts = torch.empty(count).uniform_(-1, 1, generator=rng())
    states = [s * 0.9 ** torch.arange(steps + 1) for s in starts]
    return [episode(s[:-1], state=s[:, None]) for s in states]


@pytest.mark.parametrize("trace", [0.0, 0.95])
def test_it_learns_what_is_known(trace: float) -> None:
    config = ValueLearning(networks=2, architecture=Architecture((32, 32), "tanh"), trace=trace, epochs=100, batch=32)
    value = PlanValue(1, config, None, rng())
    config.fit(value, shrinking(30, 8), 0.9, rng())
    state = torch.linspace(-0.8, 0.8, 9)[:, None]
    wanted = state[:, 0] / (1 - 0.9 * 0.9)
    assert (value(state) - wanted).abs().max().item() < 0.4  # values are at most 4.2


def test_reward_without_end_is_worth_its_sum() -> None:
    """A reward of 1 a step has the value 1 / (1 - γ), although an episode of 10 steps gives at most 10."""
    config = replace(QUICK, epochs=200, trace=0.9)
    value = PlanValue(1, config, None, rng())
    config.fit(value, [episode(torch.ones(10)) for _ in range(4)], 0.9, rng())
    assert value(torch.zeros(1, 1)).item() == pytest.approx(10, rel=0.02)


def test_before_it_learns_all_is_worth_nothing() -> None:
    assert (PlanValue(3, QUICK, None, rng())(torch.randn(5, 3)) == 0).all()


def test_it_sees_what_a_model_sees() -> None:
    def encode(state: Tensor) -> Tensor:
        return state[:, :1]

    value = PlanValue(2, QUICK, encode, rng())
    QUICK.fit(value, [episode(torch.arange(9.0), state=torch.randn(10, 2, generator=rng()))], 0.9, rng())
    a, b = value(torch.tensor([[0.3, 0.0], [0.3, 5.0]]))
    assert a == b


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ValueLearning.fit: expected finite rewards and values, got NaN or infinity"):
        QUICK.fit(PlanValue(1, QUICK, None, rng()), [episode(torch.tensor([0.0, math.nan]))], 0.9, rng())


def test_progress_is_told_of_every_epoch() -> None:
    seen: list[int] = []
    QUICK.fit(PlanValue(1, QUICK, None, rng()), shrinking(2, 4), 0.9, rng(), lambda epoch, error: seen.append(epoch))
    assert seen == [1, 2]


# --- in PETS ----------------------------------------------------------------------------------------------------------

VALUED = replace(SMALL, value=QUICK, discount=0.9)


def test_a_plan_is_worth_its_end_too() -> None:
    agent = PETS(VALUED, Task(reward), Reach(), 0)
    returns: Any = agent.mpc.returns
    assert returns.terminal_value is agent.value
    assert returns.discount == 0.9


def test_runs_go_on_as_they_would_have(tmp_path: Path) -> None:
    """Values are saved. The agent's own generator trains them."""
    agent, other = (PETS(VALUED, Task(reward), Reach(), seed) for seed in (0, 1))
    rows = run(agent, tmp_path / "a").rows
    assert all(row["value_error"] >= 0 for row in rows if row["phase"] == "learning")
    other.load_state_dict(agent.state_dict())
    assert agent.learn() == other.learn()
    observation = np.array([-0.5])
    for each in (agent, other):
        each.begin(np.ones(1, bool))
    assert np.array_equal(agent.act(observation), other.act(observation))


def test_a_run_without_values_goes_on_with_them() -> None:
    agent = PETS(VALUED, Task(reward), Reach(), 0)
    agent.load_state_dict(PETS(replace(SMALL, discount=0.9), Task(reward), Reach(), 1).state_dict())
    assert agent.value is not None
    assert (agent.value(torch.randn(5, 1)) == 0).all()


def test_it_needs_a_discount() -> None:
    with pytest.raises(ValueError, match=r"value: expected a discount below 1, such as 0\.98"):
        PETSConfig(value=ValueLearning())


def test_without_values_nothing_of_them_is_saved() -> None:
    assert "value" not in PETS(SMALL, Task(reward), Reach(), 0).state_dict()


def test_short_plans_find_what_only_values_show() -> None:
    """A point on a line gets rewards beyond 2.5. A plan of two steps of at most 0.3 needs its value to find them."""

    def paid(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return (next_state[:, 0] > 2.5).float()

    def moved(state: Tensor, action: Tensor) -> Tensor:
        return state + action

    states = torch.arange(-1.0, 4.5, 0.3)[:, None]
    config = ValueLearning(networks=2, architecture=Architecture((32,), "tanh"), epochs=200, trace=1.0, batch=8)
    value = PlanValue(1, config, None, rng())
    config.fit(value, [episode(paid(states[:-1], states[:-1], states[1:]), state=states)], 0.9, rng())

    def reached(terminal_value: PlanValue | None) -> float:
        space, at = Reach.action_space, np.zeros(1)
        options: dict[str, Any] = {"terminal_value": terminal_value, "discount": 0.9, "seed": 0}
        mpc = MPC.of(CEM(samples=30, elites=5), horizon=2, dynamics=moved, reward=paid, space=space, **options)
        for _ in range(12):
            at = at + mpc(at)
        return float(at[0])

    assert reached(value) > 2.5 > 1.5 > reached(None)
