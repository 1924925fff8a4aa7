"""There are no import cycles, and a library is imported only where the table allows it."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.house.source_tree import ROOT, Import, Source, fail_with, sources

LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]

# Library -> where in src/headway it may be imported: a folder, a file, or "" for everywhere.
ALLOWED = {
    "aiosmtpd": ("support/_smtp.py",),
    "alembic": ("storage/state/_migrations.py", "storage/state/migrations/"),
    "altair": ("reporting/",),
    "boto3": ("storage/_s3.py",),
    "botocore": ("storage/_s3.py",),
    "catboost": ("engines/catboost.py",),
    "cryptography": ("registry/sign.py",),
    "cyclopts": ("cli/",),
    "cyclonedx": ("deployment/_sbom.py",),
    "google": ("serving/grpc/_server.py",),
    "grpc": ("serving/grpc/_server.py",),
    "httptools": ("serving/",),
    "jinja2": ("reporting/", "dashboard/app.py"),
    "joblib": ("engines/sklearn.py",),
    "joserfc": ("serving/auth/_jose.py",),
    "argon2": ("dashboard/access/_passwords.py",),
    "starlette": ("dashboard/",),
    "uvicorn": ("dashboard/_process.py", "dashboard/app.py"),
    "lightgbm": (
        "data/labels/out_of_fold.py",
        "engines/lightgbm.py",
        "evaluation/extraction.py",
        "optimization/transforms/",
        "cli/demo/",
        "cli/templates/",
    ),
    "msgspec": ("",),
    "typst": ("reporting/_typst.py",),
    "names": ("data/personal/_names.py",),
    "nanoarrow": (
        "batch/",
        "data/provenance/fingerprint.py",
        "data/sources/duckdb.py",
        "features/_duckdb.py",
        "storage/segments.py",
    ),
    "nncf": ("optimization/transforms/_nncf.py",),
    "numpy": (
        "batch/",
        "data/",
        "engines/",
        "evaluation/",
        "api/",
        "cli/",
        "reporting/",
        "features/",
        "pipeline.py",
        "monitoring/",
        "registry/",
        "serving/",
        "storage/segments.py",
        "storage/traffic.py",
        "deployment/edge/",
        "deployment/plan/",
        "core/answering.py",
        "core/arrays.py",
        "core/student.py",
        "optimization/",
    ),
    "onnx": (
        "optimization/forest_onnx.py",
        "optimization/importers/_huggingface.py",
        "optimization/transforms/",
        "optimization/quantization/",
        "optimization/lowering/",
    ),
    "onnxruntime": ("engines/onnxruntime.py", "optimization/quantization/"),
    "opentelemetry": ("serving/telemetry/_otel.py",),
    "openlineage": ("registry/provenance/_openlineage.py",),
    "openvino": ("engines/openvino.py", "optimization/transforms/_nncf.py"),
    "pandas": ("engines/catboost.py", "engines/sklearn.py", "cli/templates/"),
    "py3langid": ("data/_languages.py",),
    "packageurl": ("deployment/_sbom.py",),
    "packaging": ("cli/doctor.py", "cli/loading.py", "deployment/edge/wheels.py", "deployment/python_packages.py"),
    "polars": (
        "batch/polars_reader.py",
        "batch/formats/parquet.py",
        "batch/_views.py",
        "data/",
        "cli/demo/",
        "cli/commands/init.py",
        "cli/feature_rows.py",
        "cli/templates/",
        "api/",
        "features/",
        "pipeline.py",
        "monitoring/",
        "optimization/training.py",
    ),
    "mlflow": ("deployment/_mlflow.py", "optimization/importers/_mlflow.py"),
    "duckdb": ("data/sources/duckdb.py", "features/_duckdb.py"),
    "psycopg": ("data/sources/postgresql.py", "storage/state/postgresql.py"),
    "ray": ("batch/_ray.py",),
    "redis": ("storage/_redis.py", "storage/feed/redis.py"),
    "rich": ("cli/", "reporting/", "api/"),
    "safetensors": ("optimization/importers/_huggingface.py",),
    "sklearn": ("engines/sklearn.py", "engines/estimators/", "optimization/transforms/family.py", "cli/templates/"),
    "scipy": ("optimization/transforms/_weights.py",),
    "skops": ("engines/estimators/skops_file.py",),
    "sqlalchemy": ("storage/state/",),
    "threadpoolctl": ("engines/sklearn.py",),
    "tokenizers": ("engines/encoder.py", "optimization/importers/_huggingface.py"),
    "sqlglot": ("features/_sqlglot.py",),
    "torch": ("engines/torch.py",),
    "uvloop": ("serving/",),
    "vl_convert": ("reporting/",),
    "xgboost": ("engines/xgboost.py",),
    "yaml": ("data/_dvc_yaml.py", "deployment/_yaml.py", "optimization/importers/_mlmodel.py"),
}
# The command line lists its commands without what they need.
LIGHT = ("core/", "cli/main.py")
# Modules of core that hold array types or numerics; nothing that `headway --help` loads imports them.
NUMERICAL = ("core/answering.py", "core/arrays.py", "core/student.py")
LATE = {("core/plugins.py", "*"), ("__init__.py", "__getattr__")}


def targets(source: Source, known: set[str]) -> Iterator[tuple[Import, str]]:
    """Yield each import of the package with the file it reaches."""
    for found in source.imports:
        if found.library == "headway":
            longer = f"{found.module}.{found.name}"
            yield found, longer if longer in known else found.module


def circles(files: Iterable[Source]) -> list[str]:
    """Return the files on an import cycle, each with an import that keeps it there."""
    files = list(files)
    known = {source.module for source in files}
    arrows = {source.module: {target: found.at for found, target in targets(source, known)} for source in files}
    while idle := [name for name, to in arrows.items() if not _passed(name, to, arrows)]:
        arrows = {name: to for name, to in arrows.items() if name not in idle}
    return [f"{to[target]}: {name} -> {target}" for name, to in arrows.items() for target in to if target in arrows]


def _passed(name: str, to: dict[str, str], arrows: dict[str, dict[str, str]]) -> bool:
    """Check whether some file imports this one and this one imports another."""
    return bool(to.keys() & arrows.keys()) and any(name in others for others in arrows.values())


def misplaced(source: Source) -> list[str]:
    """Return libraries imported where they may not be; imports for type checkers alone are free."""
    wrong = []
    for found in source.imports:
        if found.library in sys.stdlib_module_names or found.library == "headway" or found.typing:
            continue
        allowed = ALLOWED.get(found.library, ())
        heavy = (
            source.inner.startswith(LIGHT)
            and source.inner not in NUMERICAL
            and found.library not in ("msgspec", "cyclopts", "rich")
        )
        if heavy or not source.inner.startswith(allowed):
            wrong.append(
                f"{found.at}: {found.library} may be imported in {allowed or 'no file: add a row to the table'}"
            )
    return wrong


def late(source: Source) -> list[str]:
    """Return imports inside functions."""
    free = {name for file, name in LATE if source.inner.endswith(file)}
    return [
        f"{found.at}: imports in {found.local}()"
        for found in source.imports
        if found.local and not free & {"*", found.local}
    ]


def required(distribution: str, extras: frozenset[str]) -> set[str]:
    """Return the names of all distributions that pip installs for a distribution with some extras."""
    found, due = set(), [(distribution, extras)]
    while due:
        name, extras = due.pop()
        found.add(name)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            own = canonicalize_name(needed.name), frozenset(needed.extras)
            met = any(needed.marker.evaluate({"extra": extra}) for extra in extras or {""}) if needed.marker else True
            if met and (own[0] not in found or own[1]):
                due.append(own)
    return found


def source(path: str, text: str) -> Source:
    return Source(f"src/headway/{path}", text)


@pytest.mark.slow
def test_there_are_no_import_cycles() -> None:
    fail_with(circles(sources("src")))


def test_the_import_linter_sees_every_folder() -> None:
    folders = {f"headway.{source.inner.partition('/')[0]}" for source in sources("src") if "/" in source.inner}
    assert set(LINTER["root_packages"]) == {"headway", *folders}


@pytest.mark.slow
def test_each_library_is_imported_only_where_the_table_allows() -> None:
    fail_with(line for source in sources("src") for line in misplaced(source))


OPENS = re.compile(r"\b(urlopen|build_opener|HTTPS?Connection|create_connection|open_connection)\(")
CONNECTS = {
    "core/outbound.py",  # every other request to an address of the settings
    "evaluation/load_generator.py",  # the load on a server, which a person names
    "evaluation/service_times.py",  # round trips to a server, which a person names
    "serving/answering/connections.py",  # asynchronous, to the remote stage of the settings, over one connection
    "serving/client.py",  # the client of a server, over one connection
}
"""Files that open connections by HTTP; each follows no redirect and reads no proxy of the environment."""


@pytest.mark.slow
def test_requests_to_other_servers_go_through_one_opener() -> None:
    assert {source.inner for source in sources("src") if OPENS.search(source.text)} == CONNECTS


@pytest.mark.slow
def test_every_row_of_the_table_is_used() -> None:
    used = {found.library for source in sources("src") for found in source.imports}
    assert ALLOWED.keys() - used == set()


@pytest.mark.slow
def test_only_the_plugin_finder_imports_inside_functions() -> None:
    fail_with(line for source in sources("src") for line in late(source))


def test_a_cycle_through_a_function_and_a_type_is_found() -> None:
    a = source("core/a.py", "def f():\n    from headway.core import b")
    b = source("core/b.py", "if TYPE_CHECKING:\n    from headway.core.c import C")
    c, out = source("core/c.py", "from headway.core.a import A"), source("core/out.py", "from headway.core.a import A")
    assert [line.partition(": ")[0] for line in circles([a, b, c, out])] == [
        "src/headway/core/a.py:2",
        "src/headway/core/b.py:2",
        "src/headway/core/c.py:1",
    ]


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("serving/a.py", "import polars as pl", True),
        ("core/a.py", "import numpy", True),
        ("cli/main.py", "import numpy", True),
        ("data/a.py", "import pandas", True),
        ("core/a.py", "if TYPE_CHECKING:\n    import numpy", False),
        ("serving/a.py", "import numpy", False),
        ("core/a.py", "import msgspec, json", False),
    ],
)
def test_a_misplaced_library_is_found(path: str, text: str, wrong: bool) -> None:
    assert bool(misplaced(source(path, text))) is wrong


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("serving/a.py", "def f():\n    import json", True),
        ("serving/a.py", "class A:\n    async def f(self):\n        if 1:\n            import json", True),
        ("serving/a.py", "import json", False),
        ("core/plugins.py", "def f():\n    import json", False),
        ("__init__.py", "def __getattr__(name):\n    import json", False),
        ("__init__.py", "def f(name):\n    import json", True),
    ],
)
def test_an_import_inside_a_function_is_found(path: str, text: str, wrong: bool) -> None:
    assert bool(late(source(path, text))) is wrong


@pytest.mark.slow
def test_what_all_tests_share_imports_only_what_the_extra_test_installs() -> None:
    script = "import sys, tests.conftest; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    known = importlib.metadata.packages_distributions()
    used = {canonicalize_name(owner) for library in run.stdout.split() for owner in known.get(library, ())}
    assert used - required("headway", frozenset({"lab", "test"})) == set()
