"""Losses that the kernel computes completely, against torch's; and their use in unusual ways."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites.networks import library
from elites.networks.acting import perturbed
from elites.networks.architecture import Architecture
from elites.networks.climbing import climb, soft_climb
from elites.networks.critics import Critics
from elites.networks.fitting import bellman, fit
from elites.networks.heads import NormalHead
from elites.networks.learning import gradients_of
from elites.networks.policies import Policy
from elites.spaces import Box

pytestmark = pytest.mark.skipif(not library.kernels(), reason="the kernel was not built")
BOX = Box([-1.0, -2.0, -1.0], [1.0, 2.0, 3.0])
ROWS, STATES, ACTIONS = 50, 7, 3


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def numbers(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape, generator=rng(seed))


def critics_of(count: int = 2, activation: Any = "tanh") -> Critics:
    return Critics(STATES, ACTIONS, count, Architecture((40, 33), activation), rng(1))


def policy_of(soft: bool = False) -> Policy:
    return Policy(STATES, BOX, Architecture((40, 33), "tanh"), rng(2), NormalHead() if soft else None)


STATE, ACTION, TARGET = numbers(ROWS, STATES), numbers(ROWS, ACTIONS, seed=6).tanh(), numbers(ROWS, seed=7)
TERMINATED = numbers(ROWS, seed=8) > 0
Loss = Callable[[Any], Tensor]  # of the module that learns


def the_fit() -> tuple[Critics, Loss]:
    return critics_of(), lambda critics: fit(critics, STATE, ACTION, TARGET)[0]


def the_climb() -> tuple[Policy, Loss]:
    critics = critics_of()
    return policy_of(), lambda policy: climb(policy, critics, STATE)


def the_soft_climb() -> tuple[Policy, Loss]:
    critics, alpha = critics_of(), torch.tensor(0.3)
    return policy_of(soft=True), lambda policy: soft_climb(policy, critics, STATE, alpha, rng(9))[0]


LOSSES: Any = pytest.mark.parametrize("made", [the_fit, the_climb, the_soft_climb])


def in_torch(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        return work()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * expected.abs().max().item())


def descent(module: Any, loss: Tensor) -> list[Tensor]:
    found = gradients_of(loss, list(module.parameters()))
    return [x.clone() for x in found if x is not None]


@LOSSES
@pytest.mark.usefixtures("kernel")
def test_value_and_gradients(monkeypatch: Any, made: Any) -> None:
    module, loss = made()
    mine = loss(module)
    assert hasattr(mine, "known")
    rates = descent(module, mine)
    theirs = in_torch(monkeypatch, lambda: loss(module))
    assert not hasattr(theirs, "known")
    close(mine, theirs)
    expected = in_torch(monkeypatch, lambda: descent(module, theirs))
    assert len(rates) == len(expected) == len(list(module.parameters()))
    for pair in zip(rates, expected, strict=True):
        close(*pair)


@LOSSES
def test_any_function_of_the_loss_may_be_descended(made: Any) -> None:
    module, loss = made()
    once, twice = descent(module, loss(module)), descent(module, 2 * loss(module))
    for one, two in zip(once, twice, strict=True):
        close(two, 2 * one)


@LOSSES
def test_a_second_way_back(made: Any) -> None:
    module, loss = made()
    mine = loss(module)
    for one, two in zip(descent(module, mine), descent(module, mine), strict=True):
        close(one, two)


@LOSSES
def test_a_gradient_of_the_gradient(monkeypatch: Any, made: Any) -> None:
    module, loss = made()

    def curvature() -> Tensor:
        rates = torch.autograd.grad(loss(module), list(module.parameters()), create_graph=True)
        squares = torch.stack([rate.square().sum() for rate in rates]).sum()
        return torch.cat([x.flatten() for x in torch.autograd.grad(squares, list(module.parameters()))])

    close(curvature(), in_torch(monkeypatch, curvature))


@LOSSES
def test_weights_that_have_changed_since(made: Any) -> None:
    module, loss = made()
    mine = loss(module)
    with torch.no_grad():
        next(module.parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        descent(module, mine)


@LOSSES
def test_two_losses_at_a_time(made: Any) -> None:
    """No loss overwrites the other's data."""
    module, loss = made()
    expected = descent(module, loss(module))
    first, second = loss(module), loss(module)
    for found in (descent(module, second), descent(module, first)):
        for pair in zip(found, expected, strict=True):
            close(*pair)


@LOSSES
def test_without_a_graph(made: Any) -> None:
    module, loss = made()
    expected = loss(module)
    with torch.no_grad():
        found = loss(module)
    assert not found.requires_grad
    close(found, expected.detach())


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.usefixtures("kernel")
def test_targets(monkeypatch: Any, members: int, entropy: bool) -> None:
    critics, rows = critics_of(members), SimpleNamespace(next_state=STATE, reward=TARGET, terminated=TERMINATED)
    soft = (torch.tensor(0.3), numbers(ROWS, seed=9)) if entropy else None
    found = bellman(critics, rows, ACTION, 0.9, soft)
    close(found, in_torch(monkeypatch, lambda: bellman(critics, rows, ACTION, 0.9, soft)))
    assert torch.equal(found[TERMINATED], TARGET[TERMINATED])
    values = critics.values(STATE, ACTION)
    future = values.amin(0) - (soft[0] * soft[1] if soft else 0)
    close(found[~TERMINATED], (TARGET + 0.9 * future)[~TERMINATED].detach())


def test_a_target_that_is_no_number_stays_none() -> None:
    critics, state = critics_of(), STATE.clone()
    state[3, 2] = torch.nan
    rows = SimpleNamespace(next_state=state, reward=TARGET, terminated=torch.zeros(ROWS, dtype=torch.bool))
    found = bellman(critics, rows, ACTION, 0.9)
    assert found.isnan().nonzero().flatten().tolist() == [3]


def test_critics_that_are_least_together_share_the_gradient() -> None:
    critics, policy = critics_of(), policy_of(soft=True)
    with torch.no_grad():
        for parameter in critics.parameters():
            parameter[1] = parameter[0]
    one = Critics(STATES, ACTIONS, 1, critics.mlp.architecture, rng(1))
    with torch.no_grad():
        for mine, theirs in zip(one.parameters(), critics.parameters(), strict=True):
            mine.copy_(theirs[:1])
    alpha = torch.tensor(0.3)
    both = [descent(policy, soft_climb(policy, each, STATE, alpha, rng(9))[0]) for each in (critics, one)]
    for pair in zip(*both, strict=True):
        close(*pair)


@pytest.mark.usefixtures("kernel")
def test_actions_and_samples(monkeypatch: Any) -> None:
    for state in (STATE, STATE[:1]):
        point, soft = policy_of(), policy_of(soft=True)
        with torch.no_grad():
            found = [point.action(state), *soft.sample_raw(state, rng(4))]
            expected = in_torch(monkeypatch, lambda: [point.action(state), *soft.sample_raw(state, rng(4))])  # noqa: B023
        for pair in zip(found, expected, strict=True):
            close(*pair)


@pytest.mark.usefixtures("kernel")
def test_a_perturbed_action_stays_in_the_cube() -> None:
    noise = 2 * numbers(ROWS, ACTIONS, seed=3)
    found = perturbed(ACTION, noise, 0.4, 0.5)
    torch.testing.assert_close(found, (ACTION + (0.4 * noise).clamp(-0.5, 0.5)).clamp(-1, 1))
    assert (found.abs() == 1).any()
    noise[2, 1] = torch.nan
    assert perturbed(ACTION, noise, 0.4, 0.5).isnan().sum() == 1


@LOSSES
def test_what_the_kernel_does_not_serve(made: Any) -> None:
    """Other number types, and shapes for which torch reports the error."""
    module, loss = made()
    module.double()
    with pytest.raises(RuntimeError):
        loss(module)  # the critics or the rows still have 32 bits
    critics = critics_of().double()
    value, _ = fit(critics, STATE.double(), ACTION.double(), TARGET.double())
    assert value.dtype == torch.float64
    with pytest.raises(RuntimeError, match="size"):
        fit(critics_of(), STATE, ACTION[:, :2], TARGET)


def test_a_subclass_computes_what_it_says() -> None:
    class Optimists(Critics):
        def values(self, state: Tensor, action: Tensor) -> Tensor:
            return super().values(state, action) + 1

        def value(self, state: Tensor, action: Tensor) -> Tensor:
            return super().value(state, action) + 1

    class Still(Policy):
        def action(self, state: Tensor) -> Tensor:
            return 0 * super().action(state)

    plain, critics = critics_of(), Optimists(STATES, ACTIONS, 2, Architecture((40, 33), "tanh"), rng(1))
    close(fit(critics, STATE, ACTION, TARGET + 1)[0], fit(plain, STATE, ACTION, TARGET)[0])
    rows = SimpleNamespace(next_state=STATE, reward=TARGET, terminated=torch.zeros(ROWS, dtype=torch.bool))
    close(bellman(critics, rows, ACTION, 0.5), bellman(plain, rows, ACTION, 0.5) + 0.5)
    close(climb(policy_of(), critics, STATE), climb(policy_of(), plain, STATE) - 1)
    still = Still(STATES, BOX, Architecture((40, 33), "tanh"), rng(2))
    close(climb(still, plain, STATE), -plain.value(STATE, torch.zeros(ROWS, ACTIONS)).mean())
