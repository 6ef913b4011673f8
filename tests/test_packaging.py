"""The wheel, all kinds of editable installs and a bare checkout import beside a user's own envs/ and planners/."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import yaml

import elites
from elites.networks import library

ROOT = Path(__file__).parents[1]
NO_COMPILER = {"CC": "false", "CXX": "false"}
COMPILES = sys.platform != "win32" and shutil.which("g++")  # Windows' compiler does not know the kernel's C++
FOLDERS = ["networks", "planners", "dynamics", "envs", "agents", "runs"]
# As much of a kernel as is called on import. It compiles in a second, the real one in 45.
KERNEL = """
#define API extern "C" __attribute__((visibility("default")))
API const char *elites_kernel(int i) { return i ? nullptr : "stand-in"; }
API void elites_threads(void *) {}
"""
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
    """A copy of the repository with a small kernel, so that builds leave nothing in the original."""
    ignored = shutil.ignore_patterns(".*", "build", "dist", "outputs", "*.egg-info", "__pycache__", "*.so")
    copy = Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=ignored))
    (copy / "networks/kernel/kernel.cpp").write_text(KERNEL)
    return copy


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter with this one's dependencies, and no `elites`."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    interpreter = tmp_path / ("venv/Scripts/python.exe" if sys.platform == "win32" else "venv/bin/python")
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
    expected.add("elites/networks/kernel/rollout.cu")  # compiled where there is a GPU
    assert {name for name in names if not name.endswith(".so")} == expected
    kernel = {"elites/networks/_kernel.abi3.so"} if COMPILES else set()
    assert {name for name in names if "_kernel." in name} == kernel
    assert wheel.name.startswith(f"elites-{elites.__version__}-cp310-abi3-")  # one wheel for every Python
    install(python, tmp_path, wheel)
    where = run(python, "main.py", cwd=user).split()
    assert all(str(tmp_path / "venv") in path for path in where)
    the_command_works(python, user)
    engine = "kernel stand-in" if COMPILES else "torch"
    assert run(python.parent / "elites", "--version", cwd=user) == f"elites {elites.__version__} ({engine})\n"


@pytest.mark.skipif(not COMPILES or os.environ.get("ELITES_NATIVE") == "0", reason="no compiler, or no kernel wanted")
def test_the_kernel_was_built_for_these_tests() -> None:
    """Installations go on without it, and so would the tests."""
    assert "baseline" in library.kernels()


def test_the_wheel_for_every_platform(checkout: Path, python: Path, user: Path, tmp_path: Path) -> None:
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist"]
    run(sys.executable, *build, cwd=checkout, ELITES_PURE="1")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.name == f"elites-{elites.__version__}-py3-none-any.whl"
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".so", ".pyd", ".cpp", ".h"))]
    install(python, tmp_path, wheel)
    assert run(python.parent / "elites", "--version", cwd=user) == f"elites {elites.__version__} (torch)\n"


def the_command_works(python: Path, user: Path) -> None:
    """Installed, beside a user's own folders, it finds configs/ and the comments in its own source."""
    command = python.parent / "elites"
    assert run(command, "--version", cwd=user) == run(python, "-m", "elites", "--version", cwd=user)
    told = run(command, "pets", "--env", "elites/HalfCheetah-v0", "--planner", "cem", "--help", cwd=user)
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.split()}
    assert rows["random_episodes"][1] == "10"
    assert rows["planner.samples"][1] == "100"
    assert "n, candidates per iteration" in told
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
    assert run(python, "-c", code, cwd=user) == ("stand-in\n" if COMPILES else "\n")


def test_a_build_replaces_the_kernel_of_an_earlier_one(checkout: Path, python: Path) -> None:
    """Python prefers a kernel that is named for its version."""
    stale = checkout / f"networks/_kernel{sysconfig.get_config_var('EXT_SUFFIX')}"
    stale.touch()
    install(python, checkout, "--editable", ".", **NO_COMPILER)
    assert not stale.exists()


def test_the_source_distribution_has_the_kernel(checkout: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path / "dist", cwd=checkout)
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "networks/kernel").iterdir()} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")} <= names
    assert {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} <= names
    assert not {name.partition("/")[0] for name in names} & {"results", "outputs", "tests", "docs", "benchmarks"}


@pytest.fixture
def metadata(checkout: Path, tmp_path: Path) -> Message:
    """What package indexes read."""
    readme = checkout / "README.md"
    readme.write_text(readme.read_text() + '<img src="docs/pictures/swingup.png"> [the planners](configs/planners)\n')
    run(sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", tmp_path, cwd=checkout)
    return email.message_from_string((tmp_path / "elites.egg-info/PKG-INFO").read_text())


def test_every_file_names_the_same_version_licence_and_addresses(metadata: Message) -> None:
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert metadata["License-Expression"] == citation["license"] == "MIT"
    assert str(citation["version"]) == metadata["Version"] == elites.__version__
    assert (citation["repository-code"], citation["url"]) == (urls["Source"], urls["Documentation"])
    links = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text())["contact_links"]
    assert all(link["url"].startswith((urls["Source"], urls["Documentation"])) for link in links)
    assert urls["Source"] in (ROOT / "CONTRIBUTING.md").read_text()


def test_the_readme_on_an_index_leads_into_the_release(metadata: Message) -> None:
    text, repository = str(metadata.get_payload()), "https://github.com/elites-mpc/elites"
    shown = re.findall(r"""(?:\]\(|(?:src|srcset|href)=")([^)\s"]+)""", text)
    assert all(target.startswith(("https://", "#")) for target in shown)
    assert f'<img src="{repository}/raw/v{elites.__version__}/docs/pictures/swingup.png">' in text
    assert f"[the planners]({repository}/blob/v{elites.__version__}/configs/planners)" in text


def test_the_changelog_has_this_version_below_what_comes() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(elites.__version__)} \(\d{{4}}-\d\d-\d\d\)", headings[1])


def test_the_oldest_versions_are_those_promised(metadata: Message) -> None:
    """But for elites[onnx], which needs a newer torch, and for Python 3.14."""
    wanted = [each.partition("; ") for each in metadata.get_all("Requires-Dist", [])]
    users = [name for name, _, of in wanted if not re.search('>= "3.14"|"(?:all|dev|docs|onnx)"', of)]
    promised = re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+)$", "\n".join(users), re.MULTILINE)
    tried = re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "constraints-oldest.txt").read_text(), re.MULTILINE)
    assert len(promised) == len(users)
    assert versions(tried) == versions(promised)


def versions(pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """1.26 and 1.26.0 are one."""
    return {name: (*version.split("."), "0", "0")[:3] for name, version in pairs}


def test_python_3_10_can_read_every_hint() -> None:
    """Its typing.get_type_hints refuses a bare ClassVar, and a dataclass's hints are read when one is made."""
    for path in (path for folder in ["elites", *FOLDERS] for path in (ROOT / folder).rglob("*.py")):
        assert not re.search(r": ClassVar\b(?!\[)", path.read_text()), path


def test_bare_checkout(checkout: Path, python: Path, user: Path) -> None:
    where = run(python, "main.py", cwd=user, PYTHONPATH=str(checkout)).split()
    assert where == [str(checkout / "elites/__init__.py"), str(checkout / "planners/__init__.py")]
    run(python, "-c", "import elites.planners, elites.agents", cwd=checkout)
