"""MPO and V-MPO: the dual of the temperature, the decoupled M-step and its multipliers."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, tensor
from torch.distributions import Normal

from elites.agents import MPO, VMPO, Transition
from elites.agents.algorithms.duals import Dual, divergences, likelihood, temperature_loss, trust_loss, weights
from elites.agents.algorithms.on_policy import Segment
from elites.networks import NormalHead
from elites.networks.action_distributions import NormalAction
from tests.agents.small import TINY, filled, losses, rng


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


def test_vmpo_takes_the_better_half() -> None:
    vmpo = VMPO(network=TINY)
    nets: Any = SimpleNamespace(duals={"temperature": eta(2.0).float()})
    some = Segment(torch.zeros(5, 1), torch.zeros(5, 1), tensor([3.0, -1.0, 5.0, 0.0, 1.0]), torch.zeros(5))
    best, weight = vmpo.weights(nets, some)
    assert sorted(best.tolist()) == [0, 2]
    assert dict(zip(best.tolist(), weight.tolist(), strict=True))[2] == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-5)
    loss = vmpo.temperature_loss(nets, some.advantage[best])
    assert loss.item() == pytest.approx(2 * (0.1 + math.log((math.exp(1.5) + math.exp(2.5)) / 2)), rel=1e-5)
