"""The command `elites`: its lists, the sources of a run's settings, and its error messages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import elites
from elites.agents import MPO, SAC, TD3, Pace
from elites.networks import library
from elites.planners import CEMGD, MPPI
from elites.runs import LearnSettings, PETSSettings, Summary, kinds
from elites.runs.commands import learn, main, pets, training

ROOT = Path(__file__).parents[2]


def command(*arguments: Any, cwd: Path = ROOT, **others: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | others
    line = [sys.executable, "-m", "elites", *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["elites", *arguments])
        code = 0
        try:
            main.main()
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


# --- which command ----------------------------------------------------------------------------------------------------


def test_help_and_version(run: Any) -> None:
    for arguments in ((), ("--help",), ("-h",), ("help",)):
        assert run(*arguments) == (0, main.HELP, "")
    for name, text in main.COMMANDS.items():
        assert f"  {name:<8}{text}\n" in main.HELP
    assert max(map(len, main.HELP.splitlines())) <= 120
    assert run("--version") == run("-V") == (0, f"elites {elites.__version__} ({library.engine()})\n", "")


def test_the_version_names_the_engine(tmp_path: Path) -> None:
    done = command("--version", cwd=tmp_path, ELITES_NATIVE="0")
    assert done.stdout == f"elites {elites.__version__} (torch)\n"


def test_as_a_module_from_anywhere(tmp_path: Path) -> None:
    done = command("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"elites {elites.__version__} ({library.engine()})\n", "")
    done = command("play", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "elites play: nowhere: expected the folder of a run, found no config.yaml in it\n"


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help(run: Any, name: str) -> None:
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: elites {name} ")
    assert f"  elites {name}" in out  # an example
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pest"], "elites: unknown command 'pest'; did you mean 'pets'?"),
        (["--verison"], f"elites: unknown command '--verison'; known are {', '.join(main.COMMANDS)}"),
        (["pets", "--plannr", "cem"], "elites pets: unknown argument '--plannr'; did you mean '--planner'?"),
        (["pets", "--planner"], "elites pets: --planner: expected one argument"),
        (["pets", "--planner", "cem_dg"], "elites pets: flags: planner.name: unknown planner 'cem_dg'; did you mean"),
        (["pets", "--set", "horizont=3"], "elites pets: flags: horizont: unknown key; did you mean 'horizon'?"),
        (["pets", "--planner", "cem_dg", "--help"], "elites pets: flags: planner.name: unknown planner 'cem_dg'"),
        (["learn", "--mode", "offlin"], "elites learn: --mode: invalid choice: 'offlin' (choose from "),
        (["learn", "--num-envs", "two"], "elites learn: --num-envs: invalid int value: 'two'"),
        (["learn", "--agent", "td3", "--mode", "offline"], "elites learn: flags: agent.mode: unknown key"),
        (["play"], "elites play: the following arguments are required: RUN"),
        (["play", "x", "--episodes", "0"], "elites play: --episodes: expected an integer of at least 1, got 0"),
        (["deploy", "nowhere"], "elites deploy: nowhere: expected the folder of a run, found no config.yaml in it"),
        (["bench", "--by", "nobody"], "elites bench: --by: expected mbrl-lib, "),
    ],
)
def test_mistakes_in_one_line(run: Any, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_who_reads_may_have_had_enough() -> None:
    """As in `elites pets --help | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "elites", "pets", "--help"]
    done = subprocess.run(line, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


# --- what help lists --------------------------------------------------------------------------------------------------


def listed(page: str) -> dict[str, str]:
    """The first word after each key."""
    words = [line.split() for line in page.splitlines() if line.startswith("  ") and line[2:3].isalpha()]
    return {first: rest[0] if rest else "" for first, *rest in words}


def test_help_below_a_choice(run: Any) -> None:
    _, out, _ = run("pets", "--planner", "cem_gd", "--help")
    of = listed(out)
    assert of["planner"] == "cem_gd"
    assert (of["planner.cold.samples"], of["planner.ascent.steps"], of["training.epochs"]) == ("500", "10", "50")
    assert "n, candidates per iteration" in out
    assert not any(key.startswith("agent") for key in of)
    _, out, _ = run("pets", "--help", "--planner", "mppi", "--set", "planner.temperature=0.3")  # in any order
    assert listed(out)["planner.temperature"] == "0.3"
    assert "planner.cold.samples" not in listed(out)
    _, out, _ = run("learn", "--agent", "sac", "--help")
    assert listed(out)["agent.network.value_optimizer.rate"] == str(SAC().network.value_optimizer.rate)
    assert "agent.search.samples" not in listed(out)
    _, out, _ = run("learn", "--help")
    assert listed(out)["agent.search.samples"] == "64"  # CGP's


def test_help_shows_the_values_that_the_run_would_have(run: Any, tmp_path: Path) -> None:
    _, out, _ = run("pets", "--env", "elites/HalfCheetah-v0", "--help")
    assert (listed(out)["random_episodes"], listed(out)["episode_steps"]) == ("10", "150")
    (tmp_path / "run").mkdir()
    settings = PETSSettings(env="elites/CartpoleSwingup-v0", planner=MPPI(samples=7), horizon=9)
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(kinds.dump(settings)))
    _, out, _ = run("pets", "--resume", str(tmp_path / "run"), "--help")
    assert (listed(out)["planner.samples"], listed(out)["horizon"]) == ("7", "9")


# --- where settings come from -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Hopper.yaml").write_text("env: Hopper-v5\nepisodes: 3\nhorizon: 7\n")
    (tmp_path / "preset.yaml").write_text("horizon: 2\n")
    (tmp_path / "whole.yaml").write_text("env: Hopper-v5\nhorizon: 4\n")
    return tmp_path


def settings(kind: Any, *flags: Any) -> Any:
    """The settings that a command line gives."""
    with kind.asked(None, [*map(str, flags), "--quiet"], "elites") as found:
        return found.settings


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"env": "Ant-v5"}),
        (["--env", "Hopper-v5", "--seed", "3"], {"env": "Hopper-v5", "episodes": 3, "horizon": 7, "seed": 3}),
        (["--env", "my/Hopper-v9"], {"env": "my/Hopper-v9", "episodes": 3, "horizon": 7}),
        (["--config", "preset"], {"env": "Ant-v5", "horizon": 2}),
        (["--config", "preset", "--env", "Hopper-v5"], {"env": "Hopper-v5", "episodes": 3, "horizon": 2}),
        (["--config", "whole"], {"env": "Hopper-v5", "horizon": 4}),
        (["--config", "preset", "--set", "horizon=5"], {"env": "Ant-v5", "horizon": 5}),
        (["--planner", "mppi", "--set", "planner.samples=3"], {"env": "Ant-v5", "planner": MPPI(samples=3)}),
    ],
)
def test_where_settings_come_from(
    folder: Path, flags: list[str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pets, "KIND", training.Kind(PETSSettings, lambda args: [folder], "Ant-v5", pets.flagged))
    flags = [str(folder / f"{flag}.yaml") if flag in ("preset", "whole") else flag for flag in flags]
    assert settings(pets, *flags) == PETSSettings(**expected)


def test_an_agents_own_settings_for_an_environment_come_first() -> None:
    """`--agent` and `--set` are on top of them. Another agent has the shared ones."""
    mpo = settings(learn, "--env", "Pendulum-v1", "--agent", "mpo", "--set", "agent.actions=5")
    assert mpo.agent == MPO(pace=Pace(every=1, learning_starts=1000), actions=5)
    assert (mpo.steps, mpo.at_random) == (20_000, 0)
    td3 = settings(learn, "--env", "Pendulum-v1", "--agent", "td3")
    assert (td3.agent, td3.steps, td3.at_random) == (TD3(), 20_000, 1000)
    assert settings(learn, "--env", "Ant-v5", "--agent", "ppo").at_random == 0
    assert settings(learn, "--env", "Ant-v5", "--agent", "sac", "--set", "agent.network=mpo").at_random == 10_000


def test_a_preset_for_any_environment() -> None:
    found = settings(pets, "--config", pets.CONFIGS / "fast.yaml", "--env", "elites/HalfCheetah-v0")
    assert (found.episode_steps, found.gradient) == (150, "means")


def test_a_preset_by_its_name_is_found_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings(pets, "--config", "fast") == settings(pets, "--config", pets.CONFIGS / "fast.yaml")
    with pytest.raises(ValueError, match=r"--config fasst: expected a file or one of CartPole, .*, fast"):
        settings(pets, "--config", "fasst")
    (tmp_path / "fast").write_text("horizon: 3\n")  # a user's own file comes first
    assert settings(pets, "--config", "fast").horizon == 3


def test_a_folder_is_named_without_module_and_namespace() -> None:
    for env in ("Sailing-v0", "elites/Sailing-v0", "my_package.sailing:Sailing-v0", "sailing:my/Sailing-v0"):
        assert PETSSettings(env=env, seed=3).title() == "Sailing-v0-cem_gd-3"
        assert LearnSettings(env=env).title() == "Sailing-v0-cgp-0"


def test_the_defaults_are_the_main_jobs() -> None:
    assert settings(pets) == PETSSettings(env="elites/CartpoleSwingup-v0", planner=CEMGD())
    assert settings(learn, "--agent", "sac", "--num-envs", 2, "--env", "Hopper-v5") == LearnSettings(
        env="Hopper-v5", agent=SAC(), num_envs=2
    )
    assert settings(learn, "--mode", "offline").agent.mode == "offline"
    assert settings(learn, "--set", "agent.mode=online", "--mode", "offline").agent.mode == "offline"


@pytest.mark.parametrize("kinded", [True, False])
def test_a_run_of_another_kind_is_told(tmp_path: Path, kinded: bool) -> None:
    """By its own key, or in old files by their other keys."""
    for kind, found, other in ((pets, PETSSettings(), learn), (learn, LearnSettings(), pets)):
        name = kind.__name__.rpartition(".")[2]
        folder = tmp_path / name
        folder.mkdir()
        mapping = kinds.dump(found)
        assert mapping["kind"] == name
        (folder / "config.yaml").write_text(yaml.safe_dump(mapping if kinded else {**mapping, "kind": None}))
        if not kinded:
            del mapping["kind"]
            (folder / "config.yaml").write_text(yaml.safe_dump(mapping))
        assert settings(kind, "--resume", folder) == found
        with pytest.raises(ValueError, match=f"config.yaml: expected settings of `elites .*`, got .* `elites {name}`"):
            settings(other, "--resume", folder)
        if kinded:
            with pytest.raises(ValueError, match=f"got those of `elites {name}`"):
                settings(other, "--config", folder / "config.yaml")
            assert settings(kind, "--config", folder / "config.yaml") == found


def test_a_mistake_is_blamed_on_the_file_where_it_stands(folder: Path) -> None:
    (folder / "wrong.yaml").write_text("env: Hopper-v5\nhorizon: 0\n")
    with pytest.raises(ValueError, match=r"wrong\.yaml: horizon: expected an integer of at least 1, got 0"):
        settings(pets, "--config", folder / "wrong.yaml")
    assert settings(pets, "--config", folder / "wrong.yaml", "--set", "horizon=3").horizon == 3
    with pytest.raises(ValueError, match=r"flags: horizon: expected an integer of at least 1, got 0"):
        settings(pets, "--config", folder / "whole.yaml", "--set", "horizon=0")


def test_a_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("outputs/a", "outputs/a-2", "outputs/a-3"):
        found = training.free_folder("a")
        assert str(found) == expected
        found.mkdir(parents=True)


def summary(finished: bool) -> Summary:
    return Summary("Toy-v0", 0, finished, (1.0, 3.0), 3.0, 2.0, (), (), 7, 0.5, agent={"plan_ms_median": 4.0})


@pytest.mark.parametrize(("program", "again"), [("elites pets", "elites pets"), (None, "python mine.py")])
def test_how_a_run_that_was_stopped_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str | None, again: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["mine.py"])
    with pets.asked(None, ["--out", "there"], program) as run, pytest.raises(KeyboardInterrupt):
        run.tell(summary(finished=False))
    assert capsys.readouterr() == ("", f"{again} --resume there goes on from here\n")


def test_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, expected in (
        (["--json"], (json.dumps(summary(True).as_dict()) + "\n", "")),
        (["--quiet"], ("", "")),
        ([], ("", "best return 3.0, mean of the last three 2.0, plan 4 ms; summary, plots and video in there\n")),
    ):
        with pets.asked(None, ["--out", "there", *flags], "elites pets") as run:
            run.tell(summary(finished=True))
        assert capsys.readouterr() == expected


def test_what_a_command_line_asks_train_for(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(kinds.dump(PETSSettings(env="Ant-v5"))))
    with pets.asked(None, ["--resume", str(tmp_path), "--set", "episodes=9"], "elites pets") as run:
        assert (run.resume, run.folder, run.device.type) == (True, tmp_path, "cpu")
        assert run.settings == PETSSettings(env="Ant-v5", episodes=9)
        assert [type(each).__name__ for each in run.observers] == ["OnScreen", "TensorBoard", "Pictures"]
    with pytest.raises(ValueError, match="--resume keeps the run's own settings; only --set can change them"):
        settings(pets, "--resume", tmp_path, "--planner", "cem")
    with pets.asked(None, ["--out", str(tmp_path)], "elites pets") as run:
        assert (run.resume, run.folder) == (False, tmp_path)


def test_signals_are_the_commands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only inside `asked`."""
    before = signal.getsignal(signal.SIGINT)
    with pets.asked(None, ["--quiet"], "elites pets") as run:
        assert signal.getsignal(signal.SIGINT) != before
        assert not run.stop()
        signal.raise_signal(signal.SIGINT)
        assert run.stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
