"""CEM over the same weights as one program of XLA, written in JAX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from elites.runs.bench.setting import Accounted, Contender, Planning, Setting, State, Work

SAMPLES = {  # and elites, of each of 5 iterations
    "cem 50": (10, 1),
    "cem_gd means": (10, 1),
    "cem 500": (100, 10),
    "cem 15000": (3000, 300),
}
ITERATIONS, ALPHA, SPREAD, CUT = 5, 0.9, 0.5, 2.0  # as in planners/cem.py
STEPS, TRIALS, STEP, DECAY = 10, 8, 0.01, 0.67  # as in planners/gradient_ascent.py


def returns_of(setting: Setting, means: bool = False) -> Any:
    """(weights, observation (S), actions (N, H, A), key) -> returns (N). means: without noise, one row a member."""
    import jax
    from jax import numpy as jnp

    members, size = setting.members, setting.observation
    share = 1 if means else math.ceil(setting.particles / setting.members)
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
            states = states + x[..., :size]
            if not means:
                std = jnp.sqrt(low + high * jax.nn.sigmoid(x[..., size:] - model["max_log_var"]))
                states = states + std * jax.random.normal(key, states.shape)
            reward = -(states**2).sum(-1) - 0.01 * (moves**2).sum(-1)
            return (states, total + reward), None

        first = jnp.broadcast_to(observation, (members, share * count, size))
        given = actions.transpose(1, 0, 2), jax.random.split(key, setting.horizon)
        (_, total), _ = jax.lax.scan(step, (first, jnp.zeros(first.shape[:2])), given)
        return total.reshape(-1, count).mean(0)

    return returns


def ascent_of(setting: Setting) -> Any:
    """(weights, observation (S), point (H, A)) -> a higher point, by projected gradients with a line search."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    returns, key = returns_of(setting, means=True), jax.random.PRNGKey(0)

    def climb(model: Any, observation: Any, point: Any) -> Any:
        at = jax.value_and_grad(lambda x: returns(model, observation, x[None], key)[0])

        def searching(carry: Any) -> Any:
            trial, _, (value, _), known = carry
            return (trial < TRIALS) & ~(value > known)

        def step(carry: Any) -> Any:
            count, point, (value, slope), _ = carry

            def tried(carry: Any) -> Any:
                trial = carry[0]
                moved = jnp.clip(point + STEP * DECAY**trial * slope, -1, 1)
                return trial + 1, moved, at(moved), value

            _, moved, (found, turned), _ = lax.while_loop(searching, tried, (0, point, (value, slope), value))
            better = found > value
            point, value = jnp.where(better, moved, point), jnp.where(better, found, value)
            return count + 1, point, (value, jnp.where(better, turned, slope)), better

        first = (0, point, at(point), jnp.array(True))
        return lax.while_loop(lambda carry: (carry[0] < STEPS) & carry[3], step, first)[1]

    return climb


def xla(contender: Contender, setting: Setting, state: State) -> Planning:
    """One jitted program for a whole plan: draws, rollouts (TS∞), choice, refit, ascent, and shift."""
    import jax
    from jax import numpy as jnp
    from jax.scipy.special import erf, erfinv

    samples, elites = SAMPLES[contender.planner]
    horizon, returns = setting.horizon, returns_of(setting)
    climb = ascent_of(setting) if contender.planner == "cem_gd means" else None
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
        return (climb(model, observation, best) if climb else best), key

    first: Any = jax.device_put(np.zeros(setting.observation, np.float32), device)
    last: Any = jax.device_put((jnp.zeros((horizon, setting.action)), jax.random.PRNGKey(0)), device)
    program = jax.jit(plan).lower(model, first, *last).compile()
    memory: Any = program.memory_analysis()

    def planned(observation: Tensor) -> Work:
        nonlocal last
        last = program(model, jax.device_put(observation.cpu().numpy(), device), *last)
        np.asarray(last[0][0])  # waits for the action
        rows = math.ceil(setting.particles / setting.members) * setting.members
        work = Work({((samples + 1) * rows, False): 1, (samples * rows, False): ITERATIONS - 1})
        if climb:  # the first trial of a step mostly suffices
            work[setting.members, True] += 1 + STEPS
        return work

    return Accounted(planned, memory.argument_size_in_bytes, memory.temp_size_in_bytes + memory.output_size_in_bytes)
