"""Where a run's settings come from; what the scripts make of them is tested in tests/examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from elites.runs import command

CONFIGS = Path(__file__).parents[2] / "configs/pets"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Hopper.yaml").write_text("env: Hopper-v5\nepisodes: 3\nhorizon: 7\n")
    (tmp_path / "preset.yaml").write_text("horizon: 2\n")
    (tmp_path / "whole.yaml").write_text("env: Hopper-v5\nhorizon: 4\n")
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "expected", "source"),
    [
        ([], {"env": "Ant-v5"}, "settings"),
        (["--env", "Hopper-v5", "--seed", "3"], {"env": "Hopper-v5", "episodes": 3, "horizon": 7, "seed": 3}, "Hopper"),
        (["--env", "my/Hopper-v9"], {"env": "my/Hopper-v9", "episodes": 3, "horizon": 7}, "Hopper"),
        (["--config", "preset"], {"env": "Ant-v5", "horizon": 2}, "preset"),
        (["--config", "preset", "--env", "Hopper-v5"], {"env": "Hopper-v5", "episodes": 3, "horizon": 2}, "preset"),
        (["--config", "whole"], {"env": "Hopper-v5", "horizon": 4}, "whole"),
    ],
)
def test_where_settings_come_from(folder: Path, flags: list[str], expected: dict[str, object], source: str) -> None:
    flags = [str(folder / f"{flag}.yaml") if flag in ("preset", "whole") else flag for flag in flags]
    mapping, found, given = command.asked_for(command.flags(None).parse_args(flags), folder, "Ant-v5")
    assert mapping | given == expected
    assert Path(found).stem == source


def test_a_preset_for_any_environment() -> None:
    args = command.flags(None).parse_args(["--config", str(CONFIGS / "fast.yaml"), "--env", "elites/HalfCheetah-v0"])
    mapping, *_ = command.asked_for(args, CONFIGS, "elites/CartpoleSwingup-v0")
    assert mapping["episode_steps"] == 150
    assert mapping["particles"] == 1


def test_a_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("outputs/a", "outputs/a-2", "outputs/a-3"):
        found = command.free_folder("a")
        assert str(found) == expected
        found.mkdir(parents=True)


def test_once() -> None:
    said: list[str] = []
    say = command.once(said.append)
    for text in ("a", "b", "a", "a"):
        say(text)
    assert said == ["a", "b"]
