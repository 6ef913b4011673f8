"""The model-free agents: every loss and target by hand, and a task that each of them has to solve."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, tensor
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from elites import Box, config
from elites.agents import AGENTS, CGP, DDPG, QCEM, QGP, SAC, TD3, Algorithm, Grown, OffPolicy
from elites.agents.cgp import PI_CEM
from elites.networks import native
from elites.networks.policies import Critics, NormalPolicy, Policy
from elites.planners import Plan
from elites.runs import checkpoint

UNIT = Box([-1.0], [1.0])


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def same(a: Any, b: Any) -> bool:
    """Nested dicts and lists of tensors and numbers, bit for bit."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, Grown):
        return a.first == b.first and same(dict(a.columns), dict(b.columns))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# --- networks whose values are known ----------------------------------------------------------------------------------


@torch.no_grad()
def linear(critics: Critics, *members: tuple[float, float, float]) -> None:
    """Q_j(s, a) = p s + q a + r, where each (p, q, r) is one; 100 keeps the ReLUs open."""
    for j, (p, q, r) in enumerate(members):
        critics.weights[0][j], critics.biases[0][j] = tensor([[p], [q]]), 100.0
        critics.weights[1][j], critics.biases[1][j] = 1.0, 0.0
        critics.weights[2][j], critics.biases[2][j] = 1.0, r - 100.0


@torch.no_grad()
def always(policy: Any, *outputs: float) -> None:
    """The last layer says these, whatever the state."""
    policy.layers[-1].weight.zero_()
    policy.layers[-1].bias.copy_(tensor(outputs))


def agent(algorithm: Algorithm) -> OffPolicy:
    """Of a state and an action: Q'_1 = 2s + 3a + 1, Q'_2 = s + a + 5, Q_1 = s + 2a, Q_2 = 1 - a, π = 0.5, π' = 0.6."""
    found = OffPolicy(algorithm, 1, UNIT, seed=0)
    both = [(2.0, 3.0, 1.0), (1.0, 1.0, 5.0)][: algorithm.critics]
    linear(found.learned.slow_critics, *both)
    linear(found.learned.critics, *[(1.0, 2.0, 0.0), (0.0, -1.0, 1.0)][: algorithm.critics])
    if type(algorithm) in (TD3, DDPG, CGP, QGP):
        always(found.learned.policy, math.atanh(0.5))
    if found.learned.slow_policy:
        always(found.learned.slow_policy, math.atanh(0.6))
    return found


def rows(**columns: float) -> dict[str, Tensor]:
    row = {"state": 1.0, "action": 0.2, "reward": 10.0, "next_state": 2.0, "terminated": 0.0} | columns
    return {name: tensor([[x]] if name in ("state", "action", "next_state") else [x]) for name, x in row.items()}


@dataclass(frozen=True)
class Says:
    """A planner that answers 0.3, and remembers nothing."""

    action: float = 0.3

    def plan(self, objective: Any, box: Box, start: Any = None, *, batch: tuple[int, ...] = (), **_: Any) -> Plan:
        return Plan.at(torch.full((*batch, *box.shape), self.action), batch)


# --- targets ----------------------------------------------------------------------------------------------------------


def test_target_of_td3_by_hand() -> None:
    """At s' = 2, a' = 0.6: Q'_1 = 6.8, Q'_2 = 7.6."""
    td3 = agent(TD3(width=1, policy_noise=0.0))
    torch.testing.assert_close(td3.target(rows()), tensor([10 + 0.99 * 6.8]))


def test_target_of_ddpg_by_hand() -> None:
    torch.testing.assert_close(agent(DDPG(width=1)).target(rows()), tensor([10 + 0.99 * 6.8]))


def test_the_targets_noise_is_clipped_and_stays_in_the_box() -> None:
    """A huge spread is always clipped: a' is 0.6 - 0.1 or 0.6 + 0.1; with a clip of 0.9, 0.6 - 0.9 or the bound 1."""
    for clip, actions in ((0.1, (0.5, 0.7)), (0.9, (-0.3, 1.0))):
        td3 = agent(TD3(width=1, policy_noise=1e6, noise_clip=clip))
        values = {round(td3.target(rows()).item(), 3) for _ in range(40)}
        assert values == {round(10 + 0.99 * min(5 + 3 * a, 7 + a), 3) for a in actions}


def test_target_of_cgp_by_hand() -> None:
    """At s' = 2, a' = 0.3 as the search says: Q'_1 = 5.9, Q'_2 = 7.3."""
    for kind in (QCEM, CGP, QGP):
        found = agent(kind(width=1, policy_noise=0.0, search=Says()))
        torch.testing.assert_close(found.target(rows()), tensor([10 + 0.99 * 5.9]))


def test_target_of_sac_by_hand() -> None:
    """min Q' - α ln π(a'), with the same draw from a normal of mean 0.2 and spread e^-1, and α = 0.5."""
    sac = agent(SAC(width=1))
    always(sac.learned.policy, 0.2, -1.0)
    sac.learned.policy.log_temperature.data.fill_(math.log(0.5))
    epsilon = torch.randn(1, 1, generator=sac.learned.rng.clone_state())
    a = math.tanh(raw := 0.2 + math.exp(-1) * epsilon.item())
    density = Normal(0.2, math.exp(-1)).log_prob(tensor(raw)).item() - math.log(1 - a**2)
    expected = 10 + 0.99 * (min(5 + 3 * a, 7 + a) - 0.5 * density)
    torch.testing.assert_close(sac.target(rows()), tensor([expected]))


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_what_has_terminated_has_no_future_and_what_was_truncated_has(name: str) -> None:
    """A truncated transition is one that did not terminate: nothing else of it is stored."""
    found = agent(config.build(Algorithm, {"name": name, "width": 1}))  # type: ignore[type-abstract]
    assert found.target(rows(terminated=1.0)).item() == 10
    assert found.target(rows()).item() > 12


# --- losses -----------------------------------------------------------------------------------------------------------


def test_the_critics_loss_by_hand() -> None:
    """Q_1 = 1.4 and Q_2 = 0.8 at (1, 0.2), against 10 + 0.99 · 6.8."""
    td3 = agent(TD3(width=1, policy_noise=0.0, batch=4))
    td3.replay.add(**{name: column[0] for name, column in rows().items()})
    target = 10 + 0.99 * 6.8
    assert td3.update().item() == pytest.approx((1.4 - target) ** 2 + (0.8 - target) ** 2, rel=1e-5)


@pytest.mark.parametrize("kind", [TD3, DDPG, QGP])
def test_a_policy_that_climbs_q_by_hand(kind: Any) -> None:
    """-Q_1(1, 0.5) = -2; the gradient of the last bias is -dQ_1/da · (1 - tanh²) = -2 · 0.75."""
    found = agent(kind(width=1))
    loss = found.algorithm.policy_loss(found.learned, rows())
    assert loss.item() == pytest.approx(-2, rel=1e-5)
    (slope,) = torch.autograd.grad(loss, found.learned.policy.layers[-1].bias)
    assert slope.item() == pytest.approx(-1.5, rel=1e-5)


def test_cgps_policy_loss_by_hand() -> None:
    """(0.5 - 0.3)², and its gradient 2 · 0.2 · 0.75."""
    cgp = agent(CGP(width=1, search=Says()))
    loss = cgp.algorithm.policy_loss(cgp.learned, {"state": tensor([[1.0], [7.0]])})
    assert loss.item() == pytest.approx(0.04, rel=1e-5)
    (slope,) = torch.autograd.grad(loss, cgp.learned.policy.layers[-1].bias)
    assert slope.item() == pytest.approx(0.3, rel=1e-5)


def test_sacs_policy_loss_by_hand() -> None:
    """α ln π - min Q with α = 0.5; the temperature's own gradient is -(ln π - 1), as the target entropy is -1."""
    sac = agent(SAC(width=1))
    always(sac.learned.policy, 0.2, -1.0)
    sac.learned.policy.log_temperature.data.fill_(math.log(0.5))
    action, density = sac.learned.policy.sample(tensor([[1.0]]), sac.learned.rng.clone_state())
    loss = sac.algorithm.policy_loss(sac.learned, rows())
    a, log_density = action.item(), density.item()
    value = min(1 + 2 * a, 1 - a)
    assert loss.item() == pytest.approx(0.5 * log_density - value - math.log(0.5) * (log_density - 1), rel=1e-4)
    (slope,) = torch.autograd.grad(loss, sac.learned.policy.log_temperature)
    assert slope.item() == pytest.approx(-(log_density - 1), rel=1e-4)


def test_the_squashed_normals_density() -> None:
    """Against torch.distributions, whatever the box."""
    policy = NormalPolicy(3, Box([-2.0, 0.0], [4.0, 1.0]), (8, 8), rng())
    state = torch.randn(50, 3, generator=rng(1))
    action, density = policy.sample(state, rng(2))
    mean, log_std = policy.layers(state).chunk(2, -1)
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform())
    torch.testing.assert_close(density, squashed.log_prob(action).sum(-1), rtol=1e-3, atol=1e-3)


def test_a_policys_update_leaves_the_critics_alone() -> None:
    for kind in (TD3, SAC, QGP, CGP):
        found = agent(kind(width=4) if kind is SAC else kind(width=1))
        before = copy.deepcopy(found.state_dict())
        found.update_policy(rows())
        after = found.state_dict()
        assert same(dict(after["critics"]), dict(before["critics"]))
        assert not same(dict(after["policy"]), dict(before["policy"]))
        assert all(weight.grad is None for weight in found.learned.critics.parameters())


@pytest.mark.parametrize(
    ("kind", "policy_every", "target_every"),
    [(CGP, 1, 2), (QGP, 1, 2), (TD3, 2, 2), (DDPG, 1, 1), (SAC, 1, 1), (QCEM, None, 2)],
)
def test_how_often_what_learns(kind: type[Algorithm], policy_every: int | None, target_every: int) -> None:
    """CGP: a step of the policy for each of Q (sec. 5.3), the targets' at every second one (Table 2)."""
    found = agent(kind(width=4) if kind is SAC else kind(width=1))
    found.replay.add(**{name: column[0] for name, column in rows().items()})
    policy_moved, target_moved = [], []
    for _ in range(4):
        before = copy.deepcopy(found.state_dict())
        found.update()
        after = found.state_dict()
        policy_moved.append("policy" in after and not same(dict(after["policy"]), dict(before["policy"])))
        target_moved.append(not same(dict(after["slow_critics"]), dict(before["slow_critics"])))
    assert policy_moved == [policy_every is not None and n % policy_every == 0 for n in range(1, 5)]
    assert target_moved == [n % target_every == 0 for n in range(1, 5)]


def test_targets_follow_slowly() -> None:
    td3 = agent(TD3(width=1, tau=0.25, target_every=1))
    td3.replay.add(**{name: column[0] for name, column in rows().items()})
    before = [weight.clone() for weight in td3.learned.slow_critics.parameters()]
    td3.update()
    expected = [0.75 * a + 0.25 * b for a, b in zip(before, td3.learned.critics.parameters(), strict=True)]
    torch.testing.assert_close(list(td3.learned.slow_critics.parameters()), expected)


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("states", [1, 5, 70])  # the torch engine takes a few states at a time
def test_an_objective_of_actions_is_the_q_function(
    compiled: bool, states: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gradient as well, for planners that climb."""
    if not compiled:
        monkeypatch.setattr(native, "serves", lambda *_: False)
    critics = Critics(3, 2, 2, (16, 16), rng())
    state, actions = torch.randn(states, 3, generator=rng(1)), torch.randn(states, 20, 2, generator=rng(2))
    for member in (0, 1):
        ours, plain = actions.clone().requires_grad_(), actions.clone().requires_grad_()
        found = critics.at(state, member=member)(ours)
        expected = critics.values(state.repeat_interleave(20, 0), plain.flatten(0, 1))[member].reshape(states, 20)
        torch.testing.assert_close(found, expected)
        slopes = [torch.autograd.grad(values.sum(), x)[0] for values, x in ((found, ours), (expected, plain))]
        torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(
    ("precision", "known_by", "lost"),
    [("float16", {"avx512_fp16"}, 0.01), ("bfloat16", {"avx512_fp16", "avx512_bf16"}, 0.02)],
)
def test_an_objective_in_16_bits_ranks_as_float32_does(precision: Any, known_by: set[str], lost: float) -> None:
    """Large values as well, such as returns are: what is lost is a small share of how far candidates differ, anywhere
    in the box, and of what a search gains, whose later candidates are close to each other.
    """
    critics = Critics(17, 6, 2, (256, 256), rng())
    with torch.no_grad():
        critics.weights[-1].mul_(300)
        critics.biases[-1].fill_(500)
    state, actions = torch.randn(50, 17, generator=rng(1)), 2 * torch.rand(50, 64, 6, generator=rng(2)) - 1
    exact, rough = critics.at(state)(actions), critics.at(state, precision)(actions)
    assert torch.equal(exact, rough) == known_by.isdisjoint(native.kernels()[:1])
    assert (rough - exact).std() < lost * exact.std(1).mean()
    found, best = exact.gather(1, rough.argmax(1, keepdim=True)).squeeze(1), exact.amax(1)
    assert ((best - found) / (best - exact.mean(1))).max() < 0.01
    cube, answers = Box([-1.0] * 6, [1.0] * 6), []
    for numbers in ("float32", precision):
        plan = PI_CEM.plan(critics.at(state, numbers), cube, batch=(50,), rng=rng(3))
        answers.append(critics.at(state)(plan.best.unsqueeze(1)).squeeze(1))
    gain = answers[0] - exact.mean(1)
    assert ((answers[0] - answers[1]).mean() / gain.mean()).abs() < 0.005


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_an_objective_too_large_for_float16_is_one_in_float32(layer: int) -> None:
    critics = Critics(17, 6, 2, (256, 256), rng())
    state, actions = torch.randn(50, 17, generator=rng(1)), 2 * torch.rand(50, 64, 6, generator=rng(2)) - 1
    with torch.no_grad():
        critics.weights[layer].mul_(1e7)
    assert torch.equal(critics.at(state, "float16")(actions), critics.at(state)(actions))


def test_critics_by_hand() -> None:
    """Each member alone, a layer at a time."""
    critics = Critics(3, 2, 2, (4, 5), rng())
    state, action = torch.randn(6, 3, generator=rng(1)), torch.randn(6, 2, generator=rng(2))
    for member in (0, 1):
        x = torch.cat([state, action], 1)
        for weight, bias in critics.layers()[:-1]:
            x = (x @ weight[member] + bias[member]).relu()
        x = x @ critics.weights[-1][member] + critics.biases[-1][member]
        torch.testing.assert_close(critics.values(state, action)[member], x.squeeze(1))


def test_a_policy_stays_in_its_box() -> None:
    """Even where centre + half width is not the bound, in float32."""
    low = torch.randn(500, generator=rng(2))
    high = low + torch.rand(500, generator=rng(3))
    box = Box(low, high)
    assert (box.centre + box.half > high).any()
    policy = Policy(3, box, (8, 8), rng())
    for far, bound in ((-100.0, low), (100.0, high)):
        always(policy, *[far] * 500)
        found = policy(torch.randn(1, 3, generator=rng(1)))[0]
        torch.testing.assert_close(found, bound)
        assert ((found >= low) & (found <= high)).all()


def test_pi_cem_finds_the_maximum_of_a_known_q_in_a_batch() -> None:
    """Against a grid over the action, for networks of many humps; the paper's own two iterations, and six."""
    critics = Critics(2, 1, 1, (64, 64), rng())
    with torch.no_grad():
        critics.weights[0].mul_(8)
        state, grid = torch.randn(100, 2, generator=rng(1)), torch.linspace(-1, 1, 2001).reshape(1, -1, 1)
        values = critics.at(state)(grid.expand(100, -1, -1))
    top, spread = values.amax(1), values.amax(1) - values.amin(1)
    for search, lost in ((PI_CEM, 0.02), (replace(PI_CEM, iterations=6), 0.01)):
        plan = search.plan(critics.at(state), UNIT, batch=(100,), rng=rng(3))
        assert ((top - plan.value) / spread).mean() < lost


# --- whole agents -----------------------------------------------------------------------------------------------------


def learn(found: OffPolicy, steps: int) -> None:
    """x' = x + a / 2 for five steps from anywhere in [-1, 1]; the reward is -x'². It ends by truncation alone."""
    chance = rng(5)
    x, age = tensor([0.5]), 0
    for step in range(steps):
        action = torch.as_tensor(found.act(x)) if step >= 100 else 2 * torch.rand(1, generator=chance) - 1
        following = x + action / 2
        reward = -following.square().item()
        found.replay.add(state=x, action=action, reward=reward, next_state=following, terminated=False)
        x, age = following, age + 1
        if age == 5:
            x, age = 2 * torch.rand(1, generator=chance) - 1, 0
        if step >= 100:
            found.update()
    found.finish()


SOLVERS = {name: {"name": name} for name in AGENTS} | {
    "cgp offline": {"name": "cgp", "mode": "offline"},
    "qgp offline": {"name": "qgp", "mode": "offline"},
    "sac": {"name": "sac", "critic_rate": 3e-3, "policy_rate": 3e-3},  # its temperature begins at 1 and has far to go
}


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_every_agent_solves_an_easy_task(name: str) -> None:
    """Best is a = -2x inside [-1, 1]: within 0.15 on average, where acting at random is 0.8 off."""
    algorithm = config.build(Algorithm, SOLVERS[name] | {"width": 64})  # type: ignore[type-abstract]
    found = OffPolicy(algorithm, 1, UNIT, seed=0)
    learn(found, 1000)
    x = torch.linspace(-1, 1, 41).unsqueeze(1)
    action = torch.as_tensor(found.act(x, explore=False))
    assert (action - (-2 * x).clamp(-1, 1)).abs().mean() < 0.15


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_equal_seeds_give_equal_agents_and_a_checkpoint_goes_on_bit_for_bit(name: str, tmp_path: Any) -> None:
    algorithm = config.build(Algorithm, {"name": name, "width": 8})  # type: ignore[type-abstract]
    first, second, third = (OffPolicy(algorithm, 1, UNIT, seed=seed) for seed in (3, 3, 4))
    for one in (first, second, third):
        learn(one, 130)
    assert same(first.state_dict(), second.state_dict())
    assert not same(first.state_dict(), third.state_dict())
    third.load_state_dict(checkpoint.read(checkpoint.write(tmp_path, first.state_dict())))
    for _ in range(3):
        assert torch.equal(first.update(), third.update())
    state = torch.randn(4, 1, generator=rng(1))
    assert np.array_equal(first.act(state), third.act(state))
    assert same(first.learned.critics.state_dict(), third.learned.critics.state_dict())


def test_rates_are_those_of_the_settings_after_loading() -> None:
    first, second = (
        OffPolicy(TD3(width=8), 1, UNIT, 0),
        OffPolicy(TD3(width=8, critic_rate=0.5, policy_rate=0.25), 1, UNIT, 0),
    )
    second.load_state_dict(first.state_dict())
    assert second.critic_optimizer.param_groups[0]["lr"] == 0.5
    assert second.policy_optimizer.param_groups[0]["lr"] == 0.25


def test_what_is_not_finite() -> None:
    for name in ("critics", "policy"):
        found = OffPolicy(CGP(width=8), 1, UNIT, seed=0)
        assert found.non_finite() is None
        next(iter(getattr(found.learned, name).parameters())).data.view(-1)[3] = math.nan
        assert f"weights of the {name} that are not" in str(found.non_finite())


def test_figures_by_hand() -> None:
    """Q_1 = 1.4 and Q_2 = 0.8 at s = 1, a = 0.2; the target is 10 + 0.99 · 6.8."""
    td3 = agent(TD3(width=1, policy_noise=0.0))
    assert td3.figures() == {}
    td3.replay.add(**{name: column[0] for name, column in rows().items()})
    td3.update()
    expected = sum((q - 16.732) ** 2 for q in (1.4, 0.8))
    assert td3.figures() == pytest.approx({"critic_loss": expected, "value": 1.1}, rel=1e-4)
    assert td3.figures() == {}


def test_a_policy_that_waits_learns_only_at_the_end() -> None:
    found = OffPolicy(CGP(width=8, mode="offline"), 1, UNIT, seed=0)
    before = copy.deepcopy(found.learned.policy.state_dict())
    said: list[str] = []
    found.finish(said.append)
    assert found.policy_waits, "nothing was there to learn from"
    for _ in range(5):
        found.replay.add(**{name: column[0] for name, column in rows().items()})
    for _ in range(10):
        found.update()
    found.updates = 40
    assert same(dict(before), dict(found.learned.policy.state_dict()))
    critics = copy.deepcopy(found.learned.critics.state_dict())
    found.finish(said.append)
    assert not same(dict(before), dict(found.learned.policy.state_dict()))
    assert same(dict(critics), dict(found.learned.critics.state_dict()))
    assert said[0].startswith("training the policy  update 20/40  loss ")
    assert not found.policy_waits


def test_actions_stay_in_the_box() -> None:
    box = Box([-2.0, 0.0], [4.0, 1.0])
    for name in AGENTS:
        found = OffPolicy(config.build(Algorithm, {"name": name, "width": 8}), 3, box, seed=0)  # type: ignore[type-abstract]
        for explore in (True, False):
            actions = torch.as_tensor(found.act(torch.randn(50, 3, generator=rng(1)), explore))
            assert actions.shape == (50, 2)
            assert torch.equal(actions, box.project(actions))
            assert found.act(torch.randn(3, generator=rng(1)), explore).shape == (2,)


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_how_large_the_box_is_makes_no_difference(name: str) -> None:
    """From [-1, 1]² to [-4, 0] × [-3, 5], by powers of two: what is learned is the same, bit for bit."""
    small, large = Box([-1.0, -1.0], [1.0, 1.0]), Box([-4.0, -3.0], [0.0, 5.0])
    algorithm = config.build(Algorithm, {"name": name, "width": 8})  # type: ignore[type-abstract]
    states, moves = torch.randn(40, 3, generator=rng(1)), small.uniform(40, rng(2)).mul(64).round().div(64)
    critics, actions = [], []
    for box in (small, large):
        found = OffPolicy(algorithm, 3, box, seed=0)
        found.replay.extend(
            state=states, action=box.from_unit(moves), reward=states[:, 0], next_state=states.flip(0),
            terminated=torch.zeros(40),
        )  # fmt: skip
        found.improve(5)
        critics.append(dict(found.learned.critics.state_dict()))
        actions.append(box.to_unit(torch.as_tensor(found.act(states))))
    assert same(*critics)
    torch.testing.assert_close(*actions)


def test_a_box_without_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="box: expected one of a vector with finite bounds"):
        OffPolicy(TD3(), 3, Box([-math.inf], [math.inf]), seed=0)
