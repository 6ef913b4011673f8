"""Fitting the ensemble: it learns, and held-out data does not leak."""

from __future__ import annotations

import itertools
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites.dynamics import EnsembleConfig, Fit, ProbabilisticEnsemble, Training, training
from elites.dynamics.calibration import variance_factors
from elites.dynamics.ensemble import PETS_NETWORKS, soft_variance
from elites.dynamics.training import held_out, held_out_figures, losses
from elites.dynamics.weights import Average


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


NOISE = torch.tensor([0.05, 0.3])


def data(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A linear system of two entries with different noise."""
    state, action = torch.randn(count, 2, generator=rng(seed)), torch.randn(count, 1, generator=rng(seed + 1))
    change = torch.cat([0.5 * action - 0.2 * state[:, 1:], state[:, :1] * 0.3], 1)
    return state, action, state + change + NOISE * torch.randn(count, 2, generator=rng(seed + 2))


SMALL = replace(PETS_NETWORKS, hidden=(32, 32))


def model(**options: Any) -> ProbabilisticEnsemble:
    return ProbabilisticEnsemble(2, 1, EnsembleConfig(**{"architecture": SMALL, **options}), rng=rng())


@pytest.fixture(scope="module")
def fitted() -> tuple[ProbabilisticEnsemble, Fit]:
    network = model()
    return network, Training(epochs=60, validation=0.2).fit(network, *data(2000), rng())


def test_it_learns_mean_and_noise(fitted: tuple[ProbabilisticEnsemble, Fit]) -> None:
    state, action, _ = data(500, seed=50)
    mean, variance = (x.mean(0) for x in fitted[0].predict(state, action))
    truth = state + torch.cat([0.5 * action - 0.2 * state[:, 1:], state[:, :1] * 0.3], 1)
    assert ((mean - truth).square().mean(0).sqrt() < torch.tensor([0.03, 0.1])).all()
    assert torch.allclose(variance.median(0).values.sqrt(), NOISE, rtol=0.15)


def test_held_out_figures(fitted: tuple[ProbabilisticEnsemble, Fit]) -> None:
    """Against the figures of a perfect model."""
    fit, (state, _, following) = fitted[1], data(2000)
    share = (NOISE / (following - state).std(0)).square().mean().sqrt().item()
    assert fit.rmse == pytest.approx(share, rel=0.15)
    entropy = (0.5 * torch.log(2 * torch.pi * torch.e * NOISE**2)).mean().item()
    assert fit.nll == pytest.approx(entropy, abs=0.1)
    assert fit.coverage_50 == pytest.approx(0.5, abs=0.07)
    assert fit.coverage_90 == pytest.approx(0.9, abs=0.04)


def test_a_model_that_is_too_sure_is_seen_in_the_coverage_and_calibrated(
    fitted: tuple[ProbabilisticEnsemble, Fit],
) -> None:
    sure, (state, action, following), held = model(), data(2000), held_out(2000, 0.2)
    sure.load_state_dict(fitted[0].state_dict())
    with torch.no_grad():
        sure.max_log_var.fill_(-6)
        sure.min_log_var.fill_(-7)
    before = held_out_figures(sure, state[held], action[held], (following - state)[held], torch.ones(2))
    nothing_better = Training(epochs=1, learning_rate=1e-12, weight_decay=0.0, validation=0.2, batch=2000)
    after = nothing_better.fit(sure, state, action, following, rng())
    assert before[3] < 0.5
    assert after.coverage_90 == pytest.approx(0.9, abs=0.04)
    assert after.nll < before[1] - 1
    _, variance = sure.predict(state, action)
    assert torch.allclose(variance.mean((0, 1)).sqrt(), NOISE, rtol=0.15)


def test_calibration_does_not_touch_what_is_learned() -> None:
    """A second training starts with the same weights and losses for all factors."""
    networks = [model(), model()]
    networks[1].variance_factor.fill_(7.0)
    for network in networks:
        Training(epochs=2).fit(network, *data(100), rng())
    assert all(torch.equal(a, b) for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True))
    assert torch.equal(networks[0].variance_factor, networks[1].variance_factor)


def test_the_factors_are_the_likeliest() -> None:
    """Without disagreement, the mean of e² / v. With it, both together must explain the errors."""
    variance = torch.tensor([1.0, 4.0]).expand(5000, -1)
    error = torch.randn(5000, 2, generator=rng()) * torch.tensor([0.5, 6.0])
    factors = variance_factors(error.square(), variance, torch.zeros(5000, 2))
    assert torch.allclose(factors, (error.square() / variance).mean(0), rtol=0.06)
    shared = variance_factors(error.square(), variance, torch.tensor([0.2, 20.0]).expand(5000, -1))
    assert torch.allclose(shared * variance[0], torch.tensor([0.05, 16.0]), rtol=0.3)
    more = variance_factors(error.square(), variance, torch.tensor([4.0, 4.0]).expand(5000, -1))
    assert more[0] < 0.01  # if members differ more than they err, they need no own variance


def test_few_transitions_move_the_factors_little() -> None:
    """For n errors of 0 or 3, log c solves n (e²/c - 1) = 2 log c."""
    for count, error, near in ((2, 0.0, -1.0), (20, 0.0, -6.9), (2, 3.0, 1.345), (200, 3.0, 2.176)):
        ones = torch.ones(count, 1)
        found = variance_factors(error**2 * ones, ones, 0 * ones).log().item()
        assert found == pytest.approx(near, abs=0.05)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_an_error_counts_as_much_as_its_variance_to_a_power(beta: float) -> None:
    """The gradient for a mean is 2 (mean - target) variance^(beta - 1). For beta = 1, it is the squared error's."""
    network = model(members=1)
    with torch.no_grad():
        for parameter in (*network.mlp.weights, *network.mlp.biases):
            parameter.zero_()
    targets = torch.tensor([[0.5, -2.0]])
    losses(network, torch.zeros(1, 3), targets, beta).sum().backward()  # type: ignore[no-untyped-call]
    variance = soft_variance(torch.zeros(2), network.min_log_var[0, 0], network.max_log_var[0, 0]).detach()
    gradient = network.mlp.biases[-1].grad
    assert gradient is not None
    assert torch.allclose(gradient[0, 0, :2], -2 * targets[0] * variance ** (beta - 1) / 2)


def test_weights_are_averaged_over_the_steps() -> None:
    network = model(members=1)
    average, mean = Average(network, 0.5), network.min_log_var.detach().clone()
    for step, kept in ((1, 2 / 11), (2, 3 / 12), (3, 4 / 13)):
        with torch.no_grad():
            network.min_log_var.fill_(step)
        average.follow()
        mean = kept * mean + (1 - kept) * step
    assert torch.allclose(average.model.min_log_var, mean)
    assert (network.min_log_var == 3).all()
    average.steps = 1000  # from here on the share has its final value
    average.follow()
    assert torch.allclose(average.model.min_log_var, 0.5 * mean + 1.5)


def test_members_that_disagree_are_less_sure() -> None:
    """Two confident members are 2 apart. Their common interval includes values between them; their own do not."""
    network = model(members=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.mlp.biases[-1][0, 0, :2], network.mlp.biases[-1][1, 0, :2] = 1.0, -1.0
        network.min_log_var.fill_(-10)
        network.max_log_var.fill_(-9)
    zeros, between = torch.zeros(50, 2), torch.linspace(-0.6, 0.6, 50)[:, None].expand(-1, 2)
    rmse, nll, half, most = held_out_figures(network, zeros, zeros[:, :1], between, torch.ones(2))
    assert (half, most) == (1.0, 1.0)
    assert rmse == pytest.approx(0.6 / 3**0.5, rel=0.05)
    assert nll == pytest.approx(0.5 * torch.tensor(2 * torch.pi).log().item() + 0.06, abs=0.02)  # a variance of 1


def test_the_bounds_are_pressed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BOUND_PENALTY", 100.0)
    network = model()
    Training(epochs=2, weight_decay=0.0).fit(network, *data(400), rng())
    assert (network.max_log_var < 0.5).all()
    assert (network.min_log_var > -10).all()


def test_weights_decay() -> None:
    norms = []
    for decay in (0.0, 0.3):
        network = model()
        Training(epochs=5, weight_decay=decay).fit(network, *data(400), rng())
        norms.append(network.mlp.weights[1].square().sum().item())
    assert norms[1] < 0.7 * norms[0]


@pytest.mark.parametrize(("count", "size"), [(200, 16), (1000, 31), (5000, 64)])
def test_few_transitions_make_small_batches(monkeypatch: pytest.MonkeyPatch, count: int, size: int) -> None:
    seen: list[int] = []

    def watched(model: Any, inputs: Tensor, *others: Any) -> Tensor:
        seen.append(inputs.shape[-2])
        return losses(model, inputs, *others)

    monkeypatch.setattr(training, "losses", watched)
    Training(epochs=1, validation=1e-9).fit(model(), *data(count + 1), rng())  # the first transition is held out
    assert seen[1] == size  # after the validation
    seen.clear()
    Training(epochs=1, batch=50, validation=1e-9).fit(model(), *data(count + 1), rng())
    assert seen[1] == 50


def test_equal_seeds_equal_weights() -> None:
    networks = [model(), model(), model()]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        Training(epochs=2).fit(network, *data(100), rng(seed))
    assert all(torch.equal(a, b) for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True))
    assert not torch.equal(networks[0].mlp.weights[0], networks[2].mlp.weights[0])


def test_what_is_held_out_stays_held_out() -> None:
    for share in (0.05, 0.3):
        held = held_out(1000, share)
        assert torch.equal(held_out(137, share), held[:137])  # independent of later transitions
        assert held.sum().item() == pytest.approx(1000 * share, abs=25)
        for start in range(0, 10_000, 1000):  # and evenly spread
            assert held_out(10_000, share)[start : start + 1000].sum().item() == pytest.approx(1000 * share, abs=50)


def test_later_ones_are_held_out_with_their_neighbours() -> None:
    """A transition between two training transitions does not test new episodes."""
    held = held_out(5000, 0.1)
    assert held[:100].sum() == 11  # spread, as 25 of few are too many
    assert not (held[:99] & held[1:100]).any()
    groups = held[100:].reshape(-1, 25)
    assert (groups.all(1) == groups.any(1)).all()


def test_held_out_transitions_do_not_touch_what_is_learned() -> None:
    """Extreme values in held-out rows change neither the normalizer nor the training."""
    state, action, following = data(200)
    held = held_out(200, 0.05)
    wild = [x.clone() for x in (state, action, following)]
    for x in wild:
        x[held] += 100
    networks = [model(), model()]
    one_epoch = Training(epochs=1, patience=1, bootstrap=True)
    seen: list[list[float]] = [[], []]
    for i, (network, rows) in enumerate(zip(networks, ((state, action, following), wild), strict=True)):
        one_epoch.fit(network, rows[0], rows[1], rows[2], rng(), lambda e, train, val, i=i: seen[i].append(train))
    assert torch.equal(networks[0].mlp.input_mean, networks[1].mlp.input_mean)
    assert torch.equal(networks[0].mlp.input_std, networks[1].mlp.input_std)
    assert seen[0] == seen[1]


def test_every_member_keeps_its_own_best_weights() -> None:
    """Steps are so large that every member gets worse. So the first weights and their loss are the result."""
    network, rows = model(), data(400)
    Training(epochs=15).fit(network, *rows, rng())
    before = [parameter.clone() for parameter in network.parameters()]
    fit = Training(epochs=3, learning_rate=10.0, patience=5).fit(network, *rows, rng(3))
    assert fit.epochs == 3
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_member_that_improves_does_not_drag_the_others_along() -> None:
    network, rows = model(members=3), data(400)
    Training(epochs=80).fit(network, *rows, rng())
    with torch.no_grad():
        network.mlp.biases[-1][1] += 0.5  # this member can improve a lot
    before = [parameter.clone() for parameter in network.parameters()]
    Training(epochs=2, learning_rate=0.03, averaging=0.0, validation=0.2).fit(network, *rows, rng(3))
    kept = [
        all(torch.equal(a[member], b[member]) for a, b in zip(before, network.parameters(), strict=True))
        for member in range(3)
    ]
    assert kept == [True, False, True]


def test_training_never_worsens_the_validation_loss() -> None:
    network, rows = model(), data(300)
    seen: list[float] = []
    for _ in range(3):
        Training(epochs=8).fit(network, *rows, rng(), lambda epoch, train, validation: seen.append(validation))
    assert all(later <= earlier for earlier, later in itertools.pairwise(seen))


def test_the_members_planned_with_are_the_best_by_validation_loss() -> None:
    network, (state, action, following) = model(members=5, best_members=2), data(400)
    Training(epochs=3).fit(network, state, action, following, rng())
    held = held_out(400, 0.1)
    inputs = network.mlp.normalised(network.inputs(state, action))
    loss = training._validated(network, inputs[held], network.normalised(following - state)[held])
    assert network.best_members.tolist() == loss.argsort()[:2].tolist()


def test_the_best_are_those_that_are_best_once_calibrated() -> None:
    """An underconfident member is not worse, if there is enough data to see this."""
    network, (state, action, following) = model(members=2), data(4000)
    Training(epochs=3).fit(network, state, action, following, rng())
    inputs, targets = network.mlp.normalised(network.inputs(state, action)), network.normalised(following - state)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter[1] = parameter[0]
        network.mlp.biases[-1][1, :, 2:] += 1.0  # the raw log variance
    plain, few, many = (
        f(network, inputs[:n], targets[:n])
        for f, n in ((losses, 4000), (training._validated, 4), (training._validated, 4000))
    )
    assert plain[1] - plain[0] > 0.2
    assert few[1] - few[0] > 0.1
    assert abs(many[1] - many[0]) < 0.02


def test_it_stops_where_nothing_improves() -> None:
    quick = Training(epochs=50, learning_rate=10.0, patience=3)
    network, rows = model(), data(400)
    Training(epochs=15).fit(network, *rows, rng())
    assert quick.fit(network, *rows, rng()).epochs == 3


def test_bootstraps_differ_between_members() -> None:
    """Without bootstraps, equal members get the same data; with bootstraps, they do not."""
    for bootstrap in (False, True):
        network = model(members=2)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter[1] = parameter[0]
        Training(epochs=1, batch=10_000, bootstrap=bootstrap).fit(network, *data(200), rng())
        alike = torch.allclose(network.mlp.weights[0][0], network.mlp.weights[0][1], atol=1e-6)
        assert alike is not bootstrap


def test_progress_is_told() -> None:
    seen: list[tuple[int, float, float]] = []
    fit = Training(epochs=4).fit(model(), *data(100), rng(), lambda *figures: seen.append(figures))
    assert [row[0] for row in seen] == [1, 2, 3, 4]
    assert seen[-1][1:] == (fit.train_loss, fit.validation_loss)


def test_an_input_that_never_varies_is_left_as_it_is() -> None:
    state, action, following = data(100)
    action = torch.full_like(action, 3.0)
    network = model()
    fit = Training(epochs=1).fit(network, state, action, following, rng())
    assert network.mlp.input_std[2] == 1
    assert all(value == value for value in asdict(fit).values())  # no NaN


def test_the_units_of_a_state_do_not_matter() -> None:
    """An entry in another unit gives the same networks, the same errors in spreads, and a shifted NLL."""
    state, action, following = data(400)
    unit = torch.tensor([1.0, 1024.0])
    networks, fits = [model(), model()], []
    for network, scale in zip(networks, (torch.ones(2), unit), strict=True):
        fits.append(Training(epochs=3).fit(network, state * scale, action, following * scale, rng()))
    assert torch.allclose(networks[0].target_std * unit, networks[1].target_std)
    assert torch.allclose(networks[0].mlp.weights[-1], networks[1].mlp.weights[-1], atol=1e-4)
    (mean, variance), (other_mean, other_variance) = (
        network.predict(state * scale, action) for network, scale in zip(networks, (1, unit), strict=True)
    )
    assert torch.allclose(mean * unit, other_mean, rtol=1e-3)
    assert torch.allclose(variance * unit**2, other_variance, rtol=1e-3)
    assert fits[1].rmse == pytest.approx(fits[0].rmse, rel=1e-3)
    assert fits[1].nll == pytest.approx(fits[0].nll + unit.log().mean().item(), abs=1e-3)


def test_an_entry_that_never_moves_keeps_its_own_unit() -> None:
    state, action, following = data(100)
    following[:, 1] = state[:, 1]
    network = model()
    fit = Training(epochs=2).fit(network, state, action, following, rng())
    assert network.target_std[1] == 1
    assert network.target_mean[1] == 0
    assert all(value == value for value in asdict(fit).values())  # no NaN
    assert all(x.isfinite().all() for x in network.predict(state, action))


@pytest.mark.parametrize(("row", "value"), [(0, torch.nan), (7, torch.inf)])
def test_transitions_that_are_not_finite(row: int, value: float) -> None:
    state, action, following = data(50)
    following[row, 0] = value
    with pytest.raises(ValueError, match=r"Training.fit: expected finite transitions, got NaN or infinity"):
        Training().fit(model(), state, action, following, rng())


def test_too_little_to_learn_from() -> None:
    with pytest.raises(ValueError, match=r"Training.fit: expected at least 2 transitions, got 1"):
        Training().fit(model(), *data(1), rng())
