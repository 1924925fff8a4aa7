"""Check the stores of a project, or copy them to another address."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from headway.cli.exit_codes import FAIL, PASS
from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.core.errors import ConfigError
from headway.registry.stores import StoreCheck, StoreMigration, check_stores, migrate_store
from headway.reporting.console import print_result, print_status
from headway.storage.addresses import known_addresses


def plugin(
    action: Literal["check", "migrate"] = "check",
    source: str = "",
    target: str = "",
    *,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Check what the stores in [store] can do (exit 0 everything, else 1), or copy a store to another address.

    A migration copies pointers and records to a database, or blobs and releases to a bucket, or all of them to a
    folder. Signatures and the chain stay as they are and are verified. After an interruption, run it again: it goes on.
    End servers and jobs first; the log is not copied.

    Example: headway store migrate .headway postgresql://headway@db.example/headway

    Parameters
    ----------
    action
        check or migrate.
    source
        To migrate: the folder of a store, or an address as in [store].
    target
        To migrate: the folder or address to copy to.
    """
    settings = config.load(project)
    if action == "check":
        checks = check_stores(settings)
        print_result(checks, "\n".join(map(_line, checks)), json=json)
        return PASS if all(check.outcome == "passed" for check in checks) else FAIL
    if not source or not target:
        raise ConfigError("a migration needs two addresses", hint="headway store migrate FROM TO")
    done = migrate_store(settings, source, target, callback=print_status)
    print_result(done, "\n".join(_migration_lines(done)), json=json)
    return PASS


def _line(check: StoreCheck) -> str:
    hint = f"\n  try: {check.hint}" if check.hint else ""
    message = f": {check.message}" if check.message else ""
    return f"{check.role} at {check.address}: {check.check} {check.outcome}{message}{hint}"


def _migration_lines(done: StoreMigration) -> list[str]:
    counts = {
        "pointer updates": done.updates,
        "records": done.records,
        "evaluations on test": done.evaluations,
        "blobs": done.blobs,
        "releases": done.releases,
    }
    held = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    role = "blobs" if done.target.partition("://")[0] in known_addresses("blobs") else "state"
    setting = "[project] state" if "://" not in done.target else f"[store] {role}"
    return [
        f"{done.target} holds what {done.source} holds: {held or 'nothing yet'}",
        f'next: {setting} = "{done.target}"',
    ]
