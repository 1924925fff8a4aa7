from __future__ import annotations

import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest

from headway.core import plugins
from headway.core.errors import ConfigError, EngineError, HeadwayError, NotApplicable, PluginError, StoreError
from headway.core.renamed import RenamedWarning
from headway.data.context import load_check, load_detector
from headway.evaluation.context import load_metric
from headway.optimization.context import load_transform


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package whose one module is the engine `guest`; a test writes the module."""
    information = tmp_path / "guest-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text("[headway.engine]\nguest = guest_engine\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "guest_engine", raising=False)
    return tmp_path / "guest_engine.py"


def test_a_plugin_from_outside_is_listed_among_our_own() -> None:
    assert {"echo", "lightgbm"} <= set(plugins.names("engine"))


def test_all_names_are_those_of_each_kind() -> None:
    found = plugins.all_names()
    assert tuple(found) == plugins.kinds()
    assert "echo" in found["engine"] and "parquet" in found["format"]


def test_a_plugin_from_outside_is_loaded_by_its_name() -> None:
    engine = plugins.load_engine("echo")
    assert engine(b"echo", {}).__class__.__name__ == "Echo"


def test_a_package_that_is_installed_later_is_found_and_one_that_is_gone_is_not(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "no such folder")
    assert "late" not in plugins.names("engine")
    information = tmp_path / "late-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text("[headway.engine]\nlate = late_engine\n", encoding="utf-8")
    assert "late" in plugins.names("engine")
    shutil.rmtree(information)
    assert "late" not in plugins.names("engine")


def test_names_are_sorted_and_given_once() -> None:
    assert plugins.names("check") == sorted(set(plugins.names("check")))


@pytest.mark.slow
@pytest.mark.parametrize("kind", plugins.kinds())
def test_every_plugin_has_a_line_that_describes_it(kind: str) -> None:
    assert [name for name in plugins.names(kind) if len(plugins.describe(kind, name)) < 10] == []


def test_a_description_is_read_without_importing_the_plugin(outside: Path) -> None:
    outside.write_text('"""Opens nothing.\n\nMore."""\nraise RuntimeError', encoding="utf-8")
    assert plugins.describe("engine", "guest") == "Opens nothing."


def test_a_plugin_without_a_docstring_has_an_empty_description(outside: Path) -> None:
    outside.write_text("plugin = None", encoding="utf-8")
    assert plugins.describe("engine", "guest") == ""


def test_an_entry_point_whose_module_is_gone_is_described_by_that(outside: Path) -> None:
    gone = "engine 'guest' is installed, and its module 'guest_engine' is not"
    assert plugins.describe("engine", "guest") == f"(cannot be read: {gone})"
    with pytest.raises(PluginError, match=gone):
        plugins.declaration("engine", "guest", "files")


def test_a_plugin_that_is_not_python_is_described_by_that(outside: Path) -> None:
    outside.write_text("plugin = (", encoding="utf-8")
    assert plugins.describe("engine", "guest").startswith("(cannot be read: '(' was never closed")


def test_a_package_that_fails_when_it_is_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    information = tmp_path / "sick-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: sick\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text("[headway.engine]\nsick = sick_package.engine\n", encoding="utf-8")
    (tmp_path / "sick_package").mkdir()
    (tmp_path / "sick_package/__init__.py").write_text("raise RuntimeError('it is sick')\n", encoding="utf-8")
    assert plugins.describe("engine", "sick") == "(cannot be read: the package of engine 'sick' fails: it is sick)"


@pytest.mark.parametrize("ask", [plugins.load_engine, lambda name: plugins.describe("engine", name)])
def test_an_unknown_name_is_answered_with_the_names_there_are_and_the_nearest(ask: object) -> None:
    with pytest.raises(PluginError, match=r"no engine named 'ecko'\n  at: known: .*echo.*lightgbm.*\n  try: echo"):
        ask("ecko")  # type: ignore[operator]


def test_an_unknown_name_without_near_matches_gets_no_hint() -> None:
    with pytest.raises(PluginError) as caught:
        load_check("zzzzzz")
    assert caught.value.hint == ""


def test_an_unknown_kind_is_answered_with_the_kinds_there_are() -> None:
    with pytest.raises(PluginError, match="no plug-in kind 'motor'\n  try: one of: audit, blobs, check, command"):
        plugins.names("motor")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "hint"),
    [
        ("polars", "pip install 'headway[lab]'"),
        ("vl_convert", "pip install 'headway[lab]'"),
        ("onnx", "pip install 'headway[lab]'"),
        ("xgboost", "pip install 'headway[xgboost]'"),
        ("catboost", "pip install 'headway[catboost]'"),
        ("no_such_library", "pip install no_such_library"),
    ],
)
def test_a_missing_library_is_an_error_that_names_what_to_install(
    outside: Path, monkeypatch: pytest.MonkeyPatch, library: str, hint: str
) -> None:
    outside.write_text(f"import {library}.part", encoding="utf-8")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(PluginError, match=f"engine 'guest' needs '{library}'") as caught:
        plugins.load_engine("guest")
    assert caught.value.hint == hint


def test_a_missing_file_of_headway_is_not_blamed_on_the_plugin(outside: Path) -> None:
    outside.write_text("import headway.not_there", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError, match=r"headway\.not_there"):
        plugins.load_engine("guest")


def test_each_kind_has_a_way_to_load_what_it_names() -> None:
    assert callable(load_check("target_leak"))
    assert callable(load_transform("truncate"))
    assert callable(load_metric("quality"))
    assert callable(load_detector("group_permutation"))
    assert callable(plugins.load_blobs("files"))
    assert callable(plugins.load_state("sqlite"))


def test_an_object_of_the_project_is_found_next_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def train(table):\n    return 'fitted'\n", encoding="utf-8")
    assert plugins.load_object("train:train", tmp_path)(None) == "fitted"


def test_a_module_of_the_project_may_hold_what_looks_its_own_module_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "project_rows", None)
    text = "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass Row:\n    late: int\n"
    (tmp_path / "project_rows.py").write_text(text, encoding="utf-8")
    row = plugins.load_object("project_rows:Row", tmp_path)(late=1)
    assert pickle.loads(pickle.dumps(row)) == row


def test_an_object_of_an_installed_module_is_found_by_its_name(tmp_path: Path) -> None:
    assert plugins.load_object("pathlib:Path", tmp_path) is Path


@pytest.mark.parametrize("reference", ["nowhere_at_all:train", "pathlib:Pfad", "pathlib"])
def test_an_object_that_is_not_there_is_an_error_that_says_where_it_was_sought(tmp_path: Path, reference: str) -> None:
    with pytest.raises(PluginError, match=r"cannot find .*\n  at: .*\n  try: module:function"):
        plugins.load_object(reference, tmp_path)


def test_a_part_of_a_plugin_is_loaded_by_its_name_and_not_listed() -> None:
    assert "_nncf" not in plugins.names("transform")
    assert plugins.describe("transform", "_nncf").startswith("Quantize every layer of a network to int8")


def test_a_check_lies_in_a_family_and_other_kinds_have_none() -> None:
    assert plugins.family("check", "target_leak") == "leakage"
    assert plugins.family("engine", "lightgbm") == plugins.family("engine", "echo") == ""


@pytest.mark.parametrize("kind", plugins.kinds())
def test_no_two_files_of_a_kind_have_one_name_since_one_would_never_run(kind: str) -> None:
    files = [
        file.stem
        for folder in plugins.folders(kind)
        for file in folder.glob("*/*.py" if kind == "check" else "*.py")
        if file.stem != "_plugins"
    ]
    assert sorted(set(files)) == sorted(files)


def test_a_missing_file_of_headway_is_not_reported_as_a_missing_library():
    with pytest.raises(ModuleNotFoundError, match=r"headway\.core\._none"):
        plugins.load_sibling("headway.core.plugins", "none", reads="a test")


def test_a_plugin_under_the_old_name_of_its_kind_is_found_with_a_warning(outside: Path) -> None:
    (outside.parent / "guest-1.0.dist-info" / "entry_points.txt").write_text(
        "[headway.probe]\nguest = guest_plugin\n", encoding="utf-8"
    )
    with pytest.warns(RenamedWarning, match=r"'headway\.probe' was renamed to 'headway\.metric'"):
        assert "guest" in plugins.names("metric")


def test_each_folder_declares_its_own_kind() -> None:
    assert set(plugins.kinds()) >= {"check", "engine", "metric", "transform"}
    assert [folder.name for folder in plugins.folders("metric")] == ["metrics"]


def test_code_of_the_project_that_was_edited_within_a_second_is_the_edited_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for rounds in (40, 48):
        (tmp_path / "train.py").write_text(f"ROUNDS = {rounds}\n")
        os.utime(tmp_path / "train.py", (1, 1))
        assert plugins.load_object("train:ROUNDS", tmp_path) == rounds


def test_a_syntax_error_in_code_of_the_project_names_its_line(tmp_path):
    (tmp_path / "train.py").write_text("def train(rows, labels):\n    return fit(C=1, C=2)\n")
    with pytest.raises(PluginError, match="'train:train' cannot be read: keyword argument repeated") as refused:
        plugins.load_object("train:train", tmp_path)
    assert refused.value.where == f"{tmp_path / 'train.py'}, line 2"


def test_a_plugin_that_raises_has_no_result_but_a_reason_with_its_line(outside: Path) -> None:
    outside.write_text('"""Fails."""\ndef plugin():\n    return 1 / 0\n', encoding="utf-8")
    found = plugins.run_plugin("engine", "guest", lambda engine: engine())
    assert isinstance(found, NotApplicable)
    assert found.what == "it raised ZeroDivisionError: division by zero"
    assert found.where == f"{outside}:3" and "correct the plug-in 'guest'" in found.hint
    assert plugins.run_plugin("engine", "echo", lambda engine: engine.__name__) == "Echo"


@pytest.mark.parametrize("error", [NotApplicable("no"), EngineError("no"), PluginError("no")])
def test_a_refusal_of_a_plugin_is_its_reason(outside: Path, error: HeadwayError) -> None:
    outside.write_text('"""Refuses."""\ndef plugin(error):\n    raise error\n', encoding="utf-8")
    found = plugins.run_plugin("engine", "guest", lambda engine: engine(error))
    assert isinstance(found, NotApplicable) and found.what == "no"


@pytest.mark.parametrize("error", [ConfigError("a setting"), StoreError("a disk"), KeyboardInterrupt()])
def test_what_a_plugin_is_not_the_cause_of_is_raised(outside: Path, error: BaseException) -> None:
    outside.write_text('"""Is stopped."""\ndef plugin(error):\n    raise error\n', encoding="utf-8")
    with pytest.raises(type(error)):
        plugins.run_plugin("engine", "guest", lambda engine: engine(error))


def test_an_unknown_name_is_an_error_and_not_a_plugin_that_did_not_run() -> None:
    with pytest.raises(PluginError, match="no engine named 'nothing'"):
        plugins.run_plugin("engine", "nothing", lambda engine: engine())
