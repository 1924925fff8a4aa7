"""Start-up time of the variant: from a new process to the first answer, and the memory that it holds then."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, perf_counter
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from headway.core.errors import EngineError, NotApplicable
from headway.core.texts import text_codes
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.statistics.percentiles import median_interval, min_sample_size

STARTS = min_sample_size(0.5)
"""As many as a median needs."""
_ASK = """
import json, sys
order = json.loads(sys.argv[1])
sys.path[:] = order["path"]
import numpy
from headway.core.plugins import load_engine
from headway.core.texts import text_codes
from pathlib import Path
engine = load_engine(order["engine"])(Path(order["artifact"]).read_bytes(), order["settings"])
row = numpy.load(order["row"])
for index, text in order["texts"].items():
    row[0, int(index)] = text_codes[text]
engine.predict(row)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
print(int(status["VmRSS"].split()[0]) / 1024)
"""


class _Started(NamedTuple):
    seconds: float
    memory_mb: float


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure `start.seconds` and `start.memory_mb` (resident, of the process): medians of 11 starts, warm disk cache.

    Raises
    ------
    NotApplicable
        If the system does not report the memory of a process, the data has no rows, or the budget ends before 11
        starts.
    """
    if not Path("/proc/self/status").exists():
        raise NotApplicable("this system does not report the memory of processes in /proc")
    if not len(subject.rows):
        raise NotApplicable("the data has no rows")
    starts = _starts(subject, context)
    seconds, memory = np.array(starts).T
    return [
        replace(median_interval("start.seconds", seconds, of="starts"), unit="s"),
        replace(median_interval("start.memory_mb", memory, of="starts"), unit="MB"),
    ]


def _starts(subject: Comparison, context: AuditContext) -> list[_Started]:
    until = monotonic() + context.budget_s
    with tempfile.TemporaryDirectory() as folder:
        artifact, row = Path(folder, "artifact"), Path(folder, "row.npy")
        artifact.write_bytes(context.blobs.get(subject.variant.artifact.digest))
        np.save(row, subject.rows[:1])
        variant = subject.variant
        settings = msgspec.to_builtins(variant.settings)
        order = {"engine": variant.engine, "settings": settings, "artifact": str(artifact), "row": str(row)}
        order["path"] = sys.path
        columns = [index for index, field in enumerate(subject.fields) if field.is_text]
        order["texts"] = {index: text_codes.texts(subject.rows[:1, index])[0] for index in columns}
        _start(order)  # the files are read from the disk once
        starts: list[_Started] = []
        while len(starts) < STARTS and (not starts or monotonic() < until):
            starts.append(_start(order))
    return starts


def _start(order: dict[str, object]) -> _Started:
    began = perf_counter()
    run = subprocess.run([sys.executable, "-c", _ASK, json.dumps(order)], capture_output=True, text=True)
    seconds = perf_counter() - began
    if run.returncode:
        lines = run.stderr.strip().splitlines() or ["no output"]
        reason = next((line for line in reversed(lines) if line[:1].strip()), lines[-1])
        raise EngineError(f"the model fails in a new process: {reason}", hint="headway doctor")
    return _Started(seconds, float(run.stdout))
