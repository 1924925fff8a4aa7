"""Entry points: read as the standard library reads them, at a part of its cost."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core import entry_points as reader

Install = Callable[..., Path]
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
MODULES = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
ENDS = st.sampled_from(["", ":plugin", " : plugin", ":plugin [extra]"])
LINES = st.builds("{}{}{}{}".format, NAMES, st.sampled_from(["=", " = "]), MODULES, ENDS)
GROUPS = st.sampled_from(["headway.metric", "headway.engine", "console_scripts", "other.metric"])
SECTIONS = st.dictionaries(GROUPS, st.lists(LINES | st.sampled_from(["", "# none = of.these"]), max_size=4))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package that declares entry points, into a folder of the path."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def put(content: str | bytes, *, package: str = "guest-1.0.dist-info", folder: str = "packages") -> Path:
        information = tmp_path / folder / package
        information.mkdir(parents=True)
        written = content if isinstance(content, bytes) else content.encode()
        (information / "entry_points.txt").write_bytes(written)
        if str(information.parent) not in sys.path:
            sys.path.append(str(information.parent))
        return information

    return put


def modules(kind: str) -> list[tuple[str, str]]:
    return [(point.name, point.module) for point in reader.entry_points(kind) if point.distribution != "headway_echo"]


@given(sections=SECTIONS)
@settings(max_examples=50)
def test_well_formed_files_are_read_as_the_standard_library_reads_them(
    sections: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\n".join(line for group, lines in sections.items() for line in (f"[{group}]", *lines))
    information = tmp_path_factory.mktemp("packages") / "guest-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: guest\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text(text, encoding="utf-8")
    (distribution,) = importlib.metadata.distributions(path=[str(information.parent)])
    expected = [(point.group, point.name, point.module) for point in distribution.entry_points]
    read = [
        (f"headway.{point.kind}", point.name, point.module) for point in reader._declared(information, "guest", "1")
    ]
    assert sorted(read) == sorted(point for point in expected if point[0].startswith("headway."))


@given(content=st.binary(max_size=80).map(lambda content: b"[headway.metric]\n" + content))
@settings(max_examples=50)
def test_any_bytes_of_a_package_leave_the_others_readable(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    information = tmp_path_factory.mktemp("packages") / "guest-1.0.dist-info"
    information.mkdir()
    (information / "entry_points.txt").write_bytes(content)
    assert all(point.kind == "metric" for point in reader._declared(information, "guest", "1"))


def test_a_plugin_names_the_package_that_declares_it_and_its_version(install: Install) -> None:
    install("[headway.metric]\nguest = guest_metric:plugin\n")
    install("[headway.metric]\nlocal = local_metric\n", package="local-2.1-py3.13.egg-info")
    install("[headway.metric]\neditable = editable_metric\n", package="editable.egg-info")
    guests = {point.name: (point.distribution, point.version) for point in reader.entry_points("metric")}
    assert guests["guest"] == ("guest", "1.0")
    assert guests["local"] == ("local", "2.1")
    assert guests["editable"] == ("editable", "")


def test_of_two_copies_of_a_package_the_first_on_the_path_counts(install: Install) -> None:
    install("[headway.metric]\nguest = first\n", package="my_guest-1.0.dist-info", folder="a")
    install("[headway.metric]\nguest = second\n", package="My.Guest-2.0.dist-info", folder="b")
    assert modules("metric") == [("guest", "first")]


def test_a_package_without_entry_points_and_an_absent_folder_are_passed_over(install: Install, tmp_path: Path) -> None:
    (install("[headway.metric]\nguest = guest_metric\n", package="bare-1.0.dist-info") / "entry_points.txt").unlink()
    sys.path.append(str(tmp_path / "absent"))
    sys.path.append("")
    assert modules("metric") == []
