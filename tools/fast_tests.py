"""Choose the files of `make test-fast` and write them to tests/fast.txt.

usage: python tools/fast_tests.py [FOLDER OF TESTS ...]
Every test without a mark runs once with coverage; that takes 5 to 10 minutes on two cores. Then the files that find
most mistakes for their CPU time are chosen one after the other, until the time of BUDGET_S is spent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from coverage import CoverageData

ROOT = Path(__file__).parent.parent
CHOSEN = ROOT / "tests" / "fast.txt"
PACKAGE = "src/headway/"
# CPU time of tests and of the import of their files by both workers, measured with coverage: 50 s of CPU in total.
BUDGET_S = 24.0
LEAST_S = 0.05
# What everything stands on, whatever it costs: records, settings, judge, statistics, parsers, messages.
ALWAYS = (
    "tests/core/test_config.py",
    "tests/core/test_errors.py",
    "tests/core/test_record",
    "tests/data/test_csv.py",
    "tests/data/test_parsing.py",
    "tests/evaluation/statistics/",
    "tests/registry/test_judge.py",
    "tests/serving/protocol/test_open_inference.py",
)
# How often a test finds a mistake in a line that it executes, in the package of its folder and in others.
FOUND_IN_PACKAGE, FOUND_ELSEWHERE = 0.5, 0.1
# A line: its file in src/headway, and its number.
Line = tuple[str, int]

# The first half is a pytest plug-in (`-p fast_tests`), which measures in each worker.
FOLDER = "HEADWAY_FAST_TESTS"
spent: defaultdict[str, float] = defaultdict(float)


def cpu_s() -> float:
    """Return the CPU time of this process and of its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Add the time of one test and of the fixtures made for it to its file."""
    before = cpu_s()
    result = yield
    spent[item.nodeid.partition("::")[0]] += cpu_s() - before
    return result


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Add the time that the import of a file takes."""
    before = cpu_s()
    result = yield
    if isinstance(collector, pytest.Module):
        spent[collector.nodeid] += cpu_s() - before
    return result


def pytest_sessionfinish() -> None:
    """Save the times of this worker."""
    Path(os.environ[FOLDER], f"{os.getpid()}.json").write_text(json.dumps(spent), encoding="utf-8")


def main(folders: list[str]) -> int:
    """Measure, choose and write the list."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, lines = measure(Path(folder), folders or ["tests"])
    chosen = choose(seconds, lines)
    CHOSEN.write_text("".join(f"{name}\n" for name in chosen), encoding="utf-8")
    found = set().union(*(lines[name] for name in chosen))
    print(f"{len(chosen)} of {len(seconds)} files, {sum(seconds[name] for name in chosen):.1f} s of CPU")
    print(f"they execute {len(found)} of {len(set().union(*lines.values()))} lines")
    return 0


def measure(folder: Path, tests: list[str]) -> tuple[dict[str, float], dict[str, set[Line]]]:
    """Run the tests and return the CPU seconds and the executed lines of each file that ran some."""
    data = folder / "coverage"
    environment = {**os.environ, FOLDER: str(folder), "COVERAGE_FILE": str(data), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    options = ["-p", "fast_tests", "-n", "2", "--dist", "loadfile", "-m", "not slow and not long and not services"]
    coverage = ["--cov", "--cov-context=test", "--cov-report="]
    subprocess.run([sys.executable, "-m", "pytest", *options, *coverage, *tests], cwd=ROOT, check=True, env=environment)
    seconds: defaultdict[str, float] = defaultdict(float)
    for file in folder.glob("*.json"):
        for name, value in json.loads(file.read_text(encoding="utf-8")).items():
            seconds[name] += value
    return dict(seconds), executed(data)


def executed(data: Path) -> dict[str, set[Line]]:
    """Return the lines that the tests of each file executed; those of an import have no test."""
    read = CoverageData(str(data))
    read.read()
    lines: defaultdict[str, set[Line]] = defaultdict(set)
    for path in read.measured_files():
        inner = path.partition(PACKAGE)[2]
        for number, contexts in read.contexts_by_lineno(path).items():
            for name in {context.partition("::")[0] for context in contexts} - {""}:
                lines[name].add((inner, number))
    return dict(lines)


def choose(seconds: dict[str, float], lines: dict[str, set[Line]], budget_s: float = BUDGET_S) -> list[str]:
    """Return the sorted files that find most mistakes per second within the budget.

    A mistake is equally likely in every module, and in every line of it. After the files of ALWAYS, and one of each
    package, the next one is the file with the most mistakes that those before it do not find, for its time.
    """
    names = sorted(lines)
    columns = {line: column for column, line in enumerate(sorted(set().union(*lines.values())))}
    finds = np.zeros((len(names), len(columns)), dtype=np.float32)
    for row, name in enumerate(names):
        package = name.split("/")[1]
        for line in lines[name]:
            own = line[0].partition("/")[0].removesuffix(".py") == package
            finds[row, columns[line]] = FOUND_IN_PACKAGE if own else FOUND_ELSEWHERE
    cost = np.array([max(seconds[name], LEAST_S) for name in names])
    sizes = Counter(module for module, _ in columns)
    missed = np.array([1 / sizes[module] for module, _ in columns], dtype=np.float32)
    left = np.full(len(names), True)

    def take(row: int) -> None:
        nonlocal budget_s, missed
        left[row] = False
        budget_s -= cost[row]
        missed = missed * (1 - finds[row])

    def take_best(rows: np.ndarray) -> None:
        take(rows[np.argmax((finds[rows] @ missed) / cost[rows])])

    for row, name in enumerate(names):
        if name.startswith(ALWAYS):
            take(row)
    folders = np.array([name.split("/")[1] for name in names])
    for package in sorted({module.partition("/")[0] for module, _ in columns}):
        if len(rows := np.flatnonzero(folders == package)) and left[rows].all():
            take_best(rows)
    while len(affordable := np.flatnonzero(left & (cost <= budget_s))):
        take_best(affordable)
    return [name for name, unused in zip(names, left, strict=True) if not unused]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
