"""The probabilistic ensemble against its definition."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from elites import Box, config
from elites.dynamics import Dynamics, EnsembleConfig, ProbabilisticEnsemble, Return
from elites.dynamics.ensemble import PETS_NETWORKS, soft_variance
from elites.features import Features
from elites.networks.architecture import Architecture
from elites.planners import CEM, CEMGD, GradientAscent


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def networks(*hidden: int) -> Architecture:
    return replace(PETS_NETWORKS, hidden=hidden)


def ensemble(propagation: Any = "tsinf", state: int = 3, action: int = 2, **options: Any) -> ProbabilisticEnsemble:
    """Small, in float64, with normalizers and bounds that matter."""
    settings = EnsembleConfig(4, networks(8, 8), propagation=propagation)
    model = ProbabilisticEnsemble(state, action, settings, **{"rng": rng(), **options}).double()
    inputs = torch.randn(50, len(model.mlp.input_mean), generator=rng(1), dtype=torch.float64) * 2 + 0.5
    targets = torch.randn(50, state, generator=rng(6), dtype=torch.float64)
    model.normalise(inputs, targets * torch.linspace(0.5, 1.5, state) + 0.1)
    model.variance_factor.copy_(torch.linspace(0.5, 2.0, state))
    with torch.no_grad():
        for bias in model.mlp.biases:
            bias.normal_(generator=rng(2))
        model.min_log_var.uniform_(-3, -2, generator=rng(3))
        model.max_log_var.uniform_(-1, 0, generator=rng(4))
    return model


STATE = torch.tensor([[0.3, -0.2, 0.9], [-1.0, 0.4, 0.1]], dtype=torch.float64)  # two problems
ACTIONS = torch.randn(2, 5, 6, 2, generator=rng(5), dtype=torch.float64)  # five candidates, six steps


def by_hand(model: ProbabilisticEnsemble, member: int, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """One member's mean and variance, layer by layer, with the bounds in their usual form."""
    x = (inputs - model.mlp.input_mean) / model.mlp.input_std
    for weight, bias in list(zip(model.mlp.weights, model.mlp.biases, strict=True))[:-1]:
        x = functional.silu(x @ weight[member] + bias[member])
    mean, raw = (x @ model.mlp.weights[-1][member] + model.mlp.biases[-1][member]).chunk(2, -1)
    low, high = model.min_log_var[member], model.max_log_var[member]
    log_variance = high - functional.softplus(high - raw)
    variance = (low + functional.softplus(log_variance - low)).exp()
    return model.target_mean + model.target_std * mean, model.target_std**2 * model.variance_factor * variance


def test_it_is_a_dynamics() -> None:
    assert isinstance(ensemble(), Dynamics)


def test_the_collapsed_bounds_are_the_two_soft_bounds() -> None:
    raw = torch.linspace(-40, 40, 161, dtype=torch.float64)
    low, high = torch.tensor(-5.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    log_variance = high - functional.softplus(high - raw)
    log_variance = low + functional.softplus(log_variance - low)
    assert torch.allclose(soft_variance(raw, low, high).log(), log_variance, atol=1e-9)


def test_weights_begin_truncated_normal() -> None:
    model = ProbabilisticEnsemble(4, 1, EnsembleConfig(architecture=networks(400, 400, 400)), rng=rng())
    for weight in model.mlp.weights:
        std = 1 / (2 * math.sqrt(weight.shape[1]))
        assert weight.abs().max() <= 2 * std
        assert weight.std().item() == pytest.approx(0.88 * std, rel=0.05)  # a normal cut at two spreads
    assert all((bias == 0).all() for bias in model.mlp.biases)
    assert not torch.equal(model.mlp.weights[0][0], model.mlp.weights[0][1])


def test_prediction_of_every_member() -> None:
    model, action = ensemble(), ACTIONS[:, 0, 0]
    mean, variance = model.predict(STATE, action)
    for member in range(4):
        change, spread = by_hand(model, member, torch.cat([STATE, action], -1))
        assert torch.allclose(mean[member], STATE + change)
        assert torch.allclose(variance[member], spread)


@pytest.mark.parametrize("propagation", ["tsinf", "ts1"])
def test_rollout_is_every_particle_walked_by_hand(propagation: str) -> None:
    model = ensemble(propagation)
    noise = model.draw(8, 6, rng())
    assert noise.noise
    states = model.rollout(STATE, ACTIONS, noise)
    assert states.shape == (2, 5, 8, 6, 3)
    for problem, candidate, particle in [(0, 0, 0), (1, 4, 7), (0, 2, 3), (1, 1, 5)]:
        state = STATE[problem]
        for t in range(6):
            member = particle // 2 if noise.met is None else int(noise.met[t, particle])
            action = ACTIONS[problem, candidate, t]
            change, variance = by_hand(model, member, torch.cat([state, action]))
            state = state + change[0] + variance[0].sqrt() * noise.noise.epsilon[particle, 0, t]
            assert torch.allclose(states[problem, candidate, particle, t], state)


def test_propagation_of_the_mean() -> None:
    model = ensemble("mean")
    states = model.rollout(STATE, ACTIONS, model.draw(20, 6, rng()))
    assert states.shape == (2, 5, 1, 6, 3)
    state = STATE[1]
    for t in range(6):
        inputs = torch.cat([state, ACTIONS[1, 2, t]])
        state = state + torch.stack([by_hand(model, member, inputs)[0][0] for member in range(4)]).mean(0)
        assert torch.allclose(states[1, 2, 0, t], state)


def test_particles_are_dealt_evenly() -> None:
    """Every member adds its own number. TRAPS: in a random permutation, one member gets 0 to 10 particles."""

    def counts(particles: int, propagation: str) -> list[int]:
        model = ensemble(propagation)
        with torch.no_grad():
            for parameter in (*model.mlp.weights, *model.mlp.biases):
                parameter.zero_()
            model.target_mean.zero_()
            model.target_std.fill_(1)
            model.mlp.biases[-1][:, 0, :3] = torch.arange(1.0, 5).unsqueeze(-1)
            model.min_log_var.fill_(-80)
            model.max_log_var.fill_(-60)
        states = model.rollout(torch.zeros(3, dtype=torch.float64), ACTIONS[0], model.draw(particles, 6, rng()))
        changes = states.diff(dim=-2)[0, :, :, 0]  # (P, H - 1)
        per_step = [torch.bincount(changes[:, t].round().long(), minlength=5)[1:].tolist() for t in range(5)]
        if propagation == "tsinf":
            assert (changes.round() == changes[:, :1].round()).all()  # one member for the whole trajectory
        else:
            assert (changes.round() != changes[:, :1].round()).any()
        assert all(sorted(row) == sorted(per_step[0]) for row in per_step)
        return sorted(per_step[0])

    assert counts(20, "tsinf") == [5, 5, 5, 5]
    assert counts(20, "ts1") == [5, 5, 5, 5]
    assert counts(6, "tsinf") == [2, 2, 2, 2]  # rounded up
    assert counts(3, "tsinf") == [0, 1, 1, 1]  # fewer particles than members: random members
    assert counts(3, "ts1") == [1, 1, 1, 1]


def test_members_that_are_fewer_particles_vary_with_the_draw() -> None:
    model = ensemble()
    met = {model.draw(1, 6, rng(seed)).layers[0][0].sum().item() for seed in range(20)}
    assert len(met) == 4


def test_only_the_best_members_are_planned_with() -> None:
    model = ProbabilisticEnsemble(3, 2, EnsembleConfig(4, networks(8), best_members=2), rng=rng())
    model.best_members.copy_(torch.tensor([3, 1]))
    layers = model.draw(4, 6, rng()).layers
    assert torch.equal(layers[-1][0], model.mlp.weights[-1][[3, 1]])


def test_entries_that_are_absolute_and_angles() -> None:
    state = torch.tensor([[1.0, 6.2, 5.0]])
    following = torch.tensor([[3.0, 0.1, 9.0]])
    model = ProbabilisticEnsemble(3, 2, rng=rng(), absolute=(2,), angles=(1,))
    assert torch.allclose(model.targets(state, following), torch.tensor([[2.0, 0.1 - 6.2 + 2 * math.pi, 9.0]]))
    model = ensemble(absolute=(2,))
    change, _ = by_hand(model, 1, torch.cat([STATE, ACTIONS[:, 0, 0]], -1))
    assert torch.allclose(model.predict(STATE, ACTIONS[:, 0, 0])[0][1], STATE * torch.tensor([1, 1, 0]) + change)
    states = model.rollout(STATE, ACTIONS, model.draw(4, 6, rng()))
    shifted = model.rollout(STATE + torch.tensor([0, 0, 1e-9]), ACTIONS, model.draw(4, 6, rng()))
    assert torch.allclose(states, shifted)


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_means_are_one_row_for_each_of_the_best_members(noise: Any) -> None:
    model = ensemble()
    model.best_members = torch.tensor([3, 1])
    states = model.rollout(STATE, ACTIONS, model.means(6))
    assert states.shape == (2, 5, 2, 6, 3)
    for row, member in enumerate((3, 1)):
        state = STATE[1]
        for t in range(6):
            state = state + by_hand(model, member, torch.cat([state, ACTIONS[1, 2, t]]))[0][0]
            assert torch.allclose(states[1, 2, row, t], state)
    moves = ACTIONS.clone().requires_grad_()
    values = Return(model, last, particles=20, noise=noise, gradient="means").at(STATE, rng())(moves)
    assert torch.allclose(values, states[..., 0].sum(-1).mean(-1))
    assert torch.autograd.grad(values.sum(), moves)[0].abs().sum() > 0


def test_the_networks_see_what_is_encoded() -> None:
    def encode(state: Tensor) -> Tensor:
        return torch.stack([state[:, 0].sin(), state[:, 0].cos()], 1)

    model = ensemble(encode=encode)
    assert model.mlp.weights[0].shape == (4, 2 + 2, 8)
    turned = STATE + torch.tensor([2 * math.pi, 7.0, -7.0])  # the networks do not get entries 1 and 2
    noise = model.draw(4, 6, rng())
    moved, moved_turned = model.rollout(STATE, ACTIONS, noise), model.rollout(turned, ACTIONS, noise)
    assert torch.allclose(moved - STATE[:, None, None, None], moved_turned - turned[:, None, None, None])


@pytest.mark.parametrize("propagation", ["tsinf", "ts1", "mean"])
def test_gradient_towards_the_actions(propagation: str) -> None:
    """Against central differences through a whole rollout. The weights get no gradient."""
    model = ensemble(propagation)
    noise = model.draw(8, 6, rng())
    weights = torch.randn(2, 5, 1, 6, 3, generator=rng(7), dtype=torch.float64)

    def value(actions: Tensor) -> Tensor:
        return (model.rollout(STATE, actions, noise) * weights).sum()

    actions = ACTIONS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(actions), actions)
    for index in [(0, 0, 0, 0), (1, 4, 5, 1), (0, 3, 2, 0)]:
        step = torch.zeros_like(ACTIONS)
        step[index] = 1e-5
        assert gradient[index].item() == pytest.approx(
            (value(ACTIONS + step) - value(ACTIONS - step)).item() / 2e-5, rel=1e-6, abs=1e-9
        )
    value(actions).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("propagation", ["tsinf", "ts1", "mean"])
@pytest.mark.parametrize("independent", [False, True])
def test_every_entry_of_the_gradient(propagation: str, independent: bool) -> None:
    """For state and actions, through features, an absolute entry and a foreign activation."""
    model = ensemble(propagation, encode=Features("sin 0", 2, "cos 0"), absolute=(1,))
    model.mlp.activation = torch.nn.Tanh()
    noise = model.draw(4, 3, rng(), (2, 2) if independent else ())
    leaves = (STATE.clone().requires_grad_(), ACTIONS[:, :2, :3].clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda state, actions: model.rollout(state, actions, noise), leaves)


def test_batched_is_looped() -> None:
    model = ensemble()
    noise = model.draw(4, 6, rng())
    batched = model.rollout(STATE, ACTIONS, noise)
    for problem in range(2):
        for candidate in range(5):
            alone = model.rollout(STATE[problem], ACTIONS[problem, candidate][None], noise)
            assert torch.allclose(batched[problem, candidate], alone[0])


def last(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return next_state[:, 0]


def test_noise_is_common_to_candidates_or_independent() -> None:
    actions = torch.zeros(6, 6, 2, dtype=torch.float64)  # six equal candidates
    returns = Return(ensemble(), last, particles=4)
    common = returns.at(STATE[0], rng())
    assert torch.allclose(common(actions), common(actions)[0].expand(6))
    independent = replace(returns, noise="independent").at(STATE[0], rng())
    first = independent(actions)
    assert len(first.unique()) == 6
    assert not torch.equal(first, independent(actions))
    many = replace(returns, noise="independent", particles=400).at(STATE[0], rng())(actions)
    expected = replace(returns, particles=400).at(STATE[0], rng())(actions)
    assert torch.allclose(many, expected, atol=6 * many.std().item() + 0.05)


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_scoring_in_chunks(noise: Any) -> None:
    whole = Return(ensemble(), last, particles=4, noise=noise)
    if noise == "common":
        assert torch.allclose(whole.at(STATE, rng())(ACTIONS), replace(whole, chunk=16).at(STATE, rng())(ACTIONS))
    for chunk in (1, 8, 24):
        assert replace(whole, chunk=chunk).at(STATE, rng())(ACTIONS).shape == (2, 5)


@pytest.mark.parametrize("propagation", ["tsinf", "ts1", "mean"])
@pytest.mark.parametrize("noise", ["common", "independent"])
@pytest.mark.parametrize("best", [None, 2])
def test_nothing_waits_for_the_device(propagation: Any, noise: Any, best: int | None) -> None:
    """A whole plan through the model on the meta device, where tensors have shapes and no values."""
    settings = EnsembleConfig(4, networks(8, 8, 8), best, propagation)
    model = ProbabilisticEnsemble(3, 2, settings, encode=Features("sin 0", 1, 2), rng=rng()).to("meta")
    functions = {"terminated": lambda s, a, n: n[:, 0] > 3, "terminal_value": lambda s: s[:, 0]}
    returns = Return(model, lambda s, a, n: -n.square().sum(1), risk=0.1, particles=4, noise=noise, **functions)  # type: ignore[arg-type]
    box, state = Box([-1.0, -1.0], [1.0, 1.0]).repeat(6).to(device="meta"), torch.zeros(2, 3, device="meta")
    planner = CEMGD(cold=CEM(samples=8, iterations=2, elites=2), ascent=GradientAscent(steps=2))
    plan = planner.plan(returns.at(state, rng()), box, batch=(2,), rng=rng())
    assert plan.best.device.type == "meta"
    assert plan.best.shape == (2, 6, 2)


def test_a_chunk_bounds_the_rollouts_at_once() -> None:
    seen: list[int] = []

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        seen.append(len(state) // 6)
        return next_state[:, 0]

    Return(ensemble(), reward, particles=4, chunk=16).at(STATE, rng())(ACTIONS)
    assert seen == [2 * 2 * 4, 2 * 2 * 4, 2 * 1 * 4]


def test_a_plan_through_it() -> None:
    """The same seed gives the same plan. The plan is better than its start."""
    model = ProbabilisticEnsemble(3, 2, EnsembleConfig(architecture=networks(16, 16, 16)), rng=rng())
    returns, box = Return(model, last, particles=5), Box([-1.0, -1.0], [1.0, 1.0]).repeat(6)
    plans = [CEMGD().plan(returns.at(STATE[0].float(), generator), box, rng=generator) for generator in (rng(), rng())]
    assert torch.equal(plans[0].best, plans[1].best)
    assert plans[0].value > returns.at(STATE[0].float(), rng())(torch.zeros(1, 6, 2))[0]


def test_the_normalizer_is_in_the_state_dict() -> None:
    model, other = ensemble(), ProbabilisticEnsemble(3, 2, EnsembleConfig(4, networks(8, 8)), rng=rng(9)).double()
    other.load_state_dict(model.state_dict())
    noise, noise_other = (x.draw(4, 6, rng()) for x in (model, other))
    assert torch.equal(model.rollout(STATE, ACTIONS, noise), other.rollout(STATE, ACTIONS, noise_other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": 0}, "ProbabilisticEnsemble.state_size: expected an integer of at least 1, got 0"),
        ({"absolute": (3,)}, r"ProbabilisticEnsemble.absolute: expected entries of 3, got \(3,\)"),
        ({"angles": (-1,)}, r"ProbabilisticEnsemble.angles: expected entries of 3, got \(-1,\)"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ensemble(**options)


def test_more_best_members_than_members() -> None:
    with pytest.raises(ValueError, match=r"EnsembleConfig.best_members: expected at most 5 members, got 6"):
        EnsembleConfig(best_members=6)


@pytest.mark.parametrize(
    ("old", "new"), [("layers", "architecture.hidden"), ("width", "architecture.hidden"), ("elites", "best_members")]
)
def test_names_of_before_are_answered_with_those_of_now(old: str, new: str) -> None:
    with pytest.raises(ValueError, match=f"settings: {old}: '{old}' is now called '{new}'"):
        config.build(EnsembleConfig, {old: 3}, "settings")
    with pytest.raises(TypeError, match=f"EnsembleConfig: '{old}' is now called '{new}'"):
        EnsembleConfig(**{old: 3})


def test_an_ensemble_is_configured() -> None:
    """Unset parts of the networks keep the defaults: PETS's networks with layer normalisation."""
    mapping = config.override({}, ["architecture.hidden=[16]", "best_members=2"])
    built = config.build(EnsembleConfig, mapping)
    assert built == EnsembleConfig(architecture=replace(networks(16), layer_norm="all"), best_members=2)
    assert built.architecture == Architecture((16,), "silu", "all", "truncated_normal", 1.0, True)
    assert EnsembleConfig().architecture.hidden == (200, 200, 200)
