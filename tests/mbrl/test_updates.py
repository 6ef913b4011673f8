"""Our TD3 and SAC against Stable-Baselines3's, update by update."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest
import torch
from torch import Tensor

from elites import Box
from elites.agents import SAC, TD3, Agent, Rows
from elites.agents.algorithms.q_learning import QLearning
from elites.runs.bench.sb3 import model_for


def pairs(ours: Agent, theirs: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Every parameter of ours with the same parameter of theirs, in the same layout."""
    nets: Any = ours.nets
    for critics, those in ((nets.critics, theirs.critic), (nets.slow.critics, theirs.critic_target)):
        yield from zip(critics.mlp.weights, weights(those, "weight"), strict=True)
        yield from zip(critics.mlp.biases, weights(those, "bias"), strict=True)
    if isinstance(ours.algorithm, SAC):
        of, log_temperature = theirs.actor, theirs.log_ent_coef
        heads = [torch.cat(pair) for pair in zip(of.mu.parameters(), of.log_std.parameters(), strict=True)]
        yield from linear(nets.policy, [*of.latent_pi.parameters(), *heads])
        yield nets.temperature.log, log_temperature[0]
    else:
        yield from linear(nets.policy, theirs.actor.parameters())
        yield from linear(nets.slow.policy, theirs.actor_target.parameters())


def linear(policy: Any, theirs: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """A policy's weights and biases with theirs, layer by layer."""
    layers = zip(policy.mlp.weights, policy.mlp.biases, strict=True)
    ours = [parameter for weight, bias in layers for parameter in (weight, bias)]
    return zip(ours, theirs, strict=True)


def weights(critics: Any, name: str) -> list[Tensor]:
    """The weights of every layer: (M, in, out), or (M, 1, out)."""
    layers = zip(*([getattr(x, name) for x in q if hasattr(x, name)] for q in critics.q_networks), strict=True)
    return [torch.stack([x.T if x.ndim == 2 else x[None] for x in layer]) for layer in layers]


@pytest.mark.parametrize(("name", "algorithm"), [("td3", TD3()), ("sac", SAC())])
def test_an_update_is_theirs(name: str, algorithm: QLearning, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights, minibatches and noise give the same weights after a hundred updates."""
    env = gymnasium.make("HalfCheetah-v5")
    rows, size, box = algorithm.batch, env.observation_space.shape[0], Box.of(env.action_space)
    ours, theirs = Agent(algorithm, size, box, seed=0), model_for(name, env, seed=0, random_steps=0)
    theirs._setup_learn(0)
    double(ours, theirs)  # in float32, Adam enlarges rounding errors
    if name == "sac":
        theirs.actor.action_dist.epsilon = 0.0  # they add 1e-6 to 1 - tanh² to avoid an infinite logarithm
        theirs.critic.optimizer.param_groups[0]["eps"] /= 2  # their loss is half of ours
    with torch.no_grad():
        for mine, other in pairs(ours, theirs):
            mine.copy_(other)
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float64).normal_(generator=rng)

    for _ in range(100):
        batch = {"state": normal(rows, size), "next_state": normal(rows, size), "reward": normal(rows)}
        batch |= {"action": box.uniform(rows, rng).double(), "terminated": (normal(rows) > 1).double()}
        noise = normal(*batch["action"].shape)
        with monkeypatch.context() as patch:
            feed(patch, ours, theirs, batch, noise)
            ours.update()
            theirs.train(gradient_steps=1, batch_size=rows)
    for mine, other in pairs(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)


def double(ours: Agent, theirs: Any) -> None:
    for module in (*ours.nets.modules.values(), *ours.nets.copies.values(), theirs.policy):
        module.double()
    if isinstance(ours.algorithm, SAC):
        theirs.log_ent_coef.data = theirs.log_ent_coef.data.double()


def feed(patch: pytest.MonkeyPatch, ours: Agent, theirs: Any, batch: dict[str, Tensor], noise: Tensor) -> None:
    """Both get the same batch and the same noise."""
    units = ours.spaces.box.to_unit(batch["action"])
    terminated = {name: batch["terminated"].bool() for name in ("terminated", "truncated")}
    patch.setattr(ours.replay, "sample", lambda *_: Rows(batch | {"action": units} | terminated))
    patch.setattr(torch, "randn", lambda *_, **__: noise)
    sample = {"observations": batch["state"], "actions": batch["action"], "next_observations": batch["next_state"]}
    sample |= {"rewards": batch["reward"][:, None], "dones": batch["terminated"][:, None]}
    patch.setattr(theirs.replay_buffer, "sample", lambda *_, **__: SimpleNamespace(**sample, discounts=None))
    patch.setattr(torch.distributions.normal, "_standard_normal", lambda *_, **__: noise)
    patch.setattr(Tensor, "normal_", lambda self, mean, std: self.copy_(mean + std * noise))
    patch.setattr(Tensor, "float", Tensor.double)  # which they ask of observations
