"""Rows of commands over a project of texts: how long a search and a full evaluation take, as a user runs them.

The project is that of `headway init` with its template for texts, on the training messages. CPU seconds are those of a
command with its processes. On a busy machine the clock says little about headway, so the row of seconds is left out.
"""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness import Result, Row, shown
from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.evaluation.machine_load import LoadMeter, MachineBusy
from text_rows import messages

MOST_S, SPINS = 60.0, 25


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Wall-clock and CPU seconds of a command, and why the first say little if so."""

    wall_s: float
    cpu_s: float
    busy: MachineBusy | None


def seconds() -> Result:
    """Time `headway optimize`, with the training, and `headway evaluate` with every metric and audit."""
    known, rows, short = messages.load().train, list[Row](), list[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "messages.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("message", "intent"), *zip(known.texts, known.intents, strict=True)])
        init = ("init", "project", "--from", "messages.csv", "--text", "message", "--target", "intent")
        _run(*init, folder=folder)
        for command in ("optimize", "evaluate"):
            run = _run(command, folder=folder / "project")
            about = f"{len(known.texts):,} messages x {len(set(known.intents))} intents; {run.cpu_s:.1f} s of CPU"
            if run.busy:
                short.append(f"{command}.seconds: not measured: {run.busy.what}")
            else:
                ok = run.wall_s <= MOST_S
                rows.append(
                    Row(
                        name=f"{command}.seconds",
                        measured=run.wall_s,
                        unit="s",
                        target=f"<= {MOST_S:g}",
                        ok=ok,
                        against=about,
                    )
                )
            rows.append(shown(f"{command}.cpu_seconds", run.cpu_s, "s", f"all processes of the command; {about}"))
    return messages.with_source((rows, short))


def _run(*command: str, folder: Path) -> _Run:
    """Run a command of headway in a folder; raise CalledProcessError if it fails, other than by its verdict."""
    meter, before = LoadMeter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(SPINS):
        meter.spin()
    began = time.perf_counter()
    run = subprocess.run([sys.executable, "-m", "headway.cli", *command], cwd=folder, capture_output=True)
    if run.returncode not in (PASS, FAIL, UNDECIDED):
        run.check_returncode()
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(SPINS):
        meter.spin()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _Run(wall_s=wall_s, cpu_s=cpu_s, busy=meter.busy())
