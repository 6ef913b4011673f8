"""The descriptions of settings come only from dataclasses and the comments in their source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal

import pytest
import yaml

from elites import config
from elites.fields import Checked, Count, Positive, Range
from elites.help import Setting, comments, describe, explain, lines, words
from elites.planners import CEMGD, PLANNERS, Planner


@dataclass(frozen=True)
class Part(Checked):
    """What is done in between. And this is said of it, too.

    rate: how fast. The more the faster. size, other (sec. 2): how large: in metres. Nothing
    here: is of a field.
    """

    rate: Positive = 0.5
    size: Count = 3
    other: Count = 2  # this comes first


@dataclass(frozen=True)
class Base(Checked):
    kept: Count = 1  # what the base says
    other: Count = 2  # of the base


@dataclass(frozen=True)
class Setup(Base):
    planner: Planner = CEMGD()  # who plans
    first: Part = Part(size=7)
    second: Part = Part()
    maybe: Count | None = None  # None is never
    extra: Part | None = None
    mode: Literal["fast", "slow"] = "slow"
    kind: Literal["setup"] = "setup"
    other: Count = 5  # of the subclass  # type: ignore[misc]
    layers: tuple[Count, ...] = (200, 100)
    flag: bool = False
    small: float = 5e-5
    kept: Count = 3
    text: str = ""  # where it ends


def found(mapping: dict[str, Any] | None = None) -> dict[str, Setting]:
    return {setting.key: setting for setting in describe(Setup, mapping)}


def test_comments() -> None:
    """On the field's line, else in the docstring, else from the base class; without comments for tools."""
    of = {key: setting.text for key, setting in found().items()}
    assert (of["other"], of["kept"], of["mode"], of["flag"]) == ("of the subclass", "what the base says", "", "")
    assert of["maybe"] == "null is never"
    assert of["text"] == "where it ends"
    assert of["first.rate"] == "how fast. The more the faster"
    assert of["first.size"] == "how large: in metres. Nothing here: is of a field"
    assert of["first.other"] == "this comes first"
    assert of["first"] == "What is done in between. And this is said of it, too"
    assert of["planner"] == "who plans"


def test_without_source_there_are_types_alone() -> None:
    namespace: dict[str, Any] = {"dataclass": dataclass, "__name__": __name__}
    exec("@dataclass\nclass Typed:\n    a: int = 3  # unseen\n", namespace)
    assert comments(namespace["Typed"]) == {}
    assert [(s.key, s.value, s.text) for s in explain(namespace["Typed"]())] == [("a", "3", "")]


def test_types_and_values() -> None:
    of = {key: (setting.value, setting.expected) for key, setting in found().items()}
    assert of["maybe"] == ("null", "an integer of at least 1 or null")
    assert of["extra"] == ("null", "a mapping of rate, size, other or null")
    assert of["mode"] == ("slow", "fast or slow")
    assert of["layers"] == ("[200, 100]", "a list, each an integer of at least 1")
    assert of["flag"] == ("false", "true or false")
    assert of["small"] == ("5e-05", "a number")
    assert of["text"] == ('""', "a string")
    assert of["first.size"] == ("7", "an integer of at least 1")  # the part's own default, not its class's
    assert of["second.size"][0] == "3"
    assert of["first"] == ("", "")
    assert "kind" not in of  # it has only one value
    assert words(Literal[1, True, "a"]) == "1, true or a"
    assert words(Annotated[float, Range(0, 1, open=True)] | None) == "a number in (0, 1] or null"


def test_below_a_choice_is_what_the_chosen_one_takes() -> None:
    mapping = {"planner": {"name": "cem", "samples": 30, "distribution": "tanh_normal"}}
    of = found(mapping)
    assert of["planner"].value == "cem"
    assert of["planner"].expected == f"one of {', '.join(PLANNERS)}, cma_es, or package.module:Class"
    assert (of["planner.samples"].value, of["planner.elites"].value) == ("30", "10")
    assert of["planner.distribution.noise"].value == "white"
    assert "planner.cold.samples" not in of
    own = found({"planner": {"name": f"{Mine.__module__}:Mine"}})
    assert own["planner"].value.endswith(":Mine")
    assert own["planner.width"].value == "4"


@dataclass(frozen=True)
class Mine(CEMGD):
    width: Count = 4


def test_every_key_can_be_set_and_nothing_else_can() -> None:
    """Setting each listed value again by --set gives the same settings."""

    def leaves(instance: Any, path: str = "") -> Iterator[str]:
        for field in fields(instance):
            value = getattr(instance, field.name)
            yield from leaves(value, f"{path}{field.name}.") if is_dataclass(value) else [path + field.name]

    for name in PLANNERS:
        settings = config.build(Setup, {"planner": {"name": name}})
        listed = explain(settings)
        assert {s.key for s in listed if not s.part} == {*leaves(settings)} - {"kind"}
        assignments = [f"{s.key}{'' if not s.part else '.name'}={s.value}" for s in listed if s.value]
        assert config.build(Setup, config.override({}, assignments)) == settings


def test_what_was_explained_once_is_not_again() -> None:
    of = found()
    assert of["planner.cold.samples"].text == "n, candidates per iteration"
    assert of["planner.warm.samples"].text == ""
    assert of["planner.warm.samples"].expected == "an integer of at least 1"
    assert of["second"].text == ""


@pytest.mark.parametrize("width", [20, 60, 80, 100, 300])
def test_lines_fit_the_window(width: int) -> None:
    told = lines(describe(Setup), width)
    widest = max(map(len, told.splitlines()))
    assert widest <= max(width, 60)
    assert widest <= 112
    listed = [line.split()[0] for line in told.splitlines() if line.startswith("  ") and line[2] != " "]
    assert listed == [setting.key for setting in describe(Setup)]
    assert told.count("\n\n") == 3  # before planner, first and second


def test_a_line() -> None:
    told = lines([Setting("a.b", "3", "an integer", "of what", 0), Setting("c", "", "", "a part", 1, part=True)], 80)
    assert told.splitlines() == [
        "  a.b  3                 of what (an integer)",
        "",
        "  c                      a part",
    ]


def test_values_are_yaml() -> None:
    for setting in describe(Setup):
        if setting.value and not setting.part:
            value: Any = Setup()
            for key in setting.key.split("."):
                value = getattr(value, key)
            read = yaml.safe_load(setting.value)
            assert (float(read) if isinstance(value, float) else read) == value or tuple(read) == value
