"""Catalogue of requirements: MITRE ATLAS and OWASP, in our own words, with the evidence that each of them needs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path

import msgspec

from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.core.threats import Standard, Topic
from headway.core.verdict import Rule

FILE = Path(__file__).with_name("catalogue.toml")
ALTERNATIVE = " | "


class EvidenceKind(Record, frozen=True, kw_only=True):
    """Evidence that requirements may need: how to get it, as a sentence and as a command.

    A measurement is judged by the absolute rules of the policy on measures of its `family` (beginnings of their names),
    or by `rule` if the policy has none.
    """

    key: str
    next_step: str
    command: str
    family: tuple[str, ...] = ()
    rule: Rule | None = None

    @property
    def audit(self) -> str:
        """The audit that the command runs; empty for another command."""
        return self.command.partition(" --audit ")[2]


class Requirement(Record, frozen=True, kw_only=True):
    """One requirement: the facts under which it applies, and the evidence that covers it, with alternatives."""

    id: str
    standard: Standard
    topic: Topic
    level: int
    title: str
    needs: tuple[str, ...]
    applies: tuple[str, ...] = ()

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """For each part of the evidence that is needed, the keys of which one is enough."""
        return tuple(tuple(need.split(ALTERNATIVE)) for need in self.needs)


class Catalogue(Record, frozen=True, kw_only=True, dict=True):
    """All requirements, the evidence that they need, and the editions of the standards."""

    version: str
    editions: dict[str, str]
    evidence: tuple[EvidenceKind, ...]
    requirement: tuple[Requirement, ...]

    @cached_property
    def kinds(self) -> Mapping[str, EvidenceKind]:
        """Evidence by its key."""
        return {kind.key: kind for kind in self.evidence}

    def find(self, id: str) -> Requirement:
        """Return the requirement of an id, in any case; raises ConfigError with the nearest ones."""
        wanted = id.lower()
        found = [row for row in self.requirement if row.id.lower() == wanted]
        if found:
            return found[0]
        near = [row.id for row in self.requirement if wanted in row.id.lower()][:5]
        raise ConfigError(
            f"the catalogue has no requirement {id!r}",
            where=f"catalogue {self.version}",
            hint=f"nearest: {', '.join(near)}" if near else "headway threats --all lists them",
        )


@cache
def load_catalogue() -> Catalogue:
    """Return the catalogue of this version of headway."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), Catalogue)
