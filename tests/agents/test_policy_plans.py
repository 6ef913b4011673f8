"""Plans that are policies: their objective, their gradient, and the agent that acts by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites import Box, Choices
from elites.agents import MPC, PETSConfig
from elites.agents.policy_plans import PolicyReturn
from elites.agents.population import LINEAR, Population
from elites.agents.units import Spaces
from elites.dynamics import Dynamics, EnsembleConfig, FunctionDynamics, ProbabilisticEnsemble, Return
from elites.dynamics.native_rollout import NativeReaction
from elites.features import Features
from elites.networks import library
from elites.networks.architecture import Architecture
from elites.planners import CEM, CEMGD, GradientAscent
from elites.runs import train
from tests.runs.small import PETS_RUN


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def step(state: Tensor, action: Tensor) -> Tensor:
    return state + action


def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return -next_state.square().sum(1) - 0.1 * action.square().sum(1)


def returns_of(dynamics: Any, low: float = -1, high: float = 1, **options: Any) -> PolicyReturn:
    box = Box([low], [high])
    chosen: dict[str, Any] = {"population": Population(Spaces.of(1, box)), "horizon": 3} | options
    return PolicyReturn(dynamics, reward, **chosen)


def test_a_linear_policy_by_hand() -> None:
    """a = 2 tanh(w s + b) in the box [-2, 2], s' = s + a, from s = 1: two candidates."""
    returns = returns_of(step, -2, 2)
    found = returns.at(torch.tensor([1.0]), rng())(torch.tensor([[-0.5, 0.0], [-1.0, 0.2]]))
    expected = []
    for w, b in ((-0.5, 0.0), (-1.0, 0.2)):
        state, total = torch.tensor(1.0), torch.tensor(0.0)
        for _ in range(3):
            action = 2 * (w * state + b).tanh()
            state = state + action
            total = total - state**2 - 0.1 * action**2
        expected.append(total)
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_policy_reacts_to_the_noise_and_a_sequence_cannot() -> None:
    """With noise on every step, the best policy returns more than the best sequence, by the noise that it undoes."""
    noisy = FunctionDynamics(lambda s, a, noise: s + a + 0.5 * noise, noise_size=1)
    box, planner = Box([-1.0], [1.0]), CEM(samples=200, elites=20, iterations=8)
    sequences = Return(noisy, reward, particles=50)
    policies = returns_of(noisy, horizon=8, particles=50)
    plans = [
        planner.plan(returns.at(torch.zeros(1), rng(1)), returns.space(box, 8), rng=rng())
        for returns in (sequences, policies)
    ]
    # Open loop: Σ_t t · 0.25 = 9. In closed loop, the noise of the last step alone is left: 8 · 0.25 = 2, and a cost.
    assert plans[0].value.item() == pytest.approx(-9, abs=1.5)
    assert plans[1].value.item() > -3.5


def test_the_gradient_is_a_finite_difference() -> None:
    architecture = Architecture((20,), "silu", normalise_inputs=True)
    model = ProbabilisticEnsemble(1, 1, EnsembleConfig(2, architecture), rng=rng()).double().requires_grad_(False)
    model.mlp.normalise(torch.randn(20, 2, generator=rng(1), dtype=torch.float64))
    box = Box(torch.tensor([-1.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64))
    population = Population(Spaces.of(1, Box([-1.0], [1.0])), Architecture((4,), "tanh"))
    returns = returns_of(model, population=population, horizon=5, particles=4, inputs=model.features)
    population.spaces = Spaces(1, box, box)
    objective = returns.at(torch.tensor([0.5], dtype=torch.float64), rng(2))
    points = 0.5 * torch.randn(3, population.size, generator=rng(3), dtype=torch.float64)
    x = points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(x).sum(), x)
    direction = torch.randn(points.shape, generator=rng(4), dtype=torch.float64)
    ends = [objective(points + size * direction).sum() for size in (1e-5, -1e-5)]
    assert (gradient * direction).sum().item() == pytest.approx(((ends[0] - ends[1]) / 2e-5).item(), rel=1e-6)


@pytest.mark.parametrize("planner", [CEM(samples=20, elites=4), CEMGD(), GradientAscent(step=0.1)])
def test_an_agent_keeps_its_weights_and_improves_them(planner: Any) -> None:
    agent = MPC(planner, 3, returns_of(step), Box([-1.0], [1.0]), seed=0)
    state = torch.tensor([[1.5], [-1.5]])
    for _ in range(4):
        action = agent(state)
        assert action.shape == (2, 1)
        assert (action.abs() <= 1).all()
        state = step(state, action)
        assert agent.last
        assert agent.last.plan.best.shape == (2, 2)
    assert (state.abs() < 0.5).all()


def test_between_plans_the_policy_goes_on_reacting() -> None:
    agent = MPC(CEM(samples=20, elites=4), 3, returns_of(step), Box([-1.0], [1.0]), seed=0, replan_every=3)
    agent(torch.tensor([1.5]))
    plan = agent.last
    assert plan
    state = torch.tensor([-0.7])
    found = agent(state)
    assert agent.last is plan
    ((weight, bias),) = plan.plan.best
    torch.testing.assert_close(found, (weight * state + bias).tanh())


def test_what_does_not_fit_is_refused() -> None:
    class Blind(Dynamics[None]):
        def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> None: ...

        def rollout(self, state: Tensor, actions: Tensor, drawn: None) -> Tensor:
            return state

    agent = MPC(CEM(), 3, returns_of(Blind()), Box([-1.0], [1.0]), seed=0)
    with pytest.raises(ValueError, match="Blind: expected a model with a closed-loop rollout"):
        agent(torch.zeros(1))
    with pytest.raises(ValueError, match="PolicyReturn: expected its own horizon, 3, got 5"):
        MPC(CEM(), 5, returns_of(step), Box([-1.0], [1.0]))
    for space in (Box([-2.0], [2.0]), Choices((2,))):
        with pytest.raises(ValueError, match="PolicyReturn: expected the population's actions"):
            MPC(CEM(), 3, returns_of(step), space)
    with pytest.raises(ValueError, match="inputs: expected a function of"):
        returns_of(step, inputs=lambda: 0)
    assert PETSConfig().policy == LINEAR


def test_a_run_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    settings = replace(PETS_RUN, plan="policy", policy=Architecture((4,), "tanh"))
    whole = train(settings, tmp_path / "whole")
    calls = iter(range(100))
    assert not train(settings, tmp_path / "parts", stop=lambda: next(calls) > 13).finished
    assert train(settings, tmp_path / "parts", resume=True).episode_returns == whole.episode_returns


KERNEL = pytest.mark.skipif(not library.kernels(), reason="the kernel was not built")


def reacting(config: EnsembleConfig, architecture: Architecture, **options: Any) -> PolicyReturn:
    model = ProbabilisticEnsemble(3, 1, config, encode=Features(0, "cos 1", "sin 1", 2), rng=rng())
    model.requires_grad_(False).mlp.normalise(1 + 2 * torch.randn(50, 5, generator=rng(1)))
    population = Population(Spaces.of(4, Box([-2.0], [3.0])), architecture)
    chosen: dict[str, Any] = {"particles": 4, "horizon": 8, "inputs": model.features} | options
    return PolicyReturn(model, lambda s, a, n: -n.square().sum(1) - a[:, 0].square(), population=population, **chosen)


@KERNEL
@pytest.mark.parametrize("hidden", [(), (5,), (17, 8)])
@pytest.mark.parametrize("activation", ["silu", "tanh", "relu", "leaky_relu", "elu"])
@pytest.mark.parametrize("propagation", ["tsinf", "ts1", "mean"])
def test_the_kernels_policies_equal_torchs(
    hidden: tuple[int, ...], activation: Any, propagation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EnsembleConfig(3, Architecture((20,), "silu", normalise_inputs=True), propagation=propagation)
    returns = reacting(config, Architecture(hidden, activation))
    weights = torch.randn(2, 37, returns.population.size, generator=rng(3))
    state = torch.tensor([[0.1, 0.2, 0.3], [1.0, -2.0, 0.0]])

    def answers() -> tuple[Tensor, ...]:
        """Values, values with a gradient, and the gradients."""
        x, s = weights.clone().requires_grad_(), state.clone().requires_grad_()
        values = returns.at(s, rng(2))(x)
        return returns.at(state, rng(2))(weights), values, *torch.autograd.grad(values.sum(), (x, s))

    calls: list[int] = []
    forward = NativeReaction.forward
    monkeypatch.setattr(NativeReaction, "forward", lambda *given: (calls.append(1), forward(*given))[1])
    found = answers()
    assert calls
    monkeypatch.setattr(NativeReaction, "serves", lambda *_: False)
    for one, other in zip(found, answers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


@KERNEL
def test_threads_that_share_a_policys_steps_give_the_same_bits() -> None:
    config, threads, found = EnsembleConfig(3, Architecture((20,), "silu")), torch.get_num_threads(), []
    returns = reacting(config, Architecture((5,), "tanh"), particles=3)
    state, points = torch.zeros(3), torch.randn(2, returns.population.size, generator=rng(3))
    for count in (1, 2):
        torch.set_num_threads(count)
        x = points.clone().requires_grad_()
        values = returns.at(state, rng(2))(x)
        found.append((values, *torch.autograd.grad(values.sum(), x)))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@KERNEL
def test_what_the_kernel_cannot_react_by_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer normalisation, a wide layer, many layers, and other inputs."""
    monkeypatch.setattr(NativeReaction, "forward", lambda *_: pytest.fail("the kernel was asked"))
    config, state = EnsembleConfig(2, Architecture((8,), "silu", normalise_inputs=True)), torch.zeros(3)
    others = [
        reacting(config, Architecture((4,), "tanh", layer_norm="all")),
        reacting(config, Architecture((65,), "tanh")),
        reacting(config, Architecture((4, 4, 4, 4), "tanh")),
        reacting(config, LINEAR, inputs=lambda s: torch.cat([s, s[..., :1]], -1)),
    ]
    for returns in others:
        assert returns.at(state, rng())(torch.zeros(3, returns.population.size)).isfinite().all()
