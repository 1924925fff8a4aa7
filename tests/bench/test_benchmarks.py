"""Every benchmark starts: its modules import, its script answers --help, and each part runs once on tiny settings.

Peers are not installed for this; a part that needs one says so in `fell_short`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT

BENCH = ROOT / "bench"
SCRIPTS = sorted(path for path in BENCH.glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8"))
CALLERS = sorted(
    path for path in (BENCH / "callers").glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")
)
PEER_PACKAGES = {
    *(
        "art",
        "bentoml",
        "cleanlab",
        "daal4py",
        "dataframely",
        "faker",
        "fastapi",
        "feast",
        "kserve",
        "lignum",
        "litserve",
        "mapie",
        "mlserver",
        "mosec",
    ),
    *("nncf", "onnxmltools", "openvino", "pandera", "presidio_analyzer", "rapidocr_onnxruntime", "skl2onnx"),
    *("shrewd", "sliceline", "tl2cgen", "torch", "tracer", "treelite", "venn_abers", "ydf"),
}
IMPORT_ALL = """
import importlib, json, sys
missing = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing[name] = error.name.partition(".")[0]
print(json.dumps(missing))
"""
HELP_ALL = """
import contextlib, io, json, runpy, sys
for path in json.loads(sys.argv[1]):
    sys.argv = [path, "--help"]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (path, end.code)
    assert "usage:" in out.getvalue() and "--tiny" in out.getvalue(), path
"""
SERVE_WITH_PEERS = ("fastapi", "fastapi_model", "before")
QUICK = [
    ("evidence", "coverage", "coverage_edge", "cost", "repairs"),
    ("data", "contract", "fingerprint"),
    ("loop", "rollback", "history"),
    ("serve", "ours", "grpc"),
    ("predict",),
    ("trust", "floors"),
    ("scale", "predict", "pointers", "polls", "log", "log_on_s3", "watch"),
    ("stores", "pointer_cas", "pointer_kills", "pointer_reads", "blob_creates", "blob_kills"),
    ("stores", "pointer_seconds", "outage"),
    ("dashboard", "pages", "memory"),
    ("edge", "fleet"),
    ("edge", "wasm"),
    ("features", "join_seconds", "join_three_views", "join_rows_lost"),
    ("features", "tiles_speed", "tiles_exactness", "tiles_online"),
    ("features", "online_sqlite", "online_redis", "online_feast", "online_windows", "push", "materialise_killed"),
    ("features", "replay", "interop_same_values"),
    ("features", "serve_with_features", "serve_with_windows", "push_over_http"),
    ("privacy", "clean", "coverage"),
    ("security", "threats", "record"),
    ("security", "scan"),
    ("security", "evasion"),
    ("security", "extraction"),
    ("security", "queries"),
    ("text", "words", "characters", "selection", "resplits", "withdrawals", "shifts", "outside", "serve", "drift"),
]
LONG = [
    *(("text", part) for part in ("commands", "encoder", "peers", "static")),
    ("features", "cascade_deferred"),
    *(("evidence", part) for part in ("gate", "slices", "ablation", "attack", "evaluate")),
    *(("data", part) for part in ("check", "foreign", "labels", "imbalance", "poison", "moved", "leakage", "personal")),
    *(("loop", part) for part in ("drift", "retraining", "canary", "canary_passes", "watch", "no_labels")),
    ("privacy", "planted"),
    ("privacy", "seconds"),
    ("trust", "decisions"),
    *(
        ("serve", part)
        for part in (*SERVE_WITH_PEERS, "raw_ort", "open_loop", "echo", "wide", "workers", "features", "tls")
    ),
    *(("trust", part) for part in ("init", "poison", "search", "small_tables")),
    ("optimize", "lightgbm", "logistic", "avx2", "search", "mlp", "minilm"),
    ("trust", "speed"),
    ("never_worse",),
    ("search_promise",),
    *(("scale", part) for part in ("killed_worker", "killed_driver", "images")),
    ("stores", "embedded"),
    *(("dashboard", part) for part in ("access_for_all", "attacks", "mlflow", "explore", "rollback")),
]
MISTAKE = re.compile(r"\b(Attribute|Index|Key|Name|Type|UnboundLocal)Error\b")
NEEDS_PEERS = {
    ("text", "encoder"),
    ("text", "peers"),
    ("text", "static"),
    ("data", "personal"),
    ("dashboard", "mlflow"),
    ("dashboard", "explore"),
    *(("serve", part) for part in SERVE_WITH_PEERS),
}


def python(code: str, argument: str) -> str:
    """Run code in a process of its own with the paths of the benchmarks, and return what it printed."""
    paths = os.pathsep.join(map(str, (BENCH, BENCH / "peers")))
    run = subprocess.run(
        [sys.executable, "-c", code, argument],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def tiny_rows(script: str, parts: tuple[str, ...], cache: Path) -> tuple[list[str], list[str]]:
    """Run parts of a script in tiny mode; return the names of their rows, and what fell short.

    A part may fall short of a peer or of a figure, but not by a mistake in its own code.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    run = subprocess.run(
        [sys.executable, str(BENCH / f"{script}.py"), "--tiny", "--json", *parts],
        env={**clean, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout)
    assert [line for line in found["fell_short"] if MISTAKE.search(line)] == []
    return [row["name"] for row in found["rows"]], found["fell_short"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench-cache")


@pytest.mark.slow
def test_every_module_imports_without_peers() -> None:
    modules = sorted(
        ".".join(path.relative_to(BENCH).with_suffix("").parts)
        for path in BENCH.rglob("*.py")
        if path.parent.name != "peers"
    )
    missing = json.loads(python(IMPORT_ALL, json.dumps(modules)))
    assert set(missing.values()) <= PEER_PACKAGES, missing


@pytest.mark.slow
def test_every_script_answers_help_without_measuring() -> None:
    python(HELP_ALL, json.dumps([str(path) for path in SCRIPTS]))


@pytest.mark.slow
@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.stem)
def test_a_caller_that_is_a_script_prints_its_usage_without_peers(path: Path) -> None:
    run = subprocess.run([sys.executable, "-S", str(path), "--help"], capture_output=True, text=True, check=True)
    assert f"usage: {path.name}" in run.stdout


@pytest.mark.services
@pytest.mark.parametrize("case", QUICK, ids=" ".join)
def test_a_quick_part_runs_once(case: tuple[str, ...], cache: Path) -> None:
    names, _ = tiny_rows(case[0], case[1:], cache)
    assert names


@pytest.mark.long
@pytest.mark.parametrize("case", LONG, ids=" ".join)
def test_a_long_part_runs_once(case: tuple[str, ...], cache: Path) -> None:
    names, fell_short = tiny_rows(case[0], case[1:], cache)
    assert names or (case in NEEDS_PEERS and fell_short)


def test_the_cases_name_every_part_of_the_scripts() -> None:
    covered = {(case[0], part) for case in (*QUICK, *LONG) for part in case[1:]}
    for script in (
        "dashboard",
        "data",
        "evidence",
        "features",
        "loop",
        "privacy",
        "scale",
        "security",
        "stores",
        "text",
        "trust",
    ):
        source = (BENCH / f"{script}.py").read_text("utf-8")
        parts = re.findall(r'^    "(\w+)": ', source, flags=re.MULTILINE)
        assert parts and {(script, part) for part in parts} <= covered
