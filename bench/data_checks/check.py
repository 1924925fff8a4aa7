"""The rows `check.*` of bench/data.py: the time of all checks on the flights of 2013, and the slowest of them."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time

from flight_data import demo_project
from harness import Result, shown
from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.data.check import run_checks
from headway.data.context import CheckContext, load_check
from headway.data.open import open_dataset
from headway.monitoring.assessment.assess import assess, check_context

NAMED = 4


def rows() -> Result:
    """Time all checks on the demo's table and periods at once, then each by itself.

    Opening the table is timed separately.
    """
    with tempfile.TemporaryDirectory() as directory:
        project = demo_project(Path(directory))
        began = perf_counter()
        context = check_context(project, open_dataset(project.config))
        opened = perf_counter()
        cpu = process_time()
        found = run_checks(context)
        cpu, seconds = process_time() - cpu, perf_counter() - opened
        slowest = sorted(((_seconds(name, context), name) for name in plugins.names("check")), reverse=True)[:NAMED]
        saved_at = perf_counter()
        assess(project, context.dataset, who="bench")
        again = perf_counter()
        same = assess(project, context.dataset, who="bench").same
        ended = perf_counter()
    table = context.dataset.table
    size = f"{len(table):,} x {table.width} flights, {len(plugins.names('check'))} checks, {len(found)} findings"
    named = ", ".join(f"{name} {seconds:.2f}" for seconds, name in slowest)
    return [
        shown("check.seconds", seconds, "s", f"{size}; slowest: {named}"),
        shown("check.cpu_seconds", cpu, "s"),
        shown("check.open_seconds", opened - began, "s", "the table read, joined with the weather, and split"),
        shown("check.kept_seconds", again - saved_at, "s", "the checks, the months, and storing both"),
        shown("check.again_seconds", ended - again, "s", f"a second run; the same assessment: {same}"),
    ], []


def _seconds(name: str, context: CheckContext) -> float:
    began = perf_counter()
    with suppress(NotApplicable):
        load_check(name)(context)
    return perf_counter() - began
