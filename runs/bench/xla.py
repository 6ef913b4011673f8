"""CEM over the same weights as one program of XLA, written in JAX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from elites.runs.bench.setting import Contender, Planning, Setting, State, Work

SAMPLES = {"cem 50": (10, 1), "cem 500": (100, 10), "cem 15000": (3000, 300)}  # and elites, of each of 5 iterations
ITERATIONS, ALPHA, SPREAD, CUT = 5, 0.9, 0.5, 2.0  # as in planners/cem.py


def returns_of(setting: Setting) -> Any:
    """(weights, observation (S), actions (N, H, A), key) -> returns (N), under TS∞."""
    import jax
    from jax import numpy as jnp

    members, size, share = setting.members, setting.observation, math.ceil(setting.particles / setting.members)
    exact = "highest"  # float32 products, as the others compute them; on GPUs the default is less exact

    def returns(model: Any, observation: Any, actions: Any, key: Any) -> Any:
        count = len(actions)
        low, high = jnp.exp(model["min_log_var"]), jnp.exp(model["max_log_var"])

        def step(carry: Any, given: Any) -> Any:
            states, total = carry  # (M, share · N, S), (M, share · N)
            moves, key = given  # (N, A)
            moves = jnp.broadcast_to(jnp.tile(moves, (share, 1)), (members, share * count, moves.shape[-1]))
            x = jnp.concatenate([states, moves], -1)
            for layer in range(3):
                x = jax.nn.silu(
                    jnp.matmul(x, model[f"mlp.weights.{layer}"], precision=exact) + model[f"mlp.biases.{layer}"]
                )
            x = jnp.matmul(x, model["mlp.weights.3"], precision=exact) + model["mlp.biases.3"]
            std = jnp.sqrt(low + high * jax.nn.sigmoid(x[..., size:] - model["max_log_var"]))
            states = states + x[..., :size] + std * jax.random.normal(key, states.shape)
            reward = -(states**2).sum(-1) - 0.01 * (moves**2).sum(-1)
            return (states, total + reward), None

        first = jnp.broadcast_to(observation, (members, share * count, size))
        given = actions.transpose(1, 0, 2), jax.random.split(key, setting.horizon)
        (_, total), _ = jax.lax.scan(step, (first, jnp.zeros(first.shape[:2])), given)
        return total.reshape(-1, count).mean(0)

    return returns


def xla(contender: Contender, setting: Setting, state: State) -> Planning:
    """One jitted program for a whole plan: drawing, rollouts (TS∞), choice, refit, and the shift of the last plan."""
    import jax
    from jax import numpy as jnp
    from jax.scipy.special import erf, erfinv

    samples, elites = SAMPLES[contender.planner]
    horizon, returns = setting.horizon, returns_of(setting)
    device = jax.devices("cpu" if setting.device == "cpu" else "gpu")[0]
    model: Any = jax.device_put({name: np.asarray(x.cpu()) for name, x in state.items()}, device)

    def plan(model: Any, observation: Any, best: Any, key: Any) -> Any:
        """A plan (H, A) from the last one, and the next key."""
        start = jnp.concatenate([best[1:], best[-1:]])
        mean, std, value = start, jnp.full_like(start, SPREAD), -jnp.inf
        for iteration in range(ITERATIONS):
            key, draw, roll = jax.random.split(key, 3)
            low = jnp.clip((-1 - mean) / std, -CUT, 0) / math.sqrt(2)
            high = jnp.clip((1 - mean) / std, 0, CUT) / math.sqrt(2)
            uniform = jax.random.uniform(draw, (samples, *start.shape))
            drawn = mean + std * math.sqrt(2) * erfinv(erf(low) + uniform * (erf(high) - erf(low)))
            points = jnp.clip(drawn, -1, 1)
            if iteration == 0:
                points = jnp.concatenate([start[None], points])
            values = returns(model, observation, points, roll)
            top, index = jax.lax.top_k(values, elites)
            chosen = points[index]
            mean = (1 - ALPHA) * mean + ALPHA * chosen.mean(0)
            std = jnp.sqrt((1 - ALPHA) * std**2 + ALPHA * chosen.var(0))
            std = jnp.maximum(std, 1e-6)
            best = jnp.where(top[0] > value, chosen[0], best if iteration else start)
            value = jnp.maximum(top[0], value)
        return best, key

    program = jax.jit(plan)
    last: Any = jax.device_put((jnp.zeros((horizon, setting.action)), jax.random.PRNGKey(0)), device)

    def planned(observation: Tensor) -> Work:
        nonlocal last
        last = program(model, jax.device_put(observation.cpu().numpy(), device), *last)
        np.asarray(last[0][0])  # waits for the action
        rows = math.ceil(setting.particles / setting.members) * setting.members
        return Work({((samples + 1) * rows, False): 1, (samples * rows, False): ITERATIONS - 1})

    return planned
