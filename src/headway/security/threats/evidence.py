"""Evidence graph of a project: what its records, releases, settings and logs say of the requirements.

Nothing is measured here, and nothing is typed in: every part is read from where it was recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

from msgspec.structs import replace

from headway.core.assessment import Assessment, CheckRun
from headway.core.compliance import WrittenRecord
from headway.core.config import Config
from headway.core.errors import HeadwayError
from headway.core.evidence import DECLARED_PRIVACY, NOT_RUN, Evidence, Finding, Measurement, current_measure
from headway.core.exposure import exposure_of, is_reachable
from headway.core.labeling import Confirmation, Correction
from headway.core.monitoring import MonitoringReport, ProbingReport
from headway.core.provenance import JUDGED, Provenance
from headway.core.record import StoredRecordType, canonical, digest_of, kind_of, read, write
from headway.core.release import Release
from headway.core.rollout import Rollout
from headway.core.search_result import SearchResult
from headway.core.selective import CertificateAudit
from headway.core.threats import ThreatEvidence
from headway.core.verdict import SLICES, RuleResult
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.personal import PersonalSection
from headway.data.settings.policy import PolicySection
from headway.data.settings.provenance import ProvenanceSection
from headway.evaluation.settings.answer import AnswerSection
from headway.monitoring.settings.alert import AlertSection
from headway.monitoring.settings.ui import UiSection
from headway.registry.bundle import Bundle
from headway.registry.judge import judge
from headway.registry.project import LIVE_POINTER, Project, Saved
from headway.registry.searches import search_digest
from headway.scanning.files import judge_bytes
from headway.security.threats.catalogue import Catalogue, EvidenceKind
from headway.security.threats.coverage import EvidenceGraph, ProjectFact
from headway.serving.settings.oidc import OidcSection
from headway.serving.settings.serve import ServeSection
from headway.storage import segments, traffic
from headway.storage.addresses import log_root

PAGE, MAX_PAGES, MAX_SEARCHES = 50, 20, 5
SHOWN_DIGITS = 12
UNRESOLVED = ("stop", "warn", "undecided")
"""Severities of findings that contradict a requirement until they are resolved."""


def read_evidence(project: Project, catalogue: Catalogue) -> EvidenceGraph:
    """Return the evidence graph of a project.

    A release that does not verify is evidence too: it contradicts what rests on it.
    """
    address = f"{project.name}@{LIVE_POINTER}"
    bundle, problem = None, ""
    try:
        head = project.registry.head(address)
        bundle = project.registry.resolve(address) if head and head.release else None
    except HeadwayError as error:
        problem = error.what
    reader = _EvidenceReader(project, catalogue, bundle)
    return EvidenceGraph(
        name=project.name,
        evidence=tuple(reader.evidence(problem)),
        facts=reader.facts(),
        release=reader.release,
        model=reader.model,
        models=frozenset({reader.release, reader.model} - {""}),
        datasets=reader.datasets,
        data=reader.data,
        exposure=exposure_of(project.config),
        search=reader.search(),
    )


def data_digest(data: Mapping[str, str]) -> str:
    """Return one digest for the data of the periods that a model is trained and judged on; empty without any."""
    judged = {period: data[period] for period in JUDGED if period in data}
    return digest_of(canonical(judged)) if judged else ""


def data_of(assessed: Assessment) -> str:
    """Return the digest of the data that an assessment checked."""
    return data_digest(assessed.data) or assessed.dataset


def assessment_on(project: Project, datasets: Collection[str]) -> Assessment | None:
    """Return the newest assessment of one of these datasets, None if there is none among the last ones."""
    last = project.latest(Assessment)
    if last is None or data_of(last) in datasets:
        return last
    return next((saved.record for saved in project.recent(Assessment) if data_of(saved.record) in datasets), None)


def datasets_of(release: Release) -> frozenset[str]:
    """Return the digests of data that evidence on a release may carry."""
    judged = {found.dataset for found in release.evidence}
    return frozenset({*release.data.values(), *judged, data_digest(release.data)} - {""})


class _EvidenceReader:
    """Reads the evidence on the live release of a project; `bundle` is None if none is live, or it does not verify."""

    def __init__(self, project: Project, catalogue: Catalogue, bundle: Bundle | None) -> None:
        self.project = project
        self.config = project.config
        self.kinds = catalogue.kinds
        self.bundle = bundle
        self.live: Release | None = bundle.release if bundle else None
        self.release = bundle.digest if bundle else ""
        self.model = bundle.release.variant.digest if bundle else ""
        self.data = dict(bundle.release.data) if bundle else {}
        self.datasets = datasets_of(bundle.release) if bundle else frozenset()
        self.assessment = assessment_on(project, self.datasets) or project.latest(Assessment)

    def evidence(self, problem: str) -> Iterator[ThreatEvidence]:
        """Yield all evidence; `problem` is why the live release does not verify."""
        yield from self._signatures(problem)
        yield from self._checks()
        yield from self._settings()
        yield ThreatEvidence(key="setting:trust.keys", message="the keys lie outside of the store")  # else not opened
        if self.live is not None:
            yield from self._release(self.live)
            yield from self._measured(self.live)
            yield from self._judged(self.live)
            yield from self._data()
            yield from self._operations()

    def _keys(self, kind: str) -> list[EvidenceKind]:
        return [found for key, found in self.kinds.items() if key.startswith(f"{kind}:")]

    def _signatures(self, problem: str) -> Iterator[ThreatEvidence]:
        if problem:
            yield ThreatEvidence(key="signature:release", message="the live release does not verify", problem=problem)
        if self.bundle:
            yield ThreatEvidence(
                key="signature:release",
                message=f"the live release verifies, signed by {self.bundle.key[:24]}",
                record=self.release,
                model=self.release,
                is_signed=True,
            )
            yield _scanned(self.bundle)
        try:
            updates = self.project.registry.history(self.project.name)
        except HeadwayError as error:
            why = error.what
            yield ThreatEvidence(key="signature:updates", message="the chain of updates does not verify", problem=why)
            return
        if not updates:
            return
        last = digest_of(write(updates[-1]))
        count = f"{len(updates):,} pointer update{'s' if len(updates) != 1 else ''}"
        yield ThreatEvidence(key="signature:updates", message=f"{count} verify", record=last, is_signed=True)
        earlier = {update.release for update in updates if update.pointer == LIVE_POINTER} - {"", self.release}
        if earlier and self.release:
            returns = f"{len(earlier):,} earlier release{'s' if len(earlier) != 1 else ''} of live can return"
            yield ThreatEvidence(key="rollback:release", message=returns, record=last, is_signed=True)

    def _release(self, live: Release) -> Iterator[ThreatEvidence]:
        """Yield what the signed release carries."""
        carried = {
            "self_test:release": (len(live.self_test.rows), "{:,} rows with their answers are tested at every load"),
            "contract:release": (len(live.contract.columns), "the ranges of {:,} columns are part of the release"),
        }
        for key, (count, message) in carried.items():
            if count:
                yield self._of_release(key, message.format(count))
        if live.answers and live.answers.certificate.is_certified:
            limit = f"{live.answers.certificate.limit:.1%}"
            yield self._of_release("answers:plan", f"a certificate limits the wrong answers to {limit}")

    def _of_release(self, key: str, message: str, at: str = "") -> ThreatEvidence:
        return ThreatEvidence(key=key, message=message, at=at, record=self.release, model=self.release, is_signed=True)

    def _measured(self, live: Release) -> Iterator[ThreatEvidence]:
        """Yield the newest measurements of each kind: those in the signed release, and later ones in the store."""
        signed = [(found, self.release, True) for found in live.evidence]
        stored = [(found, digest, False) for digest, found in self._stored_evidence()]
        newest_first = sorted([*signed, *stored], key=lambda one: (one[0].at, one[2]), reverse=True)
        for kind in self._keys("measure"):
            for evidence, record, is_signed in newest_first:
                found = _measurements(evidence, kind.key.partition(":")[2])
                reason = None if found else _not_run(evidence, kind.audit)
                if found or reason:
                    yield ThreatEvidence(
                        key=kind.key,
                        message=_measured_message(found) + _declared_privacy(kind, live)
                        if found
                        else f"the audit {kind.audit} was asked",
                        at=evidence.at,
                        record=record,
                        model=evidence.subject,
                        data=evidence.dataset,
                        is_signed=is_signed,
                        measurement=found[0] if found else None,
                        problem="" if found or reason is None else reason.message,
                        result=self._result(kind, evidence) if found else None,
                    )
                if found:
                    break

    def _result(self, kind: EvidenceKind, evidence: Evidence) -> RuleResult | None:
        """Return what the rules say of a measurement, the worst answer first; None if there is none."""
        policy = self.config[PolicySection]
        own = [rule for rule in policy.release if not rule.relative]
        rules = tuple(rule for rule in own if rule.measure.removeprefix(SLICES).startswith(kind.family))
        rules = rules if kind.family and rules else tuple(filter(None, [kind.rule]))
        results = judge(evidence, replace(policy, release=rules)).rule_results if rules else ()
        return min(results, key=lambda result: ("fail", "undecided", "pass").index(result.answer), default=None)

    def _stored_evidence(self) -> Iterator[tuple[str, Evidence]]:
        """Yield stored evidence on the live model, newest first, with its digest; others are not decoded."""
        for digest, content in self._recent(Evidence):
            if self.model.encode() in content:
                found = read(Evidence, content)
                if found.subject == self.model and found.dataset in self.datasets:
                    yield digest, found

    def _recent(self, kind: type[StoredRecordType]) -> Iterator[tuple[str, bytes]]:
        """Yield the last records of a kind as bytes, newest first, with their digests."""
        before = 0
        for _ in range(MAX_PAGES):
            page = self.project.state.recent(kind_of(kind), name=self.project.name, limit=PAGE, before=before)
            yield from ((digest_of(saved.content), saved.content) for saved in page)
            if len(page) < PAGE:
                return
            before = page[-1].position

    @cached_property
    def _searches(self) -> dict[str, SearchResult]:
        """The last searches whose winner is the live model, newest first, by their digest."""
        found: dict[str, SearchResult] = {}
        for saved in self.project.state.recent(kind_of(SearchResult), name=self.project.name, limit=MAX_SEARCHES):
            if self.model and self.model.encode() in saved.content:
                result = read(SearchResult, saved.content)
                if result.winner.variant.digest == self.model:
                    found[digest_of(saved.content)] = result
        return found

    def search(self) -> str | None:
        """Return the search whose winner is live: empty if it is the last one, None for none, as after a retraining."""
        if not self._searches:
            return None
        newest = next(iter(self._searches))
        return "" if search_digest(self.project) in self._searches else newest.removeprefix("sha256:")[:SHOWN_DIGITS]

    def _judged(self, live: Release) -> Iterator[ThreatEvidence]:
        """Yield the last verdict on the live model, and each rule of it."""
        verdict, record, is_signed = live.verdict, self.release, True
        for result in self._searches.values():
            winner = result.winner
            if winner.verdict.at > verdict.at and winner.evidence.dataset in self.datasets:
                verdict, record, is_signed = winner.verdict, digest_of(write(winner.verdict)), False
                break
        problem = f"the verdict on the live release is {verdict.answer}" if verdict.answer != "pass" else ""
        if verdict.overridden:
            problem = f"{verdict.by} decided in place of the judge: {verdict.why}"
        passed = sum(result.answer == "pass" for result in verdict.rule_results)
        judged = ThreatEvidence(
            key="verdict:pass",
            message=f"the judge passed it, {passed:,} of {len(verdict.rule_results):,} rules",
            at=verdict.at,
            record=record,
            model=self.model,
            is_signed=is_signed,
            problem=problem,
        )
        yield judged
        for kind in self._keys("rule"):
            prefix = kind.key.partition(":")[2].removesuffix("*")
            results = [found for found in verdict.rule_results if found.rule.measure.startswith(prefix)]
            failed = min(
                (result for result in results if result.answer != "pass"),
                key=lambda result: result.answer,
                default=None,
            )
            if results:
                yield replace(
                    judged,
                    key=kind.key,
                    message=f"the rule {results[0].rule} passes",
                    problem="",
                    measurement=(failed or results[0]).measurement,
                    result=failed or results[0],
                )

    def _checks(self) -> Iterator[ThreatEvidence]:
        """Yield what the last check of the data found, by check."""
        assessed = self.assessment
        if assessed is None:
            return
        record, data = digest_of(write(assessed)), data_of(assessed)
        runs = {run.name: run for run in assessed.check_runs}
        for kind in self._keys("check"):
            run = runs.get(kind.key.partition(":")[2])
            if run:
                yield ThreatEvidence(
                    key=kind.key,
                    message=f"the check {run.name} ran on {assessed.n_rows:,} rows",
                    at=assessed.at,
                    record=record,
                    data=data,
                    problem=_problem_of_check(run, assessed),
                )

    def _data(self) -> Iterator[ThreatEvidence]:
        wanted = {self.data[period] for period in JUDGED if period in self.data}
        known: set[str] = set()
        for _, content in self._recent(Provenance):
            if not wanted - known:
                break
            known |= {digest for digest in wanted - known if digest.encode() in content}
        if wanted and not wanted - known:
            count = f"{len(wanted):,} version{'s' if len(wanted) != 1 else ''}"
            message = f"{count} of its data are stored with their origin"
            data = data_digest(self.data)
            yield ThreatEvidence(key="provenance:data", message=message, record=data, data=data)

    def _operations(self) -> Iterator[ThreatEvidence]:
        """Yield what happened since the release went live: periods, rollouts, audits of answers, the log."""
        yield from self._monitoring()
        yield from self._probed()
        written = _first(self.project.recent(WrittenRecord), self.release)
        if written:
            message = "the compliance record was signed and written"
            yield self._stored("record:signed", message, written.record.at, written.record.record)
        audit = _first(self.project.recent(CertificateAudit), self.release)
        if audit:
            problem = "" if audit.record.status == "holds" else audit.record.message
            yield self._stored("answers:audit", audit.record.message, audit.record.at, audit.digest, problem)
        rollout = _first(self.project.recent(Rollout), self.release)
        if rollout and rollout.record.status == "promoted":
            yield self._stored("rollout:ended", "it was promoted by a rollout", "", rollout.digest)
        root = log_root(self.config, self.project.name)
        last = traffic.last_request_at(root, self.project.name, self.release)
        if last:
            at = last.isoformat(timespec="seconds")
            yield self._stored("log:predictions", f"requests are logged, the last at {at[:16]}", at, "")

    def _stored(self, key: str, message: str, at: str, record: str, problem: str = "") -> ThreatEvidence:
        return ThreatEvidence(key=key, message=message, at=at, record=record, model=self.release, problem=problem)

    def _probed(self) -> Iterator[ThreatEvidence]:
        """Yield the last search of the log for keys that copy or probe; a found one that sends on contradicts.

        Skip a report without keys: no request had an API key, so none was judged.
        """
        reports = self.project.recent(ProbingReport)
        saved = _first((one for one in reports if one.record.keys or one.record.reason), self.release)
        if saved is None:
            return
        report = saved.record
        free = sorted({key.api_key for key in report.found if not key.throttled})
        problem = f"the log could not be searched: {report.reason}" if report.reason else ""
        if free:
            problem = f"API keys that copy or probe the model are not throttled: {', '.join(free)}"
        count = f"{len(report.keys):,} key-days"
        yield self._stored("detector:probing", f"{count} were searched for copying", report.at, saved.digest, problem)

    def _monitoring(self) -> Iterator[ThreatEvidence]:
        """Yield the last periods that were judged; those of a program that replays old data have no age."""
        reports = [saved for saved in self.project.recent(MonitoringReport) if saved.record.release == self.release]
        ended = [saved for saved in reports if saved.record.is_complete]
        is_replay = self.project.state.latest("stamp", name=self.project.name) is not None
        drift = next((saved for saved in ended if saved.record.drift is not None), None)
        if drift:
            message = f"the inputs of {drift.record.period} were tested for drift"
            yield self._stored("monitoring:drift", message, "" if is_replay else drift.record.at, drift.digest)
        judged = [one for one in ended if one.record.reply("degradation") and one.record.status != "unknown"]
        if judged:
            report = judged[0].record
            problem = report.message if report.status == "degraded" else ""
            message, at = f"the quality in {report.period} was judged", "" if is_replay else report.at
            yield self._stored("monitoring:degradation", message, at, judged[0].digest, problem)

    def _settings(self) -> Iterator[ThreatEvidence]:
        for key, message in _set_values(self.config).items():
            if message:
                yield ThreatEvidence(key=key, message=message)
        reviews = [self.project.count(kind) for kind in (Correction, Confirmation)]
        if sum(reviews):
            yield ThreatEvidence(key="log:labels", message=f"{sum(reviews):,} reviews of labels name the person")

    def facts(self) -> dict[str, ProjectFact]:
        """Return the facts by which requirements apply; what is not known yet applies."""
        config, live = self.config, self.live
        task = live.variant.task if live else config[DataSection].task
        remote = config[AnswerSection].remote.url
        users = config.path(config[UiSection].users)
        steps = live.variant.steps if live else ()
        labels = any(segments.segments(traffic.labels_folder(log_root(config, self.project.name), self.project.name)))
        return {
            "decisions": _fact(task in ("binary", "multiclass"), f"the model makes no decisions: it is a {task} model"),
            "remote_stage": _fact(
                bool(remote) and "remote" in config[AnswerSection].stages,
                "no remote stage: url under [answer.remote] is empty",
            ),
            "people": _fact(
                bool(config[DataSection].sensitive_features), "no column is declared in [data] sensitive_features"
            ),
            "imported": _fact(bool(config[ModelSection].file), "the model is trained here: [model] file is empty"),
            "transformed": _fact(
                not live or bool(steps), "the live release is the model as it was trained, without a transform"
            ),
            "selective": _fact(
                bool(config[AnswerSection].limit or (live and live.answers)),
                "the model answers every request: [answer] limit is 0",
            ),
            "reachable": _fact(
                is_reachable(config[ServeSection].host),
                f"other machines cannot reach the server: [serve] host is {config[ServeSection].host}",
            ),
            "dashboard": _fact(
                users.is_file() or is_reachable(config[UiSection].host),
                f"the dashboard has no people: there is no {config[UiSection].users}, "
                f"and [ui] host is {config[UiSection].host}",
            ),
            "labels_by_people": _fact(
                labels or any(self.project.count(kind) for kind in (Correction, Confirmation)),
                "people gave no label here",
            ),
        }


def _scanned(bundle: Bundle) -> ThreatEvidence:
    """Return what a scan of the files of a release finds now; nothing in them is run."""
    verdicts = [judge_bytes(content, name=name) for name, content in bundle.files.items()]
    bad = next((one for one in verdicts if one.verdict != "safe"), None)
    kinds = ", ".join(sorted({one.kind for one in verdicts}))
    return ThreatEvidence(
        key="scan:model",
        message=f"{len(verdicts):,} file{'s' if len(verdicts) != 1 else ''} of the live release scanned ({kinds})",
        record=bundle.digest,
        model=bundle.digest,
        problem=f"{bad.name} is {bad.verdict}: {bad.problems[0].message}" if bad else "",
    )


def _fact(holds: bool, reason: str) -> ProjectFact:
    return ProjectFact(holds=holds, reason=reason)


def _first(saved: Iterable[Saved[StoredRecordType]], release: str) -> Saved[StoredRecordType] | None:
    """Return the newest record on a release."""
    return next((one for one in saved if getattr(one.record, "release", "") == release), None)


def _measurements(evidence: Evidence, wanted: str) -> list[Measurement]:
    """Return the measurements of a name, or of all names with a prefix, those over all rows first."""
    prefix = wanted.removesuffix("*")
    found = [
        one
        for one in evidence.measurements
        if (one.name.startswith(prefix) if prefix != wanted else one.name == current_measure(wanted))
    ]
    return sorted(found, key=lambda one: bool(one.slice))


def _measured_message(found: list[Measurement]) -> str:
    names = sorted({one.name for one in found})
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{found[0].name}{more} measured on {found[0].n_rows:,} rows"


def _declared_privacy(kind: EvidenceKind, live: Release) -> str:
    """Return what a release declares about its training, next to what was measured of its privacy."""
    codes = {finding.code: finding.measured for evidence in live.evidence for finding in evidence.findings}
    epsilon = codes.get(DECLARED_PRIVACY) if kind.key.startswith("measure:privacy.") else None
    return "" if epsilon is None else f"; epsilon {epsilon:g} of its training is declared, not verified"


def _not_run(evidence: Evidence, audit: str) -> Finding | None:
    """Return why an audit did not run, if that was recorded."""
    return next((one for one in evidence.findings if audit and one.code == NOT_RUN and one.plugin == audit), None)


def _problem_of_check(run: CheckRun, assessed: Assessment) -> str:
    if run.unjudged:
        return run.unjudged
    found = [one for one in assessed.judged if one.code == run.code and one.severity in UNRESOLVED]
    more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
    return f"the check {run.name} found: {found[0].message}{more}" if found else ""


def _set_values(config: Config) -> dict[str, str]:
    """Return what each setting that requirements need says, as a clause; empty if it is not set so."""
    serve, personal, provenance, remote = (
        config[ServeSection],
        config[PersonalSection],
        config[ProvenanceSection],
        config[AnswerSection].remote,
    )
    parts = {"dropped": personal.drop, "hashed": personal.hash, "kept with a reason": personal.keep}
    handled = [f"{len(part):,} {name}" for name, part in parts.items() if part]
    limits = f"bodies up to {serve.max_body_bytes:,} bytes, {serve.max_request_rows:,} rows a request"
    has_keys = config.path(serve.keys).is_file() or bool(config[OidcSection].issuer and config[OidcSection].audience)
    origin = ", ".join(part for part in (provenance.creator, provenance.license) if part)
    limited = serve.max_body_bytes > 0 and serve.max_queue_rows > 0
    return {
        "setting:provenance.origin": f"origin: {origin}" if provenance.creator and provenance.license else "",
        "setting:alert.receivers": f"{len(config[AlertSection].rules):,} alert rules"
        if config[AlertSection].rules
        else "",
        "setting:serve.contract": f'contract = "{serve.contract}"' if serve.contract != "off" else "",
        "setting:serve.contract_acts": f'contract = "{serve.contract}"' if serve.contract in ("mark", "reject") else "",
        "setting:serve.limits": limits if limited else "",
        "setting:serve.rate": f"{serve.key_per_s:g} requests/s for a key" if serve.key_per_s else "",
        "setting:serve.throttle": f"{serve.throttle_per_s:g} requests/s for a key that copies"
        if serve.throttle_per_s
        else "",
        "setting:serve.rounding": f"answers have {serve.round_digits} decimals" if serve.round_digits >= 0 else "",
        "setting:serve.keys": "callers need a key" if has_keys and not serve.without_keys else "",
        "setting:serve.tls": "traffic is encrypted" if serve.tls_certificate else "",
        "setting:serve.log_mode": f'log_mode = "{serve.log_mode}"' if serve.log_mode != "off" else "",
        "setting:ui.users": "people of the dashboard have roles"
        if config.path(config[UiSection].users).is_file()
        else "",
        "setting:personal.handling": f"personal data: {', '.join(handled)}" if handled else "",
        "setting:answer.spend_cap": f"at most {remote.spend_cap_per_day:g} a day" if remote.spend_cap_per_day else "",
        "setting:answer.https": "the remote stage is asked over https" if remote.url.startswith("https://") else "",
    }
