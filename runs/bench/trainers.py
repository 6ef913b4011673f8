"""Trainers of an ensemble: this library's, and mbrl-lib's with the same settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Generator

from elites.dynamics import EnsembleConfig, ProbabilisticEnsemble, Training
from elites.dynamics.ensemble import PETS_NETWORKS
from elites.fields import Checked
from elites.runs.bench.transitions import DataSet


@dataclass(frozen=True)
class Trained:
    model: ProbabilisticEnsemble
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Ours(Checked):
    """The settings of our training."""

    model: EnsembleConfig = EnsembleConfig()
    training: Training = Training()


@dataclass(frozen=True)
class Theirs:
    """The settings of mbrl-lib's trainer: those of the CEM-GD paper's experiments and ours."""

    epochs: int = 50
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 5e-5
    validation: float = 0.05
    patience: int = 5


def untrained(data: DataSet, config: EnsembleConfig, seed: int) -> ProbabilisticEnsemble:
    """An untrained ensemble for the data's task."""
    task, rows = data.task, data.training
    size, actions = rows.state.shape[1], rows.action.shape[1]
    rng = Generator().manual_seed(seed)
    parts: dict[str, Any] = {"encode": task.encode, "absolute": task.absolute, "angles": task.angles}
    return ProbabilisticEnsemble(size, actions, config, rng=rng, **parts)


def elites(data: DataSet, seed: int, epochs: int | None = None, ours: Ours | None = None) -> Trained:
    """Trains with this library. ours: None takes the defaults. epochs: the most epochs."""
    ours = ours or Ours()
    model, training = untrained(data, ours.model, seed), ours.training
    training = replace(training, epochs=epochs or training.epochs)
    rows, rng = data.training, Generator().manual_seed(seed)
    begin = time.perf_counter()
    fit = training.fit(model, rows.state, rows.action, rows.next_state, rng)
    return Trained(model, fit.epochs, time.perf_counter() - begin)


def mbrl_lib(data: DataSet, seed: int, epochs: int | None = None, ours: Ours | None = None) -> Trained:
    """Trains mbrl-lib's GaussianMLP, with as many members and PETS's layers. Copies its weights into our model."""
    from mbrl.models import GaussianMLP, ModelTrainer, OneDTransitionRewardModel
    from mbrl.util.common import get_basic_buffer_iterators

    settings = Theirs(epochs=epochs or Theirs.epochs)
    model = untrained(data, EnsembleConfig(architecture=PETS_NETWORKS), seed)  # mbrl-lib has no layer normalisation
    torch.manual_seed(seed)
    hidden, size = model.config.architecture.hidden, model.state_size
    options = {"num_layers": len(hidden), "hid_size": hidden[0], "activation_fn_cfg": {"_target_": "torch.nn.SiLU"}}
    inputs = len(model.mlp.input_mean)
    net = GaussianMLP(inputs, size, "cpu", ensemble_size=model.config.members, **options)
    absolute = (model.relative == 0).nonzero().flatten().tolist()
    wrapped = OneDTransitionRewardModel(
        net,
        normalize=True,
        normalize_double_precision=True,
        learned_rewards=False,  # a learned reward is an entry of the state
        obs_process_fn=_encoder(data),
        no_delta_list=absolute,
    )
    trainer = ModelTrainer(wrapped, settings.learning_rate, settings.weight_decay)
    begin = time.perf_counter()
    buffer = _buffer(data, model, seed)
    batches = get_basic_buffer_iterators(buffer, settings.batch, settings.validation, model.config.members)
    wrapped.update_normalizer(buffer.get_all())
    losses, _ = trainer.train(*batches, num_epochs=settings.epochs, patience=settings.patience, silent=True)
    seconds = time.perf_counter() - begin
    _take(model, net, wrapped.input_normalizer)
    return Trained(model, len(losses), seconds)


def _encoder(data: DataSet) -> Callable[[Any], Any] | None:
    """The task's encoding, for tensors and arrays."""
    encode = data.task.encode
    if encode is None:
        return None

    def process(states: Any) -> Any:
        seen = encode(torch.as_tensor(states).reshape(-1, states.shape[-1]))
        seen = seen.reshape(*states.shape[:-1], -1)
        return seen.numpy() if isinstance(states, np.ndarray) else seen

    return process


def _buffer(data: DataSet, model: ProbabilisticEnsemble, seed: int) -> Any:
    """The transitions in mbrl-lib's buffer, with changes of angles that do not jump."""
    from mbrl.util import ReplayBuffer

    rows, nothing = data.training, np.zeros(len(data.training.state))
    following = rows.state * model.relative + model.targets(rows.state, rows.next_state)
    sizes = (rows.state.shape[1:], rows.action.shape[1:])
    buffer = ReplayBuffer(len(nothing), *sizes, rng=np.random.default_rng(seed))
    ended = nothing.astype(bool)
    buffer.add_batch(rows.state.numpy(), rows.action.numpy(), following.numpy(), nothing, ended, ended)
    return buffer


@torch.no_grad()
def _take(model: ProbabilisticEnsemble, net: Any, normalizer: Any) -> None:
    """Copies the weights, bounds and normalizer of a GaussianMLP into the model."""
    linear = [*(layer[0] for layer in net.hidden_layers), net.mean_and_logvar]
    for weight, bias, layer in zip(model.mlp.weights, model.mlp.biases, linear, strict=True):
        weight.copy_(layer.weight)
        bias.copy_(layer.bias)
    model.min_log_var.copy_(net.min_logvar.expand_as(model.min_log_var))
    model.max_log_var.copy_(net.max_logvar.expand_as(model.max_log_var))
    model.mlp.input_mean.copy_(normalizer.mean[0])
    model.mlp.input_std.copy_(normalizer.std[0])


TRAINERS: dict[str, Callable[..., Trained]] = {"elites": elites, "mbrl-lib": mbrl_lib}
