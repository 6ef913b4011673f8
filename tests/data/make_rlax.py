"""Writes rlax.json: the losses of MPO and V-MPO with their gradients, from rlax, for tests/agents/test_peers.py.

It needs an environment of its own, because rlax needs a newer JAX than SBX. `make test-peers` makes it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rlax

jax.config.update("jax_enable_x64", True)
ROWS, ACTIONS, SIZE = 6, 5, 3


def density(mean: Any, log_std: Any, x: Any) -> Any:
    z = (x - mean) / jnp.exp(log_std)
    return (-0.5 * z**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)).sum(-1)


def divergence(mean: Any, log_std: Any, other: Any, other_log_std: Any) -> Any:
    ratio, distance = jnp.exp(2 * (log_std - other_log_std)), (mean - other) ** 2 * jnp.exp(-2 * other_log_std)
    return 0.5 * (ratio + distance - 1) - (log_std - other_log_std)


def constraints(p: dict[str, Any], old: Any, old_std: Any) -> list[Any]:
    """The divergences of the mean and of the spread, each with its multiplier for every dimension."""
    kls = divergence(old, old_std, p["mean"], old_std), divergence(old, old_std, old, p["log_std"])
    bounds = zip(kls, (p["alpha_mean"], p["alpha_spread"]), (0.01, 0.001), strict=True)
    return [(kl, rlax.LagrangePenalty(alpha, epsilon, per_dimension=True)) for kl, alpha, epsilon in bounds]


def main() -> None:
    rng = np.random.default_rng(0)
    parameters = {"mean": rng.normal(size=(ROWS, SIZE)), "log_std": 0.3 * rng.normal(size=(ROWS, SIZE))}
    alphas = {"alpha_mean": rng.uniform(0.5, 2, SIZE), "alpha_spread": rng.uniform(5, 9, SIZE)}
    parameters |= {"eta": np.array(0.7), **alphas}
    given = {"old": rng.normal(size=(ROWS, SIZE)), "old_log_std": 0.3 * rng.normal(size=(ROWS, SIZE))}
    given |= {"raw": rng.normal(size=(ROWS, ACTIONS, SIZE)), "values": 2 * rng.normal(size=(ROWS, ACTIONS))}
    given |= {"advantage": rng.normal(size=ROWS)}
    old, old_std, raw = given["old"], given["old_log_std"], given["raw"]

    def mpo(p: dict[str, Any]) -> Any:
        apart = density(p["mean"][:, None], old_std[:, None], raw), density(old[:, None], p["log_std"][:, None], raw)
        temperature = rlax.LagrangePenalty(p["eta"], 0.1)
        loss, _ = rlax.mpo_loss(sum(apart), given["values"], temperature, constraints(p, old, old_std), sample_axis=1)
        return loss.mean()

    def vmpo(p: dict[str, Any]) -> Any:
        densities = density(p["mean"], p["log_std"], raw[:, 0])
        temperature = rlax.LagrangePenalty(p["eta"], 0.1)
        loss, _ = rlax.vmpo_loss(densities, given["advantage"], temperature, constraints(p, old, old_std))
        return loss.mean()

    found: dict[str, Any] = {"given": given | parameters}
    for name, loss in (("mpo", mpo), ("vmpo", vmpo)):
        value, slopes = jax.value_and_grad(loss)({key: jnp.asarray(x) for key, x in parameters.items()})
        found[name] = {"loss": value, **{f"slope_{key}": slope for key, slope in slopes.items()}}
    text = json.dumps(found, default=lambda x: np.asarray(x).tolist())
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    (folder / "rlax.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
