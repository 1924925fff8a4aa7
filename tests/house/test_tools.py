"""The tools do what the Makefile promises."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from coverage import CoverageData
from tests.house.source_tree import ROOT, fail_with, sources

BENCHMARK = '''"""How fast nothing is."""
import json, sys
rows = [{"name": "nothing", "measured": 0.123456, "unit": "us", "target": 1, "ok": True, "against": "something"}]
if __name__ == "__main__":
    print(json.dumps({"machine": {"cores": 2}, "rows": rows, "fell_short": []}) if "--json" in sys.argv else "fast")
'''


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("benchmarks")


def test_a_benchmark_becomes_a_table_with_its_machine(benchmarks: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "nothing.py"
    file.write_text(BENCHMARK, encoding="utf-8")
    text = benchmarks.section(file, benchmarks.measure(file))
    assert "How fast nothing is. `python bench/nothing.py`" in text
    assert "| nothing | 0.1235 | us | 1 | yes | something |" in text
    assert "Machine: cores 2." in text


def test_a_failing_benchmark_stops_the_page(benchmarks: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("raise SystemExit('no machine')", encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        benchmarks.measure(file)


def test_parts_of_a_benchmark_are_passed_on_and_named(benchmarks: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "nothing.py"
    file.write_text(f"import sys; assert sys.argv[1] == 'words'\n{BENCHMARK}", encoding="utf-8")
    text = benchmarks.section(file, benchmarks.measure(file, "words"), parts=["words"])
    assert "`python bench/nothing.py words`" in text


def test_rows_of_other_parts_stay_if_they_are_of_the_same_machine(benchmarks: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "nothing.py"
    file.write_text(BENCHMARK, encoding="utf-8")
    measured = benchmarks.measure(file)
    other = {
        **measured,
        "rows": [{**measured["rows"][0], "name": "other"}],
        "fell_short": ["nothing is 2 us", "other: no data"],
    }
    earlier = benchmarks.section(file, other, parts=["others"])
    text = benchmarks.section(file, measured, parts=["words"], earlier=earlier)
    assert "`python bench/nothing.py others words`" in text and "Fell short: other: no data." in text
    assert text.index("| other | 0.1235") < text.index("| nothing | 0.1235")
    elsewhere = benchmarks.section(file, {**measured, "machine": {"cores": 8}}, parts=["words"], earlier=earlier)
    assert "other" not in elsewhere
    whole = benchmarks.section(file, measured, parts=["words"], earlier=benchmarks.section(file, other))
    assert "`python bench/nothing.py`" in whole


def test_what_is_written_around_a_table_and_rows_of_another_machine_stay(
    benchmarks: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "nothing.py"
    file.write_text(BENCHMARK, encoding="utf-8")
    measured = benchmarks.measure(file)
    before = benchmarks.section(file, measured)
    others = "Earlier:\n\n| name | measured |\n|---|---|\n| old | 1 |\n\nMachine: cores 8.\n"
    earlier = before.replace("| name |", "It was quiet.\n\n| name |", 1) + f"\n{others}"
    assert benchmarks.section(file, measured, earlier=earlier) == earlier


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("no-such-benchmark", 2)])
def test_help_and_unknown_names_do_not_write_the_page(benchmarks: ModuleType, argument: str, code: int) -> None:
    before = benchmarks.PAGE.read_bytes()
    with pytest.raises(SystemExit) as ended:
        benchmarks.main([argument])
    assert ended.value.code == code and benchmarks.PAGE.read_bytes() == before


@pytest.fixture
def fast_tests(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("fast_tests")


def test_the_fast_tests_are_those_that_find_most_mistakes_per_second(fast_tests: ModuleType) -> None:
    many = {("core/a.py", line) for line in range(20)}
    few = {("core/b.py", line) for line in range(5)}
    lines = {
        "tests/core/test_a.py": many,
        "tests/core/test_a_again.py": many,
        "tests/core/test_b.py": few,
        "tests/cli/test_all.py": many | few,
        "tests/core/test_long.py": many | few,
    }
    seconds = dict.fromkeys(lines, 1.0) | {"tests/core/test_long.py": 9.0}
    assert fast_tests.choose(seconds, lines, budget_s=1) == ["tests/core/test_a.py"]
    assert fast_tests.choose(seconds, lines, budget_s=3) == sorted(list(lines)[:3])


def test_the_lines_of_an_import_count_for_no_test(fast_tests: ModuleType, tmp_path: Path) -> None:
    file = str(ROOT / "src/headway/core/errors.py")
    data = CoverageData(str(tmp_path / "coverage"))
    for context, numbers in {"": [1, 2], "tests/core/test_errors.py::test_a|run": [2, 3]}.items():
        data.set_context(context)
        data.add_lines({file: numbers})
    data.write()
    assert fast_tests.executed(tmp_path / "coverage") == {
        "tests/core/test_errors.py": {("core/errors.py", 2), ("core/errors.py", 3)}
    }


def test_every_package_has_fast_tests_of_its_own() -> None:
    listed = (ROOT / "tests/fast.txt").read_text(encoding="utf-8").split()
    fail_with(
        f"{name} of tests/fast.txt does not exist: tools/fast_tests.py"
        for name in listed
        if not (ROOT / name).is_file()
    )
    packages = {source.inner.partition("/")[0] for source in sources("src") if "/" in source.inner}
    fail_with(f"{name}: no file in tests/fast.txt" for name in packages - {name.split("/")[1] for name in listed})


def test_make_alone_lists_every_target_with_a_line() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.findall(r"^  make ([a-z-]+) +\S", listed, re.MULTILINE) == (phony[1].split() if phony else None)


def recipe(target: str, bin_folder: Path, **stand_ins: str) -> tuple[int, list[str], str]:
    """Run a target with stand-ins for its programs; return its exit code, the commands that ran, and its errors."""
    for name in ("coverage", "lint-imports", "mypy", "pytest", "python", "ruff", "vermin"):
        program = bin_folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {bin_folder}/ran\n{stand_ins.get(name, "")}\n', "utf-8")
        program.chmod(0o755)
    command = ["make", "--old-file=.venv/.installed-dev", target, f"bin={bin_folder}"]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return run.returncode, (bin_folder / "ran").read_text("utf-8").splitlines(), run.stderr


@pytest.mark.parametrize("fails", ["*--cov=*", "*--ignore=*", "*"])
def test_a_failed_half_of_the_tests_hides_neither_the_coverage_nor_the_other_half(fails: str, tmp_path: Path) -> None:
    code, commands, errors = recipe("test", tmp_path, pytest=f'case "$*" in {fails}) exit 1; esac')
    assert [command.split()[0] for command in commands] == ["pytest", "python", "coverage", "pytest"]
    assert code and re.search(r"^failed:\n +\S+/pytest ", errors, re.MULTILINE)
    assert errors.count("/pytest ") == (2 if fails == "*" else 1)


def test_too_little_coverage_does_not_hide_the_second_half(tmp_path: Path) -> None:
    code, commands, _ = recipe("test", tmp_path, coverage="exit 2")
    assert code and [command.split()[0] for command in commands] == ["pytest", "python", "coverage", "pytest"]


def test_the_tests_pass_if_each_half_does(tmp_path: Path) -> None:
    code, commands, errors = recipe("test", tmp_path)
    assert code == 0 and len(commands) == 4 and "failed" not in errors


def test_a_failed_check_hides_none_of_the_others(tmp_path: Path) -> None:
    code, commands, errors = recipe("check", tmp_path, ruff="exit 1")
    assert code and len(commands) == 6 and errors.count("/ruff ") == 2


def test_an_interrupt_ends_every_step() -> None:
    steps = [ROOT / "tools/each", "kill -INT $PPID", "echo a second step"]
    run = subprocess.run(steps, check=False, capture_output=True, text=True)
    assert run.returncode == 130 and run.stdout.splitlines() == ["kill -INT $PPID"]


def test_two_findings_have_no_code_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    reference = importlib.import_module("reference")
    trees = [(name, ast.parse('"""Watch.\n\nO001: Nothing was watched.\n"""')) for name in ("a.py", "b.py")]
    monkeypatch.setattr(reference, "_files", lambda: trees)
    with pytest.raises(SystemExit, match=r"b\.py: O001 is a code of `a\.py` already"):
        reference.findings()
