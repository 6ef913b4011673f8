"""Writes d3rlpy.json: a hundred updates of d3rlpy's AWAC in float64, for tests/agents/test_peers.py.

It needs an environment of its own, because d3rlpy wants Gym and an older Gymnasium. `make test-peers` makes it.

Their AWAC differs from its paper in two places, which this script takes out. It inherits SAC's target: the next action
goes through a tanh, and ln π is subtracted with a temperature of e^0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import d3rlpy
import numpy as np
import torch
from d3rlpy.algos.qlearning.torch import sac_impl
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.models.torch.policies import build_gaussian_distribution
from d3rlpy.optimizers import AdamFactory
from d3rlpy.torch_utility import TorchMiniBatch
from torch import Tensor

UPDATES, ROWS, STATE, ACTION, HIDDEN, RATE = 100, 6, 3, 2, [6, 5], 3e-3


def main() -> None:
    torch.manual_seed(0)
    shared: dict[str, Any] = {"encoder_factory": VectorEncoderFactory(HIDDEN), "learning_rate": RATE}
    own = {f"{part}_{name}": x for part in ("actor", "critic") for name, x in shared.items()}
    # Their loss of the policy is a sum over the rows, and ours a mean.
    algorithm = d3rlpy.algos.AWACConfig(actor_optim_factory=AdamFactory(eps=1e-8 * ROWS), **own).create()
    algorithm.create_impl((STATE,), ACTION)
    impl: Any = algorithm.impl
    parts = {"critics": impl._modules.q_funcs, "slow": impl._modules.targ_q_funcs, "policy": impl._modules.policy}
    for part in (*parts.values(), impl._modules.log_temp):
        part.double()
    impl._modules.log_temp._parameter.data.fill_(-torch.inf)
    sac_impl.build_squashed_gaussian_distribution = build_gaussian_distribution

    noises: list[Tensor] = []
    torch.distributions.normal._standard_normal = lambda shape, *_, **__: noises.pop(0).reshape(shape)
    rng, begun, batches = np.random.default_rng(0), weights(parts), []
    for step in range(UPDATES):
        batch = minibatch(rng)
        batches.append({name: x.tolist() for name, x in batch.items()})
        noises += [*batch.pop("noise")]
        columns = {name: x.reshape(ROWS, -1) for name, x in batch.items()}
        impl.update(theirs(columns), step)
    found = {"rate": RATE, "hidden": HIDDEN, "batches": batches, "begun": begun, "found": weights(parts)}
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    (folder / "d3rlpy.json").write_text(json.dumps(found) + "\n")


def minibatch(rng: np.random.Generator) -> dict[str, Tensor]:
    """Three decimals, for a small file. The noise is that of the next action and of the advantage's action."""
    shapes = {"state": (ROWS, STATE), "next_state": (ROWS, STATE), "reward": (ROWS,), "noise": (2, ROWS, ACTION)}
    batch = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    batch |= {"action": rng.uniform(-1, 1, (ROWS, ACTION)), "terminated": (rng.normal(size=ROWS) > 1).astype(float)}
    return {name: torch.tensor(x.round(3)) for name, x in batch.items()}


def theirs(columns: dict[str, Tensor]) -> TorchMiniBatch:
    given = {"observations": columns["state"], "actions": columns["action"], "rewards": columns["reward"]}
    given |= {"next_observations": columns["next_state"], "terminals": columns["terminated"]}
    unused = {"next_actions": columns["action"], "returns_to_go": columns["reward"]}
    return TorchMiniBatch(**given, **unused, intervals=torch.ones(ROWS, 1).double(), device="cpu:0")


def weights(parts: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [p.detach().clone().tolist() for p in part.parameters()] for name, part in parts.items()}


if __name__ == "__main__":
    main()
