"""The papers' settings beside the defaults. A change of a default must change this table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elites import config
from elites.agents import CGP, DDPG, QGP, SAC, TD3, Algorithm, Network, Optimizer, Pace, PETSConfig, QtOpt
from elites.agents.algorithms.searched import PI_CEM
from elites.networks import Architecture, NormalHead
from elites.planners import CEM, CEMGD, GradientAscent, Planner, TanhNormal, TruncatedNormal

CONFIGS = Path(__file__).parents[2] / "configs"

# CGP (Simmons-Edler et al. 2019), Table 2 and sec. 5.3: two critics as in TD3, networks of 256 and 256
PLAIN = Architecture((256, 256), "relu", "none", "uniform", 1.0, False)
SHARED: dict[str, Any] = {"network": Network(PLAIN, PLAIN, Optimizer(1e-3), Optimizer(1e-3))}
SHARED |= {"critics": 2, "n_step": 1, "batch": 128, "discount": 0.99, "reward_scale": 1.0}
SHARED |= {"learning": "bfloat16x3", "graphs": False}
SHARED |= {"tau": 0.005, "policy_every": 1, "target_every": 2, "capacity": 1_000_000, "pace": Pace(1, 1, 0)}
SEARCHED = SHARED | {"search": PI_CEM, "sampling": "fastest", "policy_noise": 0.2, "noise_clip": 0.5}
SETTINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "cgp": (CGP(), SEARCHED | {"mode": "online", "search_for": "policy"}),
    "qgp": (QGP(), SEARCHED | {"mode": "online", "search_for": "policy"}),
    "qt_opt": (QtOpt(), SEARCHED),
    # Fujimoto et al. 2018, sec. 6.1
    "td3": (
        TD3(),
        SHARED | {"policy_every": 2, "exploration_noise": 0.1, "policy_noise": 0.2, "noise_clip": 0.5},
    ),
    # Lillicrap et al. 2016, sec. 7, as in the CGP paper; TD3's noise
    "ddpg": (DDPG(), SHARED | {"critics": 1, "target_every": 1, "exploration_noise": 0.1}),
    # Haarnoja et al. 2018, Table 1
    "sac": (
        SAC(),
        SHARED
        | {"network": Network(PLAIN, PLAIN, Optimizer(3e-4), Optimizer(3e-4)), "temperature_rate": 3e-4}
        | {"target_every": 1, "head": NormalHead("sample", "state", 1.0, "exp"), "penalty": 1.0},
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_an_agents_defaults_are_its_papers(name: str) -> None:
    found, expected = SETTINGS[name]
    assert vars(found) == expected, "every setting is in the table"


# CGP, Table 2; Algorithm 1 starts at N(0, 1), before the tanh, and refits without smoothing
PI_CEM_SETTINGS = {"samples": 64, "iterations": 2, "elites": 6, "alpha": 1.0, "spread": 1.0, "floor": 0.0}
# CEM-GD (Huang et al.), sec. 3: CEM 500 has n = 100, m = 5; N_init = 15000, N_r = 50, G, J, η_init, ρ, k
CEM_500 = {"samples": 100, "iterations": 5, "elites": 10, "alpha": 0.9, "spread": 0.5, "floor": 0.0}
COLD = CEM_500 | {"samples": 3000, "elites": 300}
WARM = CEM_500 | {"samples": 10, "elites": 1}
ASCENT = {"steps": 10, "trials": 8, "step": 0.01, "decay": 0.67, "direction": "gradient"}
PAPER: Any = config.build(Planner, config.load(CONFIGS / "planners/cem_gd_paper.yaml"))  # type: ignore[type-abstract]
PLANNERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "pi_cem": (PI_CEM, PI_CEM_SETTINGS),
    "cem": (CEM(), CEM_500),
    "cem_gd, the paper's cold": (PAPER.cold, COLD),
    "cem_gd, the paper's warm": (PAPER.warm, WARM),
    "cem_gd, the paper's ascent": (PAPER.ascent, ASCENT),
    "cem_gd, the paper's": (PAPER, {"top_k": 1}),
    "cem_gd, cold": (CEMGD().cold, COLD | {"samples": 500, "elites": 50}),  # fewer than in the paper, for two cores
    "cem_gd, warm": (CEMGD().warm, WARM),
    "cem_gd, ascent": (CEMGD().ascent, ASCENT),
    "cem_gd": (CEMGD(), {"top_k": 1}),
    "gradient_ascent": (GradientAscent(), ASCENT),
    "pets": (PETSConfig(), {"planner": CEMGD(), "horizon": 45, "particles": 5}),  # the paper has 20 particles
}


@pytest.mark.parametrize("name", PLANNERS)
def test_a_planners_defaults_are_its_papers(name: str) -> None:
    found, expected = PLANNERS[name]
    assert {key: getattr(found, key) for key in expected} == expected


def test_distributions_are_the_papers() -> None:
    """Algorithm 1's normal passes through a tanh; PETS's normal is truncated at two spreads."""
    assert TanhNormal() in vars(PI_CEM).values()
    assert all(TruncatedNormal(cut=2.0) in vars(cem).values() for cem in (CEM(), CEMGD().cold, CEMGD().warm))


def test_names_of_before_are_answered_with_todays() -> None:
    for mapping, said in (
        ({"name": "cem"}, "'cem' is now called 'qt_opt'"),
        ({"name": "td3", "width": 8}, "'width' is now called 'network.policy.hidden and network.value.hidden'"),
    ):
        with pytest.raises(ValueError, match=said):
            config.build(Algorithm, mapping)  # type: ignore[type-abstract]
