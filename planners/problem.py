"""One call of `plan` or `begin`, checked: the space, a safe start, the randomness."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from elites.planners.draw import Draw
from elites.planners.plan import Plan, like_state
from elites.spaces import Space


class Problem:
    """The input of a search. `start` is finite and inside the space. `draw` gives the random numbers."""

    def __init__(
        self, space: Space, start: Plan | None = None, batch: tuple[int, ...] = (), rng: Generator | None = None
    ) -> None:
        if not isinstance(space, Space):
            raise ValueError(f"space: expected an elites.Space (Space.of takes a Gymnasium space), got {space!r}")
        if not (isinstance(batch, tuple) and all(isinstance(n, int) and n > 0 for n in batch)):
            raise ValueError(f"batch: expected a tuple of positive integers, got {batch!r}")
        if start is not None and not isinstance(start, Plan):
            raise ValueError(f"start: expected a Plan or None (Plan.at takes a guess), got {start!r}")
        self.space, self.batch = space, batch
        self.draw = Draw(space, batch, generator_for(space, rng))
        self.start = None if start is None else self._safe(start)

    @property
    def fallback(self) -> Tensor:
        """(*B, *E): the answer if no finite value is found."""
        return self.space.centre.expand(*self.batch, *self.space.shape) if self.start is None else self.start.best

    def _safe(self, start: Plan) -> Plan:
        """The start, inside the space. NaN and infinity become the centre; in a state, the value around `best`."""
        axis, space = len(self.batch), self.space
        count = max(start.elites.shape[axis], 1) if start.elites.ndim > axis else 1
        expected = {"best": (*self.batch, *space.shape), "elites": (*self.batch, count, *space.shape)}
        for name, shape in expected.items():
            given: Tensor = getattr(start, name)
            if given.shape != shape or given.dtype != space.dtype or given.device != space.device:
                raise ValueError(
                    f"start.{name}: expected shape {shape}, {space.dtype} on {space.device}, for batch {self.batch} "
                    f"and a space of shape {tuple(space.shape)}, got {tuple(given.shape)}, {given.dtype} on "
                    f"{given.device}"
                )

        def inside(x: Tensor) -> Tensor:
            return space.project(torch.where(x.isfinite(), x, space.centre))

        best, state = inside(start.best), start.state
        if state is not None and start.by is not None:
            anew = start.by.around(space, best, 1.0)
            if [x.shape for x in state] != [x.shape for x in anew]:
                raise ValueError(f"start.state: expected one for a space of shape {tuple(space.shape)}, got {state!r}")
            pairs = zip(state, anew, strict=True)
            state = like_state(state, [torch.where(x.isfinite(), x, instead) for x, instead in pairs])
        return replace(start, best=best, elites=inside(start.elites), state=state)


def generator_for(space: Space, rng: Generator | None) -> Generator:
    """The given generator, or a new one with a seed from the system."""
    device = torch.device("cpu") if space.device.type == "meta" else space.device
    if rng is None:
        rng = Generator(device)
        rng.seed()
    if not isinstance(rng, Generator) or rng.device.type != device.type:
        got = f"one on {rng.device}" if isinstance(rng, Generator) else repr(rng)
        raise ValueError(f"rng: expected a torch.Generator on {device}, the space's device, got {got}")
    return rng
