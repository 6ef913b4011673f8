"""CEM-AH: its losses, its gradients, and the modes that survive."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from elites.agents.adversarial import Imitation, Imitator
from elites.agents.nets import Optimizer
from elites.agents.policy_search import Form, PolicySearch
from elites.agents.units import Spaces
from elites.networks import Architecture
from elites.networks.hypernetwork import Hypernetwork
from elites.planners import CEM
from elites.spaces import Box, Choices

SMALL = Imitation(noises=64, states=64, noise_size=8, pretraining=0)
ONE = Spaces.of(1, Box([-1.0], [1.0]))


def imitator(settings: Imitation = SMALL, form: Form | None = None, spaces: Spaces = ONE) -> Imitator:
    form = form or Form(inputs="raw")
    return Imitator(settings, form.population(spaces), Generator().manual_seed(0))


def two_modes(settings: Imitation = SMALL) -> Imitator:
    """Elites that answer +0.9 or -0.9 in the state 1."""
    found = imitator(settings)
    gain = math.atanh(0.9) / 2  # of the weight, and of the bias
    found.take(torch.tensor([[gain, gain], [-gain, -gain]]), [np.ones((200, 1))] * 2, 1.0, None)
    return found


def answers(of: Imitator, count: int = 512) -> Any:
    policies = of.population.at(of.drawn(count))
    return policies.answers(torch.ones(count, 1, 1)).flatten().numpy()


def test_the_replay_has_the_elites_answers() -> None:
    replay = two_modes().replay
    np.testing.assert_allclose(replay.column("action")[:, 0], [0.9] * 200 + [-0.9] * 200, rtol=1e-5)
    assert (replay.column("state") == 1).all()


def test_elites_are_admitted_if_they_are_as_good_as_the_replay() -> None:
    found = two_modes()
    assert imitator().admits(-1e9)
    assert [found.admits(value) for value in (0.9, 1.0, 1.1)] == [False, True, True]
    found.take(torch.zeros(1, 2), [np.ones((400, 1))], 2.0, None)
    assert [found.admits(value) for value in (1.4, 1.6)] == [False, True]  # the mean over the tuples is 1.5


def test_half_a_chance_is_twice_the_logarithm_of_two() -> None:
    found = two_modes()
    with torch.no_grad():
        for parameter in found.nets.discriminator.parameters():
            parameter.zero_()
    batch = found.batch(None)
    assert found.against(batch).item() == pytest.approx(2 * math.log(2))
    assert found.fooling(batch).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("loss", ["squared_error", "fooling"])
def test_both_losses_move_the_generator(loss: str) -> None:
    """The published code takes both through NumPy, so that neither has a gradient there."""
    found = two_modes()
    before = found.nets.vector("generator")
    found.nets.descend("generator", getattr(found, loss)(found.batch(None)))
    assert (found.nets.vector("generator") - before).abs().max() > 1e-4


def test_the_discriminators_step_leaves_the_generator() -> None:
    found = two_modes()
    before = found.nets.vector("generator")
    found.nets.descend("discriminator", found.against(found.batch(None)))
    assert torch.equal(found.nets.vector("generator"), before)


def test_the_squared_error_alone_gives_the_mean_of_two_modes() -> None:
    found = two_modes(replace(SMALL, pretraining=800, discriminator_steps=0, optimizer=Optimizer(3e-4)))
    assert np.abs(answers(found)).mean() > 0.5
    found.learn(1, None, lambda text: None)
    assert np.abs(answers(found)).mean() < 0.25


def test_two_modes_survive_with_the_adversary() -> None:
    """Their shares vary from lesson to lesson, so the mean over ten lessons counts."""
    found, shares, near = two_modes(replace(SMALL, discriminator_steps=300, generator_steps=3)), [], []
    for generation in range(1, 101):
        found.learn(generation, None, lambda text: None)
        if generation > 50 and generation % 5 == 0:
            of = answers(found)
            shares.append((of > 0).mean())
            near.append((np.abs(of) > 0.6).mean())
    assert 0.1 < np.mean(shares) < 0.9
    assert np.mean(near) > 0.85


def test_gradients_of_the_hypernetwork_by_finite_differences() -> None:
    network = Hypernetwork(3, [4, 2, 0], Generator().manual_seed(0), width=5).double()
    noise = torch.randn(2, 3, generator=Generator().manual_seed(1), dtype=torch.float64)
    assert network(noise).shape == (2, 6)
    target = torch.randn(2, 6, generator=Generator().manual_seed(2), dtype=torch.float64)

    def loss() -> Any:
        return ((network(noise) - target) ** 2).sum()

    parameters = list(network.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        place, ends = int(gradient.abs().argmax()), []
        with torch.no_grad():
            for step in (1e-6, -2e-6):
                parameter.view(-1)[place] += step
                ends.append(float(loss()))
            parameter.view(-1)[place] += 1e-6
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float(gradient.flatten()[place]), rel=1e-4)


@pytest.mark.parametrize(
    "spaces", [Spaces.of(3, Box([-2.0, -1.0], [2.0, 1.0])), Spaces.of(3, Choices((4,)))], ids=["box", "choices"]
)
def test_the_ensemble_is_the_mean_of_single_passes(spaces: Spaces) -> None:
    form = Form(Architecture((4,), "tanh"), inputs="raw")
    space = spaces.world
    agent = PolicySearch(form, CEM(samples=10, elites=2), 3, 3, space, 0, "ensemble", replace(SMALL, members=5))
    observation = np.random.default_rng(0).normal(size=(7, 3))
    actions = agent.act(observation)
    assert agent._acting is not None
    policies = agent._acting[1]
    assert len(policies) == 5
    state = torch.from_numpy(observation).float()
    single: Callable[[int], Any] = lambda k: agent.population.at(policies.points[k : k + 1], 7).answers(state[None])[0]  # noqa: E731
    mean = torch.stack([single(k) for k in range(5)]).mean(0)
    if isinstance(space, Box):
        np.testing.assert_allclose(actions, agent.spaces.to_env(mean), rtol=1e-5)
    else:
        np.testing.assert_array_equal(actions, mean.argmax(-1).numpy())


def test_what_only_imitation_can_show() -> None:
    with pytest.raises(ValueError, match="shown: expected mean, best or drawn without imitation, got ensemble"):
        PolicySearch(Form(), CEM(), 3, 1, ONE.world, 0, "ensemble")
