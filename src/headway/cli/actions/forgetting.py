"""What `headway forget` does, shows, and exits with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from getpass import getuser
from typing import NamedTuple

from headway import pipeline
from headway.cli.exit_codes import PASS, UNDECIDED
from headway.core.erasure import Erasure
from headway.core.errors import ConfigError
from headway.monitoring.erasure.forget import Order
from headway.monitoring.erasure.proof import proofs
from headway.registry.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is forgotten beside a key, and who asks for it."""

    older: str = ""
    "Rows of log and labels older than this go: 90d, 12h, 30m."
    who: str = ""
    "Who does it; the name of the user where it is not given."
    why: str = ""
    "Why, for the proof; do not name the person."
    stdin: bool = False
    "Read the key from a line of stdin, so that neither the shell nor a list of processes shows it."
    proofs: bool = False
    "Forget nothing: verify and list the proofs of what was forgotten."


class Done(NamedTuple):
    """What the command gave, in words for a person, and the exit code."""

    value: Erasure | Sequence[Erasure]
    message: str
    code: int


def carry_out(project: Project, key: str, given: Given) -> Done:
    """Forget, or list the proofs; raises ConfigError where nothing says what is to be forgotten."""
    if given.proofs:
        known = proofs(project)
        return Done(known, "\n".join(map(line, known)) or "nothing was forgotten", PASS)
    key = sys.stdin.readline().rstrip("\n") if given.stdin else key
    older = given.older or ("" if key else project.config.personal.retention)
    if not key and not older:
        raise ConfigError(
            "nothing says what is forgotten", where="[personal] retention is empty", hint="headway forget KEY"
        )
    found = pipeline.forget(project, Order(key=key, older=older, who=given.who or getuser(), why=given.why))
    return Done(found, told(found), PASS if found.is_whole else UNDECIDED)


def line(erasure: Erasure) -> str:
    """One erasure on one line."""
    what = f"older than {erasure.older_than}" if erasure.older_than else f"of the key with hash {erasure.subject}"
    why = f": {erasure.why}" if erasure.why else ""
    return f"{erasure.number}  {erasure.done_at[:19]}Z  {erasure.rows:,} rows {what}, by {erasure.who}{why}"


def told(erasure: Erasure) -> str:
    """What went and what stays, a line a place."""
    lines = [line(erasure)]
    lines += [f"  {each.place}: {each.rows:,} rows gone, out of {each.files:,} files" for each in erasure.erased]
    if not erasure.erased:
        lines.append("  there was none")
    if erasure.subject:
        mine = [each for each in erasure.stays if not each.is_other]
        lines += [f"  STAYS {each.times:,} times in {each.place}: {each.why}" for each in mine]
        if not mine:
            lines.append("  every file of the store was read after it: the key is in none")
        lines += [f"  {each.times:,} times in {each.place}: {each.why}" for each in erasure.stays if each.is_other]
    return "\n".join([*lines, *(f"  {each}" for each in erasure.message)])
