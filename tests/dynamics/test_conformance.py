"""Every model keeps the contract of `Dynamics`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from dynamics_conformance import CHECKS, Case
from torch import Generator, Tensor

from elites.dynamics import Dynamics, EnsembleConfig, FunctionDynamics, MujocoDynamics, ProbabilisticEnsemble, Return
from elites.dynamics.ensemble import PETS_NETWORKS
from elites.dynamics.rollout import Draw
from elites.features import Features


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def rows(size: int, dtype: torch.dtype) -> dict[str, Tensor]:
    actions = torch.rand(2, 4, 3, 2, generator=rng(8), dtype=dtype) - 0.5
    return {"state": torch.randn(2, size, generator=rng(7), dtype=dtype), "actions": actions}


# --- ensembles --------------------------------------------------------------------------------------------------------


def step_of_draw(drawn: Draw, t: int) -> Draw:
    noise = drawn.noise and replace(drawn.noise, epsilon=drawn.noise.epsilon[:, :, t : t + 1])  # type: ignore[index]
    return replace(drawn, noise=noise, met=None if drawn.met is None else drawn.met[t : t + 1], cache={})


def ensemble(dtype: torch.dtype, layer_norm: Any = "none", **options: Any) -> ProbabilisticEnsemble:
    architecture = replace(PETS_NETWORKS, hidden=(20, 20), layer_norm=layer_norm)
    config, encode = EnsembleConfig(3, architecture, **options), Features(0, "sin 1", "cos 1", 2)
    model = ProbabilisticEnsemble(3, 2, config, encode=encode, absolute=(2,), rng=rng())
    with torch.no_grad():
        for parameter in (*model.mlp.biases, *model.mlp.gains, *model.mlp.offsets):
            parameter.add_(torch.randn(parameter.shape, generator=rng(1)))
    model.mlp.normalise(torch.randn(30, 6, generator=rng(2)) + 0.5)
    return model.to(dtype)


def of_ensemble(name: str, dtype: torch.dtype = torch.float64, lost: float = 0.0, **options: Any) -> Case:
    kernel_serves = dtype == torch.float32
    make, tolerance = lambda: ensemble(dtype, **options), 1e-4 if kernel_serves else 1e-6
    return Case(f"ensemble-{name}", make, **rows(3, dtype), at_step=step_of_draw, networks=True, lost=lost,
                tolerance=tolerance)  # fmt: skip


# --- functions --------------------------------------------------------------------------------------------------------


def pushed(state: Tensor, action: Tensor) -> Tensor:
    return (state + 0.3 * action.sin()).cos()


def shaken(state: Tensor, action: Tensor, noise: Tensor) -> Tensor:
    return pushed(state, action) + 0.1 * noise


def of_function(name: str, step: Callable[..., Tensor], noise_size: int, dtype: torch.dtype) -> Case:
    def at_step(drawn: Tensor, t: int) -> Tensor:
        return drawn[..., t : t + 1, :]

    return Case(name, lambda: FunctionDynamics(step, noise_size), **rows(2, dtype), at_step=at_step)


# --- simulators -------------------------------------------------------------------------------------------------------

CART = """
<mujoco><option timestep="0.01"/><worldbody>
  <body><joint name="x" type="slide" axis="1 0 0" damping="1"/><geom size="0.1"/>
    <body pos="0 0 0.5"><joint name="hinge" type="hinge" axis="0 1 0" damping="0.1"/><geom size="0.1"/></body>
  </body></worldbody>
  <actuator><general joint="x" gainprm="5" {dynamics}/><general joint="hinge" gainprm="2"/></actuator>
</mujoco>
"""
FILTER = 'dyntype="filter" dynprm="0.1"'


def simulator(dynamics: str = "", physics: Callable[[Any], Any] = lambda rows: rows) -> MujocoDynamics:
    """Two actuators; the first can have an activation. A state is the whole output of `physics`."""
    model = mujoco.MjModel.from_xml_string(CART.format(dynamics=dynamics))
    return MujocoDynamics(model, 2, physics, lambda before, after: after, threads=2)


CASES = [
    *(of_ensemble(kind, propagation=kind) for kind in ("tsinf", "ts1", "mean")),
    *(of_ensemble(f"{kind}-float32", torch.float32, propagation=kind) for kind in ("tsinf", "ts1", "mean")),
    of_ensemble("16-bits", torch.float32, lost=0.02, sampling="fastest"),
    of_ensemble("layer-norm-first", layer_norm="first"),
    of_ensemble("layer-norm-all", layer_norm="all", propagation="ts1"),
    of_ensemble("best-members", best_members=2),
    of_function("function", pushed, 0, torch.float32),
    of_function("function-float64", pushed, 0, torch.float64),
    of_function("function-with-noise", shaken, 2, torch.float64),
    Case("simulator", simulator, **rows(4, torch.float64)),
    Case("simulator-float32", simulator, **rows(4, torch.float32), tolerance=1e-4),
    Case("simulator-with-activations", lambda: simulator(FILTER), **rows(5, torch.float64)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Callable[[Case], None], case: Case) -> None:
    check(case)


# --- the simulator's activations --------------------------------------------------------------------------------------


def test_activations_are_part_of_the_physics() -> None:
    """Against MuJoCo stepped by hand, from given activations, and from 0 without them."""
    state = torch.tensor([0.1, -0.2, 0.3, 0.4, 0.7], dtype=torch.float64)
    actions = torch.rand(1, 4, 2, generator=rng(), dtype=torch.float64)
    for given, size in ((True, 5), (False, 4)):
        dynamics = simulator(FILTER)
        data = mujoco.MjData(dynamics.model)
        data.qpos, data.qvel = state[:2].numpy(), state[2:4].numpy()
        data.act = state[4:].numpy() if given else 0.0
        states = dynamics.rollout(state[:size], actions)[0, 0]
        for action, found in zip(actions[0], states, strict=True):
            data.ctrl = action.numpy()
            mujoco.mj_step(dynamics.model, data, 2)
            expected = np.concatenate([data.qpos, data.qvel, data.act])[:size]
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_physics_of_another_size_is_named() -> None:
    dynamics = simulator(FILTER, physics=lambda rows: rows[:, :3])
    message = r"MujocoDynamics\.physics: expected an array of shape \(1, 4\) or \(1, 5\), got \(1, 3\)"
    with pytest.raises(ValueError, match=message):
        dynamics.rollout(torch.zeros(5), torch.zeros(1, 2, 2))


# --- what is no model -------------------------------------------------------------------------------------------------


class Lookalike:
    """Has a model's methods, and can be called."""

    def draw(self, *_: Any) -> None: ...
    def rollout(self, *_: Any) -> None: ...
    def __call__(self, state: Tensor, action: Tensor) -> Tensor:
        return state


def test_what_has_the_methods_alone_is_refused() -> None:
    message = r"^dynamics: expected a subclass of elites\.dynamics\.Dynamics or a function, got Lookalike$"
    with pytest.raises(ValueError, match=message):
        Return(Lookalike(), lambda s, a, n: a[:, 0])


class Blind(Dynamics[None]):
    """A model without a gradient, with only the required methods."""

    rolled = 0

    @property
    def differentiable(self) -> bool:
        return False

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> None:
        return None

    def rollout(self, state: Tensor, actions: Tensor, drawn: None) -> Tensor:
        self.rolled += 1
        return actions.cumsum(-2).unsqueeze(-3) + state[..., None, None, None, :]


def test_a_gradient_that_does_not_exist_is_refused_before_the_rollout() -> None:
    """Even if the model itself would not refuse."""
    model = Blind()
    objective: Any = Return(model, lambda s, a, n: a[:, 0]).at(torch.zeros(2), rng())
    message = r"^Blind: has no gradient; expected a sampling planner, such as CEM or MPPI$"
    for score in (objective, objective.rough):
        with pytest.raises(ValueError, match=message):
            score(torch.zeros(1, 3, 2, requires_grad=True))
    assert model.rolled == 0
    assert objective(torch.zeros(1, 3, 2)).tolist() == objective.rough(torch.zeros(1, 3, 2)).tolist() == [0]
    assert model.rolled == 2
    assert (model.chunk, model.deterministic, model.engine) == (8192, False, None)


class Coarse(Blind):
    def rough_rollout(self, state: Tensor, actions: Tensor, drawn: None) -> Tensor:
        return self.rollout(state, actions, drawn) + 0.5


def test_an_objectives_rough_form_is_the_models() -> None:
    objective: Any = Return(Coarse(), lambda s, a, n: n[:, 0]).at(torch.zeros(2), rng())
    assert objective(torch.zeros(1, 3, 2)).tolist() == [0]
    assert objective.rough(torch.zeros(1, 3, 2)).tolist() == [1.5]


def test_what_is_imported() -> None:
    """Networks and dynamics load no simulator until it is used."""
    code = """
import sys
import elites.dynamics, elites.dynamics.training, elites.networks.critics, elites.networks.policies
assert not {"mujoco", "gymnasium"} & sys.modules.keys()
from elites.dynamics import MujocoDynamics
assert "mujoco" in sys.modules and "gymnasium" not in sys.modules
try:
    elites.dynamics.Nothing
except AttributeError as error:
    assert str(error) == "module 'elites.dynamics' has no attribute 'Nothing'"
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
