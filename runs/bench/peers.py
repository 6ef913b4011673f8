"""Other libraries' planners over the same weights. To add one, add an entry to PEERS."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from elites.networks import cuda, library
from elites.networks.layers import Layers
from elites.runs.bench.mbrl import mbrl_model
from elites.runs.bench.ours import VARIANTS
from elites.runs.bench.published import CHECKOUT, CLONE, published
from elites.runs.bench.setting import Contender, Planning, Setting, State, Work, ensemble, reward
from elites.runs.bench.xla import xla


def population(contender: Contender) -> tuple[int, int]:
    """Samples and elites of each of five iterations. With one elite, mbrl-lib and torchrl give a spread of NaN."""
    return {"cem 50": (10, 2), "cem 500": (100, 10), "cem 15000": (3000, 300)}[contender.planner]


def mbrl_lib(contender: Contender, setting: Setting, state: State) -> Planning:
    """mbrl-lib's TrajectoryOptimizerAgent with its CEMOptimizer."""
    from mbrl.planning import TrajectoryOptimizerAgent
    from omegaconf import OmegaConf

    model = mbrl_model(setting, state, {"activation_fn_cfg": {"_target_": "torch.nn.SiLU"}})
    samples, elites = population(contender)
    optimizer: dict[str, Any] = {"_target_": "mbrl.planning.CEMOptimizer", "device": setting.device}
    optimizer |= {"num_iterations": 5, "population_size": samples, "elite_ratio": elites / samples, "alpha": 0.1}
    low, high = [-1.0] * setting.action, [1.0] * setting.action
    agent = TrajectoryOptimizerAgent(OmegaConf.create(optimizer), low, high, setting.horizon)
    agent.set_trajectory_eval_fn(
        lambda observation, actions: model.evaluate_action_sequences(actions, observation, setting.particles)
    )

    def plan(observation: Tensor) -> Work:
        agent.act(observation.cpu().numpy())
        return Work({(samples * setting.particles, False): 5})

    return plan


def through(x: Tensor, layers: Layers, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """(M, R, in) -> (M, R, out), through networks of (M, in, out) and (M, 1, out)."""
    for weight, bias, _ in layers[:-1]:
        x = activation(torch.baddbmm(bias, x, weight))
    return torch.baddbmm(layers[-1].bias, x, layers[-1].weight)


def stepping(setting: Setting, state: State) -> Callable[[Tensor, Tensor], Tensor]:
    """A model for libraries without one: (P · N, S), (P · N, A) -> sampled next states, TS∞."""
    model = ensemble(setting, state)
    layers, low, high = model.mlp.layers(), model.min_log_var, model.max_log_var  # its normalizer is the identity

    def step(observation: Tensor, action: Tensor) -> Tensor:
        inputs = torch.cat([observation, action], -1).reshape(setting.members, -1, setting.observation + setting.action)
        change, raw = through(inputs, layers, lambda x: functional.silu(x, inplace=True)).chunk(2, -1)
        std = (low.exp() + high.exp() * torch.sigmoid(raw - high)).sqrt()
        return observation + (change + std * torch.randn_like(std)).reshape(observation.shape)

    return step


def torchrl(contender: Contender, setting: Setting, state: State) -> Planning:
    """torchrl's CEMPlanner, always from mean 0 and spread 1. An observation (P, S) has all particles of a candidate."""
    from tensordict import TensorDict  # type: ignore[import-not-found]
    from tensordict.nn import TensorDictModule  # type: ignore[import-not-found]
    from torchrl.data import Bounded, Composite, Unbounded  # type: ignore[import-not-found]
    from torchrl.envs.model_based import ModelBasedEnvBase  # type: ignore[import-not-found]
    from torchrl.modules.planners import CEMPlanner  # type: ignore[import-not-found]

    step, particles, device = stepping(setting, state), setting.particles, setting.device
    samples, elites = population(contender)

    def world(observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """(N, P, S), (N, A) -> (N, P, S) and rewards (N, 1)."""
        before, actions = observation.transpose(0, 1).flatten(0, 1), action.repeat(particles, 1)
        after = step(before, actions)
        rewards = reward(before, actions, after).reshape(particles, -1, 1)
        return after.reshape(particles, len(action), -1).transpose(0, 1), rewards.mean(0)

    class Imagined(ModelBasedEnvBase):  # type: ignore[misc]
        def __init__(self) -> None:
            model = TensorDictModule(world, ["observation", "action"], ["observation", "reward"])
            super().__init__(model, device=device)
            seen = Unbounded((particles, setting.observation), device=device)
            self.observation_spec = Composite(observation=seen, device=device)
            self.state_spec = Composite(observation=seen, device=device)
            self.action_spec = Bounded(-1, 1, (setting.action,), device=device)
            self.reward_spec = Unbounded((1,), device=device)

        def _reset(self, tensordict: Any, **_: Any) -> Any:
            return tensordict

    planner = CEMPlanner(Imagined(), setting.horizon, optim_steps=5, num_candidates=samples, top_k=elites)

    def plan(observation: Tensor) -> Work:
        with torch.no_grad():
            planner(TensorDict({"observation": observation.expand(particles, -1)}, [], device=device))
        return Work({(samples * particles, False): 5})

    return plan


def pytorch_mppi(contender: Contender, setting: Setting, state: State) -> Planning:
    """pytorch-mppi's MPPI: 500 samples at once; ours has 5 × 100. It keeps the states of every particle."""
    from pytorch_mppi import MPPI  # type: ignore[import-not-found]

    def cost(next_state: Tensor, action: Tensor) -> Tensor:
        return -reward(next_state, action, next_state)

    one, step = torch.ones(setting.action, device=setting.device), stepping(setting, state)
    options: dict[str, Any] = {"num_samples": 500, "horizon": setting.horizon, "rollout_samples": setting.particles}
    options |= {"u_min": -one, "u_max": one, "device": setting.device}
    controller = MPPI(step, cost, setting.observation, 0.25 * torch.diag(one), **options)

    def plan(observation: Tensor) -> Work:
        with torch.no_grad():
            controller.command(observation)
        return Work({(500 * setting.particles, False): 1})

    return plan


class Peer(NamedTuple):
    package: str
    contend: Callable[[Contender, Setting, State], Planning]
    plans: list[str]
    environment: Mapping[str, str] = MappingProxyType({})


XLA = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # else it takes most of a GPU's memory
PEERS = {
    "mbrl-lib": Peer("mbrl", mbrl_lib, ["cem 50", "cem 500", "cem 15000"]),
    "xla": Peer("jax", xla, ["cem 50", "cem 500", "cem 15000", "cem_gd means"], XLA),
    "published": Peer("mbrl", published, ["cem_gd means"], {"PYTHONPATH": str(CHECKOUT)}),
    "torchrl": Peer("torchrl", torchrl, ["cem 50", "cem 500"]),
    "pytorch-mppi": Peer("pytorch-mppi", pytorch_mppi, ["mppi"]),
}
EVERYONE = [*PEERS, *VARIANTS]


def absent(by: str, device: str) -> str | None:
    """The reason why a contender cannot take part; None if it can."""
    if by in PEERS:
        installed = importlib.util.find_spec(PEERS[by].package.replace("-", "_"))
        if by == "xla" and device != "cpu" and not importlib.util.find_spec("jax_plugins"):
            return "its jaxlib has no CUDA; `make gpu` installs it"
        if by == "published" and not CHECKOUT.is_dir():
            return f"it is not there: {CLONE}"
        return None if installed else "not installed; `make bench` installs it"
    engine, only = VARIANTS[by].engine, VARIANTS[by].device
    if only and not device.startswith(only):
        return f"it is for {'CPUs' if only == 'cpu' else 'GPUs'}"
    if engine == "kernel" and not library.kernels():
        return "the compiled rollout was not built"
    if engine == "cuda" and not cuda.available(torch.device(device)):
        return "it needs elites[cuda], and a GPU that multiplies bfloat16"
    return None
