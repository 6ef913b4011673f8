"""Table 1 of Furuta et al. (2021), made from the presets: what each algorithm takes for each part of one objective.

The objective is E[G(s, a) / η - KL(π_q ‖ π_p)]. EM solves it for π_q in closed form and then fits π_p. The others move
π_q alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Generator

from elites.agents.algorithm import Algorithm
from elites.agents.algorithms.awac import AWAC
from elites.agents.algorithms.awr import AWR
from elites.agents.algorithms.ddpg import DDPG
from elites.agents.algorithms.dspg import DSPG
from elites.agents.algorithms.mpo import MPO
from elites.agents.algorithms.on_policy import OnPolicy
from elites.agents.algorithms.power import PoWER
from elites.agents.algorithms.ppo import PPO
from elites.agents.algorithms.q_learning import QLearning
from elites.agents.algorithms.reps import REPS
from elites.agents.algorithms.rwr import RWR
from elites.agents.algorithms.sac import SAC
from elites.agents.algorithms.td3 import TD3
from elites.agents.algorithms.trpo import TRPO
from elites.agents.algorithms.urex import UREX
from elites.agents.algorithms.vmpo import VMPO
from elites.agents.nets import Nets
from elites.agents.units import Spaces
from elites.networks.heads import NormalHead
from elites.spaces import Box


class Method(NamedTuple):
    """How an algorithm solves the objective: for π_q and π_p, what they are and how they are updated."""

    posterior: str
    prior: str
    posterior_update: str
    prior_update: str


EM, TRUST = "non-parametric", " + trust region"
METHODS: dict[type, Method] = {
    MPO: Method(EM, "π_θ", f"analytic{TRUST}", f"gradient{TRUST}"),
    VMPO: Method(EM, "π_θ", f"analytic{TRUST}", f"gradient{TRUST}"),
    AWR: Method(EM, "π_θ", "analytic", "gradient, on a mixture"),
    AWAC: Method(EM, "π_θ", "analytic", "gradient, on a mixture"),
    RWR: Method(EM, "π_θ", "analytic", "gradient, on a mixture"),
    PoWER: Method(EM, "π_θ", "analytic", "analytic, on a mixture"),
    REPS: Method(EM, "π_q before", "analytic", "π_q"),
    UREX: Method(EM, "π_θ", "analytic", "gradient"),
    SAC: Method("π_θ", "uniform", "gradient", "–"),
    DSPG: Method("π_θ", "uniform", "gradient", "–"),
    TRPO: Method("π_θ", "π_q before", "trust region", "π_q"),
    PPO: Method("π_θ", "π_q before", f"gradient{TRUST}", "π_q"),
    TD3: Method("π_θ", "–", "gradient", "–"),
    DDPG: Method("π_θ", "–", "gradient", "–"),
}


def head_of(algorithm: Any) -> str:
    """The policy's distribution."""
    if isinstance(algorithm, REPS | UREX):
        return "softmax, or a normal"
    if isinstance(algorithm, PoWER):
        return "N(μ(s), Σ(s))"
    head: NormalHead | None = getattr(algorithm, "head", None)
    if head is None:
        return "tanh μ(s)"
    mean = "tanh μ(s)" if head.bound == "mean" else "μ(s)"
    normal = f"N({mean}, {({'state': 'Σ(s)', 'free': 'Σ_θ', 'fixed': 'Σ'})[head.spread]})"
    return f"tanh {normal}" if head.bound == "sample" else normal


def value_of(algorithm: Any, nets: Nets) -> str:
    """G: Q, a soft Q with entropies, an advantage by a value function, or the returns alone."""
    if "critics" in nets.modules:
        soft = isinstance(algorithm, SAC | DSPG)
        return "soft Q" if soft else "Q"
    return "A" if "value" in nets.modules else "returns"


def estimate_of(algorithm: Any) -> str:
    if isinstance(algorithm, QLearning):
        steps = "TD(0)" if algorithm.n_step == 1 else f"{algorithm.n_step} steps"
        if getattr(algorithm, "estimate", "td") == "retrace":
            steps = f"Retrace({algorithm.trace:g}), {algorithm.n_step} steps"  # type: ignore[attr-defined]
        return f"{steps}, the least of {algorithm.critics}" if algorithm.critics > 1 else steps
    if isinstance(algorithm, OnPolicy):
        return "n steps" if algorithm.trace == 1 else f"GAE({algorithm.trace:g})"
    if isinstance(algorithm, REPS):
        return "TD(0), by the dual"
    return f"TD({algorithm.trace:g})" if isinstance(algorithm, AWR) else "TD(1)"


def row(name: str, algorithm: Algorithm) -> tuple[str, ...]:
    """An algorithm's entries of the table, with its settings."""
    nets = algorithm.build(Spaces.of(3, Box([-1.0], [1.0])), Generator().manual_seed(0))
    method = METHODS[type(algorithm)]
    return (name, *method, value_of(algorithm, nets), estimate_of(algorithm), head_of(algorithm))


def table(algorithms: Iterable[tuple[str, Algorithm]]) -> str:
    """The table in Markdown."""
    titles = ("agent", "π_q", "π_p", "update of π_q", "update of π_p", "G", "its estimate", "π_θ")
    lines = [titles, ("---",) * len(titles), *(row(f"`{name}`", algorithm) for name, algorithm in algorithms)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
