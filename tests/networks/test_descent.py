"""Adam's step and slow copies in the kernel, against torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, nn

from elites.networks import library
from elites.networks.descent import Adam, AdamW, Following
from elites.networks.gather import Columns

SHAPES = [(3, 20, 30), (3, 1, 17), (1,), (40_000,)]  # a few numbers, and more than a thread's share
OURS: Any = {torch.optim.Adam: Adam, torch.optim.AdamW: AdamW}


def weights(seed: int = 0) -> list[nn.Parameter]:
    rng = Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=rng)) for shape in SHAPES]


def step(optimizer: Any, mine: list[nn.Parameter], seed: int) -> None:
    """Gradients of very different sizes; every third number has none."""
    rng = Generator().manual_seed(seed)
    for weight in mine:
        size = 10 ** (6 * torch.rand(weight.shape, generator=rng) - 5)
        weight.grad = torch.randn(weight.shape, generator=rng) * size
        weight.grad.view(-1)[::3] = 0
    optimizer.step()


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam(kind: Any, decay: float) -> None:
    """The state is torch's, so each continues from the other's saved state."""
    mine, theirs = weights(), weights()
    ours, torchs = OURS[kind](mine, 0.01, weight_decay=decay), kind(theirs, 0.01, weight_decay=decay)
    for seed in range(12):
        step(ours, mine, seed)
        step(torchs, theirs, seed)
        if seed == 5:
            state = ours.state_dict()
            ours.load_state_dict(torchs.state_dict())
            torchs.load_state_dict(state)
        for found, expected in zip(mine, theirs, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert ours.state[mine[0]]["step"] == 12


def test_groups_of_their_own() -> None:
    """Groups with their own rates and decays."""
    for kind in OURS:
        mine, theirs = weights(), weights()
        for held, optimizer in ((mine, OURS[kind]), (theirs, kind)):
            groups = [{"params": held[:1], "weight_decay": 0.2}, {"params": held[1:], "lr": 0.02}]
            made = optimizer(groups, 0.01)
            for seed in range(3):
                step(made, held, seed)
        for found, expected in zip(mine, theirs, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_gradient_that_has_become_0_costs_no_more() -> None:
    """Its averages end at numbers that processors handle fast: 0, or above the subnormal numbers."""
    mine = weights()
    optimizer = Adam(mine, 0.01)
    step(optimizer, mine, 0)
    for weight in mine:
        weight.grad = torch.zeros_like(weight)
    for _ in range(1500):
        optimizer.step()
    smallest = torch.finfo(torch.float32).tiny
    for weight in mine:
        average = optimizer.state[weight]["exp_avg"].abs()
        assert ((average == 0) | (average >= smallest)).all()
        assert (average < 1e-30).all()


def test_what_the_kernel_does_not_know_is_torchs() -> None:
    mine, theirs = (nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    for weight, kind in ((mine, Adam), (theirs, torch.optim.Adam)):
        weight.grad = torch.arange(3.0, dtype=torch.float64)
        kind([weight], 0.1).step()
    assert torch.equal(mine, theirs)


def test_autograd_is_told() -> None:
    weight = nn.Parameter(torch.ones(3))
    loss = weight.square().sum()
    weight.grad = torch.ones(3)
    Adam([weight], 0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_slow_copy(dtype: torch.dtype) -> None:
    slow, fast = ([weight.detach().to(dtype) for weight in weights(seed)] for seed in (0, 1))
    expected = [mine + 0.3 * (theirs - mine) for mine, theirs in zip(slow, fast, strict=True)]
    Following(slow, fast).step(0.3)
    torch.testing.assert_close(slow, expected)


@pytest.mark.parametrize("engine", ["kernel", "torch"])
def test_rows_of_columns(monkeypatch: Any, engine: str) -> None:
    if engine == "torch":
        monkeypatch.setattr(library, "LIBRARY", None)
    rng = Generator().manual_seed(0)
    columns = {
        "a": torch.randn(50, 3, 2, generator=rng),
        "b": torch.rand(50, generator=rng) < 0.5,
        "c": torch.arange(50),
    }
    index = torch.randint(50, (80,), generator=rng)
    found = Columns(columns).rows(index)
    assert list(found) == list(columns)
    assert all(torch.equal(found[name], columns[name][index]) for name in columns)
