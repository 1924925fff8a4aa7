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
START_ALL = """
import contextlib, importlib, io, json, runpy, sys
modules, scripts = json.loads(sys.argv[1])
missing, printed = {}, {}
for name in modules:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing[name] = error.name.partition(".")[0]
for path in scripts:
    sys.argv = [path, "--help"]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (path, end.code)
    printed[path] = out.getvalue()
print(json.dumps([missing, printed]))
"""
SERVE_PEERS = ("fastapi", "fastapi_model", "mlserver", "kserve", "bentoml", "litserve", "mosec", "before")
CASES = [
    ("dashboard", "pages", "memory", "access_for_all", "rollback"),
    ("dashboard", "attacks"),
    ("dashboard", "explore"),
    ("dashboard", "mlflow"),
    ("data", "check", "foreign", "moved", "leakage"),
    ("data", "contract", "fingerprint", "labels", "imbalance", "poison"),
    ("data", "personal"),
    ("edge", "export", "split"),
    ("edge", "fleet", "wasm"),
    ("evidence", "coverage", "coverage_edge", "cost", "repairs"),
    ("evidence", "gate", "slices", "ablation", "attack", "evaluate"),
    ("features", "join_seconds", "join_three_views", "join_rows_lost"),
    ("features", "tiles_speed", "tiles_exactness", "tiles_online"),
    ("features", "online_sqlite", "online_redis", "online_feast", "online_windows", "push", "materialise_killed"),
    ("features", "replay", "interop_same_values"),
    ("features", "serve_with_features", "serve_with_windows", "push_over_http", "cascade_deferred"),
    ("fuzz_server",),
    ("loop", "drift", "retraining", "rollback", "history"),
    ("loop", "canary", "canary_passes", "watch", "no_labels"),
    ("never_worse",),
    ("optimize", "lightgbm", "logistic", "avx2", "search", "profile", "pruning", "students", "mlp", "minilm"),
    ("plan",),
    ("predict",),
    ("privacy", "clean", "coverage", "planted", "seconds"),
    ("scale", "images"),
    ("scale", "killed_worker", "killed_driver"),
    ("scale", "predict", "pointers", "polls", "log", "log_on_s3", "watch"),
    ("search_promise",),
    ("security", "evasion", "extraction"),
    ("security", "admission", "threats", "record", "scan", "differential", "queries"),
    ("serve", "ours", "grpc"),
    ("serve", "raw_ort", "open_loop", "echo", "wide", "multiclass", "workers", "features", "tls"),
    ("serve", *SERVE_PEERS),
    ("soak",),
    ("stores", "embedded"),
    ("stores", "pointer_cas", "pointer_kills", "pointer_reads", "blob_creates", "blob_kills"),
    ("stores", "pointer_seconds", "outage"),
    ("suite",),
    ("text", "encoder", "peers", "static"),
    ("text", "commands"),
    ("text", "words", "characters", "selection", "resplits", "withdrawals", "shifts", "outside", "serve", "drift"),
    ("trust", "decisions", "floors", "init", "poison"),
    ("trust", "search", "small_tables", "speed"),
]
ELSEWHERE = {
    **dict.fromkeys(("sparse", "xgboost", "histgb", "forest", "lightgbm_delay"), "the code of the part lightgbm"),
    **dict.fromkeys(("lightgbm_carrier", "forest_delay", "forest_carrier"), "the code of the part lightgbm"),
    **dict.fromkeys(("catboost_ctr", "cnn"), "the code of the parts lightgbm and mlp"),
    "ocr": "the code of the part minilm",
    "never_worse": "bench/never_worse.py, which runs by itself",
}
"""Parts of bench/optimize.py that a case would only repeat, and what runs their code."""
MISTAKE = re.compile(r"\b(Attribute|Index|Key|Name|Type|UnboundLocal)Error\b")
NEEDS_PEERS = {
    ("dashboard", "explore"),
    ("dashboard", "mlflow"),
    ("data", "personal"),
    ("serve", *SERVE_PEERS),
    ("stores", "embedded"),
    ("text", "encoder", "peers", "static"),
}
"""Cases that tiny mode cannot measure, as it makes no environment and downloads nothing: they say what they lack."""


@pytest.fixture(scope="module")
def all_started() -> tuple[dict[str, str], dict[str, str]]:
    """Import every module, and start every script with --help, in one process; return what each lacks, and printed."""
    modules = sorted(
        ".".join(path.relative_to(BENCH).with_suffix("").parts)
        for path in BENCH.rglob("*.py")
        if path.parent.name != "peers"
    )
    paths = os.pathsep.join(map(str, (BENCH, BENCH / "peers")))
    run = subprocess.run(
        [sys.executable, "-c", START_ALL, json.dumps([modules, [str(path) for path in SCRIPTS]])],
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "10000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    missing, printed = json.loads(run.stdout)
    return missing, {Path(path).stem: text for path, text in printed.items()}


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
def test_every_module_imports_without_peers(all_started: tuple[dict[str, str], dict[str, str]]) -> None:
    missing, _ = all_started
    assert set(missing.values()) <= PEER_PACKAGES, missing


@pytest.mark.slow
def test_every_script_answers_help_without_measuring(all_started: tuple[dict[str, str], dict[str, str]]) -> None:
    _, printed = all_started
    assert sorted(printed) == [path.stem for path in SCRIPTS]
    assert [name for name, text in printed.items() if "usage:" not in text or "--tiny" not in text] == []


@pytest.mark.slow
def test_every_part_of_every_script_has_a_case(all_started: tuple[dict[str, str], dict[str, str]]) -> None:
    _, printed = all_started
    for script, text in printed.items():
        listed = re.search(r"PART +of (.*); default: all", text)
        parts = listed[1].split(", ") if listed else []
        cases = [case[1:] for case in CASES if case[0] == script]
        run = {part for case in cases for part in case or parts} | (set(ELSEWHERE) if script == "optimize" else set())
        assert cases and sorted(run) == sorted(parts), script


@pytest.mark.slow
@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.stem)
def test_a_caller_that_is_a_script_prints_its_usage_without_peers(path: Path) -> None:
    run = subprocess.run([sys.executable, "-S", str(path), "--help"], capture_output=True, text=True, check=True)
    assert f"usage: {path.name}" in run.stdout


@pytest.mark.services
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_part_runs_once(case: tuple[str, ...], cache: Path) -> None:
    names, fell_short = tiny_rows(case[0], case[1:], cache)
    assert names or (case in NEEDS_PEERS and fell_short)


def test_the_benchmarks_run_in_the_environment_of_the_tests_that_start_them() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    made = re.findall(r"^(bench|bench-peers|test-services): (\S+)", makefile, re.MULTILINE)
    assert sorted(made) == [(name, ".venv/.installed-services") for name in ("bench", "bench-peers", "test-services")]
