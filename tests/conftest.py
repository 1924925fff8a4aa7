"""What holds for every test."""

from __future__ import annotations

import gc
import importlib.util
import re
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.storage import postgres
from tests.storage.seaweed import Seaweed, server

from headway.evaluation import benchmark
from headway.evaluation.machine_load import LoadMeter
from headway.optimization import screening, search

# Time is measured in bench/: a busy machine must not fail a test. `make test` draws the same examples in every run, so
# that a failure belongs to a change; `make test-all` draws new ones, and more.
settings.register_profile("house", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile("house")

# A shell starts background jobs with SIGINT ignored, and child processes inherit that: the tests of Ctrl-C need the
# default.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Without a C compiler headway installs without its kernels. Then those files of `make test-fast` run that need none.
FAST = (Path(__file__).parent / "fast.txt").read_text(encoding="utf-8").split()
BUILT = all(
    importlib.util.find_spec(name)
    for name in (
        "headway.engines._trees",
        "headway.engines._dense",
        "headway.engines._text",
        "headway.features._windows",
        "headway.serving.protocol._numbers",
    )
)
if not BUILT:
    collect_ignore = [
        "contract/test_engine.py",
        "engines/test_dense_engine.py",
        "engines/test_text_kernel.py",
        "engines/test_text_pipelines.py",
        "engines/test_trees_engine.py",
        "optimization/lowering/test_lower.py",
        "optimization/test_cache.py",
        "optimization/test_cascade.py",
        "optimization/test_dense.py",
        "optimization/test_prune.py",
        "optimization/test_text_transform.py",
    ]


@pytest.fixture(scope="session", autouse=True)
def quiet_machine() -> Iterator[None]:
    """Let every timing be short and believe in a quiet machine: other tests use its cores, and times are no claim."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoadMeter, "busy", lambda _self, _baseline_ns=(): None)
        patch.setattr(LoadMeter, "spin", lambda _self: None)
        patch.setattr(LoadMeter, "is_shared", lambda _self: False)
        patch.setattr(benchmark, "ROUND_NS", benchmark.ROUND_NS // 6)
        patch.setattr(benchmark, "PAIRS_NS", benchmark.PAIRS_NS // 6)
        patch.setattr(screening, "MAX_TIMING_S", 0.2)  # a slow model has as few rounds as its intervals need
        patch.setattr(search, "is_shown_faster", lambda *_: None)  # so short timings show nothing: values are compared
        yield


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    """A SeaweedFS server for all tests of this process that are marked `services`."""
    with server() as started:
        yield started


@pytest.fixture
def s3(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address `s3://BUCKET/PREFIX` of a new bucket, with the variables that reach its server."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"headway-{secrets.token_hex(6)}"
    seaweed.create_bucket(bucket)
    return f"s3://{bucket}/team"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    """A PostgreSQL server for all tests of this process that are marked `services`."""
    with postgres.server() as started:
        yield started


@pytest.fixture
def postgresql(postgres_server: postgres.Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address `postgresql://USER@HOST/DATABASE` of a new database, with its password in the environment."""
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    return postgres_server.create_database()


def pytest_collection_finish() -> None:
    """Leave the imported modules out of the garbage collections, whose full ones visit every object."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


MARKS = re.compile(r"^pytestmark = (\[[^\]]*\]|.*)", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a file whose every test has a mark that `-m "not slow and not long"` leaves out."""
    if (
        not BUILT
        and collection_path.suffix == ".py"
        and collection_path.relative_to(config.rootpath).as_posix() not in FAST
    ):
        return True
    wanted = config.getoption("markexpr")
    left_out = set(re.findall(r"\bnot (\w+)", wanted)) if " or " not in wanted else set()
    if not left_out or collection_path.suffix != ".py":
        return None
    declared = MARKS.search(collection_path.read_text(encoding="utf-8"))
    return True if declared and left_out & set(re.findall(r"mark\.(\w+)", declared[1])) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what a run without the kernels left out."""
    if not BUILT:
        terminalreporter.line("the kernels are not built: only fast tests that need none of them ran")
        terminalreporter.line("  try: apt-get install gcc python3-dev, then remove .venv and run again")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need the kernels where these are not built."""
    if BUILT:
        return
    needed = [item for item in items if item.get_closest_marker("kernels") or item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=needed)
    items[:] = [item for item in items if item not in set(needed)]
