"""Erase the rows of one key, or rows older than a given age, from log, labels and features, with a signed proof."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from getpass import getuser
from pathlib import Path

from headway import pipeline
from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder
from headway.core.erasure import Erasure
from headway.core.errors import ConfigError
from headway.data.settings.personal import PersonalSection
from headway.evaluation.explore import FOLDER
from headway.monitoring.erasure.erase import ErasureRequest
from headway.monitoring.erasure.proofs import load_erasures as read_proofs
from headway.registry.project import open_project
from headway.reporting.console import print_result


def plugin(
    key: str = "",
    *,
    older: str = "",
    who: str = "",
    why: str = "",
    stdin: bool = False,
    proofs: bool = False,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Erase rows and list what remains while servers run. Exit 0 nothing remains, 1 unknown key, 3 out of reach.

    Example: headway erase customer-17 --why "requested on 3 May" --project headway-demo
    Example: headway erase --older 90d --project headway-demo
    Example: headway erase --proofs --project headway-demo

    Parameters
    ----------
    key
        Key that callers sent with requests and labels. Without a key and without --older, rows older than
        [personal] retention are erased.
    older
        Erase log and label rows older than this: 90d, 12h, 30m.
    who
        Who erases; default: the name of the user.
    why
        Reason, written into the proof; do not name the person.
    stdin
        Read the key from one line of stdin, so that it appears neither in the shell history nor in a process list.
    proofs
        Erase nothing: verify and list the proofs of earlier erasures.
    """
    opened = open_project(project)
    if proofs:
        known: Sequence[Erasure] = read_proofs(opened)
        print_result(known, "\n".join(map(_in_one_line, known)) or "nothing has been erased", json=json)
        return PASS
    key = sys.stdin.readline().rstrip("\n") if stdin else key
    older = older or ("" if key else opened.config[PersonalSection].retention)
    if not key and not older:
        raise ConfigError(
            "no key and no age is given, so nothing is erased",
            where="[personal] retention is empty",
            hint="headway erase KEY",
        )
    erasure = pipeline.erase(opened, ErasureRequest(key=key, older=older, who=who or getuser(), why=why))
    unknown = _is_unknown(erasure, read_proofs(opened))
    lines = ["  the key is unknown: nothing in the store had it; is it written as callers sent it?"] if unknown else []
    print_result(erasure, "\n".join([_describe(erasure), *lines]), json=json)
    if unknown:
        return FAIL
    return PASS if erasure.is_complete else UNDECIDED


def _is_unknown(erasure: Erasure, proofs: Sequence[Erasure]) -> bool:
    """Return whether a key was found nowhere, and no earlier erasure found it."""
    if not erasure.subject or _had_rows(erasure) or not erasure.is_complete:
        return False
    return not any(
        proof.subject == erasure.subject and proof.number != erasure.number and proof.rows for proof in proofs
    )


def _had_rows(erasure: Erasure) -> bool:
    """Return whether anything but the tables of Explore, which hold no rows, was erased."""
    return any(part.location != FOLDER for part in erasure.erased)


def _in_one_line(erasure: Erasure) -> str:
    rows = f"older than {erasure.older_than}" if erasure.older_than else f"of the key with hash {erasure.subject}"
    why = f": {erasure.why}" if erasure.why else ""
    return f"{erasure.number}  {erasure.done_at[:19]}Z  {erasure.rows:,} rows {rows}, by {erasure.who}{why}"


def _describe(erasure: Erasure) -> str:
    """Return what was erased and what remains, one line per location."""
    lines = [_in_one_line(erasure)]
    lines += [
        f"  {part.location}: erased {part.rows:,} rows from {part.files:,} files"
        if part.location != FOLDER
        else f"  {part.location}: deleted {part.files:,} files of counts"
        for part in erasure.erased
    ]
    if not _had_rows(erasure):
        lines.append("  no row matched")
    missed = [store for store in erasure.searched if not store.is_reached]
    lines += [f"  NOT REACHED {store.name}: {store.why}; run it again later" for store in missed]
    if erasure.subject:
        reached = [store for store in erasure.searched if store.is_reached]
        own = [rest for rest in erasure.residuals if not rest.is_other]
        lines += [f"  REMAINS {rest.times:,} times in {rest.location}: {rest.why}" for rest in own]
        if not own and not missed:
            lines.append("  every file of the store was read afterwards: none contains the key")
        lines += [f"  searched {store.name}: {store.n_searched:,} files or records" for store in reached]
        lines += [
            f"  {rest.times:,} times in {rest.location}: {rest.why}" for rest in erasure.residuals if rest.is_other
        ]
    return "\n".join([*lines, *(f"  {line}" for line in erasure.message)])
