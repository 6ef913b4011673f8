"""The return of an action sequence, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites.dynamics import Dynamics, FunctionDynamics, Return


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def walk(state: Tensor, action: Tensor) -> Tensor:
    return state + action


def position(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return next_state[:, 0]


START = torch.tensor([0.0])
ACTIONS = torch.tensor([[[1.0], [2.0], [-1.0]], [[0.0], [0.0], [5.0]]])  # states 1, 3, 2 and 0, 0, 5


def score(actions: Tensor = ACTIONS, start: Tensor = START, **options: Any) -> list[float]:
    values: list[float] = Return(walk, position, **options).at(start, rng())(actions).tolist()
    return values


def test_sum_of_rewards() -> None:
    assert score() == [6, 5]


def test_reward_sees_state_action_and_next_state() -> None:
    returns = Return(walk, lambda s, a, n: 100 * s[:, 0] + 10 * a[:, 0] + n[:, 0])
    assert returns.at(START, rng())(ACTIONS).tolist() == [400 + 20 + 6, 0 + 50 + 5]


def test_discount_and_terminal_value() -> None:
    assert score(discount=0.5) == [1 + 1.5 + 0.5, 1.25]
    assert score(discount=0.5, terminal_value=lambda s: 8 * s[:, 0]) == [3 + 2, 1.25 + 5]


def test_rewards_end_with_the_step_that_terminates_and_for_that_rollout_alone() -> None:
    ended = {"terminated": lambda s, a, n: n[:, 0] >= 3}
    assert score(**ended) == [1 + 3, 5]
    assert score(**ended, terminal_value=lambda s: 100 + s[:, 0]) == [4, 5]  # both ended, the second in the last step


def test_what_follows_the_end_may_be_anything() -> None:
    """The state is NaN after the first step. It does not reach the value or the gradient."""

    def explode(state: Tensor, action: Tensor) -> Tensor:
        return torch.where(state > 0, torch.nan, state + action)

    returns = Return(explode, lambda s, a, n: n[:, 0] * a[:, 0], terminated=lambda s, a, n: n[:, 0] > 0)
    actions = torch.tensor([[[2.0], [3.0], [4.0]]], requires_grad=True)
    value = returns.at(START, rng())(actions)
    (gradient,) = torch.autograd.grad(value.sum(), actions)
    assert value.item() == 4
    assert gradient.flatten().tolist() == [4, 0, 0]


def test_batched_is_looped() -> None:
    start, actions = torch.randn(2, 3, 4, generator=rng()), torch.randn(2, 3, 5, 6, 4, generator=rng(1))
    returns = Return(lambda s, a: torch.sin(s + a), position, discount=0.9)
    together = returns.at(start, rng())(actions)
    assert together.shape == (2, 3, 5)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(returns.at(start[i, j], rng())(actions[i, j]), together[i, j], atol=1e-5)


def test_functions_see_flat_rows() -> None:
    shapes = []

    def seen(*tensors: Tensor) -> Tensor:
        shapes.append([tuple(x.shape) for x in tensors])
        return tensors[-1][:, 0]

    returns = Return(lambda s, a: seen(s, a)[:, None].expand(-1, 3) + s, seen, terminal_value=seen)
    returns.at(torch.zeros(2, 3), rng())(torch.zeros(2, 5, 4, 1))
    assert shapes[0] == [(10, 3), (10, 1)]
    assert shapes[-2] == [(40, 3), (40, 1), (40, 3)]
    assert shapes[-1] == [(10, 3)]


# --- noise and particles ----------------------------------------------------------------------------------------------


def noisy(scale: float = 1.0) -> FunctionDynamics:
    return FunctionDynamics(lambda s, a, e: s + a + scale * e, noise_size=1)


def test_particles_share_their_noise_among_candidates() -> None:
    """So equal candidates have equal values, and the objective is a function."""
    objective = Return(noisy(), position, particles=7).at(START, rng())
    values = objective(ACTIONS[:1].expand(4, -1, -1))
    assert (values == values[0]).all()
    assert torch.equal(values, objective(ACTIONS[:1].expand(4, -1, -1)))
    again = Return(noisy(), position, particles=7).at(START, rng(1))(ACTIONS[:1])
    assert again[0] != values[0]


def test_the_mean_over_particles_and_the_price_of_risk() -> None:
    """Σ of three positions under a random walk: mean 6, variance 1² + 2² + 3²."""
    value = Return(noisy(), position, particles=20000).at(START, rng())(ACTIONS[:1]).item()
    averse = Return(noisy(), position, particles=20000, risk=0.5).at(START, rng())(ACTIONS[:1]).item()
    assert value == pytest.approx(6, abs=0.1)
    assert value - averse == pytest.approx(0.5 * 14**0.5, abs=0.05)


def test_the_spread_of_two_particles_is_half_their_distance() -> None:
    """The biased standard deviation, so one particle has none."""
    noise = noisy().draw(2, 3, rng())
    first, second = Return(noisy(), position, particles=2).score(START, ACTIONS, noisy().rollout(START, ACTIONS, noise))
    returns = (noise[:, :, 0].cumsum(1)).sum(1)  # of each particle, relative to 6 without noise
    averse = Return(noisy(), position, particles=2, risk=1.0).at(START, rng())(ACTIONS)
    assert first.item() == pytest.approx(6 + returns.mean().item(), abs=1e-5)
    assert (first - averse[0]).item() == pytest.approx((returns[0] - returns[1]).abs().item() / 2, abs=1e-5)
    assert second != first
    assert Return(noisy(), position, particles=1, risk=1.0).at(START, rng())(ACTIONS).isfinite().all()


def test_a_deterministic_model_is_rolled_out_once() -> None:
    rows = []

    def count(state: Tensor, action: Tensor) -> Tensor:
        rows.append(len(state))
        return state + action

    Return(count, position, particles=20).at(START, rng())(ACTIONS)
    assert rows == [2, 2, 2]


def test_the_contract_of_a_rollout() -> None:
    model = noisy()
    assert isinstance(model, Dynamics)
    noise = model.draw(5, 3, rng())
    states = model.rollout(torch.zeros(2, 1), torch.ones(2, 4, 3, 1), noise)
    assert states.shape == (2, 4, 5, 3, 1)
    assert torch.allclose(states[0, 0, :, 0], 1 + noise[:, 0])


def test_gradients_of_means_see_no_noise_and_samples_do() -> None:
    objective = Return(noisy(), position, particles=7, gradient="means").at(START, rng())
    assert objective(ACTIONS).tolist() == [6, 5]
    assert torch.equal(objective.rough(ACTIONS), Return(noisy(), position, particles=7).at(START, rng()).rough(ACTIONS))


def test_a_model_whose_noise_stays_has_no_means() -> None:
    class Stubborn(Dynamics[Any]):
        def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> None: ...
        def rollout(self, state: Tensor, actions: Tensor, drawn: None) -> Tensor:
            raise NotImplementedError

    with pytest.raises(ValueError, match="Stubborn: expected a model whose noise can be left out"):
        Return(Stubborn(), position, gradient="means").at(START, rng())(ACTIONS)


# --- what a user may get wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dynamics": 3}, "dynamics: expected a Dynamics or a function, got 3"),
        ({"reward": None}, "reward: expected a function, got None"),
        ({"terminated": 1}, "terminated: expected a function or nothing, got 1"),
        ({"discount": 1.1}, r"discount: expected a number in \[0, 1\], got 1.1"),
        ({"particles": 0}, "particles: expected an integer of at least 1, got 0"),
        ({"risk": -1}, "risk: expected a number of at least 0, got -1"),
        ({"dynamics": lambda s: s}, r"dynamics: expected a function of \(state, action\), got one of \(s\)"),
        ({"reward": lambda s, a: s}, r"reward: .* of \(state, action, next_state\), got one of \(s, a\)"),
    ],
)
def test_wrong_parts_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Return(**{"dynamics": walk, "reward": position, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dynamics": lambda s, a: s[:, 0]}, r"dynamics: expected a tensor of shape \(2, 1\), .*got \(2,\)"),
        ({"dynamics": lambda s, a: (s, a)}, r"dynamics: expected a tensor of shape \(2, 1\), .*got tuple"),
        ({"dynamics": lambda s, a: s.double()}, "dynamics: expected .*float32.*got .*float64"),
        ({"reward": lambda s, a, n: n}, r"reward: .* of shape \(6,\), .*got \(6, 1\).* for inputs of \(6, 1\)"),
        ({"reward": lambda s, a, n: 1.0}, "reward: expected a tensor .*got float"),
        ({"terminated": lambda s, a, n: n[:, 0]}, "terminated: expected a tensor .*torch.bool.*got .*float32"),
        ({"terminal_value": lambda s: s}, r"terminal_value: expected a tensor of shape \(2,\), .*got \(2, 1\)"),
    ],
)
def test_wrong_results_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Return(**{"dynamics": walk, "reward": position, **change}).at(START, rng())(ACTIONS)
    assert "\n" not in str(caught.value)


def test_what_a_users_function_raises_is_unchanged() -> None:
    def dynamics(state: Tensor, action: Tensor) -> Tensor:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Return(dynamics, position).at(START, rng())(ACTIONS)
