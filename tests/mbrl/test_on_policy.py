"""Our PPO and TRPO against Stable-Baselines3's and sb3-contrib's, update by update, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from elites.agents import PPO, TRPO, Agent, Network, Optimizer, Pace
from elites.agents.algorithms.on_policy import BEGINS_AT_0, TANH, OnPolicy
from elites.agents.replay import Episode

STEPS, BATCH, EPOCHS, DISCOUNT, TRACE = 64, 16, 2, 0.99, 0.95
NETWORK = Network(BEGINS_AT_0, TANH, Optimizer(3e-4, epsilon=1e-5), Optimizer(3e-4, epsilon=1e-5))


class Segment:
    """What `OnPolicy.segment` asks of a replay: episodes of float64 numbers."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns

    def episodes(self) -> list[Episode]:
        ends = [0, *(self.columns["terminated"].nonzero().flatten() + 1).tolist()]
        ends += [STEPS] if ends[-1] < STEPS else []
        slices = [slice(*both) for both in itertools.pairwise(ends)]
        return [Episode({name: x[where] for name, x in self.columns.items()}, True, True) for where in slices]

    def drop(self) -> None:
        pass


def pairs(ours: Any, theirs: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Every parameter of ours with theirs. The value's matrices are (1, in, out), theirs (out, in)."""
    of, both = ours.nets, theirs.policy.mlp_extractor
    for mine, layer in zip(range(3), [both.policy_net[0], both.policy_net[2], theirs.policy.action_net], strict=True):
        yield of.policy.mlp.weights[mine], layer.weight
        yield of.policy.mlp.biases[mine], layer.bias
    for mine, layer in zip(range(3), [both.value_net[0], both.value_net[2], theirs.policy.value_net], strict=True):
        yield of.value.mlp.weights[mine][0], layer.weight.T
        yield of.value.mlp.biases[mine][0, 0], layer.bias
    yield of.policy.free, theirs.policy.log_std


def filled(theirs: Any, columns: dict[str, Tensor]) -> None:
    """Their buffer with the same transitions, and the values and densities of their policy."""
    buffer, state = theirs.rollout_buffer, columns["state"]
    buffer.reset()
    with torch.no_grad():
        values, densities, _ = theirs.policy.evaluate_actions(state, columns["raw_action"])
        last = theirs.policy.predict_values(columns["next_state"][-1:])
    starts = np.concatenate([[True], columns["terminated"].numpy()[:-1]])
    of = {"observations": state, "actions": columns["raw_action"], "rewards": columns["reward"]}
    of |= {"values": values.flatten(), "log_probs": densities}
    for name, column in of.items():
        setattr(buffer, name, column.numpy().astype(np.float64).reshape(STEPS, 1, *column.shape[1:]))
    buffer.episode_starts = starts.astype(np.float64)[:, None]
    buffer.advantages, buffer.returns = np.zeros((STEPS, 1)), np.zeros((STEPS, 1))
    buffer.pos, buffer.full = STEPS, True
    buffer.compute_returns_and_advantage(last, columns["terminated"].numpy()[-1:])


@pytest.fixture(params=["ppo", "trpo"])
def sides(request: pytest.FixtureRequest) -> tuple[Agent, Any]:
    """sb3-contrib takes the mean of the KL over six dimensions, and we their sum: hence 6 δ and 6 times the damping."""
    env = gymnasium.make("HalfCheetah-v5")
    shared: dict[str, Any] = {"n_steps": STEPS, "batch_size": BATCH, "gamma": DISCOUNT, "gae_lambda": TRACE, "seed": 0}
    own: dict[str, Any] = {"network": NETWORK, "batch": BATCH, "pace": Pace(1, STEPS)}
    if request.param == "ppo":
        from stable_baselines3 import PPO as Theirs

        algorithm: OnPolicy = PPO(epochs=EPOCHS, **own)
        theirs: Any = Theirs("MlpPolicy", env, n_epochs=EPOCHS, max_grad_norm=1e9, device="cpu", **shared)
    else:
        from sb3_contrib import TRPO as Contributed

        algorithm = TRPO(value_epochs=EPOCHS, kl=0.06, damping=0.6, **own)
        theirs = Contributed("MlpPolicy", env, n_critic_updates=EPOCHS, learning_rate=3e-4, device="cpu", **shared)
        theirs.policy.optimizer.param_groups[0]["eps"] *= 2  # the loss of their value is twice ours
    theirs._setup_learn(0)
    ours = Agent(algorithm, 17, env.action_space, seed=0)
    for module in (*ours.nets.modules.values(), theirs.policy):
        module.double()
    with torch.no_grad():
        for mine, other in pairs(ours, theirs):
            mine.copy_(other)
    return ours, theirs


@pytest.mark.filterwarnings("ignore::UserWarning")  # their PPO would rather have a GPU for images
def test_updates_are_theirs(sides: tuple[Agent, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same transitions and orders give the same weights after 100 steps of descent, or five steps of TRPO."""
    ours, theirs = sides
    rng, orders = np.random.default_rng(0), np.random.default_rng(1)
    begun = [mine.detach().clone() for mine, _ in pairs(ours, theirs)]
    for _ in range(13 if isinstance(ours.algorithm, PPO) else 5):
        chain = rng.normal(size=(STEPS + 1, 17))
        columns: dict[str, Any] = {"state": chain[:-1], "next_state": chain[1:], "reward": rng.normal(size=STEPS)}
        columns |= {"raw_action": rng.normal(size=(STEPS, 6)).astype(np.float32)}  # theirs are of 32 bits
        columns |= {"terminated": rng.uniform(size=STEPS) < 0.1}
        columns = {name: torch.tensor(column) for name, column in columns.items()}
        columns["raw_action"] = columns["raw_action"].double()
        columns["truncated"] = torch.zeros(STEPS, dtype=torch.bool)
        permutations = [orders.permutation(STEPS) for _ in range(EPOCHS)]
        whole = [np.arange(STEPS)] if isinstance(ours.algorithm, TRPO) else []  # their policy's order
        mine, other = iter(permutations), iter([*whole, *permutations])
        with monkeypatch.context() as patch:
            patch.setattr(Tensor, "float", Tensor.double)  # which they ask of observations
            patch.setattr(np.random, "permutation", lambda _, it=other: next(it))
            patch.setattr(torch, "randperm", lambda *_, it=mine, **__: torch.tensor(next(it)))
            filled(theirs, columns)
            ours._descend(ours.algorithm.update(ours.nets, Segment(columns), 1))  # type: ignore[arg-type]
            theirs.train()
    found = list(pairs(ours, theirs))
    for one, two in found:
        torch.testing.assert_close(one, two, rtol=0, atol=1e-9)
    assert all((one - before).abs().max() > 1e-6 for (one, _), before in zip(found, begun, strict=True)), "all moved"
