"""What a newcomer meets first: light to import, quick to ask, wholly packed and wholly documented."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT, Source, none_of, sources, tracked

import headway
from headway.cli.main import command_name
from headway.core import config, plugins

HEADWAY = str(Path(sys.executable).with_name("headway"))
HEAVY = {"numpy", "polars", "onnxruntime", "lightgbm", "sklearn", "scipy", "altair", "msgspec"}
# Coverage would measure inside the process, and slow it down.
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
BENCH_WORDS = {"--json", "machine", "rows", "name", "measured", "unit", "target", "ok", "against", "fell_short"}


def brought_by(*command: str) -> set[str]:
    """The libraries that a Python process imports."""
    run = [sys.executable, "-X", "importtime", *command]
    times = subprocess.run(run, env=CLEAN, check=True, capture_output=True, text=True).stderr
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in times.split("\n") if "import time:" in line}


def taken_s() -> float:
    """Seconds of processor time that `headway --help` takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([HEADWAY, "--help"], env=CLEAN, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def page(name: str) -> str:
    return (ROOT / "docs/reference" / f"{name}.md").read_text(encoding="utf-8")


def is_mend(node: ast.AST) -> bool:
    """Whether a node is a `mend="text"` of an error or a finding."""
    return isinstance(node, ast.keyword) and node.arg == "hint" and isinstance(getattr(node.value, "value", None), str)


def words(source: Source) -> set[str]:
    """The texts in a benchmark, and in the files of bench/ that it imports."""
    near = {other.module.rpartition("/")[2].rpartition(".")[2]: other for other in sources("bench")}
    named = [node.module for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom)]
    trees = [source.tree, *(near[name].tree for name in named if name in near)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    fields = {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
    return texts | fields


def test_importing_headway_brings_no_library() -> None:
    assert brought_by("-c", "import headway") & HEAVY == set()


def test_the_help_brings_no_library_that_computes() -> None:
    assert brought_by(HEADWAY, "--help") & (HEAVY - {"msgspec"}) == set()


@pytest.mark.slow
def test_the_help_takes_less_than_a_third_of_a_second() -> None:
    """Time of the processor: what one waits where nothing else runs. The clock would measure the others too."""
    assert min(taken_s() for _ in range(5)) < 0.3


def test_the_public_names_are_those_that_the_reference_lists() -> None:
    assert re.findall(r"^\| `(\w+)`", page("python"), re.MULTILINE) == headway.__all__
    none_of(f"headway.{name} is promised and absent" for name in headway.__all__ if not hasattr(headway, name))


@pytest.mark.parametrize("section", config.SECTIONS)
def test_every_setting_is_documented(section: str) -> None:
    fields = config.SECTIONS[section].__struct_fields__
    none_of(f"{section}.{field}" for field in fields if f"| `{section}.{field}` |" not in page("settings"))


@pytest.mark.parametrize("kind", sorted(plugins.FOLDERS))
def test_every_plugin_is_documented(kind: str) -> None:
    none_of(
        f"{kind} {name}"
        for name in plugins.own(kind)
        if f"| `{name}` |" not in page("plugins").partition(f"## {kind}\n")[2]
    )


def test_every_plugin_kind_has_its_contract_test() -> None:
    contracts = {path for path in tracked() if path.startswith("tests/contract/")}
    none_of(
        f"tests/contract/test_{kind}.py"
        for kind in plugins.FOLDERS
        if f"tests/contract/test_{kind}.py" not in contracts
    )


def test_every_command_is_documented() -> None:
    none_of(name for name in plugins.names("command") if f"\n## headway {command_name(name)}\n" not in page("commands"))


def test_every_mend_that_is_a_command_can_be_given() -> None:
    hints = ((source, node.value) for source in sources("src") for node in ast.walk(source.tree) if is_mend(node))
    told = [(source.at(text), re.match(r"headway ([\w-]+)", text.value)) for source, text in hints]
    none_of(
        f"{at}: no command {word[1]}"
        for at, word in told
        if word and word[1] not in map(command_name, plugins.names("command"))
    )


def test_every_code_of_a_finding_is_documented() -> None:
    used = {(source.path, code) for source in sources("src") for code in re.findall(r'"([DVETSO]\d{3})"', source.text)}
    none_of(f"{path}: {code}" for path, code in sorted(used) if f"| {code} |" not in page("findings"))


def test_every_benchmark_speaks_the_form_of_benchmarks() -> None:
    programs = [source for source in sources("bench") if '__name__ == "__main__"' in source.text]
    files = [source for source in programs if "/callers/" not in source.path]
    none_of(f"{source.path}:1: lacks {BENCH_WORDS - words(source)}" for source in files if BENCH_WORDS - words(source))


def test_every_file_of_the_package_that_is_no_source_is_packed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["headway"]
    inner = [path.removeprefix("src/headway/") for path in tracked() if path.startswith("src/headway/")]
    data = [path for path in inner if not path.endswith((".py", ".c", ".h"))]
    none_of(f"src/headway/{path}" for path in data if not any(fnmatch.fnmatch(path, pattern) for pattern in patterns))


def test_everything_that_the_developers_install_has_an_exact_version_in_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *asked("dev", extras)]
    here = {re.split(r"[^\w-]", line)[0] for line in wanted if "== 'darwin'" not in line}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert here - set(pinned) == set()


def asked(extra: str, extras: dict[str, list[str]]) -> list[str]:
    """What an extra asks for, with what the extras ask for that it names."""
    found = []
    for line in extras[extra]:
        own = re.fullmatch(r"headway\[([\w,]+)\]", line)
        found += [each for name in own[1].split(",") for each in asked(name, extras)] if own else [line]
    return found
