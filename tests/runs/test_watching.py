"""What observers hear of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elites.runs import Observer, train
from tests.runs.small import TD3_RUN, Listening, returns


def test_what_an_observer_hears(tmp_path: Path) -> None:
    listening = Listening()
    train(replace(TD3_RUN, checkpoint_s=1e9), tmp_path, observers=[listening])
    learning = ["random"] + ["learning"] * 2
    expected = ["began", *learning[:2], "evaluation", "learning", "learning", "learning", "final"]
    assert listening.heard == [*expected, "saving", "saved", "ended", "closed"]
    assert [status.env_steps for status in listening.statuses if status.phase in ("random", "learning")] == [
        *range(1, 161)
    ]
    assert {status.phase for status in listening.statuses} == {"random", "learning", "evaluation", "final"}
    assert [status.total for status in listening.statuses][29] == 0.0  # the next episode begins
    lengths = [status.length for status in listening.statuses if status.phase == "random"]
    assert lengths == [*range(1, 30), 0, *range(1, 11)]
    assert listening.run.env == "Pendulum-v1"
    assert listening.run.best
    assert listening.run.best.total == max(
        row["best" if "best" in row else "return"] for row in listening.run.rows if row["phase"] != "random"
    )
    again = Listening()
    train(replace(TD3_RUN, steps=200), tmp_path, observers=[again], resume=True, stop=lambda: True)
    assert again.heard == ["began", "saving", "saved", "ended", "closed"]
    assert again.run.rows == listening.run.rows


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return returns(train(TD3_RUN, tmp_path_factory.mktemp("unwatched")))


@pytest.mark.parametrize("method", ["began", "row", "status", "saving", "saved", "ended", "close", "tell"])
def test_an_observer_that_raises_is_dropped(tmp_path: Path, method: str, expected: Any) -> None:
    """The run continues and reports it once."""
    calls: list[int] = []

    def fail(*_: Any) -> None:
        calls.append(1)
        raise RuntimeError("no\nroom for it")

    broken, listening = Observer(), Listening()
    setattr(broken, method, fail)
    settings = replace(TD3_RUN, env="Endless-v0", episode_steps=None) if method == "tell" else TD3_RUN
    summary = train(settings, tmp_path, observers=[broken, listening])
    assert len(calls) == 1
    said = "Observer: expected an observer that raises nothing, got RuntimeError: room for it; it is dropped"
    assert listening.said.count(said) == 1
    assert [text for text in listening.said if text != said] == (
        ["Endless-v0 does not limit its episodes; episode_steps=1000 sets a limit"] if method == "tell" else []
    )
    if method != "tell":
        assert returns(summary) == expected


def test_where_nobody_speaks_it_is_a_warning(tmp_path: Path) -> None:
    class Broken(Observer):
        def row(self, row: Any) -> None:
            raise ZeroDivisionError

    with pytest.warns(UserWarning, match=r"Broken: expected .*, got ZeroDivisionError; it is dropped") as found:
        train(TD3_RUN, tmp_path, observers=[Broken()])
    assert len(found) == 1


def test_metrics_are_there_though_their_folder_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """metrics.csv is written by an observer too."""

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("elites.runs.recorders.replace", full)
    listening = Listening()
    assert train(TD3_RUN, tmp_path, observers=[listening]).finished
    assert [text.partition(":")[0] for text in listening.said] == ["MetricsCSV"]
