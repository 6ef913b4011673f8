"""The mathematics of the inference-based agents, against numbers by hand, quadrature and finite differences."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, tensor
from torch.distributions import Normal

from elites import Box
from elites.agents import (
    AWAC,
    AWR,
    DSPG,
    MPO,
    PPO,
    REPS,
    RWR,
    SAC,
    TRPO,
    UREX,
    VMPO,
    Agent,
    Network,
    PoWER,
    Replay,
    Transition,
)
from elites.agents.algorithms.duals import Dual, divergences, likelihood, temperature_loss, trust_loss, weights
from elites.agents.algorithms.on_policy import Segment, standardised
from elites.agents.algorithms.stochastic import violation
from elites.agents.algorithms.trpo import conjugate_gradient, flat
from elites.agents.estimates import lambda_returns, retrace
from elites.agents.replay import Episode, Rows, Segments, transitions
from elites.networks import Architecture, NormalHead, Policy
from elites.networks.action_distributions import NormalAction
from elites.networks.climbing import soft_climb

UNIT = Box([-1.0], [1.0])
TINY = Network.of(Architecture((8,), "tanh"))
ONE_STATE = torch.zeros(1, 1)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def eta(value: float) -> Dual:
    """A temperature of this value, in float64."""
    dual = Dual(0.0, 1, torch.device("cpu")).double()
    dual.raw.data.fill_(math.log(math.expm1(value - 1e-8)))
    return dual


def minimum(loss: Any, parameters: list[Tensor]) -> None:
    """Descends to the minimum of a smooth loss."""
    optimizer = torch.optim.LBFGS(
        parameters, 1.0, 200, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        (value := loss()).backward()
        return cast("Tensor", value)

    for _ in range(5):
        optimizer.step(closure)  # type: ignore[no-untyped-call]


# --- MPO's E-step -----------------------------------------------------------------------------------------------------


def test_the_dual_of_two_actions() -> None:
    """Values 0 and 1 with ε = 0.1: η = 1.05995, and the better action has weight 0.71979."""
    temperature, values = eta(3.0), tensor([[0.0, 1.0]]).double()
    minimum(lambda: temperature_loss(temperature, values, 0.1), [temperature.raw])
    assert temperature.value.item() == pytest.approx(1.05995, abs=1e-5)
    assert weights(temperature, values)[0, 1].item() == pytest.approx(0.71979, abs=1e-5)


def test_the_duals_slope_is_the_bound_minus_the_divergence() -> None:
    values, temperature = 3 * torch.randn(50, 7, generator=rng()).double(), eta(0.7)
    one = tensor(0.7).double().requires_grad_()
    stub: Any = SimpleNamespace(learned=lambda: one)
    (slope,) = torch.autograd.grad(temperature_loss(stub, values, 0.1), one)
    w = weights(temperature, values)
    divergence = (w * (w * 7).log()).sum(-1).mean()
    assert slope.item() == pytest.approx(0.1 - divergence.item(), abs=1e-6)
    torch.testing.assert_close(weights(temperature, values + 5), w)


def test_a_dual_variable_stays_positive_and_can_come_back() -> None:
    dual = Dual(-100.0, 2, torch.device("cpu"))
    assert (dual.value > 0).all()
    assert torch.autograd.grad(dual.learned().sum(), dual.raw)[0].abs().min() > 0


# --- MPO's M-step -----------------------------------------------------------------------------------------------------


def test_the_decoupled_fit() -> None:
    """The prior N(0, 1) and Q = -½ (a - 1)² with η = 1: μ = 0.5, and σ = √0.75 about the old mean."""
    grid = Normal(0.0, 1.0).icdf(torch.linspace(0, 1, 20_003).double()[1:-1]).view(1, -1, 1)
    weight = torch.softmax(-0.5 * (grid[..., 0] - 1) ** 2, -1)
    mean, log_std = (torch.zeros(1, 1).double().requires_grad_() for _ in range(2))
    old = NormalAction(torch.zeros(1, 1).double(), torch.zeros(1, 1).double())
    minimum(lambda: likelihood(NormalAction(mean, log_std), old, grid, weight), [mean, log_std])
    assert mean.item() == pytest.approx(0.5, abs=1e-3)
    assert log_std.exp().item() == pytest.approx(0.8660, abs=1e-3)


def normals(seed: int, rows: int = 4, size: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.randn(2, rows, size, generator=rng(seed)).double()
    return draw[0].requires_grad_(), (0.3 * draw[1]).requires_grad_()


def test_gradients_of_the_m_step() -> None:
    old = NormalAction(*(x.detach() for x in normals(1)))
    raw, weight = torch.randn(4, 5, 3, generator=rng(2)).double(), torch.rand(4, 5, generator=rng(3)).double()

    def loss(mean: Tensor, log_std: Tensor) -> Tensor:
        new = NormalAction(mean, log_std)
        of_mean, of_spread = divergences(new, old)
        return likelihood(new, old, raw, weight) + 2 * of_mean.sum() + 3 * of_spread.sum()

    assert torch.autograd.gradcheck(loss, normals(4))


def test_the_divergences_are_of_the_mean_and_of_the_spread() -> None:
    """KL(N(0, 1) ‖ N(1, 1)) = ½, and KL(N(0, 1) ‖ N(0, 2)) = ln 2 + 1/8 - ½."""
    old, new = NormalAction(torch.zeros(1, 1), torch.zeros(1, 1)), NormalAction(tensor([[1.0]]), tensor([[2.0]]).log())
    of_mean, of_spread = divergences(new, old)
    assert of_mean.item() == pytest.approx(0.5)
    assert of_spread.item() == pytest.approx(math.log(2) + 1 / 8 - 0.5)


def test_a_multiplier_grows_while_the_divergence_is_above_its_bound() -> None:
    for divergence, sign in ((0.2, -1), (0.05, 1)):  # the descent goes against the slope
        dual = Dual(1.0, 1, torch.device("cpu"))
        (slope,) = torch.autograd.grad(trust_loss(dual, tensor([divergence]), 0.1), dual.raw)
        assert math.copysign(1, slope.item()) == sign


def rlax() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads((Path(__file__).parents[1] / "data/rlax.json").read_text()))


class Multipliers:
    """Dual variables as parameters of their own."""

    def __init__(self, value: Tensor) -> None:
        self.free, self.value = value, value.detach()

    def learned(self) -> Tensor:
        return self.free


@pytest.mark.parametrize("name", ["mpo", "vmpo"])
def test_the_losses_are_rlaxs(name: str) -> None:
    """Their sum, and its slopes by the policy's mean and spread and by every dual variable."""
    found, given = rlax()[name], {key: tensor(x, dtype=torch.float64) for key, x in rlax()["given"].items()}
    learned = {key: given[key].requires_grad_() for key in ("mean", "log_std", "eta", "alpha_mean", "alpha_spread")}
    new, old = NormalAction(given["mean"], given["log_std"]), NormalAction(given["old"], given["old_log_std"])
    duals: Any = {"temperature": Multipliers(given["eta"])}
    if name == "mpo":
        weight = weights(duals["temperature"], given["values"])
        loss = likelihood(new, old, given["raw"], weight) + temperature_loss(duals["temperature"], given["values"], 0.1)
    else:
        vmpo, nets = VMPO(epsilon=0.1), cast(Any, SimpleNamespace(duals=duals))
        some = Segment(given["old"], given["raw"][:, 0], given["advantage"], given["advantage"])
        best, weight = vmpo.weights(nets, some)
        loss = -(weight * new.rows(best).log_density(some.raw[best])).sum()
        loss = loss + vmpo.temperature_loss(nets, some.advantage[best])
    for kl, key, epsilon in zip(divergences(new, old), ("alpha_mean", "alpha_spread"), (0.01, 0.001), strict=True):
        multipliers: Any = Multipliers(given[key])
        loss = loss + (multipliers.value * kl).sum() + trust_loss(multipliers, kl, epsilon)
    assert loss.item() == pytest.approx(found["loss"], rel=1e-9)
    for (key, _), slope in zip(learned.items(), torch.autograd.grad(loss, list(learned.values())), strict=True):
        torch.testing.assert_close(slope, tensor(found[f"slope_{key}"], dtype=torch.float64), msg=key)


def filled(algorithm: Any, size: int = 1, rows: int = 60, episode: int = 10) -> Agent:
    """An agent with transitions of noise, in episodes of ten steps."""
    agent, noise = Agent(algorithm, 2, Box([-1.0] * size, [1.0] * size), seed=0), np.random.default_rng(0)
    agent.begin(np.array([True]))
    for step in range(rows):
        state, following = noise.normal(size=(2, 2))
        end = step % episode == episode - 1
        action, reward = noise.uniform(-1, 1, size), noise.normal()
        agent.observe(Transition.one(state, action, reward, following, end and step % 20 < 10, end))
    return agent


def losses(agent: Agent, step: int = 1) -> dict[str, Tensor]:
    return {name: loss for name, loss, *_ in agent.algorithm.update(agent.nets, agent.replay, step)}


def test_mpos_weights_sum_to_two_without_violations() -> None:
    """Then the penalty's weights clone the old policy."""
    agent = filled(MPO(network=TINY, head=NormalHead("none", "state", 1e-3, "softplus"), batch=16))
    nets: Any = agent.nets
    _, _, values = agent.algorithm.drawn(nets, torch.zeros(16, 2))  # type: ignore[attr-defined]
    weight = weights(nets.duals["temperature"], values) + weights(nets.duals["penalty"], torch.zeros_like(values))
    torch.testing.assert_close(weight.sum(-1), torch.full((16,), 2.0))
    assert losses(agent).keys() == {"critics", "policy", "duals"}
    squashed = filled(MPO(network=TINY, head=NormalHead("sample", "state", 0.5, "softplus"), batch=16))
    assert set(cast(Any, squashed.nets).duals.each) == {"temperature", "mean", "spread"}


def test_mpo_with_retrace_keeps_the_densities_of_its_actions() -> None:
    """Those of its own actions, and of uniform ones. With λ = 0 the target is one step's."""
    agent = filled(MPO(network=TINY, estimate="retrace", n_step=3, trace=0.0, batch=16, actions=4))
    assert agent.replay.column("log_density").tolist() == pytest.approx([-math.log(2)] * 60)
    agent.act(np.zeros((1, 2)))
    agent.observe(Transition.one(np.zeros(2), np.zeros(1), 0.0, np.zeros(2), False, False))
    raw, nets = agent.replay.column("raw_action")[-1:], cast(Any, agent.nets)
    density = nets.policy.distribution(torch.zeros(1, 2)).log_density(raw)
    assert agent.replay.column("log_density")[-1].item() == pytest.approx(density.item(), rel=1e-5)
    batch, target, (_, _, values) = cast(Any, agent.algorithm).evaluated(nets, agent.replay)
    torch.testing.assert_close(target, batch.reward + 0.99 * values.mean(-1) * ~batch.terminated)
    assert losses(agent).keys() == {"critics", "policy", "duals"}


def test_mpo_needs_a_spread_that_it_can_learn() -> None:
    with pytest.raises(ValueError, match=r"MPO.head.spread: expected state or free.*got 'fixed'"):
        MPO(head=NormalHead("none", "fixed"))


@pytest.mark.parametrize("kind", [MPO, VMPO])
def test_multipliers_that_explode_are_a_fault(kind: Any) -> None:
    """Although they are finite. A run keeps the checkpoint before them, and says so."""
    agent = filled(kind(network=TINY))
    assert agent.non_finite() is None
    cast(Any, agent.nets).duals["mean"].raw.data.fill_(2e6)
    expected = "a dual variable of the mean of 2e+06 (a smaller learning rate may help)"
    assert agent.non_finite() == expected


# --- estimates --------------------------------------------------------------------------------------------------------


def episode(reward: list[float], terminated: bool) -> Episode:
    count = len(reward)
    ends = torch.zeros(count, dtype=torch.bool)
    ends[-1] = True
    columns = {"reward": tensor(reward).double(), "terminated": ends & terminated, "truncated": ends & (not terminated)}
    return Episode(columns, True, True)


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("trace", [0.0, 0.5, 1.0])
def test_lambda_returns_by_hand(trace: float, terminated: bool) -> None:
    """Rewards 1 and 2, V(s₁) = 3, V(s₂) = 4, γ = 0.9."""
    last = 2 + 0.9 * (0 if terminated else 4)
    first = 1 + 0.9 * ((1 - trace) * 3 + trace * last)
    found = lambda_returns(episode([1.0, 2.0], terminated), tensor([3.0, 4.0]).double(), 0.9, trace)
    assert found.tolist() == pytest.approx([first, last])


def stretch(within: list[list[bool]], terminated: list[list[bool]]) -> Segments:
    """Rewards 1, 2 and 4."""
    reward = tensor([1.0, 2.0, 4.0]).double().expand(len(within), 3)
    state = torch.arange(3 * len(within)).view(-1, 3, 1).double()
    columns = {"reward": reward, "terminated": tensor(terminated), "truncated": tensor(terminated) & False}
    return Segments({**columns, "state": state, "next_state": state + 1}, tensor(within))


def test_retrace_by_hand() -> None:
    """G₂ = 4 + 0.9 V₃; Gₜ = rₜ + 0.9 (Vₜ₊₁ + λ min(1, ratio) (Gₜ₊₁ - Qₜ₊₁)). The second row ends after two steps."""
    some = stretch([[True] * 3, [True, True, False]], [[False] * 3, [False, True, True]])
    q, value = tensor([[0.0, 5.0, 6.0]] * 2).double(), tensor([[7.0, 8.0, 9.0]] * 2).double()
    ratio = tensor([[9.0, 0.5, 2.0]] * 2).double()
    last = 4 + 0.9 * 9
    middle = 2 + 0.9 * (8 + 0.8 * (last - 6))
    first = 1 + 0.9 * (7 + 0.8 * 0.5 * (middle - 5))
    ended = 1 + 0.9 * (7 + 0.8 * 0.5 * (2 - 5))
    assert retrace(some, q, value, ratio, 0.9, 0.8).tolist() == pytest.approx([first, ended])
    assert retrace(some, q, value, ratio, 0.9, 0.0).tolist() == pytest.approx([1 + 0.9 * 7] * 2)


def test_n_steps_ahead_by_hand() -> None:
    some = stretch([[True] * 3, [True, True, False]], [[False] * 3, [False, True, True]]).ahead(0.5)
    assert some.reward.tolist() == [1 + 1 + 1, 1 + 1]
    assert some.discount.tolist() == [0.125, 0.25]
    assert some.terminated.tolist() == [False, True]
    assert some.state.flatten().tolist() == [0, 3]
    assert some.next_state.flatten().tolist() == [3, 5]


@pytest.mark.parametrize("environments", [1, 3])
@pytest.mark.parametrize("capacity", [25, 1000])
def test_segments_follow_their_episodes(environments: int, capacity: int) -> None:
    """Also across the ring's wrap. A state holds environment, episode and step; episodes have four steps, or three."""
    replay, count = Replay(transitions(3, 1), capacity), np.zeros((environments, 2), dtype=int)
    for _ in range(40):
        where = np.arange(environments)
        state = np.column_stack([where, count])
        ended = count[:, 1] == 3 - where % 2
        rows: dict[str, Any] = {"state": state, "next_state": state + np.array([0, 0, 1]), "action": state[:, :1] * 0.0}
        none = np.zeros(environments, dtype=bool)
        replay.extend({**rows, "reward": where * 1.0, "terminated": none, "truncated": ended, "where": where})
        count[:, 1] += 1
        count[ended] = np.column_stack([count[ended, 0] + 1, count[ended, 1] * 0])
    some = replay.segments(500, 5, rng())
    columns = (some.state.tolist(), some.within.tolist(), some.truncated.tolist())
    for state, within, truncated in zip(*columns, strict=True):
        held = [step for step, there in zip(state, within, strict=True) if there]
        where, number, first = held[0]
        assert held == [[where, number, first + i] for i in range(len(held))]
        newest = held[-1] in replay.column("state")[-environments:].tolist()
        assert truncated[len(held) - 1] or newest, "it is cut only where the episode or the data ends"
    assert {len([w for w in within if w]) for within in some.within.tolist()} == {1, 2, 3, 4}


# --- AWR and RWR ------------------------------------------------------------------------------------------------------


def test_awrs_weights() -> None:
    """e^(A/β) of the standardised advantage, at most 20."""
    advantage = torch.randn(1000, generator=rng()) * 7 + 3
    weight = AWR().weights(advantage)
    normal = (advantage - advantage.mean()) / advantage.std(correction=0)
    torch.testing.assert_close(weight, normal.exp().clamp(max=20), rtol=1e-4, atol=1e-4)
    assert AWR(temperature=0.1).weights(advantage).max() == 20


def test_the_penalty_of_a_mean_outside() -> None:
    """μ = 1.5 costs ½ 0.25."""
    of = NormalAction(tensor([[1.5], [-0.5]]), torch.zeros(2, 1))
    assert violation(of).tolist() == [0.125, 0]


def test_awr_learns_the_returns_and_ignores_what_has_not_ended() -> None:
    """V is exact after many steps: every episode is ten steps of reward 1, and ends."""
    network = Network.of(Architecture((32,), "tanh"))
    agent = Agent(AWR(network=network, value_steps=5000, policy_steps=1, trace=1.0), 1, UNIT, 0)
    for step in range(205):
        agent.observe(Transition.one(np.array([step % 10 / 10]), np.zeros(1), 1.0, np.zeros(1), step % 10 == 9, False))
    agent.update()
    value = agent.algorithm.values(agent.nets, tensor([[0.0], [0.9]]))  # type: ignore[attr-defined]
    expected = [sum(0.99**i for i in range(10)), 1.0]
    assert value.tolist() == pytest.approx(expected, rel=0.03)


def test_awr_needs_episodes_that_end() -> None:
    agent = Agent(AWR(network=TINY, capacity=20), 1, UNIT, 0)
    for _ in range(19):
        agent.observe(Transition.one(np.zeros(1), np.zeros(1), 1.0, np.zeros(1), False, False))
    agent.update()  # there is room for its end
    agent.observe(Transition.one(np.zeros(1), np.zeros(1), 1.0, np.zeros(1), False, False))
    with pytest.raises(ValueError, match=r"expected episodes that end within its 20 transitions, got none; set"):
        agent.update()


def test_rwrs_sharpness_is_the_em_step() -> None:
    """β = Σ u / Σ u c for u = e^(-β c)."""
    agent = filled(RWR(network=TINY, policy_steps=1))
    nets: Any = agent.nets
    agent.update()
    first = nets.sharpness.beta.item()
    agent.update()
    assert nets.sharpness.beta.item() > first > 0, "the weights concentrate"


# --- AWAC -------------------------------------------------------------------------------------------------------------


class Quadratic:
    """Q = -½ k (a - c)², for both critics."""

    def __init__(self, k: float, c: float) -> None:
        self.k, self.c = k, c

    def values(self, state: Tensor, action: Tensor) -> Tensor:
        return (-0.5 * self.k * (action - self.c).square().sum(-1)).expand(2, -1)

    def least(self, state: Tensor, actions: Tensor, precision: str) -> Tensor:
        return self.values(state, actions.flatten(0, 1))[0].view(actions.shape[:2])


def test_awacs_fixed_point_for_uniform_behaviour() -> None:
    """Behaviour U[-1, 1], Q = -½ k (a - 0.5)² and λ / k = 0.25 weigh to a truncated normal: 0.3586 and 0.1540."""
    action = torch.linspace(-1, 1, 20_001).unsqueeze(1)
    policy = Policy(1, UNIT, Architecture((1,)), rng(), NormalHead("mean", "free"))
    nets: Any = SimpleNamespace(policy=policy, critics=Quadratic(4.0, 0.5), rng=rng())
    rows: Any = Rows({"state": torch.zeros(20_001, 1), "action": action, "raw_action": action})
    policy.free.data.fill_(-20.0)  # type: ignore[union-attr]  # the same ã everywhere
    weight = AWAC(temperature=1.0, largest=1e9).weights(nets, rows)
    assert weight.mean().item() == pytest.approx(1, abs=1e-4)
    mean = (weight * action[:, 0]).mean()
    assert mean.item() == pytest.approx(0.3586, abs=2e-4)
    assert (weight * (action[:, 0] - mean).square()).mean().item() == pytest.approx(0.1540, abs=2e-4)
    torch.testing.assert_close(AWAC(temperature=1e6).weights(nets, rows), torch.ones(20_001), rtol=1e-4, atol=1e-4)
    assert AWAC(temperature=1e-3, largest=20.0).weights(nets, rows).max() == 20


# --- SAC and DSPG -----------------------------------------------------------------------------------------------------


def bandit(mean: float, log_std: float, bound: Any = "none") -> Policy:
    """A policy with this mean and spread everywhere."""
    policy = Policy(1, UNIT, Architecture((1,)), rng(), NormalHead(bound, "state"))
    for parameter in policy.parameters():
        parameter.data.zero_()
    policy.mlp.biases[-1].data[:] = tensor([mean, log_std])
    return policy


def slopes(policy: Policy, loss: Tensor) -> list[float]:
    """Its rates by the mean and by the spread."""
    rate = torch.autograd.grad(loss, policy.mlp.biases[-1])[0]
    return [rate[0].item(), rate[1].item() / policy.mlp.biases[-1][1].exp().item()]


MEAN, SPREAD, K, C, ALPHA = 0.3, 0.5, 2.0, 0.7, 0.8
EXPECTED = [K * (MEAN - C), K * SPREAD - ALPHA / SPREAD]  # of the loss: minus those of E[Q - α ln π]


def test_sacs_gradient_on_a_quadratic_bandit() -> None:
    policy, critics = bandit(MEAN, math.log(SPREAD)), Quadratic(K, C)
    loss, _ = soft_climb(policy, cast(Any, critics), torch.zeros(400_000, 1), tensor(ALPHA), rng())
    assert slopes(policy, loss) == pytest.approx(EXPECTED, abs=0.01)
    at_rest = bandit(C, 0.5 * math.log(ALPHA / K))
    loss, _ = soft_climb(at_rest, cast(Any, critics), torch.zeros(400_000, 1), tensor(ALPHA), rng())
    assert slopes(at_rest, loss) == pytest.approx([0, 0], abs=0.01)


def test_dspgs_expected_gradient_is_sacs() -> None:
    """The score function and the reparametrisation estimate one gradient. The temperature 1 needs Q / α."""
    policy, critics = bandit(MEAN, math.log(SPREAD)), cast(Any, Quadratic(K / ALPHA, C))
    dspg = DSPG(actions=400)
    loss = dspg.policy_loss(policy, critics, torch.zeros(4000, 1), rng())
    assert [ALPHA * slope for slope in slopes(policy, loss)] == pytest.approx(EXPECTED, abs=0.02)


def test_dspgs_gradient_does_not_pass_through_the_actions() -> None:
    """With a Q that is constant and known, the loss depends on ln π alone."""

    class Marked(Quadratic):
        def values(self, state: Tensor, action: Tensor) -> Tensor:
            assert not action.requires_grad
            return super().values(state, action)

    policy = bandit(MEAN, 0.0)
    loss = DSPG(actions=8).policy_loss(policy, cast(Any, Marked(K, C)), torch.zeros(4, 1), rng())
    assert loss.requires_grad


def test_dspgs_policy_gradient_is_clipped() -> None:
    for clip, bounded in ((1e-3, True), (1e6, False)):
        agent = filled(DSPG(network=TINY, actions=4, batch=32, clip=clip))
        loss = losses(agent)["policy"]
        agent.nets.descend("policy", loss)
        rates = [parameter.grad for parameter in agent.nets.modules["policy"].parameters()]
        norm = torch.cat([rate.flatten() for rate in rates if rate is not None]).norm()
        assert (norm.item() == pytest.approx(clip, rel=1e-3)) == bounded


def test_dspgs_targets_vary_as_one_over_m_and_follow_the_slow_policy() -> None:
    def spread(actions: int) -> float:
        dspg = DSPG(actions=actions)
        _, density, values = dspg.drawn(bandit(MEAN, 0.0), cast(Any, Quadratic(K, C)), torch.zeros(4000, 1), rng())
        return (values - density).mean(-1).var().item()

    assert spread(4) / spread(64) == pytest.approx(16, rel=0.15)
    agent = filled(DSPG(network=TINY, actions=4, batch=32))
    nets: Any = agent.nets
    chance, wide = agent.rng.get_state(), losses(agent)["critics"]
    nets.slow.policy.mlp.biases[-1].data[1] -= 100.0  # a spread of almost 0, so -ln π is almost -∞
    agent.rng.set_state(chance)
    assert losses(agent)["critics"] > 2 * wide, "the targets' actions are the slow policy's"


def test_sacs_entropy_target_without_a_tanh() -> None:
    """Entropy -1 in one dimension is σ = 0.08902."""
    of = NormalAction(torch.zeros(1, 1), torch.full((1, 1), math.log(0.08902)))
    assert of.entropy().item() == pytest.approx(-1, abs=1e-3)
    agent = filled(SAC(network=TINY, head=NormalHead("none"), batch=16))
    assert "raw_action" in agent.replay.schema
    assert losses(agent).keys() == {"critics", "policy", "temperature"}


# --- PPO, TRPO, V-MPO -------------------------------------------------------------------------------------------------


def test_ppos_clipped_loss_by_hand() -> None:
    """The gain of a ratio outside 1 ± 0.2 counts only if it is a loss."""
    advantage, ratio = tensor([1.0, 1.0, -1.0, -1.0]), tensor([1.5, 0.5, 1.5, 0.5])
    assert PPO().clipped(advantage, ratio).item() == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8) / 4)


def test_ppos_penalty_adapts() -> None:
    ppo, beta = PPO(near="kl"), tensor([1.0])
    found = [ppo.adapted(beta, tensor(kl)).item() for kl in (0.006, 0.01, 0.016)]
    assert found == [0.5, 1.0, 2.0]


def test_conjugate_gradients_solve() -> None:
    root = torch.randn(20, 20, generator=rng()).double()
    matrix, b = root @ root.T + torch.eye(20), torch.randn(20, generator=rng(1)).double()
    torch.testing.assert_close(conjugate_gradient(lambda v: matrix @ v, b, 40, 0.0), torch.linalg.solve(matrix, b))


def test_trpos_step_is_inside_its_trust_region() -> None:
    """Its Fisher matrix is the Hessian of the KL divergence, and a step of the full length has a divergence near δ."""
    trpo = TRPO(network=TINY, damping=0.0)
    agent = filled(trpo, size=2, rows=200)
    nets: Any = agent.nets
    segment = trpo.segment(nets, agent.replay)
    segment = segment._replace(advantage=standardised(segment.advantage))
    with torch.no_grad():
        old = nets.policy.distribution(segment.state)
    product = trpo.fisher(old, nets.policy.distribution(segment.state), list(nets.policy.parameters()))
    start = nets.vector("policy")
    vector = torch.randn(start.shape, generator=rng())

    def slope(step: float) -> Tensor:
        nets.set("policy", start + step * vector)
        kl = old.divergence(nets.policy.distribution(segment.state)).sum(-1).mean()
        found = flat(torch.autograd.grad(kl, list(nets.policy.parameters())))
        nets.set("policy", start)
        return found

    torch.testing.assert_close(product(vector), (slope(1e-2) - slope(-1e-2)) / 2e-2, rtol=0.02, atol=1e-3)
    trpo.improve(nets, segment)
    with torch.no_grad():
        new = nets.policy.distribution(segment.state)
        assert 0.3 * trpo.kl < old.divergence(new).sum(-1).mean() < trpo.kl
        ratio = (new.log_density(segment.raw) - old.log_density(segment.raw)).exp()
        assert (ratio * segment.advantage).mean() > 0


def test_trpo_stays_where_no_step_is_better() -> None:
    trpo = TRPO(network=TINY)
    agent = filled(trpo)
    nets: Any = agent.nets
    segment = trpo.segment(nets, agent.replay)
    before = nets.vector("policy")
    trpo.improve(nets, segment._replace(advantage=torch.zeros_like(segment.advantage)))
    assert torch.equal(nets.vector("policy"), before)


def test_vmpo_takes_the_better_half() -> None:
    vmpo = VMPO(network=TINY)
    nets: Any = SimpleNamespace(duals={"temperature": eta(2.0).float()})
    some = Segment(torch.zeros(5, 1), torch.zeros(5, 1), tensor([3.0, -1.0, 5.0, 0.0, 1.0]), torch.zeros(5))
    best, weight = vmpo.weights(nets, some)
    assert sorted(best.tolist()) == [0, 2]
    assert dict(zip(best.tolist(), weight.tolist(), strict=True))[2] == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-5)
    loss = vmpo.temperature_loss(nets, some.advantage[best])
    assert loss.item() == pytest.approx(2 * (0.1 + math.log((math.exp(1.5) + math.exp(2.5)) / 2)), rel=1e-5)


# --- REPS, UREX, PoWER ------------------------------------------------------------------------------------------------


def test_the_dual_of_reps() -> None:
    """Its slopes are those of finite differences. At its minimum, the weights have KL ε from the data."""
    reps, agent = REPS(network=TINY, features=7, epsilon=0.3), filled(REPS(network=TINY, features=7, epsilon=0.3))
    change, reward = torch.randn(40, 8, generator=rng()).double(), torch.randn(40, generator=rng(1)).double()
    start = 0.1 * torch.randn(8, generator=rng(2)).double()
    at = (torch.randn(8, generator=rng(3)).double().requires_grad_(), torch.zeros(1).double().requires_grad_())
    assert torch.autograd.gradcheck(lambda theta, eta: reps.dual(theta, eta, change, reward, start), at)
    nets: Any = agent.nets.modules["value"].double()
    found = reps.solved(cast(Any, SimpleNamespace(value=nets)), change, reward, start)
    theta, temperature = found[:-1], found[-1].exp()
    w = torch.softmax((reward + change @ theta) / temperature, 0)
    assert (w * (40 * w).log()).sum().item() == pytest.approx(0.3, abs=1e-3)


def test_urex_favours_what_pays_more_than_it_is_likely() -> None:
    """Weights e^(R/τ - ln π) / Σ: of two episodes with one return, the less likely one has the larger weight."""
    share = UREX(temperature=0.5).shares(tensor([1.0, 1.0, 0.0]), tensor([-1.0, -3.0, -1.0]))
    expected = np.exp([2 + 1, 2 + 3, 0 + 1])
    np.testing.assert_allclose(share, expected / expected.sum(), rtol=1e-6)


def test_power_is_a_weighted_regression() -> None:
    """With one feature: θ = Σ Q a / Σ Q, over the episodes that it holds, and σ² is the weighted spread about it."""
    power = PoWER(centres=1, ridge=1e-9, least_std=1e-3, reward_scale=1.0, discount=0.5)
    agent = filled(power, rows=20)
    agent.update()
    positive = agent.replay.column("reward").exp().tolist()
    utility = [0.0] * 20
    for t in reversed(range(20)):
        utility[t] = positive[t] + (0.5 * utility[t + 1] if t % 10 < 9 else 0)
    q, raw = np.array(utility), agent.replay.column("raw_action")[:, 0].numpy()
    nets: Any = agent.nets
    mean = (q * raw).sum() / q.sum()
    assert nets.policy.theta.item() == pytest.approx(mean, rel=1e-4)
    assert nets.policy.std.item() == pytest.approx(math.sqrt((q * (raw - mean) ** 2).sum() / q.sum()), rel=1e-3)


def test_power_knows_its_states() -> None:
    with pytest.raises(ValueError, match=r"agent.scale: expected 2 numbers, one a state entry, got \(1.0,\)"):
        filled(PoWER(scale=(1.0,)))
    with pytest.raises(ValueError, match=r"agent.centres: expected fewer, as 1000 are a grid of too many features"):
        filled(PoWER(centres=1000))
