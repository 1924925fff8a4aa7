"""A scan of a path: one verdict a file, and one for all."""

from __future__ import annotations

import json
import pickle
import shlex
import subprocess
import sys

import pytest
from tests.house.pages import code_blocks

from headway.cli import main as cli
from headway.core.errors import DataError
from headway.reporting.gates.formats import SCAN_FORMATS
from headway.reporting.gates.scan import conclude_scan
from headway.security import scan
from headway.security.scan import scan_files, walk_files

HOSTILE = b"cos\nsystem\n(Vid\ntR."


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a safe file, an unsafe one and one that is not judged."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/evil.pkl").write_bytes(HOSTILE)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))
    (tmp_path / "unknown.xyz").write_bytes(b"\1\2\3")
    return tmp_path


def test_a_folder_lists_its_files_in_order_and_follows_no_link(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/model.pkl").write_bytes(b".")
    (tmp_path / "a.onnx").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in walk_files(tmp_path)]
    assert found == ["a.onnx", "loop", "b/model.pkl"]
    assert list(walk_files(tmp_path / "a.onnx")) == [tmp_path / "a.onnx"]


def test_a_path_that_holds_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing to scan"):
        list(walk_files(tmp_path / "absent"))


def test_each_file_gets_a_verdict_and_the_worst_is_that_of_the_folder(folder):
    found = scan_files(folder)
    assert {file.name: file.verdict for file in found.files} == {
        "deep/evil.pkl": "unsafe",
        "unknown.xyz": "not judged",
        "model.pkl": "safe",
    }
    assert found.verdict == "unsafe" and found.files[0].verdict == "unsafe"
    assert conclude_scan(found) == "3 files: 1 safe, 1 unsafe, 1 not judged"
    assert scan_files(folder / "model.pkl").verdict == "safe"


def test_an_empty_folder_and_too_many_files_are_not_judged(tmp_path, monkeypatch):
    assert scan_files(tmp_path).verdict == "not judged"
    assert "the folder is empty" in conclude_scan(scan_files(tmp_path))
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("text")
    assert scan_files(tmp_path).verdict == "safe"
    monkeypatch.setattr(scan, "MAX_FILES", 2)
    assert scan_files(tmp_path).verdict == "not judged"


@pytest.mark.parametrize("name", SCAN_FORMATS)
def test_every_format_names_the_file_and_the_reason(folder, name):
    text = SCAN_FORMATS[name](scan_files(folder))
    assert "evil.pkl" in text and "os.system" in text.replace("\\", "")


def test_sarif_has_an_error_for_an_unsafe_file_and_a_warning_for_one_that_is_not_judged(folder):
    (run,) = json.loads(SCAN_FORMATS["sarif"](scan_files(folder)))["runs"]
    levels = {entry["ruleId"]: entry["level"] for entry in run["results"]}
    assert levels["pickle-global"] == "error" and levels["unknown-format"] == "warning"
    locations = [entry["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for entry in run["results"]]
    assert "deep/evil.pkl" in locations


@pytest.mark.parametrize(
    ("name", "code"), [("model.pkl", cli.PASS), ("deep", cli.FAIL), ("unknown.xyz", cli.UNDECIDED)]
)
def test_the_exit_code_is_the_verdict(folder, name, code, capfdbinary):
    with pytest.raises(SystemExit) as end:
        cli.main(["scan", str(folder / name), "--json"])
    assert end.value.code == code
    assert json.loads(capfdbinary.readouterr().out)["verdict"] == ("safe", "unsafe", "", "not judged")[code]


def test_the_commands_of_the_page_run(folder, monkeypatch, capfdbinary):
    (folder / "deep").rename(folder / "downloads")
    monkeypatch.chdir(folder)
    (block,) = code_blocks("docs/scan.md", "console")
    codes = []
    for line in block.splitlines():
        with pytest.raises(SystemExit) as end:
            cli.main(shlex.split(line.removeprefix("$ headway ")))
        codes.append(end.value.code)
    capfdbinary.readouterr()
    assert codes == [cli.PASS, cli.FAIL, cli.FAIL]
    assert (folder / "scan.sarif").exists()


def test_a_hostile_name_is_one_line(tmp_path):
    (tmp_path / "a\x1b[31m\nb.pkl").write_bytes(HOSTILE)
    text = SCAN_FORMATS["text"](scan_files(tmp_path))
    assert "\x1b" not in text and len(text.splitlines()) < 9


def test_a_scan_imports_nothing_that_a_file_names(folder):
    (folder / "json.pkl").write_bytes(b"cturtle\nTurtle\n.")
    code = (
        "import sys; from pathlib import Path; from headway.security.scan import scan_files;"
        f"scan_files(Path({str(folder)!r})); print('turtle' in sys.modules, 'sklearn' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "False"]
