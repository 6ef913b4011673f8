"""How often a run is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elites.runs import Observer
from elites.runs.saving import Saver


@pytest.mark.parametrize(("takes", "every"), [(0.1, 30.0), (1.5, 30.0), (3.0, 60.0), (15.0, 300.0)])
def test_a_checkpoint_that_takes_long_is_written_less_often(
    monkeypatch: pytest.MonkeyPatch, takes: float, every: float
) -> None:
    """At most 5 % of the time."""
    now, heard = [100.0], list[str]()
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    class Folder:
        last_checkpoint: Path | None = None

        def save(self, state: Any) -> Path:
            assert state == {"a": 1}
            heard.append("save")
            now[0] += takes
            self.last_checkpoint = Path("7.json")
            return self.last_checkpoint

    class Listening(Observer):
        def saving(self) -> None:
            heard.append("saving")

        def saved(self, checkpoint: Path) -> None:
            heard.append(str(checkpoint))

    saver = Saver(Folder(), Listening(), 30.0)  # type: ignore[arg-type]
    assert saver.last == "the last checkpoint is none yet"
    now[0] += 29.9
    assert not saver.due
    now[0] += 0.2
    assert saver.due
    saver.save(lambda: {"a": 1})
    assert heard == ["saving", "save", "7.json"]
    assert saver.last == "the last checkpoint is 7.json"
    now[0] += every - 0.1
    assert not saver.due
    now[0] += 0.2
    assert saver.due
