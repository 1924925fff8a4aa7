"""List or import batches of the prediction log that a server put aside, or ship the log to the shared store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from headway.cli.exit_codes import FAIL, PASS
from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.core.errors import ConfigError
from headway.reporting.console import print_result
from headway.serving.workers.aside import AsideBatch, import_batches, list_batches
from headway.storage.addresses import open_logs


def plugin(
    action: Literal["aside", "import", "ship"] = "aside", *, project: ProjectFolder = Path("."), json: AsJson = False
) -> int:
    """List batches that a server put aside, import them, or ship the log. Exit 0 none is left, 1 one failed.

    Example: headway log aside --project headway-demo
    Example: headway log import --project headway-demo
    Example: headway log ship --project headway-demo

    Parameters
    ----------
    action
        aside (list the batches of all models of the store, which were counted as lost), import (write each into the
        log once, and delete its file; servers may run), or ship (to `[store] logs`, what a server has left here).
    """
    settings = config.load(project)
    state = settings.state
    if action == "ship":
        return _ship(settings, json=json)
    batches = import_batches(state) if action == "import" else list_batches(state)
    print_result(batches, "\n".join([*map(_describe, batches), *_summary(batches)]), json=json)
    return FAIL if any(batch.status == "failed" for batch in batches) else PASS


def _ship(settings: config.Config, *, json: bool) -> int:
    """Ship the segments of log and labels that wait on this machine."""
    logs = open_logs(settings)
    if logs is None:
        raise ConfigError(
            "the log is in the state folder, and shipped nowhere", hint="[store] logs = s3://BUCKET/PREFIX"
        )
    shipped = logs.ship()
    print_result({"shipped": shipped}, f"{shipped:,} segments shipped to {logs.address}", json=json)
    return PASS


def _describe(batch: AsideBatch) -> str:
    if not batch.name:
        return f"{batch.file}: {batch.problem}"
    times = (datetime.fromtimestamp(us / 1e6, UTC) for us in (batch.since_us, batch.until_us))
    since, until = (f"{time:%Y-%m-%d %H:%M:%S}" for time in times)
    status = batch.problem or {"known": "the log has its rows already"}.get(batch.status, batch.status)
    return f"{batch.file}: {batch.rows:,} rows of {batch.name}, {since} to {until} UTC: {status}"


def _summary(batches: Sequence[AsideBatch]) -> list[str]:
    """Return the number of batches and rows by status, and what to do next."""
    if not batches:
        return ["no batch is put aside"]
    counts, rows = Counter(batch.status for batch in batches), Counter[str]()
    for batch in batches:
        rows[batch.status] += batch.rows
    lines = [f"{status}: {rows[status]:,} rows in {_count(count)}" for status, count in counts.items()]
    if counts["waiting"]:
        lines.append("next: headway log import")
    return lines


def _count(batches: int) -> str:
    return f"{batches:,} batch{'es' if batches > 1 else ''}"
