"""mbrl-lib's model in our form predicts the same as mbrl-lib's code, and has a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from dynamics_conformance import CHECKS, Case
from mbrl.models import BasicEnsemble, GaussianMLP, OneDTransitionRewardModel
from torch import Generator, Tensor

from elites.dynamics import Dynamics, Return
from elites.dynamics.mbrl import Model
from elites.dynamics.rollout import Draw

S, A, MEMBERS = 3, 2, 5


def sines(x: Tensor) -> Tensor:
    """An obs_process_fn: (…, 3) -> (…, 4)."""
    return torch.cat([x[..., :1].sin(), x[..., :1].cos(), x[..., 1:]], -1)


def model_of(
    features: int = S,
    activation: str | None = "torch.nn.SiLU",
    propagation: str | None = "fixed_model",
    members: int = MEMBERS,
    deterministic: bool = False,
    **options: Any,
) -> OneDTransitionRewardModel:
    """Random weights, normalizer and bounds, as after training. Three members are elites, in another order."""
    torch.manual_seed(0)
    options = {"learned_rewards": False, "normalize": True} | options
    net = GaussianMLP(
        features + A,
        S + options["learned_rewards"],
        "cpu",
        num_layers=2,
        ensemble_size=members,
        hid_size=16,
        deterministic=deterministic,
        propagation_method=propagation,
        learn_logvar_bounds=True,
        activation_fn_cfg=activation and {"_target_": activation},
    )
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model = OneDTransitionRewardModel(net, **options)
    if model.input_normalizer:
        model.input_normalizer.update_stats((3 * torch.randn(50, features + A) + 1).to(model.input_normalizer.mean))
    model.set_elite([3, 0, 4][:members])
    return model


def theirs(model: OneDTransitionRewardModel, member: int, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """One member's mean and spread of the next state by mbrl-lib: (R, S), or (R, S + 1) with a learned reward."""
    elites, model.model.elite_models = model.model.elite_models, [member]
    observation = state[:, :S]
    rows = {"obs": observation, "propagation_indices": torch.arange(len(state))}
    mean, reward, *_ = model.sample(action, rows, deterministic=True)
    _, logvar = model.model._default_forward(model._get_model_input(observation, action), only_elite=True)
    model.model.elite_models = elites
    mean = mean if reward is None else torch.cat([mean, reward], -1)
    return mean.detach(), torch.zeros_like(mean) if logvar is None else (0.5 * logvar[0]).exp().detach()


VARIANTS: list[dict[str, Any]] = [
    {},
    {"activation": None},
    {"activation": "torch.nn.Tanh", "normalize": False},
    {"target_is_delta": False},
    {"no_delta_list": [0, -1]},
    {"learned_rewards": True},
    {"learned_rewards": True, "no_delta_list": [-1], "features": S + 1, "obs_process_fn": sines},
    {"features": S + 1, "obs_process_fn": sines, "normalize_double_precision": True},
    {"deterministic": True},
    {"members": 1, "propagation": None},
]


def named(variant: dict[str, Any]) -> str:
    return "-".join(variant) or "plain"


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_a_trajectory_is_theirs(variant: dict[str, Any]) -> None:
    """Four steps, six particles: two for each elite member, in the elites' order, each with its own noise."""
    given, rng = model_of(**variant), Generator().manual_seed(1)
    members = [0, 0] if len(given) == 1 else [3, 3, 0, 0, 4, 4]
    if len(given) == 1:
        given.model.elite_models = None
    model = Model(given)
    assert isinstance(model, Dynamics)
    size = S + given.learned_rewards
    state, actions = torch.randn(size, generator=rng), torch.randn(7, 4, A, generator=rng)
    noise = model.draw(len(members), 4, rng)
    states = model.rollout(state, actions, noise)
    assert states.shape == (7, len(members), 4, size)
    assert not states.requires_grad
    for particle, member in enumerate(members):
        before = state.expand(7, -1)
        for t in range(4):
            mean, std = theirs(given, member if len(given) > 1 else 0, before, actions[:, t])
            before = mean + std * noise.noise.epsilon[particle, 0, t] if noise.noise else mean
            torch.testing.assert_close(states[:, particle, t], before, rtol=1e-4, atol=1e-4)
    if not given.model.deterministic:
        assert states.std(1).min() > 1e-3  # the particles differ, so there is noise


def step_of_draw(drawn: Draw, t: int) -> Draw:
    noise = drawn.noise and replace(drawn.noise, epsilon=drawn.noise.epsilon[:, :, t : t + 1])  # type: ignore[index]
    return replace(drawn, noise=noise, met=None if drawn.met is None else drawn.met[t : t + 1], cache={})


@pytest.mark.parametrize("method", ["random_model", "fixed_model", "expectation"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Callable[[Case], None], method: str) -> None:
    rng = Generator().manual_seed(1)
    state, actions = torch.randn(2, S, generator=rng), torch.rand(2, 4, 3, A, generator=rng) - 0.5
    make = lambda: Model(model_of(propagation=method))  # noqa: E731
    check(Case(method, make, state, actions, at_step=step_of_draw, networks=True, tolerance=1e-3))


@pytest.mark.parametrize(
    ("method", "kind"), [("random_model", "ts1"), ("fixed_model", "tsinf"), ("expectation", "mean"), (None, "tsinf")]
)
def test_propagation_is_the_models_own_unless_it_is_given(method: str | None, kind: str) -> None:
    rng = Generator().manual_seed(0)
    for model in (Model(model_of(propagation=method)), Model(model_of(), propagation=kind)):  # type: ignore[arg-type]
        noise = model.draw(6, 2, rng)
        assert (noise.met is not None) == (kind == "ts1")
        assert (noise.noise is None) == (kind == "mean")
    with pytest.raises(ValueError, match=r"Model\.propagation: expected"):
        Model(model_of(), propagation="expectation")  # type: ignore[arg-type]


def test_the_mean_of_expectation_is_theirs() -> None:
    given, rng = model_of(propagation="expectation"), Generator().manual_seed(0)
    state, actions = torch.randn(6, S, generator=rng), torch.randn(6, 1, 2, A, generator=rng)
    model = Model(given)
    states = model.rollout(state, actions, model.draw(20, 2, rng))
    rows = {"obs": state, "propagation_indices": None}
    for t in range(2):
        expected, _, _, rows = given.sample(actions[:, 0, t], rows, deterministic=True)
        torch.testing.assert_close(states[:, 0, 0, t], expected.detach(), rtol=1e-4, atol=1e-4)


def test_any_count_of_candidates_and_particles() -> None:
    """mbrl-lib refuses numbers of rows that the members do not divide."""
    given, rng = model_of(), Generator().manual_seed(0)
    rows = {"obs": torch.zeros(4, S), "propagation_indices": torch.arange(4)}
    with pytest.raises(ValueError, match="multiple of the number of models"):
        given.sample(torch.zeros(4, A), rows, deterministic=True)
    model = Model(given)
    for particles, dealt in ((1, 1), (4, 6), (7, 9)):
        states = model.rollout(torch.zeros(S), torch.zeros(4, 2, A), model.draw(particles, 2, rng))
        assert states.shape == (4, dealt, 2, S)


@pytest.mark.parametrize("variant", [{}, {"activation": None, "propagation": "random_model"}, VARIANTS[6]], ids=named)
def test_gradient_in_float64(variant: dict[str, Any]) -> None:
    """Against finite differences. gradcheck checks every entry of the Jacobian."""
    given, rng = model_of(**variant), Generator().manual_seed(2)
    given.model.double()
    for name in ("mean", "std"):
        setattr(given.input_normalizer, name, getattr(given.input_normalizer, name).double())
    model = Model(given)
    noise = model.draw(3, 3, rng)
    size = S + given.learned_rewards
    state = torch.randn(size, generator=rng, dtype=torch.float64, requires_grad=True)
    actions = torch.randn(2, 3, A, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, a: model.rollout(s, a, noise), (state, actions))
    model.rollout(state, actions, noise).sum().backward()
    assert actions.grad is not None
    assert actions.grad.abs().min() > 0
    assert all(parameter.grad is None for parameter in given.model.parameters())


def retrain(model: OneDTransitionRewardModel) -> None:
    model.model.hidden_layers[0][0].weight.data *= 1.1


def renormalise(model: OneDTransitionRewardModel) -> None:
    model.input_normalizer.update_stats(torch.randn(50, S + A))


def reelect(model: OneDTransitionRewardModel) -> None:
    model.set_elite([1, 2, 4])


def rebound(model: OneDTransitionRewardModel) -> None:
    model.model.max_logvar.data += 0.5


@pytest.mark.parametrize("change", [retrain, renormalise, reelect, rebound])
def test_the_next_plan_has_the_model_as_it_then_is(change: Callable[[OneDTransitionRewardModel], None]) -> None:
    given = model_of()
    model, actions = Model(given), torch.ones(1, 2, A)
    noise = model.draw(3, 2, Generator().manual_seed(0))
    before = model.rollout(torch.zeros(S), actions, noise)
    change(given)
    assert torch.equal(model.rollout(torch.zeros(S), actions, noise), before)  # a started plan keeps its own weights
    after = model.rollout(torch.zeros(S), actions, model.draw(3, 2, Generator().manual_seed(0)))
    fresh = Model(given)
    assert not torch.equal(after, before)
    assert torch.equal(after, fresh.rollout(torch.zeros(S), actions, fresh.draw(3, 2, Generator().manual_seed(0))))


def test_learned_reward_in_a_return() -> None:
    model = Model(model_of(learned_rewards=True))
    actions = torch.zeros(2, 3, A)
    value = Return(model, model.reward, particles=3).at(torch.zeros(S + 1), Generator().manual_seed(5))(actions)
    states = model.rollout(torch.zeros(S + 1), actions, model.draw(3, 3, Generator().manual_seed(5)))
    torch.testing.assert_close(value, states[..., S].sum(-1).mean(-1))
    with pytest.raises(ValueError, match=r"Model\.reward: expected a model with learned_rewards=True"):
        Model(model_of()).reward(torch.zeros(1, S), torch.zeros(1, A), torch.zeros(1, S))


def test_what_it_is_not_for() -> None:
    member = {"_target_": "mbrl.models.GaussianMLP", "in_size": S + A, "out_size": S, "device": "cpu"}
    with pytest.raises(ValueError, match="expected a OneDTransitionRewardModel over a GaussianMLP, got GaussianMLP"):
        Model(model_of().model)
    basic = BasicEnsemble(2, "cpu", member)
    with pytest.raises(ValueError, match="got OneDTransitionRewardModel over BasicEnsemble"):
        Model(OneDTransitionRewardModel(basic, learned_rewards=False))
    with pytest.raises(ValueError, match="activations without weights of their own"):
        Model(model_of(activation="torch.nn.PReLU"))
