"""Write what is kept of one key to a file, for the person who asks: rows of log, labels, features and messages."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from headway import pipeline
from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder
from headway.core.errors import ConfigError
from headway.registry.project import open_project
from headway.reporting.console import print_result
from headway.storage import atomic


def plugin(
    key: str = "",
    *,
    out: Path = Path("access.json"),
    stdin: bool = False,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Write every row of a key as JSON, from the stores that erase searches. Exit 1 unknown key, 3 out of reach.

    The file also has what the project declares of purpose, recipients, retention and rights. Its owner alone can read
    it.

    Example: headway access 7 --out access.json --project headway-demo

    Parameters
    ----------
    key
        Key that callers sent with requests and labels.
    out
        The file to write; an existing file is replaced.
    stdin
        Read the key from one line of stdin, so that it appears neither in the shell history nor in a process list.
    """
    key = sys.stdin.readline().rstrip("\n") if stdin else key
    if not key:
        raise ConfigError("no key is given", hint="headway access KEY, or --stdin")
    found = pipeline.export_key(open_project(project), key)
    content = msgspec.json.format(msgspec.json.encode(found), indent=1)
    atomic.write(out.resolve(), content, mode=0o600)
    rows = {part.location: len(part.rows) for part in found.rows}
    reached = [store for store in found.searched if store.is_reached]
    missed = [store for store in found.searched if not store.is_reached]
    lines = [
        f"{out} has {found.n_rows:,} rows of the key",
        *(f"  {location}: {count:,} rows" for location, count in rows.items()),
        *(f"  named {rest.times:,} times in {rest.location}: {rest.why}" for rest in found.mentions),
        *(f"  read: {store.name}, {store.n_searched:,} files or records" for store in reached),
        *(f"  NOT REACHED {store.name}: {store.why}" for store in missed),
        *(f"  {line}" for line in found.message),
    ]
    if found.not_declared:
        lines.append(f"  not declared, so not in the file: {', '.join(found.not_declared)}")
    result = {
        "file": str(out),
        "rows": rows,
        "mentions": found.mentions,
        "searched": found.searched,
        "not_declared": found.not_declared,
    }
    print_result(result, "\n".join(lines), json=json)
    if missed:
        return UNDECIDED
    return PASS if rows or found.mentions else FAIL
