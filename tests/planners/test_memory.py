"""The elites of earlier rounds: which are admitted, what weight they have, and that a search with them can go on."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, tensor

from elites import Box
from elites.planners import CEM, ClippedNormal, EliteMemory, Search

BOX = Box([-2.0] * 3, [2.0] * 3)


def rows(*numbers: float) -> Tensor:
    return tensor(numbers).unsqueeze(-1)


def test_rounds_below_the_memorys_mean_are_not_admitted() -> None:
    memory = EliteMemory(rounds=2, best=3)
    kept = memory.begin(rows(0, 0), tensor([0.0, 0.0]))
    for own, values in (((1, 2), (10, 20)), ((3, 4), (5, 24)), ((5, 6), (15, 15)), ((7, 8), (90, 30))):
        kept = memory.taken(kept, rows(*own), tensor([float(value) for value in values]))
        seen = kept.values.flatten().tolist()
        if own[0] == 3:
            assert seen == [-torch.inf, -torch.inf, 10, 20], "14.5 is below 15"
        if own[0] == 5:
            assert seen == [10, 20, 15, 15]
    assert kept.own.flatten().tolist() == [5, 6, 7, 8], "the oldest is forgotten"
    assert kept.best.flatten().tolist() == [7, 8, 4], "the best of all rounds, admitted or not"
    own, weights = memory.weighted(kept)
    assert own.flatten().tolist() == [5, 6, 7, 8, 7, 8, 4]
    torch.testing.assert_close(weights, tensor([0.2] * 4 + [0.2 / 3] * 3))


def test_what_is_not_finite_has_no_weight() -> None:
    memory = EliteMemory(rounds=2, best=2)
    kept = memory.begin(rows(0, 0), tensor([0.0, 0.0]))
    assert memory.weighted(kept)[1].sum() == 0
    kept = memory.taken(kept, rows(1, 2), tensor([3.0, -torch.inf]))
    torch.testing.assert_close(memory.weighted(kept)[1], tensor([0, 0, 0.8, 0, 0.2, 0]))
    kept = memory.taken(kept, rows(8, 9), tensor([-torch.inf, -torch.inf]))
    assert kept.own.flatten().tolist() == [0, 0, 1, 2]
    assert kept.values.flatten().tolist() == [-torch.inf, -torch.inf, 3, -torch.inf]


def searched(search: Search, rounds: int) -> Search:
    """The values are lower from round to round, so the memory admits the first rounds alone."""
    for _ in range(rounds):
        points = search.ask()
        search.tell(-(points - 1).square().sum(-1) - 10 * search.round)
    return search


def begun(memory: EliteMemory | None, batch: tuple[int, ...] = (), seed: int = 0, samples: int = 20) -> Search:
    planner = CEM(samples, 6, 5, alpha=1.0, distribution=ClippedNormal(), memory=memory)
    return planner.begin(BOX, batch=batch, rng=Generator().manual_seed(seed))


def test_a_fit_is_to_the_memory() -> None:
    """A single round in memory and no best ones are the plain search, if every round is admitted."""
    plain, one = (searched(begun(memory), 1) for memory in (None, EliteMemory(1, 0)))
    for x, y in zip(plain.state, one.state, strict=True):
        torch.testing.assert_close(x, y)
    first = one.state
    searched(one, 1)  # worse, so not admitted
    for x, y in zip(first, one.state, strict=True):
        torch.testing.assert_close(x, y)
    assert not torch.equal(searched(plain, 1).state[0], first[0])


def test_a_round_that_teaches_nothing_leaves_the_state() -> None:
    for nothing in (torch.full((20,), torch.nan), torch.zeros(20)):
        search = searched(begun(EliteMemory()), 2)
        before = search.state
        search.ask()
        search.tell(nothing)
        assert all(torch.equal(x, y) for x, y in zip(before, search.state, strict=True))


def test_problems_of_a_batch_have_memories_of_their_own() -> None:
    search = begun(EliteMemory(3, 4), batch=(2,))
    for _ in range(4):
        points = search.ask()
        values = -(points - tensor([[1.0], [-1.0]]).unsqueeze(-1)).square().sum(-1)
        search.tell(torch.stack([values[0] - 10 * search.round, values[1]]))
    assert search.remembered is not None
    assert (search.remembered.values[0, 0] == -torch.inf).all(), "only its first round was admitted"
    assert search.remembered.values[1].isfinite().all()
    assert search.state[0].shape == (2, 3)


def test_a_search_with_a_memory_goes_on_with_the_same_bits() -> None:
    whole = searched(begun(EliteMemory(2, 3)), 6)
    first = searched(begun(EliteMemory(2, 3)), 3)
    second = begun(EliteMemory(2, 3), seed=9)
    second.load_state_dict(first.state_dict())
    searched(second, 3)
    assert torch.equal(whole.plan.best, second.plan.best)
    assert all(torch.equal(x, y) for x, y in zip(whole.state, second.state, strict=True))
