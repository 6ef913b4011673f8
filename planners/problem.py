"""One call of `plan`, checked: what a search asks of the world while it runs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from elites.fields import Checked
from elites.planners.plan import Objective, Plan
from elites.spaces import Box


class Solver(Checked, ABC):
    """A planner written as `solve(problem)`; `plan` does the checking. Its fields are checked when it is made."""

    @abstractmethod
    def solve(self, problem: Problem) -> Plan: ...

    def plan(
        self,
        objective: Objective,
        box: Box,
        start: Plan | None = None,
        *,
        batch: tuple[int, ...] = (),
        rng: Generator | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """Maximises the objective over the box; see `Planner.plan`."""
        return self.solve(Problem(objective, box, start, batch, rng, deadline))


class Problem:
    """The objective guarded, the start made safe, the randomness, the clock; and a count of what was evaluated."""

    def __init__(
        self,
        objective: Objective,
        box: Box,
        start: Plan | None = None,
        batch: tuple[int, ...] = (),
        rng: Generator | None = None,
        deadline: float | None = None,
    ) -> None:
        if not callable(objective):
            raise ValueError(f"objective: expected a function of candidates, got {objective!r}")
        if not isinstance(box, Box):
            raise ValueError(f"box: expected an elites.Box (Box.of takes a Gymnasium space), got {box!r}")
        if not (isinstance(batch, tuple) and all(isinstance(n, int) and n > 0 for n in batch)):
            raise ValueError(f"batch: expected a tuple of positive integers, got {batch!r}")
        if start is not None and not isinstance(start, Plan):
            raise ValueError(f"start: expected a Plan or None (Plan.at takes a guess), got {start!r}")
        self.objective, self.box, self.batch, self.deadline = objective, box, batch, deadline
        self.rng = self._generator(rng)
        self.start = None if start is None else self._safe(start)
        self.evaluations = 0

    def evaluate(self, points: Tensor) -> Tensor:
        """(*B, N, *E) -> (*B, N), with -inf for what is not finite: never an elite, never a step, never in a mean."""
        with torch.no_grad():
            return self._finite(self._values(points, self.objective))

    def compare(self, points: Tensor) -> Tensor:
        """The same as `evaluate` for samples: by the objective's rough form, where it has one."""
        with torch.no_grad():
            return self._finite(self._values(points, getattr(self.objective, "rough", self.objective)))

    def trace(self, points: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """(*B, N, *E) -> values (*B, N), and a function that gives their gradient.

        That is (*B, N, *E), towards the points alone, 0 where it is not finite; it can be called once.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x = points.clone().detach().requires_grad_()
            values = self._values(x, self.objective)

        def gradient() -> Tensor:
            found = None
            if values.requires_grad:
                with torch.inference_mode(False), torch.enable_grad():
                    (found,) = torch.autograd.grad(values.sum(), x, allow_unused=True)
            if found is None:
                raise ValueError(
                    "objective: expected values with a gradient towards the candidates, got values without one "
                    "(computed under no_grad, detached, or through numpy?)"
                )
            return found.nan_to_num(0.0, 0.0, 0.0)

        return self._finite(values.detach()), gradient

    def normal(self, samples: int, *shape: int) -> Tensor:
        """(*B, samples, *shape) standard normal."""
        return torch.randn(
            *self.batch, samples, *shape, generator=self.rng, dtype=self.box.dtype, device=self.box.device
        )

    def uniform(self, samples: int, *shape: int) -> Tensor:
        """(*B, samples, *shape) uniform in [0, 1)."""
        return torch.rand(
            *self.batch, samples, *shape, generator=self.rng, dtype=self.box.dtype, device=self.box.device
        )

    def expired(self) -> bool:
        """Whether the time is up. Only a search with a deadline waits for its device here."""
        if self.deadline is None:
            return False
        if self.box.device.type == "cuda":
            torch.cuda.synchronize(self.box.device)
        return time.perf_counter() >= self.deadline

    def certain(self, flag: Tensor) -> bool:
        """Whether a flag is known to be true; on a device that would have to be waited for, never."""
        return flag.device.type == "cpu" and bool(flag)

    @property
    def fallback(self) -> Tensor:
        """(*B, *E): the answer where nothing finite is found."""
        return self.box.centre.expand(*self.batch, *self.box.shape) if self.start is None else self.start.best

    def _values(self, points: Tensor, objective: Objective) -> Tensor:
        self.evaluations += points.shape[len(self.batch)]
        values = objective(points)
        expected = tuple(points.shape[: len(self.batch) + 1])
        if not isinstance(values, Tensor):
            raise ValueError(f"objective: expected a tensor of shape {expected}, got {type(values).__name__}")
        if values.shape != expected or values.dtype != points.dtype or values.device != points.device:
            raise ValueError(
                f"objective: expected values of shape {expected}, {points.dtype} on {points.device} for candidates of "
                f"shape {tuple(points.shape)}, got {tuple(values.shape)}, {values.dtype} on {values.device}"
            )
        return values

    def _finite(self, values: Tensor) -> Tensor:
        return values.nan_to_num(-torch.inf, -torch.inf, -torch.inf)

    def _generator(self, rng: Generator | None) -> Generator:
        device = "cpu" if self.box.device.type == "meta" else self.box.device
        if rng is None:
            rng = Generator(device)
            rng.seed()
        if not isinstance(rng, Generator) or rng.device.type != torch.device(device).type:
            got = f"one on {rng.device}" if isinstance(rng, Generator) else repr(rng)
            raise ValueError(f"rng: expected a torch.Generator on {device}, as the box is, got {got}")
        return rng

    def _safe(self, start: Plan) -> Plan:
        """The start inside the box and finite: a NaN becomes the box's centre, or the best where it is in the mean."""
        axis, shape = len(self.batch), (*self.batch, *self.box.shape)
        kept = max(start.elites.shape[axis], 1) if start.elites.ndim > axis else 1
        elites = (*self.batch, kept, *self.box.shape)
        for name, expected in (("best", shape), ("mean", shape), ("std", shape), ("elites", elites)):
            given = getattr(start, name)
            if given.shape != expected or given.dtype != self.box.dtype or given.device != self.box.device:
                raise ValueError(
                    f"start.{name}: expected shape {expected}, {self.box.dtype} on {self.box.device}, for batch "
                    f"{self.batch} and a box of shape {tuple(self.box.shape)}, got {tuple(given.shape)}, {given.dtype} "
                    f"on {given.device}"
                )

        def inside(x: Tensor) -> Tensor:
            return self.box.project(torch.where(x.isfinite(), x, self.box.centre))

        best = inside(start.best)
        mean = torch.where(start.mean.isfinite(), start.mean, best)
        return Plan(best, start.value, inside(start.elites), mean, start.std, start.ok, start.evaluations)
