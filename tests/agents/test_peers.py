"""Our losses and updates against rlax's and d3rlpy's.

Theirs are files, which scripts in tests/data wrote in environments of their own. `make test-peers` runs the scripts
again, and these tests with what they write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, tensor

from elites import Box
from elites.agents import AWAC, VMPO, Agent, Network, Rows
from elites.agents.algorithms.duals import divergences, likelihood, temperature_loss, trust_loss, weights
from elites.agents.algorithms.on_policy import Segment
from elites.networks import Architecture, NormalHead
from elites.networks.action_distributions import NormalAction

FOLDER = Path(os.environ.get("ELITES_PEERS", Path(__file__).parents[1] / "data"))


def theirs(peer: str) -> Any:
    return json.loads((FOLDER / f"{peer}.json").read_text())


def double(x: Any) -> Tensor:
    return tensor(x, dtype=torch.float64)


class Multipliers:
    """Dual variables as parameters of their own."""

    def __init__(self, value: Tensor) -> None:
        self.free, self.value = value, value.detach()

    def learned(self) -> Tensor:
        return self.free


@pytest.mark.parametrize("name", ["mpo", "vmpo"])
def test_the_losses_are_rlaxs(name: str) -> None:
    """Their sum, and its slopes by the policy's mean and spread and by every dual variable."""
    stored = theirs("rlax")
    found, given = stored[name], {key: double(x) for key, x in stored["given"].items()}
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
        torch.testing.assert_close(slope, double(found[f"slope_{key}"]), msg=key)


class TheirHead(NormalHead):
    """A tanh of the mean, and ln σ = -6 + 6 sigmoid(x) of a free parameter x."""

    def _log_std(self, raw: Tensor) -> Tensor:
        return 6 * raw.sigmoid() - 6


def pairs(agent: Agent, stored: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Every parameter of ours with theirs. Matrices of critics are (M, in, out) here, and (out, in) there."""
    nets: Any = agent.nets
    free, *layers = map(double, stored["policy"])
    yield nets.policy.free, free[0]
    yield from zip(nets.policy.mlp.weights, layers[::2], strict=True)
    yield from zip(nets.policy.mlp.biases, layers[1::2], strict=True)
    for critics, name in ((nets.critics, "critics"), (nets.slow.critics, "slow")):
        each = [double(x) for x in stored[name]]
        both = list(zip(each[: len(each) // 2], each[len(each) // 2 :], strict=True))
        yield from zip(critics.mlp.weights, [torch.stack([x.T for x in pair]) for pair in both[::2]], strict=True)
        yield from zip(critics.mlp.biases, [torch.stack(pair)[:, None] for pair in both[1::2]], strict=True)


def test_awacs_updates_are_d3rlpys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights, batches and noise give the same weights after a hundred updates in float64."""
    stored = theirs("d3rlpy")
    network = Network.of(Architecture(tuple(stored["hidden"])), stored["rate"])
    algorithm = AWAC(network=network, head=TheirHead("mean", "free"), penalty=0.0, largest=1e9)
    agent = Agent(algorithm, 3, Box([-1.0] * 2, [1.0] * 2), seed=0)
    for module in (*agent.nets.modules.values(), *agent.nets.copies.values()):
        module.double()
    with torch.no_grad():
        for mine, other in pairs(agent, stored["begun"]):
            mine.copy_(other)
    for batch in stored["batches"]:
        columns = {name: double(x) for name, x in batch.items()}
        noises = iter(columns.pop("noise"))
        columns |= {"raw_action": columns["action"], "terminated": columns["terminated"].bool()}
        with monkeypatch.context() as patch:
            patch.setattr(agent.replay, "sample", lambda *_, of=columns: Rows(of))
            patch.setattr(torch, "randn", lambda *_, it=noises, **__: next(it))
            agent.update()
    for mine, other in pairs(agent, stored["found"]):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)
