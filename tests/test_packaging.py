"""The wheel, all kinds of editable installs and a bare checkout import beside a user's own envs/ and planners/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_COMPILER = {"CC": "false", "CXX": "false"}
FOLDERS = ["networks", "planners", "dynamics", "envs", "agents", "runs"]
USERS_PROGRAM = """
import envs, planners, agents, dynamics  # the user's
assert [m.OWNER for m in (envs, planners, agents, dynamics)] == ["user"] * 4
import elites, elites.envs, elites.dynamics
from elites.agents import MPC
from elites.config import build, load
from elites.planners import CEM, CEMGD, Planner
assert build(Planner, {"name": "cem"}) == CEM()
print(elites.__file__)
print(elites.planners.__file__)
"""


def run(*command: object, cwd: Path, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository, so that builds leave nothing in the original."""
    ignored = shutil.ignore_patterns(".*", "build", "dist", "outputs", "*.egg-info", "__pycache__", "*.so")
    return Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=ignored))


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter with this one's dependencies, and no `elites`."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    interpreter = tmp_path / "venv/bin/python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(interpreter, "-c", code, cwd=tmp_path).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # a path whose .pth files are not read
    return interpreter


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A project with folders of the same names."""
    folder = tmp_path / "user"
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("OWNER = 'user'\n")
    (folder / "main.py").write_text(USERS_PROGRAM)
    return folder


def install(python: Path, cwd: Path, *what: object, **environment: str) -> None:
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed", "--quiet"]
    run(python, "-m", "pip", "install", *options, *what, cwd=cwd, **environment)


def modules(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


def test_wheel(checkout: Path, python: Path, user: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", cwd=checkout)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {f"elites/{name}" for name in modules(checkout / "elites")} | {"elites/py.typed"}
    for folder in FOLDERS:
        expected |= {f"elites/{folder}/{name}" for name in modules(checkout / folder)}
    expected |= {f"elites/configs/{p.relative_to(ROOT / 'configs')}" for p in (ROOT / "configs").rglob("*.yaml")}
    assert {name for name in names if not name.endswith((".so", ".pyd"))} == expected
    assert any(name.startswith("elites/networks/_kernel.") for name in names) or not shutil.which("g++")
    install(python, tmp_path, wheel)
    where = run(python, "main.py", cwd=user).split()
    assert all(str(tmp_path / "venv") in path for path in where)
    the_command_works(python, user)


def the_command_works(python: Path, user: Path) -> None:
    """Installed, beside a user's own folders, it finds configs/ and the comments in its own source."""
    command = python.parent / "elites"
    assert run(command, "--version", cwd=user) == run(python, "-m", "elites", "--version", cwd=user)
    told = run(command, "pets", "--env", "elites/HalfCheetah-v0", "--planner", "cem", "--help", cwd=user)
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.split()}
    assert rows["random_episodes"][1] == "10"
    assert rows["planner.samples"][1] == "100"
    assert "n, per iteration" in told
    assert {path.name for path in user.iterdir()} == {*FOLDERS, "main.py"}


@pytest.mark.parametrize("mode", ["lenient", "strict", "compat"])
def test_editable_without_a_compiler(checkout: Path, python: Path, user: Path, mode: str) -> None:
    install(python, checkout, "--config-settings", f"editable_mode={mode}", "--editable", ".", **NO_COMPILER)
    where = run(python, "main.py", cwd=user).split()
    assert all(str(checkout) in path for path in where)
    code = "from elites.networks import library; print(library.kernels())"
    assert run(python, "-c", code, cwd=user).strip() == "[]"


def test_editable_with_the_kernel(checkout: Path, python: Path, user: Path) -> None:
    install(python, checkout, "--config-settings", "editable_mode=strict", "--editable", ".")
    code = "from elites.networks import library; print(*library.kernels())"
    assert "baseline" in run(python, "-c", code, cwd=user) or not shutil.which("g++")


def test_the_source_distribution_has_the_kernel(checkout: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path / "dist", cwd=checkout)
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "networks/kernel").iterdir()} <= names


def test_bare_checkout(checkout: Path, python: Path, user: Path) -> None:
    where = run(python, "main.py", cwd=user, PYTHONPATH=str(checkout)).split()
    assert where == [str(checkout / "elites/__init__.py"), str(checkout / "planners/__init__.py")]
    run(python, "-c", "import elites.planners, elites.agents", cwd=checkout)
