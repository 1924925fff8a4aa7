"""Rows `threats.*`: what is removed or aged opens exactly the requirements that need it, and the time of the command.

A project is checked, trained, searched, audited, released, served and watched. Its evidence graph is changed 500 times:
one to five pieces of evidence at once are removed, aged, or made to be of another model or of other data. Then every
stored record that is evidence is hidden from the store in turn. What must become a gap is read from the catalogue's
file, not by the code that computes coverage. Run alone: `python bench/security_rows/threats.py`.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import dataclasses
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from harness import Result, Row, run_parts, shown
from headway import pipeline
from headway.core.contracts import SavedRecord
from headway.core.errors import HeadwayError
from headway.core.record import digest_of
from headway.core.threats import ThreatEvidence
from headway.registry.project import Project, open_project
from headway.security.threats import catalogue as catalogues
from headway.security.threats.coverage import EvidenceGraph, compute_coverage
from headway.security.threats.evidence import read_evidence
from headway.storage import segments, traffic

MUTATIONS, AT_ONCE, RUNS = 500, 5, 5
DAYS, ROWS = 150, 60
FIRST = datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=151)
MAX_AGE = timedelta(days=90)
TINY = {"MUTATIONS": 20, "RUNS": 1}
TOML = """
[project]
name = "late"
[data]
source = "table.parquet"
target = "late"
time = "at"
groups = "day"
sensitive_features = ["carrier"]
[data.known]
hour = "request"
wind = "request"
carrier = "request"
[split]
train = ["DAY0", "DAY40"]
validation = ["DAY40", "DAY80"]
test = ["DAY80", "DAY119"]
live = ["DAY119", "DAY150"]
[model]
train = "mine:train"
[optimize]
transforms = ["onnx"]
[provenance]
creator = "a benchmark"
license = "CC0-1.0"
[trust]
publisher_key = "keys/publisher.pem"
[serve]
key_per_s = 5
round_digits = 3
contract = "reject"
[[policy.release]]
measure = "roc_auc.drop"
at_most = 0.05
[[policy.release]]
measure = "ece"
at_most = 0.3
"""
TRAIN = """
import lightgbm
def train(rows, labels):
    data = lightgbm.Dataset(rows.to_numpy(), labels, feature_name=rows.columns, categorical_feature=["carrier"])
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 0}, data, num_boost_round=40)
"""


def rows() -> Result:
    """Mutate the evidence of a released project, and time the command on it."""
    with tempfile.TemporaryDirectory() as folder:
        project = released(Path(folder))
        graph = read_evidence(project, catalogues.load_catalogue())
        wrong = [problem for seed in range(MUTATIONS) if (problem := mutate(graph, seed))]
        hidden = {one.record for one in graph.evidence if one.record and not one.is_signed}
        records = {digest: hide(project, graph, digest) for digest in sorted(hidden)}
        timed = [command_seconds(Path(folder)) for _ in range(RUNS)]
        seconds, cpu_s = (min(column) for column in zip(*timed, strict=True))
        project.state.close()
    kept = sum(not problem for problem in records.values() if problem is not None)
    total = sum(problem is not None for problem in records.values())
    short = [*wrong[:3], *[problem for problem in records.values() if problem]]
    exact = (MUTATIONS - len(wrong)) / MUTATIONS
    return [
        Row(
            name="threats.mutation", measured=exact, unit="share", target=">= 1", ok=exact >= 1, against=f"{MUTATIONS}"
        ),
        Row(
            name="threats.hidden_records",
            measured=kept / max(total, 1),
            unit="share",
            target=">= 1",
            ok=kept == total > 0,
            against=f"{total} records of the store",
        ),
        Row(name="threats.seconds", measured=seconds, unit="s", target="<= 2", ok=seconds <= 2, against="a process"),
        shown("threats.cpu_seconds", cpu_s, "s"),
        shown("threats.evidence", float(len(graph.evidence)), "pieces"),
        shown("threats.requirements", float(len(catalogues.load_catalogue().requirement)), "requirements"),
    ], short


def released(folder: Path) -> Project:
    """Return a project that was checked, trained, audited, released, served and watched."""
    table().write_parquet(folder / "table.parquet")
    (folder / "headway.toml").write_text(
        re.sub(r"DAY(\d+)", lambda found: f"{FIRST + timedelta(int(found[1])):%F}", TOML)
    )
    (folder / "mine.py").write_text(TRAIN)
    (folder / "keys.toml").write_text("")
    project = open_project(folder)
    data = pipeline.periods(project)
    whole = dataclasses.replace(data["train"], name="table", table=pl.concat(part.table for part in data.values()))
    pipeline.assess(project, whole, who="bench")
    found = pipeline.optimize(project, pipeline.train(project, data), data)
    found = pipeline.audit_winner(project, found, data, audits=["attack", "robustness"])
    published = pipeline.release(project, found, who="bench", override="a benchmark")
    log = traffic.log_folder(project.config.state, project.name, published.move.release)
    segments.save(log, {"at_us": np.array([time.time_ns() // 1000])})
    with suppress(HeadwayError):
        pipeline.watch(project, every="28d")
    return project


def table() -> pl.DataFrame:
    """Return flights whose delay follows hour and wind."""
    draw = np.random.default_rng(0)
    n = DAYS * ROWS
    hour, wind = draw.integers(0, 24, n), draw.gamma(2.0, 5.0, n)
    chance = 1 / (1 + np.exp(-(hour / 4 + wind / 8 - 5)))
    at = [FIRST + timedelta(days=row // ROWS, hours=int(hour[row])) for row in range(n)]
    return pl.DataFrame(
        {
            "at": at,
            "day": [one.date() for one in at],
            "hour": hour,
            "wind": wind,
            "carrier": draw.choice(["AA", "B6", "UA"], n),
            "late": (draw.random(n) < chance).astype(np.int8),
        }
    )


def mutate(graph: EvidenceGraph, seed: int) -> str:
    """Change some evidence at random; return what became a gap wrongly, or stayed covered; empty if nothing did."""
    draw = np.random.default_rng(seed)
    keys = sorted({one.key for one in graph.evidence})
    lost = set(draw.choice(keys, int(draw.integers(1, AT_ONCE + 1)), replace=False))
    ways = [str(draw.choice(["removed", "old", "other model", "other data"])) for _ in graph.evidence]
    parts = [_changed(one, way) if one.key in lost else one for one, way in zip(graph.evidence, ways, strict=True)]
    after = dataclasses.replace(graph, evidence=tuple(one for one in parts if one))
    return _difference(graph, after, lost)


def _changed(evidence: ThreatEvidence, way: str) -> ThreatEvidence | None:
    if way == "removed":
        return None
    changes: dict[str, dict[str, Any]] = {
        "old": {"at": (datetime.now(UTC) - MAX_AGE - timedelta(days=1)).isoformat()},
        "other model": {"model": digest_of(b"another model")},
        "other data": {"data": digest_of(b"other data")},
    }
    return replace(evidence, **changes[way])


def _difference(before: EvidenceGraph, after: EvidenceGraph, lost: Collection[str]) -> str:
    """Return how the gaps differ from those that the catalogue's file says; empty if they do not."""
    valid = _valid(before) - set(lost)
    expected = {
        row["id"]
        for row in tomllib.loads(catalogues.FILE.read_text())["requirement"]
        if all(before.facts[fact].holds for fact in row.get("applies", ()))
        and any(not valid & set(need.split(" | ")) for need in row["needs"])
    }
    found = _gaps(after)
    return "" if found == expected else f"without {', '.join(sorted(lost))}: {sorted(found ^ expected)}"


def _valid(graph: EvidenceGraph) -> set[str]:
    """Return the keys of which some evidence is not contradicted, keeps its rule, and is of the live model and data."""
    return {
        one.key
        for one in graph.evidence
        if not one.problem
        and one.model in {"", *graph.models}
        and one.data in {"", *graph.datasets}
        and (one.result.answer == "pass" if one.result else not one.key.startswith("measure:"))
    }


def _gaps(graph: EvidenceGraph) -> set[str]:
    rows = compute_coverage(catalogues.load_catalogue(), graph, now=datetime.now(UTC), max_age=MAX_AGE, accepted={})
    return {row.id for row in rows if row.coverage in ("gap", "measured")}


class HidingState:
    """A state without one record."""

    def __init__(self, state: object, hidden: str) -> None:
        self._state, self._hidden = state, hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def recent(self, kind: str, *, name: str = "", limit: int = 100, before: int = 0) -> list[SavedRecord]:
        """Return the records of a kind as the state does, without the hidden one."""
        found: Iterable[SavedRecord] = self._state.recent(kind, name=name, limit=limit, before=before)  # type: ignore[attr-defined]
        return [one for one in found if digest_of(one.content) != self._hidden]

    def latest(self, kind: str, *, name: str) -> bytes | None:
        """Return the last record of a kind that is not hidden."""
        found = self.recent(kind, name=name)
        return found[0].content if found else None


def hide(project: Project, graph: EvidenceGraph, digest: str) -> str | None:
    """Hide a record; return how the gaps differ from what must follow, and None if the digest is that of no record."""
    hiding = dataclasses.replace(project, state=HidingState(project.state, digest))  # type: ignore[arg-type]
    after = read_evidence(hiding, catalogues.load_catalogue())
    known = {(one.key, one.record) for one in after.evidence}
    lost = {one.key for one in graph.evidence if one.record == digest and not one.is_signed}
    if all((key, digest) in known for key in lost):
        return None
    elsewhere = {one.key for one in after.evidence if one.record != digest and one.key in lost and not one.problem}
    return _difference(graph, after, lost - elsewhere)


def command_seconds(folder: Path) -> tuple[float, float]:
    """Return how long a process of `headway threats` takes, and its CPU time."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "headway.cli", "threats", "--project", str(folder)], capture_output=True, check=False
    )
    assert done.returncode == 1, done.stderr
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    run_parts(__doc__, {"threats": rows})
