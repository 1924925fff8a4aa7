"""Coverage of requirements: a function of the evidence graph, the time and the longest age of evidence alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from headway.core.threats import AcceptedRisk, GapCode, MissingEvidence, RequirementCoverage, ThreatEvidence
from headway.security.threats.catalogue import Catalogue, EvidenceKind, Requirement

_ABSENT: Mapping[str, str] = {
    "measure": "it was not measured on the live release",
    "rule": "no rule of the policy that judged the live release asks for it",
    "check": "the data of the live release were not checked for it",
    "signature": "no release that verifies is live",
    "verdict": "no verdict on the live release is stored",
    "self_test": "the live release has no rows with its answers",
    "contract": "the live release has no ranges of its columns",
    "provenance": "the versions of its data are not stored",
    "log": "nothing is logged",
    "monitoring": "no period of the live release was judged",
    "answers": "the live release has no certificate of its answers",
    "rollout": "the live release was not rolled out in stages",
    "rollback": "no earlier release of live exists",
    "scan": "the model file was not scanned",
    "detector": "no log was searched for it",
    "setting": "it is not set",
    "audit": "nothing in this project tests it",
}
_NOT_SEARCHED = (
    "Move [split] in headway.toml to the data of today, search, release the winner, and measure it by headway "
    "evaluate: the live release is not the winner of a search, as after a retraining."
)
ACCEPT_DAYS = 90
"""Length of the acceptance that a next step proposes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFact:
    """Whether something is true of the project, and the reason as a clause."""

    holds: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceGraph:
    """Everything that speaks of requirements, and what it has to be about.

    Attributes
    ----------
    name
        Name of the project.
    evidence
        The evidence, also such as no longer counts.
    facts
        Facts by which a requirement applies.
    release, model
        Digests of the live release and of its variant; empty if none is live.
    models, datasets
        Digests that evidence on the live release may carry.
    data
        Digest of the data of the live release by period.
    exposure
        Who can reach the model and how.
    search
        Search whose winner is the live model: empty if it is the last one, None if there is none.
    """

    name: str
    evidence: tuple[ThreatEvidence, ...] = ()
    facts: Mapping[str, ProjectFact] = field(default_factory=dict)
    release: str = ""
    model: str = ""
    models: frozenset[str] = frozenset()
    datasets: frozenset[str] = frozenset()
    data: Mapping[str, str] = field(default_factory=dict)
    exposure: Mapping[str, str] = field(default_factory=dict)
    search: str | None = ""


def compute_coverage(
    catalogue: Catalogue,
    graph: EvidenceGraph,
    *,
    now: datetime,
    max_age: timedelta,
    accepted: Mapping[str, tuple[str, AcceptedRisk]],
) -> tuple[RequirementCoverage, ...]:
    """Return the coverage of every requirement, in the order of the catalogue.

    Parameters
    ----------
    max_age : timedelta
        Age above which evidence does not count.
    accepted : mapping of str to (str, AcceptedRisk)
        The risk that holds for a requirement (its id), with its digest.
    """
    by_key: dict[str, list[ThreatEvidence]] = {}
    for evidence in graph.evidence:
        by_key.setdefault(evidence.key, []).append(evidence)
    judge = _Judge(catalogue, graph, by_key, now, max_age)
    return tuple(judge.coverage(row, accepted.get(row.id, ("",))[0]) for row in catalogue.requirement)


def invalidity(evidence: ThreatEvidence, graph: EvidenceGraph, *, now: datetime, max_age: timedelta) -> GapCode | None:
    """Return why evidence does not cover anything; None if it does.

    A measurement covers only what its rule passes.
    """
    answer = evidence.result.answer if evidence.result else ""
    reasons: dict[GapCode, bool] = {
        "contradicted": bool(evidence.problem),
        "other model": bool(evidence.model) and evidence.model not in graph.models,
        "other data": bool(evidence.data) and evidence.data not in graph.datasets,
        "old": bool(evidence.at) and now - parse_time(evidence.at) > max_age,
        "no rule": evidence.key.startswith("measure:") and not answer,
        "undecided": answer == "undecided",
        "breaks its rule": answer == "fail",
    }
    return next((code for code, holds in reasons.items() if holds), None)


def parse_time(at: str) -> datetime:
    """Return a time of a record; one without a zone is in UTC."""
    time = datetime.fromisoformat(at)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Judge:
    catalogue: Catalogue
    graph: EvidenceGraph
    by_key: Mapping[str, list[ThreatEvidence]]
    now: datetime
    max_age: timedelta

    def coverage(self, row: Requirement, accepted: str) -> RequirementCoverage:
        """Return the coverage of a requirement; `accepted` is the digest of the accepted risk."""
        result = RequirementCoverage(
            id=row.id, standard=row.standard, topic=row.topic, level=row.level, title=row.title, coverage="covered"
        )
        facts = [self.graph.facts[name] for name in row.applies]
        absent = next((fact for fact in facts if not fact.holds), None)
        if absent:
            return replace(result, coverage="not applicable", reason=absent.reason)
        found: dict[str, ThreatEvidence] = {}
        missing: list[MissingEvidence] = []
        broken: list[ThreatEvidence] = []
        for keys in row.alternatives:
            there = [(evidence, self._invalid(evidence)) for key in keys for evidence in self.by_key.get(key, ())]
            valid = [evidence for evidence, code in there if code is None]
            harm = [evidence for evidence, code in there if code == "breaks its rule"]
            broken += harm
            missing += [self._missing_one(row, evidence) for evidence in harm]
            if valid:
                newest = max(valid, key=lambda one: (not one.at, one.at, one.is_signed))
                found[newest.key] = newest
            elif not harm:
                missing.append(self._missing(row, keys))
        return replace(
            result,
            coverage="measured" if broken else "gap" if missing else "covered",
            evidence=(*broken, *found.values()),
            missing=tuple(missing),
            accepted=accepted if missing else "",
        )

    def _invalid(self, evidence: ThreatEvidence) -> GapCode | None:
        return invalidity(evidence, self.graph, now=self.now, max_age=self.max_age)

    def _missing(self, row: Requirement, keys: tuple[str, ...]) -> MissingEvidence:
        """Return what is missing: the newest evidence that does not count, and why, or that there is none."""
        met = [one for key in keys for one in self.by_key.get(key, ())]
        if met:
            return self._missing_one(row, max(met, key=lambda one: one.at))
        kind = self.catalogue.kinds[keys[0]]
        of = kind.key.partition(":")[0]
        if not self.graph.release and of in ("measure", "rule", "check", "verdict", "self_test", "contract", "log"):
            release = EvidenceKind(key=kind.key, next_step="Make a release live.", command="headway release")
            return self._next(row, release, "absent", "no release is live")
        return self._next(row, kind, "absent", _ABSENT.get(of, "it was not recorded"))

    def _missing_one(self, row: Requirement, evidence: ThreatEvidence) -> MissingEvidence:
        code = self._invalid(evidence) or "absent"
        return self._next(row, self.catalogue.kinds[evidence.key], code, self._explain(evidence, code))

    def _explain(self, evidence: ThreatEvidence, code: GapCode) -> str:
        if code == "contradicted":
            return evidence.problem
        if code in ("undecided", "breaks its rule") and evidence.result:
            return evidence.result.message
        if code == "no rule":
            return f"{evidence.message}, but no rule says what is acceptable"
        if code == "other model":
            return f"{evidence.message}, but for another release than the live one"
        if code == "other data":
            return f"{evidence.message}, but on other data than those of the live release"
        days = (self.now - parse_time(evidence.at)).days
        return f"{evidence.message}, but {days:,} days ago, and {self.max_age.days:,} are allowed"

    def _next(self, row: Requirement, kind: EvidenceKind, code: GapCode, message: str) -> MissingEvidence:
        until = (self.now + timedelta(days=ACCEPT_DAYS)).date().isoformat()
        step, command = kind.next_step, kind.command
        if command.startswith("headway evaluate") and self.graph.search:
            command += f" --search {self.graph.search}"
        if code in ("contradicted", "breaks its rule"):
            step = f"Resolve it, and repeat {command!r}; or accept the risk."
            command = 'headway threats accept {id} --until {until} --reason "..."'
        elif code == "no rule":
            step = f"Add a rule on {' or '.join(kind.family)} under [[policy.release]] in headway.toml."
            command = "headway config --why policy.release"
        elif command.startswith("headway evaluate") and self.graph.release and self.graph.search is None:
            step, command = _NOT_SEARCHED, "headway optimize"
        values = {"{name}": self.graph.name, "{id}": row.id, "{until}": until}
        for word, value in values.items():
            step, command = step.replace(word, value), command.replace(word, value)
        return MissingEvidence(key=kind.key, code=code, message=message, next_step=step, command=command)
