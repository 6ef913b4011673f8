"""The targets of critics and their loss. Each is one call of the compiled kernel, if it can compute it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elites.networks import library
from elites.networks.critics import Critics
from elites.networks.learning import CompiledMLP
from elites.networks.lessons import done, idle, known, ready
from elites.networks.regression import regression
from elites.networks.structures import Beside, Calls, Target


def fit(critics: Critics, state: Tensor, action: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Σ over critics of the mean of (Q(s, a) - target)², and the mean value. Shapes: (R, S), (R, A), (R)."""
    networks = ready(critics.mlp, state, action, target) if type(critics) is Critics else None
    if networks is None or not _fits(networks, state, action, target) or not networks.learns():
        return regression(critics.values(state, action), target)
    key = ("fit", *state.shape)
    lesson = idle(networks, key, lambda: _Fit(networks, *state.shape))
    loss, mean = lesson.there(state, action, target)

    def back() -> list[Tensor]:
        found = lesson.back()
        done(networks, key, lesson)
        return found

    def composed() -> Tensor:
        return regression(critics.values(state, action), target)[0]

    return known(loss, networks.parameters, (), (state, action, target), back, composed), {"value": mean}


@torch.no_grad()
def bellman(
    critics: Critics,
    rows: Any,
    action: Tensor,
    discount: float | Tensor,
    entropy: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """r + γ min_j Q_j(s', a') (R) for `Rows` of a replay. After a termination, γ is 0. γ can be one for each row (R).

    entropy: (α, ln π(a') (R)), for r + γ (min_j Q_j(s', a') - α ln π(a')).
    """
    given: tuple[Tensor, Tensor, Tensor] = (rows.next_state, rows.reward, rows.terminated)
    state, reward, terminated = given
    density = () if entropy is None else entropy[1:]
    networks = ready(critics.mlp, state, action, reward, *density) if type(critics) is Critics else None
    fits = networks is not None and _fits(networks, state, action, reward, terminated, *density)
    fits &= terminated.dtype is torch.bool and terminated.is_contiguous()
    if networks is None or not fits or isinstance(discount, Tensor):
        future = critics.values(state, action).amin(0)
        if entropy is not None:
            future = future - entropy[0] * entropy[1]
        return reward + discount * future * ~terminated
    key = ("bellman", *state.shape)
    aim = idle(networks, key, lambda: _Aim(networks, *state.shape))
    found: Tensor = aim(state, action, reward, terminated, discount, entropy)
    done(networks, key, aim)
    return found


def _fits(networks: CompiledMLP, state: Tensor, action: Tensor, *columns: Tensor) -> bool:
    """Whether state and action have as many entries as the critics take, and columns have one number per row."""
    rows, size = state.shape if state.ndim == 2 else (0, 0)
    each = (rows,)
    return (
        rows > 0
        and action.ndim == 2
        and action.shape == (rows, networks.inputs - size)
        and networks.outputs == 1
        and all(column.shape == each for column in columns)
    )


class Values:
    """The first `members` critics at states and actions: (R, S), (R, A) -> (M, R)."""

    def __init__(self, networks: CompiledMLP, rows: int, state_size: int, members: int) -> None:
        inputs = networks.inputs
        self.both, self.values = torch.empty(rows, inputs), torch.empty(members, rows)
        self.beside = Beside(members, rows, state_size, inputs - state_size)
        self.beside.both = self.both.data_ptr()
        self.networks = networks
        self.lesson, self.sizes = networks.lesson(self.both, members)
        self.lesson.outputs = self.values.data_ptr()
        self.calls = (("elites_beside", self.beside), ("elites_learn_forward", self.lesson))
        self.floats = members * rows * self.sizes.kept

    def point(self, state: Tensor, action: Tensor) -> None:
        self.beside.first, self.beside.second = state.data_ptr(), action.data_ptr()


class _Fit(Values):
    def __init__(self, networks: CompiledMLP, rows: int, state_size: int) -> None:
        super().__init__(networks, rows, state_size, networks.count)
        self.rates = torch.empty(self.values.shape)
        self.lesson.outputs_grad = self.rates.data_ptr()
        self.score = library.Regression(*self.values.shape, self.values.data_ptr())
        self.score.rates = self.rates.data_ptr()
        networks.rates.point(self.lesson)
        self.forward = Calls(*self.calls, ("elites_regression", self.score))
        self.backward = Calls(("elites_learn_backward", self.lesson))

    def there(self, state: Tensor, action: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        loss, mean = torch.empty(()), torch.empty(())
        self.point(state, action)
        score, self.kept = self.score, self.networks.room(self.floats)
        self.lesson.kept = self.kept.data_ptr()
        score.target, score.loss, score.mean = target.data_ptr(), loss.data_ptr(), mean.data_ptr()
        library.crew((self.lesson, self.sizes))
        self.forward()
        return loss, mean

    def back(self) -> list[Tensor]:
        library.crew((self.lesson, self.sizes))
        self.backward()
        self.networks.spare = [self.kept]
        return self.networks.rates.each


class _Aim(Values):
    def __init__(self, networks: CompiledMLP, rows: int, state_size: int) -> None:
        super().__init__(networks, rows, state_size, networks.count)
        self.target = Target(*self.values.shape, self.values.data_ptr())
        self.all = Calls(*self.calls, ("elites_target", self.target))

    def __call__(
        self,
        state: Tensor,
        action: Tensor,
        reward: Tensor,
        terminated: Tensor,
        discount: float,
        entropy: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        found, target = torch.empty(len(state)), self.target
        self.point(state, action)
        target.reward, target.terminated, target.target = reward.data_ptr(), terminated.data_ptr(), found.data_ptr()
        target.discount = discount
        if entropy is not None:
            target.alpha, target.density = entropy[0].item(), entropy[1].data_ptr()
        else:
            target.density = None
        library.crew((self.lesson, self.sizes))
        self.all()
        return found
