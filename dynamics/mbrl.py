"""Plans through mbrl-lib's trained models, with gradients for the actions. Needs the package `mbrl`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from mbrl.models import GaussianMLP, OneDTransitionRewardModel
from torch import Generator, Tensor, nn

from elites.dynamics.dynamics import Dynamics
from elites.dynamics.ensemble import EnsembleConfig, ProbabilisticEnsemble
from elites.dynamics.rollout import Draw
from elites.features import Features
from elites.fields import check
from elites.networks.architecture import Architecture

Propagation = Literal["tsinf", "ts1", "mean"]
OURS: dict[str | None, Propagation] = {
    None: "tsinf",
    "fixed_model": "tsinf",
    "random_model": "ts1",
    "expectation": "mean",  # without noise; mbrl-lib adds noise with the members' averaged log variance
}


class Model(Dynamics[Draw]):
    """A `OneDTransitionRewardModel` over a `GaussianMLP`. It can train between plans: every plan uses its weights then.

    A state is an observation (S). If the reward is learned, a state has one more entry (S + 1), the last reward.
    propagation: see `EnsembleConfig`; None takes the model's own. Particles are assigned evenly to its elite members.
    """

    def __init__(self, model: OneDTransitionRewardModel, propagation: Propagation | None = None) -> None:
        check("Model.propagation", propagation, Propagation | None)
        net = getattr(model, "model", None)
        if not isinstance(model, OneDTransitionRewardModel) or not isinstance(net, GaussianMLP):
            got = f"{type(model).__name__} over {type(net).__name__}"
            raise ValueError(f"model: expected a OneDTransitionRewardModel over a GaussianMLP, got {got}")
        self.model, self.net, self.propagation = model, net, propagation
        self.observed = size = net.out_size - model.learned_rewards  # S
        self._ensemble = _sharing(net, size, model)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The learned reward of states (R, S + 1): (R,)."""
        if not self.model.learned_rewards:
            raise ValueError("Model.reward: expected a model with learned_rewards=True, got one that predicts none")
        return next_state[:, self.observed]

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> Draw:
        """All randomness of a rollout, and the model's current weights, normalizer and elite members."""
        return self._current().draw(particles, horizon, rng, candidates)

    def means(self, horizon: int) -> Draw:
        return self._current().means(horizon)

    def _current(self) -> ProbabilisticEnsemble:
        """The ensemble that computes the model, with the present weights."""
        ensemble, net = self._ensemble, self.net
        weight, normalizer = ensemble.mlp.weights[0], self.model.input_normalizer
        if normalizer is not None:  # every training gives it new tensors
            mean, std = (x[0].to(weight) for x in (normalizer.mean, normalizer.std))
            ensemble.mlp.input_mean, ensemble.mlp.input_std = mean, std
        members = range(net.num_members) if net.elite_models is None else net.elite_models
        ensemble.best_members = torch.tensor([int(member) for member in members], device=weight.device)
        kind = self.propagation or OURS[net.propagation_method]
        ensemble.config = replace(ensemble.config, propagation=kind)
        if not net.deterministic:
            with torch.no_grad():
                ensemble.min_log_var.copy_(net.min_logvar)
                ensemble.max_log_var.copy_(net.max_logvar)
        return ensemble

    @property
    def chunk(self) -> int:
        return self._ensemble.chunk

    @property
    def deterministic(self) -> bool:
        return (self.propagation or OURS[self.net.propagation_method]) == "mean"

    @property
    def engine(self) -> str | None:
        return self._ensemble.engine

    def rollout(self, state: Tensor, actions: Tensor, drawn: Draw) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) -> states (*B, N, P, H, S)."""
        return self._ensemble.rollout(state, actions, drawn)


def _sharing(net: Any, size: int, model: Any) -> ProbabilisticEnsemble:
    """A `ProbabilisticEnsemble` that shares the parameters of a GaussianMLP for observations (S)."""
    process, learned = model.obs_process_fn, model.learned_rewards

    def processed(state: Tensor) -> Tensor:
        return process(state[:, :size])  # type: ignore[no-any-return]

    encode: Callable[[Tensor], Tensor] = processed if process else Features(*range(size))
    features = encode(torch.zeros(1, net.out_size, device=net.device)).shape[-1]
    absolute = [entry % size for entry in model.no_delta_list] if model.target_is_delta else list(range(size))
    rng = Generator(net.device)
    hidden = (1,) * len(net.hidden_layers)  # these weights are replaced below
    config = EnsembleConfig(net.num_members, Architecture(hidden, "silu", normalise_inputs=True))
    ensemble = ProbabilisticEnsemble(
        net.out_size,
        net.in_size - features,
        config,
        encode=encode,
        absolute=[*absolute, size] if learned else absolute,
        rng=rng,
    )
    linear = [layer[0] for layer in net.hidden_layers] + [net.mean_and_logvar]
    ensemble.mlp.weights = nn.ParameterList([layer.weight for layer in linear])
    ensemble.mlp.biases = nn.ParameterList([layer.bias for layer in linear])
    activation = net.hidden_layers[0][1]
    if any(True for _ in activation.parameters()):
        raise ValueError(f"model: expected activations without weights of their own, got {activation}")
    if not isinstance(activation, nn.SiLU):  # our SiLU works in place if it can
        ensemble.mlp.activation = activation
    return ensemble
