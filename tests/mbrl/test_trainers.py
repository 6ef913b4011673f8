"""mbrl-lib's trainer and ours: mbrl-lib's weights in our model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from elites.envs import Task
from elites.envs.any_env import never_paid
from elites.features import Features
from elites.runs.bench.transitions import DataSet, Episode


@pytest.fixture
def data() -> DataSet:
    """An angle that jumps at a full turn, a speed, and an entry that is predicted directly."""
    rng = torch.Generator().manual_seed(0)
    state, action = torch.rand(200, 3, generator=rng) * 6.28, torch.rand(200, 1, generator=rng)
    angle = torch.remainder(state[:, :1] + 0.5 * action + 0.1, 6.2832)
    following = torch.cat([angle, state[:, 1:2] + action, state[:, 1:2] * 0.1], 1)
    task = Task(never_paid, encode=Features("sin 0", "cos 0", 1), absolute=(2,), angles=(0,))
    return DataSet("turning", task, Episode(state, action, following), [])


def test_a_model_of_ours_predicts_what_theirs_does(data: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    from mbrl.models import ModelTrainer

    from elites.runs.bench.trainers import mbrl_lib

    trained: list[Any] = []
    train = ModelTrainer.train

    def watched(self: Any, *args: Any, **options: Any) -> Any:
        trained.append(self.model)
        return train(self, *args, **options)

    monkeypatch.setattr(ModelTrainer, "train", watched)
    found = mbrl_lib(data, 0, epochs=2)
    assert found.epochs == 2
    theirs, rows = trained[0], data.training
    with torch.no_grad():
        mean, log_variance = theirs.model.forward(theirs._get_model_input(rows.state, rows.action))
        ours, variance = found.model.predict(rows.state, rows.action)
    assert torch.allclose(ours - rows.state * torch.tensor([1.0, 1.0, 0.0]), mean, atol=1e-4)
    assert torch.allclose(variance.log(), log_variance, atol=1e-3)


def test_their_targets_do_not_jump(data: DataSet) -> None:
    from elites.dynamics import EnsembleConfig
    from elites.runs.bench.trainers import _buffer, untrained

    batch = _buffer(data, untrained(data, EnsembleConfig(), 0), 0).get_all()
    assert abs(batch.next_obs[:, 0] - batch.obs[:, 0]).max() < 0.7
    assert batch.next_obs[:, 2] == pytest.approx(data.training.next_state[:, 2].numpy())
