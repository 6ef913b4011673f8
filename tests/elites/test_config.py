from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from elites import config
from elites.fields import Checked, Count, Fraction, Positive
from elites.planners import CEM, CEMGD, PLANNERS, ClippedNormal, Coloured, Planner, TanhNormal

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclass(frozen=True)
class Part(Checked):
    size: Count = 3
    rate: Positive = 0.1


@dataclass(frozen=True)
class Setup(Checked):
    name: str
    planner: Planner = CEMGD()
    part: Part = Part(size=7, rate=0.5)
    maybe: Count | None = None
    share: Fraction = 0.5
    mode: Literal["fast", "slow"] = "slow"
    layers: tuple[Count, ...] = (200, 200)
    flag: bool = False


def build(text: str) -> Setup:
    return config.build(Setup, yaml.safe_load(text), "setup.yaml")


def test_recursion_by_type_hints() -> None:
    setup = build(
        "{name: x, planner: {name: cem, distribution: {name: clipped_normal, noise: {name: coloured, beta: 1}}},"
        " part: {size: 4}, maybe: 2, layers: [1, 2, 3], mode: fast, flag: true}"
    )
    assert setup.planner == CEM(distribution=ClippedNormal(Coloured(1)))
    assert setup.part == Part(4, 0.5)  # an unset key keeps the part's default, not its class's
    assert (setup.maybe, setup.layers, setup.mode, setup.flag) == (2, (1, 2, 3), "fast", True)


def test_defaults_stay() -> None:
    assert build("{name: x}") == Setup("x")
    assert build("{name: x, maybe: null}").maybe is None


def test_a_part_of_a_default_part() -> None:
    planner = build("{name: x, planner: {cold: {samples: 1000}}}").planner
    assert planner == CEMGD(cold=CEM(samples=1000, elites=50))


def test_what_is_dumped_builds_the_same() -> None:
    both = "cold: {samples: 70, distribution: clipped_normal}, warm: {distribution: clipped_normal}"
    setup = build(f"{{name: x, planner: {{name: cem_gd, {both}}}, layers: [3, 4]}}")
    mapping = config.dump(setup)
    assert mapping["planner"]["name"] == "cem_gd"
    assert mapping["planner"]["cold"]["distribution"]["name"] == "clipped_normal"
    assert build(yaml.safe_dump(mapping)) == setup
    own = build("{name: x, planner: 'rank_weighted:RankWeighted'}")
    assert config.dump(own)["planner"]["name"] == "rank_weighted:RankWeighted"
    assert build(yaml.safe_dump(config.dump(own))) == own


def test_a_name_alone_picks_too() -> None:
    assert build("{name: x, planner: icem}").planner == PLANNERS["icem"]()
    assert build("{name: x, planner: {name: cem, distribution: tanh_normal}}").planner == CEM(distribution=TanhNormal())


def test_numbers_as_people_write_them() -> None:
    assert build("{name: x, part: {rate: 1e-3}}").part.rate == 1e-3  # YAML 1.1 reads a string
    assert build("{name: x, share: 1}").share == 1


def test_a_users_own_planner_by_dotted_path() -> None:
    planner: Any = build("{name: x, planner: {name: 'rank_weighted:RankWeighted', samples: 9}}").planner
    assert type(planner).__name__ == "RankWeighted"
    assert planner.samples == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "setup.yaml: name: missing; expected a string"),
        ("[1, 2]", r"setup.yaml: expected a mapping of keys to values, got \[1, 2\]"),
        ("just words", "setup.yaml: expected a mapping of keys to values, got 'just words'"),
        ("", "setup.yaml: expected a mapping of keys to values, got None"),
        ("{name: x, part: 3}", "setup.yaml: part: expected a Part, got 3"),
        ("{name: x, part: {sise: 3}}", "setup.yaml: part.sise: unknown key; did you mean 'size'"),
        ("{name: x, zzz: 3}", "setup.yaml: zzz: unknown key; known are name, planner, "),
        ("{name: 3}", "setup.yaml: name: expected a string, got 3"),
        ("{name: x, part: {size: 0}}", "setup.yaml: part.size: expected an integer of at least 1, got 0"),
        ("{name: x, part: {size: 1.5}}", "setup.yaml: part.size: expected an integer of at least 1, got 1.5"),
        ("{name: x, part: {size: true}}", "setup.yaml: part.size: expected an integer of at least 1, got True"),
        ("{name: x, part: {rate: .nan}}", "setup.yaml: part.rate: expected a number above 0, got nan"),
        ("{name: x, share: 2}", r"setup.yaml: share: expected a number in \[0, 1\], got 2"),
        ("{name: x, share: half}", r"setup.yaml: share: expected a number in \[0, 1\], got 'half'"),
        ("{name: x, maybe: 0}", "setup.yaml: maybe: expected an integer of at least 1 or nothing, got 0"),
        ("{name: x, mode: medium}", "setup.yaml: mode: expected 'fast' or 'slow', got 'medium'"),
        ("{name: x, layers: [1, 0]}", r"setup.yaml: layers\[1\]: expected an integer of at least 1, got 0"),
        ("{name: x, flag: 1}", "setup.yaml: flag: expected true or false, got 1"),
        ("{name: x, planner: cem_dg}", "setup.yaml: planner.name: unknown planner 'cem_dg'; did you mean 'cem_gd'"),
        ("{name: x, planner: {name: cem, elites: 500}}", "setup.yaml: planner: CEM.elites: expected at most samples"),
        (
            "{name: x, planner: {cold: {distribution: nrmal}}}",
            "planner.cold.distribution.name: unknown distribution 'nrmal'",
        ),
        ("{name: x, planner: 'os:getcwd'}", "planner.name: expected a dataclass that is a Planner, got "),
        ("{name: x, planner: 'elites.fields:Range'}", "planner.name: expected a dataclass that is a Planner, got "),
        ("{name: x, planner: 'no.such:Planner'}", "planner.name: 'no.such:Planner' cannot be imported: No module"),
        ("{name: x, planner: 'elites:Nothing'}", "planner.name: 'elites:Nothing' cannot be imported: .*Nothing"),
    ],
)
def test_what_does_not_fit_is_one_line_with_file_and_key(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(text)
    assert "\n" not in str(caught.value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with pytest.raises(ValueError, match=r"a\.yaml: cannot be read: No such file"):
        config.load(path)
    path.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match=r"a\.yaml: expected a mapping of keys to values, got \['a', 'b'\]"):
        config.load(path)
    path.write_text("a: [1,\n b: 2")
    with pytest.raises(ValueError, match=r"a\.yaml: not YAML: ") as caught:
        config.load(path)
    assert "\n" not in str(caught.value)
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ValueError, match=r"a\.yaml: not YAML: .*could not determine a constructor"):
        config.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.yaml: cannot be read: "):
        config.load(path)


def test_override() -> None:
    before = {"planner": {"name": "cem_gd", "cold": {"samples": 10}}}
    after = config.override(before, ["planner.cold.samples=3000", "planner.top_k=2", "new.key=[1, a]"])
    assert after == {
        "planner": {"name": "cem_gd", "cold": {"samples": 3000}, "top_k": 2},
        "new": {"key": [1, "a"]},
    }
    assert before == {"planner": {"name": "cem_gd", "cold": {"samples": 10}}}


def test_a_part_that_is_not_there_begins_with_its_first_setting() -> None:
    assert config.override({"value": None}, ["value.trace=0.5"]) == {"value": {"trace": 0.5}}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("planner", "--set planner: expected KEY=VALUE"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("a..b=3", r"--set a\.\.b=3: expected KEY=VALUE"),
        ("planner.name.x=3", r"--set planner\.name\.x=3: planner\.name is 'cem', which has no keys"),
        ("planner.name=[", r"--set planner\.name=\[: not YAML"),
    ],
)
def test_wrong_overrides_are_named(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.override({"planner": {"name": "cem"}}, [assignment])


def test_every_planner_has_a_file_that_says_its_defaults() -> None:
    files = {path.stem: config.load(path) for path in (CONFIGS / "planners").glob("*.yaml")}
    assert files.keys() == PLANNERS.keys() | {"cem_gd_paper"}
    planners = {name: config.build(Planner, mapping, name) for name, mapping in files.items()}  # type: ignore[type-abstract]
    for name in PLANNERS:
        assert files[name]["name"] == name
        assert planners[name] == PLANNERS[name]()
    assert planners["cem_gd_paper"] == CEMGD(cold=CEM(samples=3000, elites=300))
