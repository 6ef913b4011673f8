"""The rules for every model: checks for tests/dynamics and tests/mbrl."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites.dynamics import Dynamics, Return
from elites.networks import library

P = 6  # particles asked for


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def no_noise(drawn: Any, t: int) -> Any:
    return drawn


@dataclass(frozen=True)
class Case:
    """A model, two problems (2, S), and four candidates of three steps for each (2, 4, 3, A)."""

    name: str
    make: Callable[[], Dynamics[Any]]
    state: Tensor
    actions: Tensor
    at_step: Callable[[Any, int], Any] = no_noise  # a draw for a horizon -> the draw for its step t
    networks: bool = False
    lost: float = 0.0  # the largest error of a rough rollout, relative to the largest change of a state
    tolerance: float = 1e-5

    def __str__(self) -> str:
        return self.name

    def rolled(self, seed: int = 0, **changes: Tensor) -> Tensor:
        """States (2, 4, P', 3, S)."""
        model, state, actions = self.make(), changes.get("state", self.state), changes.get("actions", self.actions)
        return model.rollout(state, actions, model.draw(self.particles(model), 3, rng(seed)))

    @staticmethod
    def particles(model: Dynamics[Any]) -> int:
        return 1 if model.deterministic else P

    def close(self, found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected, rtol=self.tolerance, atol=self.tolerance)


def it_declares_what_it_is(case: Case) -> None:
    model = case.make()
    assert isinstance(model, Dynamics)
    assert isinstance(model.chunk, int)
    assert model.chunk >= 1
    assert model.engine is None
    assert isinstance(model.deterministic, bool)
    assert isinstance(model.differentiable, bool)


def shapes_with_a_batch_and_without(case: Case) -> None:
    model = case.make()
    drawn = model.draw(case.particles(model), 3, rng())
    states = model.rollout(case.state, case.actions, drawn)
    *lead, particles, horizon, size = states.shape
    assert (lead, horizon, size) == ([2, 4], 3, case.state.shape[-1])
    assert particles >= case.particles(model) or (particles == 1 and model.deterministic)
    case.close(model.rollout(case.state[1], case.actions[1], drawn), states[1])
    nested = model.rollout(case.state[:, None], case.actions[:, None], drawn)
    assert nested.shape == (2, 1, *states.shape[1:])
    case.close(nested[:, 0], states)


def type_and_device_are_kept(case: Case) -> None:
    states = case.rolled()
    assert states.dtype == case.state.dtype
    assert states.device == case.state.device
    assert not states.requires_grad


def candidates_do_not_know_each_other(case: Case) -> None:
    """Other candidates and problems do not change a state."""
    states, other = case.rolled(), case.actions.clone()
    other[1, 2] = -other[1, 2]
    changed = case.rolled(actions=other)
    alike = torch.ones(2, 4, dtype=torch.bool)
    alike[1, 2] = False
    case.close(changed[alike], states[alike])
    assert not torch.allclose(changed[1, 2], states[1, 2])
    case.close(case.rolled(actions=case.actions[:, 2:3])[:, 0], states[:, 2])
    moved = case.state.clone()
    moved[1] = moved[0]
    case.close(case.rolled(state=moved)[0], states[0])


def an_action_has_no_effect_before_its_time(case: Case) -> None:
    later = case.actions.clone()
    later[:, :, 2] = -later[:, :, 2]
    states, changed = case.rolled(), case.rolled(actions=later)
    case.close(changed[..., :2, :], states[..., :2, :])
    assert not torch.allclose(changed[..., 2, :], states[..., 2, :])


def the_same_draw_gives_the_same_states(case: Case) -> None:
    """Bit for bit. Another draw gives other states, unless the model is deterministic."""
    model = case.make()
    drawn = model.draw(case.particles(model), 3, rng())
    first, again = (model.rollout(case.state, case.actions, drawn) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(case.rolled(seed=0), first)
    assert torch.equal(case.rolled(seed=1), first) == model.deterministic
    if model.deterministic:
        many = model.rollout(case.state, case.actions, model.draw(P, 3, rng()))
        assert all(torch.equal(many[:, :, particle], first[:, :, 0]) for particle in range(many.shape[2]))


def it_is_a_step_after_another(case: Case) -> None:
    """Every particle steps from its own state with its own draw."""
    model = case.make()
    drawn = model.draw(case.particles(model), 3, rng())
    states = model.rollout(case.state, case.actions, drawn)
    for particle in range(states.shape[2]):
        for candidate in range(4):
            here = case.state
            for t in range(3):
                action = case.actions[:, candidate : candidate + 1, t : t + 1]
                step = model.rollout(here, action, case.at_step(drawn, t))
                here = step[:, 0, particle, 0]
                case.close(here, states[:, candidate, particle, t])


def in_closed_loop_every_particle_reacts(case: Case) -> None:
    """Each particle's action answers its own state, and the step that follows is a step of the rollout."""
    model = case.make()
    drawn, size = model.draw(case.particles(model), 3, rng()), case.actions.shape[-1]
    gain = torch.randn(case.state.shape[-1], size, generator=rng(5), dtype=case.state.dtype)

    def act(state: Tensor) -> Tensor:
        return 0.5 * (state @ gain).tanh()

    if type(model).react is Dynamics.react:
        with pytest.raises(ValueError, match="expected a model with a closed-loop rollout"):
            model.react(case.state, act, (2, 4), 3, drawn)
        return
    actions, states = model.react(case.state, act, (2, 4), 3, drawn)
    particles = states.shape[2]
    assert actions.shape == (2, 4, particles, 3, size)
    assert states.shape == (2, 4, particles, 3, case.state.shape[-1])
    for particle in range(particles):
        here = case.state
        for t in range(3):
            action = act(here)
            case.close(actions[:, 1, particle, t], action)
            here = model.rollout(here, action[:, None, None], case.at_step(drawn, t))[:, 0, particle, 0]
            case.close(states[:, 1, particle, t], here)
    own = model.draw(case.particles(model), 3, rng(), (2, 4))
    states = model.react(case.state, act, (2, 4), 3, own)[1]
    assert torch.allclose(states[:, 0], states[:, 1]) == model.deterministic


def noise_of_each_candidates_own(case: Case) -> None:
    model = case.make()
    drawn = model.draw(case.particles(model), 3, rng(), (2, 4))
    alike = case.actions[:, :1].expand(-1, 4, -1, -1)
    states = model.rollout(case.state, alike, drawn)
    assert torch.allclose(states[:, 0], states[:, 1]) == model.deterministic


def its_gradient_is_a_finite_difference_or_refused(case: Case) -> None:
    """For state and actions. A model without a gradient refuses before a rollout."""
    model = case.make()
    drawn = model.draw(case.particles(model), 3, rng())
    state, actions = case.state.clone().requires_grad_(), case.actions.clone().requires_grad_()
    if not model.differentiable:
        for inputs in ((case.state, actions), (state, case.actions)):
            with pytest.raises(ValueError, match="has no gradient; expected a sampling planner"):
                model.rollout(*inputs, drawn)
        objective = Return(model, lambda s, a, n: a.sum(1)).at(case.state, rng())
        with pytest.raises(ValueError, match="has no gradient; expected a sampling planner"):
            objective(actions)
        with torch.no_grad():
            model.rollout(state, actions, drawn)
        return
    states = model.rollout(state, actions, drawn)
    weights = torch.randn(states.shape, generator=rng(3), dtype=torch.float64)
    found = torch.autograd.grad((states * weights).sum(), (state, actions))
    double = case.state.dtype == torch.float64
    size = 1e-5 if double else 1e-2
    for leaf, gradient in zip((case.state, case.actions), found, strict=True):
        direction = torch.randn(leaf.shape, generator=rng(4)).to(leaf)
        values = []
        for sign in (1, -1):
            moved = leaf + sign * size * direction
            inputs = (moved, case.actions) if leaf is case.state else (case.state, moved)
            values.append((model.rollout(*inputs, drawn).detach() * weights).sum().item())
        expected = (values[0] - values[1]) / (2 * size)
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-6 if double else 2e-2, abs=1e-6)


def a_rough_rollout_is_near(case: Case) -> None:
    model = case.make()
    drawn = model.draw(case.particles(model), 3, rng())
    exact, rough = (roll(case.state, case.actions, drawn) for roll in (model.rollout, model.rough_rollout))
    change = (exact - case.state[:, None, None, None]).abs().max()
    assert (rough - exact).abs().max() <= case.lost * change


def the_engine_is_named_after_a_rollout(case: Case) -> None:
    model = case.make()
    model.rollout(case.state, case.actions, model.draw(case.particles(model), 3, rng()))
    served = library.kernels() and case.state.dtype == torch.float32
    assert model.engine == (("kernel" if served else "torch") if case.networks else None)


CHECKS = [
    it_declares_what_it_is,
    shapes_with_a_batch_and_without,
    type_and_device_are_kept,
    candidates_do_not_know_each_other,
    an_action_has_no_effect_before_its_time,
    the_same_draw_gives_the_same_states,
    it_is_a_step_after_another,
    in_closed_loop_every_particle_reacts,
    noise_of_each_candidates_own,
    its_gradient_is_a_finite_difference_or_refused,
    a_rough_rollout_is_near,
    the_engine_is_named_after_a_rollout,
]
