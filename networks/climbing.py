"""Losses of policies that climb critics. Each is one call of the compiled kernel, if it can compute the loss."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import Structure
from typing import Any, cast

import torch
from torch import Generator, Tensor

from elites.networks import library
from elites.networks.acting import NORMAL, POINT
from elites.networks.action_distributions import CategoricalAction, NormalAction
from elites.networks.critics import Critics
from elites.networks.fitting import Values
from elites.networks.heads import LOG_STD
from elites.networks.learning import CompiledMLP
from elites.networks.lessons import done, idle, known, ready
from elites.networks.policies import Policy
from elites.networks.structures import Calls, Climb, Point


def climb(policy: Policy, critics: Critics, state: Tensor) -> Tensor:
    """The mean of -Q_1(s, π(s)) over states (R, S), or of -Σ_a π(a | s) Q_1(s, a) for one choice."""

    def composed() -> Tensor:
        return -critics.value(state, policy.action(state)).mean()

    if policy.choices is not None:
        return -_expected(policy, critics, state).mean()

    both = _ready(policy, critics, state) if policy.head == POINT else None
    if both is None:
        return composed()
    climber = idle(both[0], key := ("climb", both[1], *state.shape), lambda: _TanhClimber(*both, *state.shape, 1))
    return _loss(climber, key, climber.there(state), (policy, critics), state, composed)


def _expected(policy: Policy, critics: Critics, state: Tensor) -> Tensor:
    """Σ_a π(a | s) Q_1(s, a) (R). Every value is that of a whole choice, as in the data."""
    shares = cast("CategoricalAction", policy.distribution(state)).shares()
    count, answers = shares.shape[1], torch.eye(shares.shape[1], dtype=state.dtype, device=state.device)
    with torch.no_grad():
        values = critics.value(state.repeat_interleave(count, 0), answers.repeat(len(state), 1))
    return (shares * values.reshape(-1, count)).sum(-1)


def soft_climb(
    policy: Policy, critics: Critics, state: Tensor, alpha: Tensor, rng: Generator, penalty: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The mean of α ln π(a) - min_j Q_j(s, a) for sampled actions a; and ln π(a) (R), without a gradient.

    If the head has no bounds, a is the raw action, and the loss has penalty · ‖a - clip(a)‖ besides.
    """
    both = _ready(policy, critics, state) if policy.head == NORMAL else None
    if both is None:
        action, raw, density = policy.sample_raw(state, rng)
        loss = alpha * density - critics.values(state, action if policy.head.bounded else raw).amin(0)
        if not policy.head.bounded:
            loss = loss + penalty * outside(raw)
        return loss.mean(), density.detach()
    noise = torch.randn((len(state), both[0].outputs // 2), generator=rng)

    def composed() -> Tensor:
        distribution = cast("NormalAction", policy.distribution(state))
        action, _, density = distribution.at(noise)
        return (alpha * density - critics.values(state, action).amin(0)).mean()

    key, members = ("soft climb", both[1], *state.shape), both[1].count
    climber = idle(both[0], key, lambda: _NormalClimber(*both, *state.shape, members))
    loss, density = climber.there(state, noise, alpha.item())
    return _loss(climber, key, loss, (policy, critics), state, composed), density


def outside(raw: Tensor) -> Tensor:
    """How far raw actions (R, A) are outside the unit cube: ‖a - clip(a)‖ (R)."""
    return (raw - raw.clamp(-1, 1)).square().sum(-1).clamp_min(1e-12).sqrt()  # the root has no slope at 0


def _ready(policy: Policy, critics: Critics, state: Tensor) -> tuple[CompiledMLP, CompiledMLP] | None:
    """Policy and critics in the kernel, if they fit together. Not for subclasses, which can compute something else."""
    if type(policy) is not Policy or type(critics) is not Critics:
        return None
    first, second = ready(policy.mlp, state), ready(critics.mlp, state)
    if first is None or second is None or state.ndim != 2 or not first.takes(state) or not first.learns():
        return None
    return (first, second) if second.inputs > first.inputs and second.outputs == 1 else None


def _loss(
    climber: _Climber,
    key: tuple[Any, ...],
    loss: Tensor,
    networks: tuple[Policy, Critics],
    state: Tensor,
    composed: Callable[[], Tensor],
) -> Tensor:
    def back() -> list[Tensor]:
        climber.back()
        done(climber.policy, key, climber)
        return climber.policy.rates.each

    return known(loss, climber.policy.parameters, climber.values.networks.parameters, (state,), back, composed)


class _Climber:
    """Computes a policy's actions, the critics' values and the gradients. A subclass adds the policy's head."""

    def __init__(self, policy: CompiledMLP, critics: CompiledMLP, rows: int, state_size: int, members: int) -> None:
        self.policy, self.values = policy, Values(critics, rows, state_size, members)
        actions = critics.inputs - state_size
        self.outputs, self.outputs_grad = torch.empty(rows, policy.outputs), torch.empty(rows, policy.outputs)
        self.action, self.action_grad = torch.empty(rows, actions), torch.empty(rows, actions)
        self.rates, self.both_grad = torch.empty(members, rows), torch.empty(members, rows, critics.inputs)
        self.lesson, self.sizes = policy.lesson(self.outputs, 1)  # the inputs are set later
        self.lesson.rows, self.floats = rows, rows * self.sizes.kept
        self.lesson.outputs, self.lesson.outputs_grad = self.outputs.data_ptr(), self.outputs_grad.data_ptr()
        policy.rates.point(self.lesson)
        values = self.values
        values.lesson.outputs_grad, values.lesson.inputs_grad = self.rates.data_ptr(), self.both_grad.data_ptr()
        values.beside.second, values.beside.both_grad = self.action.data_ptr(), self.both_grad.data_ptr()
        values.beside.second_grad = self.action_grad.data_ptr()
        self.score = Climb(members, rows, values.values.data_ptr(), None, 0.0, None, self.rates.data_ptr())

    def prepare(self, head: str, given: Structure) -> None:
        """Prepares the calls forward and backward, with the head's calls between policy and critics."""
        policy, values = self.lesson, self.values
        climb = ("elites_climb", self.score)
        self.forward = Calls(("elites_learn_forward", policy), (head, given), *values.calls, climb)
        self.backward = Calls(
            ("elites_learn_backward", values.lesson),
            ("elites_beside_back", values.beside),
            (f"{head}_back", given),
            ("elites_learn_backward", policy),
        )

    def run(self, state: Tensor) -> Tensor:
        loss, values = torch.empty(()), self.values
        self.state = state  # kept for the backward pass
        self.kept = self.policy.room(self.floats), values.networks.room(values.floats)
        self.lesson.kept, values.lesson.kept = (kept.data_ptr() for kept in self.kept)
        self.lesson.inputs = values.beside.first = state.data_ptr()
        self.score.loss = loss.data_ptr()
        library.crew((self.lesson, self.sizes), (values.lesson, values.sizes))
        self.forward()
        return loss

    def back(self) -> None:
        values = self.values
        library.crew((self.lesson, self.sizes), (values.lesson, values.sizes))
        self.backward()
        self.policy.spare, values.networks.spare = [self.kept[0]], [self.kept[1]]


class _TanhClimber(_Climber):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        arrays = (self.outputs, self.action, self.action_grad, self.outputs_grad)
        self.prepare("elites_point", Point(self.action.numel(), *(x.data_ptr() for x in arrays)))

    def there(self, state: Tensor) -> Tensor:
        return self.run(state)


class _NormalClimber(_Climber):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        rows, actions = self.action.shape
        self.raw = torch.empty(rows, actions)
        self.normal = library.Squash(rows, actions, *[2 * actions] * 3, *LOG_STD)
        library.point(self.normal, {"action": self.action, "raw": self.raw, "action_grad": self.action_grad})
        outputs, rates = self.outputs.data_ptr(), self.outputs_grad.data_ptr()
        self.normal.mean, self.normal.log_std = outputs, outputs + 4 * actions
        self.normal.mean_grad, self.normal.std_grad = rates, rates + 4 * actions
        self.prepare("elites_squash", self.normal)

    def there(self, state: Tensor, noise: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        density = torch.empty(len(state))
        self.noise = noise
        self.normal.noise, self.normal.density = noise.data_ptr(), density.data_ptr()
        self.normal.density_rate = alpha / len(state)
        self.score.density, self.score.alpha = density.data_ptr(), alpha
        return self.run(state), density
