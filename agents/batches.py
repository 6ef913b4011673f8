"""Minibatches from a fixed set of rows, as indices (B)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor


def epochs(count: int, batch: int, times: int, rng: Generator) -> Iterator[Tensor]:
    """`times` passes over the rows, each in a new order. The last minibatch of a pass can be smaller."""
    for _ in range(times):
        yield from torch.split(torch.randperm(count, generator=rng, device=rng.device), batch)


def steps(count: int, batch: int, number: int, rng: Generator) -> Iterator[Tensor]:
    """`number` full minibatches from pass after pass. A minibatch can begin in one pass and end in the next."""
    passes = -(-number * batch // count)
    order = [torch.randperm(count, generator=rng, device=rng.device) for _ in range(passes)]
    yield from torch.split(torch.cat(order)[: number * batch], batch)
