"""A checked objective and the clock, for a search to ask while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from elites.planners.plan import Objective, RoughObjective
from elites.planners.problem import Problem

NO_GRADIENT = (RuntimeError, ValueError)  # such as "can't call numpy() on a tensor that requires grad"


class Evaluator:
    """Scores the candidates of a problem, counts them, and checks the deadline."""

    def __init__(self, objective: Objective, problem: Problem, deadline: float | None = None) -> None:
        if not callable(objective):
            raise ValueError(f"objective: expected a function of candidates, got {objective!r}")
        self.objective, self.problem, self.deadline = objective, problem, deadline
        self.rough: Objective = objective.rough if isinstance(objective, RoughObjective) else objective
        self.evaluations = 0

    def evaluate(self, points: Tensor) -> Tensor:
        """(*B, N, *E) -> (*B, N), with -inf for NaN and infinity. So these are never elites, steps or in a mean."""
        with torch.no_grad():
            return finite(self._values(points, self.objective))

    def compare(self, points: Tensor) -> Tensor:
        """(*B, N, *E) -> (*B, N) by the objective's rough form if it has one. NaN and infinity stay."""
        with torch.no_grad():
            return self._values(points, self.rough)

    def trace(self, points: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """(*B, N, *E) -> values (*B, N), and a function that gives their gradient.

        The gradient (*B, N, *E) is towards the points only, and 0 in place of NaN and infinity. Call the function once.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x = points.clone().detach().requires_grad_()
            values = self._values(x, self.objective)

        def gradient() -> Tensor:
            found = None
            if values.requires_grad:
                with torch.inference_mode(False), torch.enable_grad():
                    (found,) = torch.autograd.grad(values, x, torch.ones_like(values), allow_unused=True)
            if found is None:
                raise ValueError(
                    "objective: expected values with a gradient towards the candidates, got values without one "
                    "(computed under no_grad, detached, or through numpy?)"
                )
            return found.nan_to_num(0.0, 0.0, 0.0)

        return finite(values.detach()), gradient

    def has_gradient(self) -> bool:
        """Whether the objective has a gradient, tried at the fallback. An error there means that it has none."""
        try:
            _, gradient = self.trace(self.problem.fallback.unsqueeze(len(self.problem.batch)))
            gradient()
        except torch.OutOfMemoryError:
            raise
        except NO_GRADIENT:
            return False
        return True

    def expired(self) -> bool:
        """Whether the deadline has passed. Only a search with a deadline waits for its device here."""
        if self.deadline is None:
            return False
        if self.problem.space.device.type == "cuda":
            torch.cuda.synchronize(self.problem.space.device)
        return time.perf_counter() >= self.deadline

    def _values(self, points: Tensor, objective: Objective) -> Tensor:
        axis = len(self.problem.batch)
        self.evaluations += points.shape[axis]
        return checked(objective(points), points, axis, "objective")


def checked(values: object, points: Tensor, axis: int, who: str) -> Tensor:
    """The values (*B, N) of points (*B, N, *E). Raises one line if their shape, dtype or device is wrong."""
    expected = tuple(points.shape[: axis + 1])
    if not isinstance(values, Tensor):
        raise ValueError(f"{who}: expected a tensor of shape {expected}, got {type(values).__name__}")
    if values.shape != expected or values.dtype != points.dtype or values.device != points.device:
        raise ValueError(
            f"{who}: expected values of shape {expected}, {points.dtype} on {points.device} for candidates of "
            f"shape {tuple(points.shape)}, got {tuple(values.shape)}, {values.dtype} on {values.device}"
        )
    return values


def finite(values: Tensor) -> Tensor:
    return values.nan_to_num(-torch.inf, -torch.inf, -torch.inf)


def certain(flag: Tensor) -> bool:
    """Whether a flag is true; always False on a GPU, because reading it would wait for the device."""
    return flag.device.type == "cpu" and bool(flag)
