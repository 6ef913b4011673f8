"""The inputs of a model from a state."""

from __future__ import annotations

import pytest
import torch

from elites.features import Features


def test_entries_sines_and_cosines_in_their_order() -> None:
    state = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    seen = Features(0, 1, "sin 2", "cos 2", 4, "sin 3", "sin 4")(state)
    x = state.unbind(1)
    assert torch.equal(seen, torch.stack([x[0], x[1], x[2].sin(), x[2].cos(), x[4], x[3].sin(), x[4].sin()], 1))
    assert torch.equal(Features(0)(state), state[:, :1])
    assert torch.equal(Features(4, 3, 2)(state), state[:, [4, 3, 2]])
    assert repr(Features(1, "sin 2")) == "Features(1, 'sin 2')"


@pytest.mark.parametrize("column", ["tan 1", "sin", -1, "sin -1", 1.5, "1 2", ""])
def test_what_is_no_column(column: object) -> None:
    with pytest.raises(ValueError, match=r"Features: expected an entry, such as 2, 'sin 2' or 'cos 2', got"):
        Features(column)  # type: ignore[arg-type]
