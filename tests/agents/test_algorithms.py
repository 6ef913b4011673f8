"""The registered algorithms: every target and every loss, computed by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete, MultiDiscrete
from torch import Generator, Tensor, tensor
from torch.distributions import Normal

from elites import Box
from elites.agents import (
    AGENTS,
    CGP,
    DDPG,
    QGP,
    SAC,
    TD3,
    Agent,
    Algorithm,
    Network,
    Optimizer,
    QtOpt,
    Replay,
    Rows,
    Transition,
)
from elites.agents.algorithms.q_learning import QLearning
from elites.networks import Architecture
from elites.networks.critics import Critics
from elites.planners import CEM, Plan

ONE = Architecture((1, 1))
UNIT = Box([-1.0], [1.0])


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


# --- networks whose values are known ----------------------------------------------------------------------------------


@torch.no_grad()
def linear(critics: Critics, *members: tuple[float, float, float]) -> None:
    """Q_j(s, a) = p s + q a + r, with one (p, q, r) for each j; 100 keeps the ReLUs open."""
    for j, (p, q, r) in enumerate(members):
        critics.mlp.weights[0][j], critics.mlp.biases[0][j] = tensor([[p], [q]]), 100.0
        critics.mlp.weights[1][j], critics.mlp.biases[1][j] = 1.0, 0.0
        critics.mlp.weights[2][j], critics.mlp.biases[2][j] = 1.0, r - 100.0


@torch.no_grad()
def always(policy: Any, *outputs: float) -> None:
    """The last layer gives these values in every state."""
    policy.mlp.weights[-1].zero_()
    policy.mlp.biases[-1].copy_(tensor(outputs))


def agent(algorithm: Algorithm) -> Any:
    """An agent with Q'_1 = 2s + 3a + 1, Q'_2 = s + a + 5, Q_1 = s + 2a, Q_2 = 1 - a, π = 0.5 and π' = 0.6."""
    found = Agent(algorithm, 1, UNIT, seed=0)
    nets: Any = found.nets
    linear(nets.slow.critics, *[(2.0, 3.0, 1.0), (1.0, 1.0, 5.0)][: len(nets.critics.mlp.weights[0])])
    linear(nets.critics, *[(1.0, 2.0, 0.0), (0.0, -1.0, 1.0)][: len(nets.critics.mlp.weights[0])])
    if type(algorithm) in (TD3, DDPG, CGP, QGP):
        always(nets.policy, math.atanh(0.5))
    if "policy" in nets.copies:
        always(nets.slow.policy, math.atanh(0.6))
    return found


class Always(Replay):
    """A replay that always draws these rows."""

    def __init__(self, **columns: float) -> None:
        row = {"state": 1.0, "action": 0.2, "raw_action": 0.2, "reward": 10.0, "next_state": 2.0} | columns
        wide = ("state", "action", "raw_action", "next_state")
        self.rows = {name: tensor([[x]] if name in wide else [x]) for name, x in row.items()}
        self.rows |= {name: tensor([bool(row.get(name))]) for name in ("terminated", "truncated")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def sample(self, rows: int, rng: Generator) -> Rows:
        return Rows(self.rows)


def losses(found: Any, step: int = 1, rule: str = "update", **columns: float) -> Iterator[tuple[str, Tensor, Any]]:
    """The losses of the algorithm without a descent: (module, loss, figures)."""
    for name, loss, *figures in getattr(found.algorithm, rule)(found.nets, Always(**columns), step):
        yield name, loss, figures[0] if figures else {}


def loss_of(found: Any, module: str, step: int = 1, **columns: float) -> Tensor:
    return {name: loss for name, loss, _ in losses(found, step, **columns)}[module]


def target(found: Any, **columns: float) -> float:
    """The target, from the slope of (Q - target)² in the last bias, 2 (Q - target)."""
    _, loss, _ = next(losses(found, **columns))
    biases = found.nets.critics.mlp.biases[-1]
    (slope,) = torch.autograd.grad(loss, biases)
    values = found.nets.critics.values(tensor([[1.0]]), tensor([[0.2]]))
    targets = values.squeeze(1) - slope.flatten() / 2
    torch.testing.assert_close(targets, targets[:1].expand_as(targets), rtol=1e-4, atol=1e-4)
    return targets[0].item()


@dataclass(frozen=True)
class Says:
    """A planner that always answers 0.3."""

    action: float = 0.3

    def plan(self, objective: Any, box: Box, start: Any = None, *, batch: tuple[int, ...] = (), **_: Any) -> Plan:
        return Plan.at(torch.full((*batch, *box.shape), self.action), batch)


# --- targets ----------------------------------------------------------------------------------------------------------


def test_target_of_td3_by_hand() -> None:
    """At s' = 2, a' = 0.6: Q'_1 = 6.8, Q'_2 = 7.6."""
    assert target(agent(TD3(network=Network.of(ONE), policy_noise=0.0))) == pytest.approx(10 + 0.99 * 6.8, rel=1e-5)


@pytest.mark.parametrize(("critics", "value"), [(1, 6.8), (2, 6.8)])
def test_target_of_ddpg_by_hand(critics: int, value: float) -> None:
    assert target(agent(DDPG(network=Network.of(ONE), critics=critics))) == pytest.approx(10 + 0.99 * value, rel=1e-5)


@pytest.mark.parametrize("kind", [TD3, QtOpt, CGP, QGP])
def test_the_targets_noise_is_clipped_and_stays_in_the_box(kind: Any) -> None:
    """A huge spread is always clipped: a' is 0.6 ± 0.1. With a clip of 0.9 it is 0.6 - 0.9 or the bound 1."""
    search = {} if kind is TD3 else {"search": Says(0.6)}
    for clip, actions in ((0.1, (0.5, 0.7)), (0.9, (-0.3, 1.0))):
        found = agent(kind(network=Network.of(ONE), policy_noise=1e6, noise_clip=clip, **search))
        values = {round(target(found), 2) for _ in range(40)}
        assert values == {round(10 + 0.99 * min(5 + 3 * a, 7 + a), 2) for a in actions}


@pytest.mark.parametrize("kind", [QtOpt, CGP, QGP])
def test_target_of_cgp_by_hand(kind: Any) -> None:
    """At s' = 2, a' = 0.3 from the search: Q'_1 = 5.9, Q'_2 = 7.3."""
    found = agent(kind(network=Network.of(ONE), policy_noise=0.0, search=Says()))
    assert target(found) == pytest.approx(10 + 0.99 * 5.9, rel=1e-5)


def test_target_of_sac_by_hand() -> None:
    """min Q' - α ln π(a'), with the same draw from a normal of mean 0.2 and spread e^-1, and α = 0.5."""
    sac = agent(SAC(network=Network.of(ONE)))
    always(sac.nets.policy, 0.2, -1.0)
    sac.nets.temperature.log.data.fill_(math.log(0.5))
    epsilon = torch.randn(1, 1, generator=sac.rng.clone_state())
    a = math.tanh(raw := 0.2 + math.exp(-1) * epsilon.item())
    density = Normal(0.2, math.exp(-1)).log_prob(tensor(raw)).item() - math.log(1 - a**2)
    expected = 10 + 0.99 * (min(5 + 3 * a, 7 + a) - 0.5 * density)
    assert target(sac) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", [name for name in sorted(AGENTS) if issubclass(AGENTS[name], QLearning)])
def test_what_has_terminated_has_no_future_and_what_was_truncated_has(name: str) -> None:
    found = agent(AGENTS[name](network=Network.of(ONE)))
    scale = getattr(found.algorithm, "reward_scale", 1.0)
    assert target(found, terminated=1.0) == pytest.approx(10 * scale, abs=1e-4)
    assert target(found, truncated=1.0) > 10 * scale + 2
    assert target(found) > 10 * scale + 2


# --- losses -----------------------------------------------------------------------------------------------------------


def test_the_critics_loss_and_figures_by_hand() -> None:
    """Q_1 = 1.4 and Q_2 = 0.8 at (1, 0.2), against 10 + 0.99 · 6.8."""
    name, loss, figures = next(losses(agent(TD3(network=Network.of(ONE), policy_noise=0.0))))
    aim = 10 + 0.99 * 6.8
    assert name == "critics"
    assert loss.item() == pytest.approx((1.4 - aim) ** 2 + (0.8 - aim) ** 2, rel=1e-5)
    assert figures["value"].item() == pytest.approx(1.1, rel=1e-5)


@pytest.mark.parametrize("kind", [TD3, DDPG, QGP])
def test_a_policy_that_climbs_q_by_hand(kind: Any) -> None:
    """-Q_1(1, 0.5) = -2; the gradient of the last bias is -dQ_1/da · (1 - tanh²) = -2 · 0.75."""
    found = agent(kind(network=Network.of(ONE)))
    loss = loss_of(found, "policy", step=2)
    assert loss.item() == pytest.approx(-2, rel=1e-5)
    (slope,) = torch.autograd.grad(loss, found.nets.policy.mlp.biases[-1])
    assert slope.item() == pytest.approx(-1.5, rel=1e-5)


def test_cgps_policy_loss_by_hand() -> None:
    """(0.5 - 0.3)² for each dimension, with gradient 2 · 0.2 · 0.75. The search uses Q_1, not its slow copy."""
    cgp = agent(CGP(network=Network.of(ONE), search=Says()))
    loss = loss_of(cgp, "policy")
    assert loss.item() == pytest.approx(0.04, rel=1e-5)
    (slope,) = torch.autograd.grad(loss, cgp.nets.policy.mlp.biases[-1])
    assert slope.item() == pytest.approx(0.3, rel=1e-5)
    two = Agent(CGP(network=Network.of(ONE), search=Says()), 1, Box([-1.0] * 2, [1.0] * 2), 0)
    always(two.nets.modules["policy"], math.atanh(0.5), math.atanh(0.6))
    loss = two.algorithm.policy_loss(two.nets, Rows({"state": tensor([[1.0], [7.0]])}))
    assert loss.item() == pytest.approx(0.04 + 0.09, rel=1e-4)


def test_imitation_of_the_targets_search() -> None:
    """One search in an update. π answers 0.5. The slow Q_1 falls, so -1 is best at the next states."""
    cgp = agent(CGP(network=Network.of(ONE), policy_noise=0.0, search_for="target"))
    linear(cgp.nets.slow.critics, (0.0, -3.0, 0.0), (0.0, -3.0, 0.0))
    assert loss_of(cgp, "policy").item() == pytest.approx(1.5**2, abs=0.25)
    with pytest.raises(
        ValueError, match=r"QGP.search_for: expected 'policy', as its policy imitates no search, got 'target'"
    ):
        QGP(search_for="target")


def test_data_and_imitation_search_q_and_targets_its_slow_copy() -> None:
    """Q_1 grows with the action, and the slow one falls; beside what keeps the ReLUs open, by less than 8 bits tell."""
    cgp = agent(CGP(network=Network.of(ONE), policy_noise=0.0, sampling="float32"))
    linear(cgp.nets.slow.critics, (0.0, -3.0, 0.0), (0.0, -3.0, 0.0))
    assert cgp.act(np.ones((1, 1))).item() > 0.9
    assert target(cgp) == pytest.approx(10 + 0.99 * 3, abs=0.2)
    assert loss_of(cgp, "policy").item() == pytest.approx((0.5 - 1) ** 2, abs=0.05)


def test_sacs_losses_by_hand() -> None:
    """α ln π - min Q with α = 0.5. The temperature's loss has slope -(ln π - 1), because the target entropy is -1."""
    sac = agent(SAC(network=Network.of(ONE)))
    always(sac.nets.policy, 0.2, -1.0)
    sac.nets.temperature.log.data.fill_(math.log(0.5))
    chance = sac.rng.clone_state()
    torch.randn(1, 1, generator=chance)  # the target's noise
    action, density = sac.nets.policy.sample(tensor([[1.0]]), chance)
    found = {name: loss for name, loss, _ in losses(sac)}
    a, log_density = action.item(), density.item()
    value = min(1 + 2 * a, 1 - a)
    assert found["policy"].item() == pytest.approx(0.5 * log_density - value, rel=1e-4)
    assert found["temperature"].item() == pytest.approx(-math.log(0.5) * (log_density - 1), rel=1e-4)
    (slope,) = torch.autograd.grad(found["temperature"], sac.nets.temperature.log)
    assert slope.item() == pytest.approx(-(log_density - 1), rel=1e-4)
    two = Agent(SAC(network=Network.of(ONE)), 1, Box([-1.0] * 2, [1.0] * 2), 0)
    assert two.nets.spaces.action_size == 2, "of which the target entropy is the negative"


def test_what_an_agent_explores_by() -> None:
    """TD3 and DDPG add noise and stay in the box, SAC samples, and a search is random itself."""
    states = np.ones((4000, 1))
    for kind in (TD3, DDPG):
        actions = agent(kind(network=Network.of(ONE))).act(states)
        assert actions.mean() == pytest.approx(0.5, abs=0.01)
        assert actions.std() == pytest.approx(0.1, rel=0.05)
        assert np.abs(agent(kind(network=Network.of(ONE), exploration_noise=5.0)).act(states)).max() == 1
    sac = agent(SAC(network=Network.of(ONE)))
    always(sac.nets.policy, 0.2, -1.0)
    assert np.arctanh(sac.act(states).astype(float)).std() == pytest.approx(math.exp(-1), rel=0.05)
    assert sac.act(states, explore=False).std() < 1e-6
    for name in ("cgp", "qgp", "qt_opt"):
        found = agent(AGENTS[name](network=Network.of(ONE), search=CEM()))
        assert 0.8 < found.act(states[:50]).mean() < 1


@pytest.mark.parametrize("name", ["ddpg", "td3", "qgp"])
def test_several_choices_at_once_cannot_be_climbed(name: str) -> None:
    with pytest.raises(ValueError, match=r"action space: expected a Box or one choice, got Choices\(\(2, 3\)\)"):
        Agent(AGENTS[name](), 1, MultiDiscrete([2, 3]), seed=0)


def test_an_agent_that_imitates_takes_several_choices() -> None:
    found = Agent(CGP(network=Network.of(ONE)), 1, MultiDiscrete([2, 3]), seed=0)
    assert found.act(np.zeros((4, 1)), explore=False).shape == (4, 2)


def test_a_share_of_choices_is_random() -> None:
    found = Agent(DDPG(network=Network.of(ONE), exploration_noise=0.3), 1, Discrete(3), seed=0)
    always(found.nets.policy, 0.0, 9.0, 0.0)
    taken = found.act(np.zeros((20_000, 1)))
    assert [(taken == answer).mean() for answer in range(3)] == pytest.approx([0.1, 0.8, 0.1], abs=0.01)
    assert (found.act(np.zeros((9, 1)), explore=False) == 1).all()


@pytest.mark.parametrize("name", ["dqn", "td3", "sac", "qt_opt"])
@pytest.mark.parametrize("more", [{}, {"n_step": 2}])
def test_a_factor_of_the_rewards_changes_their_unit(name: str, more: dict[str, int]) -> None:
    if name == "dqn" and more:
        return
    losses, space = [], Discrete(3) if name == "dqn" else UNIT
    for scale, reward in ((1.0, 0.5), (0.5, 1.0)):
        found = Agent(AGENTS[name](network=Network.of(ONE), reward_scale=scale, **more), 1, space, seed=0)
        for _ in range(40):
            x = np.zeros((1, 1))
            never = np.zeros(1, dtype=bool)
            action = np.ones(1, int) if name == "dqn" else np.full((1, 1), 0.3)
            found.observe(Transition(x, action, np.full(1, reward), x, never, never, np.arange(1)))
        losses.append(found.update())
    assert losses[0] == losses[1]


# --- what moves when --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "policy_every", "target_every"),
    [(CGP, 1, 2), (QGP, 1, 2), (TD3, 2, 2), (DDPG, 1, 1), (SAC, 1, 1), (QtOpt, None, 2)],
)
def test_how_often_what_learns(kind: type[Algorithm], policy_every: int | None, target_every: int) -> None:
    """CGP: a step of the policy for each step of Q (sec. 5.3), and of the targets for every second step (Table 2)."""
    found = agent(kind(network=Network.of(Architecture((4, 4)))) if kind is SAC else kind(network=Network.of(ONE)))  # type: ignore[call-arg]
    found.replay = Always()
    policy_moved, target_moved = [], []
    for _ in range(4):
        policy = copy.deepcopy(found.nets.modules.get("policy"))
        slow = [weight.clone() for weight in found.nets.slow.critics.parameters()]
        found.update()
        policy_moved.append(policy is not None and not equal(policy.parameters(), found.nets.policy.parameters()))
        target_moved.append(not equal(slow, found.nets.slow.critics.parameters()))
    assert policy_moved == [policy_every is not None and n % policy_every == 0 for n in range(1, 5)]
    assert target_moved == [n % target_every == 0 for n in range(1, 5)]


def equal(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", [TD3, DDPG, SAC, CGP, QGP, QtOpt])
def test_targets_follow_slowly(kind: Any) -> None:
    found = agent(kind(network=Network.of(ONE), tau=0.25, target_every=1))
    found.replay = Always()
    before = {name: [weight.clone() for weight in slow.parameters()] for name, slow in found.nets.copies.items()}
    found.update()
    for name, weights in before.items():
        pairs = zip(weights, found.nets.modules[name].parameters(), strict=True)
        expected = [0.75 * a + 0.25 * b for a, b in pairs]
        torch.testing.assert_close(list(found.nets.copies[name].parameters()), expected)
    assert set(before) == ({"critics", "policy"} if kind in (TD3, DDPG) else {"critics"})


@pytest.mark.parametrize("kind", [TD3, DDPG, SAC, CGP, QGP, QtOpt])
def test_each_module_has_a_rate_of_its_own(kind: Any) -> None:
    nets = Agent(kind(network=Network(ONE, ONE, Optimizer(0.25), Optimizer(0.5))), 1, UNIT, seed=0).nets
    rates = {"critics": 0.5, "policy": 0.25, "temperature": 3e-4}
    assert {name: part.optimizer for name, part in nets.parts.items()} == {
        name: Optimizer(rates[name]) for name in nets.modules
    }


def test_whether_a_search_can_search_is_found_out_by_other_draws() -> None:
    """So an agent's own random numbers do not depend on its planner."""
    one, other = (Agent(QtOpt(network=Network.of(ONE), search=CEM(samples=n)), 1, UNIT, seed=0) for n in (20, 30))
    assert torch.equal(one.rng.get_state(), other.rng.get_state())
    assert np.array_equal(one.act_at_random(3), other.act_at_random(3))


# --- a policy that waits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "every", "due"), [(CGP, 1, 40), (QGP, 2, 20)])
def test_a_policy_that_waits_learns_only_at_the_end(kind: Any, every: int, due: int) -> None:
    """Until then it acts by the search."""
    found = Agent(kind(network=Network.of(Architecture((8, 8))), mode="offline", policy_every=every), 1, UNIT, seed=0)
    policy, critics = (found.nets.modules[name] for name in ("policy", "critics"))
    before = copy.deepcopy(policy)
    said: list[str] = []
    found.finish(said.append)
    assert found.unfinished, "nothing was there to learn from"
    state, none = np.linspace(-1, 1, 30)[:, None], np.zeros(30, dtype=bool)
    found.observe(Transition(state, state, state[:, 0], state, none, none, np.arange(30)))
    for _ in range(10):
        found.update()
    found.updates = 40
    assert equal(before.parameters(), policy.parameters())
    shown = found.act(state, explore=False)
    assert not np.allclose(shown, found.algorithm.exploit(found.nets, tensor(state).float()).detach().numpy())
    fixed = copy.deepcopy(critics)
    found.finish(said.append)
    assert found.finished == due
    assert not equal(before.parameters(), policy.parameters())
    assert equal(fixed.parameters(), critics.parameters())
    assert said[0].startswith("training the policy  loss ")
    assert said[0].endswith(f"update 20/{due}")
    assert not found.unfinished
    expected = found.algorithm.exploit(found.nets, tensor(state).float()).detach().numpy()
    assert np.allclose(found.act(state, explore=False), expected)


def test_a_finish_that_is_interrupted_goes_on() -> None:
    cgp = CGP(network=Network.of(Architecture((8, 8))), mode="offline")
    first, second = (Agent(cgp, 1, UNIT, seed=0) for _ in range(2))
    state, none = np.linspace(-1, 1, 30)[:, None], np.zeros(30, dtype=bool)
    for found in (first, second):
        found.observe(Transition(state, state, state[:, 0], state, none, none, np.arange(30)))
        found.update()
        found.updates = 50
    first.finish()
    with pytest.raises(KeyboardInterrupt):
        second.finish(_interrupt)
    assert second.finished == 20
    second.finish()
    assert equal(first.nets.modules["policy"].parameters(), second.nets.modules["policy"].parameters())


def _interrupt(text: str) -> None:
    raise KeyboardInterrupt


def test_figures_are_means_since_they_were_last_asked_for() -> None:
    found = agent(TD3(network=Network.of(ONE), policy_noise=0.0))
    assert found.figures() == {}
    found.replay = Always()
    expected: dict[str, list[float]] = {}
    for step in (1, 2, 3):
        for name, loss, figures in losses(copy.deepcopy(found), step):
            expected.setdefault(f"{name}_loss", []).append(loss.item())
            for figure, value in figures.items():
                expected.setdefault(figure, []).append(value.item())
        if step == 2:  # the policy's loss comes after the critics' step
            del expected["policy_loss"]
        found.update()
    figures = found.figures()
    assert figures.keys() == {"critics_loss", "policy_loss", "value"}
    for name, values in expected.items():
        assert figures[name] == pytest.approx(sum(values) / 3, rel=1e-5)
    assert found.figures() == {}


def test_a_setting_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"^TD3\.policy_every: expected an integer of at least 1, got 0"):
        TD3(policy_every=0)
