"""What newcomers meet first: light imports, a fast command line, complete packaging and documentation."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT, Source, fail_with, sources, tracked

import headway
from headway.cli.main import command_name
from headway.core import config, plugins

HEADWAY = str(Path(sys.executable).with_name("headway"))
HEAVY = {"numpy", "polars", "onnxruntime", "lightgbm", "sklearn", "scipy", "altair", "msgspec"}
# Coverage would measure inside the process, and slow it down.
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
BENCH_WORDS = {"--json", "machine", "rows", "name", "measured", "unit", "target", "ok", "against", "fell_short"}


def imported_modules(*command: str) -> set[str]:
    """Return the modules that a Python process imports."""
    run = [sys.executable, "-X", "importtime", *command]
    times = subprocess.run(run, env=CLEAN, check=True, capture_output=True, text=True).stderr
    return {line.rpartition("|")[2].strip() for line in times.split("\n") if "import time:" in line}


def imported_by(*command: str) -> set[str]:
    """Return the libraries that a Python process imports."""
    return {module.partition(".")[0] for module in imported_modules(*command)}


def page(name: str) -> str:
    return (ROOT / "docs/reference" / f"{name}.md").read_text(encoding="utf-8")


def is_hint(node: ast.AST) -> bool:
    """Check whether a node is the `hint="..."` of an error or a finding."""
    return isinstance(node, ast.keyword) and node.arg == "hint" and isinstance(getattr(node.value, "value", None), str)


def strings_of(source: Source) -> set[str]:
    """Return the strings and annotated fields of a benchmark and of the bench/ files that it imports."""
    near = {other.module.rpartition("/")[2].rpartition(".")[2]: other for other in sources("bench")}
    named = [node.module for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom)]
    trees = [source.tree, *(near[name].tree for name in named if name in near)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    fields = {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
    return texts | fields


def test_importing_headway_imports_no_model_library() -> None:
    assert imported_by("-c", "import headway") & HEAVY == set()


@pytest.mark.slow
def test_a_search_is_imported_without_charts_and_without_the_library_of_a_model() -> None:
    charts_and_models = {"altair", "vl_convert", "jinja2", "sklearn", "lightgbm", "onnxruntime", "scipy", "pandas"}
    assert imported_by("-c", "import headway; headway.optimize") & charts_and_models == set()


@pytest.mark.slow
def test_the_help_imports_no_numerical_library() -> None:
    assert imported_by(HEADWAY, "--help") & (HEAVY - {"msgspec"}) == set()


@pytest.mark.slow
def test_the_help_imports_few_modules() -> None:
    """Bound the start of the command line by what it imports: time depends on the machine and on what else runs."""
    assert len(imported_modules(HEADWAY, "--help")) <= 300


@pytest.mark.slow
def test_a_server_needs_no_more_than_the_base_install() -> None:
    code = "import sys, headway.serving.process; print(*(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    lab = {"polars", "pandas", "sklearn", "scipy", "lightgbm", "altair", "onnx"}
    more = {"alembic", "boto3", "mlflow", "psycopg", "ray", "redis", "safetensors", "sqlalchemy", "tokenizers", "yaml"}
    assert set(loaded) & (lab | more) == set()


@pytest.mark.slow
def test_a_server_starts_without_the_judge_and_without_the_metadata_of_packages() -> None:
    unneeded = {"headway.registry.judge", "headway.registry.rollout", "importlib.metadata", "statistics", "cyclopts"}
    assert imported_modules("-c", "import headway.serving.process") & unneeded == set()


def test_the_public_names_are_those_that_the_reference_lists() -> None:
    assert {*re.findall(r"^::: [\w.]+\.(\w+)$", page("python"), re.MULTILINE), "__version__"} == set(headway.__all__)
    fail_with(f"headway.{name} is promised and absent" for name in headway.__all__ if not hasattr(headway, name))


@pytest.mark.parametrize("section", plugins.own("settings"))
def test_every_setting_is_documented(section: str) -> None:
    fields = config.section_of(section).__struct_fields__
    fail_with(f"{section}.{field}" for field in fields if f"| `{section}.{field}` |" not in page("settings"))


@pytest.mark.parametrize("kind", sorted(plugins.kinds()))
def test_every_plugin_is_documented(kind: str) -> None:
    fail_with(
        f"{kind} {name}"
        for name in plugins.own(kind)
        if f"| `{name}` |" not in page("plugins").partition(f"## {kind}\n")[2]
    )


def test_every_plugin_kind_has_its_contract_test() -> None:
    contracts = {path for path in tracked() if path.startswith("tests/contract/")}
    fail_with(
        f"tests/contract/test_{kind}.py"
        for kind in plugins.kinds()
        if f"tests/contract/test_{kind}.py" not in contracts
    )


def test_no_option_of_a_list_has_a_form_that_empties_it() -> None:
    assert "--empty-" not in page("commands")


def test_every_command_is_documented() -> None:
    fail_with(name for name in plugins.own("command") if f"\n## headway {command_name(name)}\n" not in page("commands"))


@pytest.mark.slow
def test_every_hint_that_is_a_command_exists() -> None:
    hints = ((source, node.value) for source in sources("src") for node in ast.walk(source.tree) if is_hint(node))
    commands = [(source.at(text), re.match(r"headway ([\w-]+)", text.value)) for source, text in hints]
    known = set(map(command_name, plugins.names("command")))
    fail_with(f"{at}: no command {word[1]}" for at, word in commands if word and word[1] not in known)


def test_every_code_of_a_finding_is_documented() -> None:
    used = {(source.path, code) for source in sources("src") for code in re.findall(r'"([DVETSO]\d{3})"', source.text)}
    fail_with(f"{path}: {code}" for path, code in sorted(used) if f"| {code} |" not in page("findings"))


def test_every_benchmark_prints_the_common_fields() -> None:
    programs = [source for source in sources("bench") if '__name__ == "__main__"' in source.text]
    files = [source for source in programs if "/callers/" not in source.path]
    fail_with(
        f"{source.path}:1: lacks {BENCH_WORDS - strings_of(source)}"
        for source in files
        if BENCH_WORDS - strings_of(source)
    )


def test_every_data_file_of_the_package_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["headway"]
    inner = [path.removeprefix("src/headway/") for path in tracked() if path.startswith("src/headway/")]
    data = [path for path in inner if not path.endswith((".py", ".c", ".h"))]
    fail_with(f"src/headway/{path}" for path in data if not any(fnmatch.fnmatch(path, pattern) for pattern in patterns))


def test_every_development_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *requirements_of("dev", extras), *requirements_of("services", extras)]
    here = {re.split(r"[^\w-]", line)[0] for line in wanted if "== 'darwin'" not in line}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert here - set(pinned) == set()


def requirements_of(extra: str, extras: dict[str, list[str]]) -> list[str]:
    """Return the requirements of an extra, with those of the extras that it names."""
    found = []
    for line in extras[extra]:
        own = re.fullmatch(r"headway\[([\w,]+)\]", line)
        found += (
            [requirement for name in own[1].split(",") for requirement in requirements_of(name, extras)]
            if own
            else [line]
        )
    return found
