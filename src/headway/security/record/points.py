"""The points of laws and frameworks that a record answers, in our own words, from evidence and declared settings.

Section numbers are those of Regulation (EU) 2024/1689 (Annex IV has nine points), of Regulation (EU) 2016/679, and of
the NIST AI RMF 1.0. No text of them is repeated: read it where it is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headway.core.assessment import UNJUDGED
from headway.core.compliance import Fact, Figure, Gap, Point, RecordDocument
from headway.core.erasure import decode_erasure
from headway.core.evidence import DECLARED_PRIVACY
from headway.core.measure import quality_measures
from headway.security.record.sources import EvidenceFile, Tracer, escape_pointer

QUALITY = (*quality_measures(), "gain_over_constant", "gain_over_reference", "answer")
CALIBRATION = ("reliability", "calibration", "probability_shift", "conformal")
SPEED = ("latency", "throughput", "load", "start", "components", "request")
ROBUSTNESS = ("robustness", "missing", "max_change", "change", "decision_churn", "discovered")
PEOPLE = ("bias", "parity")
EVASION = ("attack", "evasion")
EXTRACTION = ("extraction",)
PRIVACY = ("privacy",)
ABLATION = ("ablation.useless", "ablation.harmful")
DECLARED = {
    "provenance.creator": "the creator of the data",
    "provenance.license": "the license of the data",
    "provenance.made_from": "where the data comes from",
    "personal.retention": "how long log and labels are kept",
    "policy.watch": "which limits the monitoring applies",
    "record.purpose": "the intended purpose",
    "record.provider": "the provider",
    "record.controller": "the controller",
    "record.officer": "the data protection officer",
    "record.people": "whose data is used",
    "record.recipients": "who receives the data",
    "record.transfers": "whether data leaves the country",
    "record.necessity": "why the data is necessary",
    "record.oversight": "how people oversee the model",
    "record.risk_management": "where the risk management is described",
    "record.changes": "which changes were planned in advance",
    "record.standards": "which standards were applied",
    "record.declaration": "where the declaration of conformity is kept",
    "record.rights": "how people exercise their rights",
    "record.retention": "how long this record is kept",
}
"""What a setting declares; a record lists those that are empty."""
THREATS = "headway threats"
EVALUATE = "headway evaluate, then headway release"


class _Points:
    """Builds points from the sources of one record."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        (self.release,) = tracer.of("release")
        (self.settings,) = tracer.of("settings")
        self.updates = tracer.of("pointer_update")
        self.erasures = tracer.of("erasure")
        self.not_judged: dict[str, Gap] = {}
        for name, gap in tracer.not_judged():
            self.not_judged.setdefault(name, gap)

    def last(self, kind: str) -> EvidenceFile | None:
        """Return the last source of a kind, or None."""
        found = self.tracer.of(kind)  # type: ignore[arg-type]
        return found[-1] if found else None

    def released(self, labels: Mapping[str, str]) -> tuple[Fact, ...]:
        """Return texts of the release."""
        return self.tracer.facts(self.release, labels)

    def declared(self, labels: Mapping[str, str]) -> tuple[Fact, ...]:
        """Return texts of the settings, by their label; each path is `section.field`."""
        found: list[Fact] = []
        for label, setting in labels.items():
            section, _, name = setting.partition(".")
            value, pointer = self.settings.document[section][name], f"/{section}/{name}"
            if isinstance(value, list):
                found += [self.tracer.fact(self.settings, label, f"{pointer}/{n}") for n in range(len(value))]
            elif value:
                found.append(self.tracer.fact(self.settings, label, pointer))
        return tuple(found)

    def undeclared(self, *settings: str) -> tuple[Gap, ...]:
        """Return a gap for each of these settings that nothing declares."""
        missing = []
        for setting in settings:
            section, _, name = setting.partition(".")
            if not self.settings.document[section][name]:
                missing.append(
                    Gap(what=f"{DECLARED[setting]} is not declared", hint=f"[{section}] {name} in headway.toml")
                )
        return tuple(missing)

    def unmeasured(
        self, families: Sequence[str], what: str, hint: str, *, plugins: Sequence[str] = ()
    ) -> tuple[Gap, ...]:
        """Return a gap unless a measurement of these families exists; its reason is that of the plug-in, if it ran."""
        if self.tracer.measured(*families):
            return ()
        reasons = tuple(self.not_judged[name] for name in plugins if name in self.not_judged)
        return reasons or (Gap(what=f"{what} was not measured", hint=hint),)


def build_documents(sources: Sequence[EvidenceFile]) -> tuple[RecordDocument, ...]:
    """Return the documents of a record: what each point has, each number and text traced, and what it lacks."""
    points = _Points(Tracer(sources))
    return (
        RecordDocument(
            name="cards", title="Model card and data card", points=(*_model_card(points), *_data_card(points))
        ),
        RecordDocument(name="ai-act", title="AI Act", points=(*_annex_iv(points), *_article_15(points))),
        RecordDocument(name="nist-ai-rmf", title="NIST AI Risk Management Framework", points=tuple(_nist(points))),
        RecordDocument(
            name="gdpr",
            title="General Data Protection Regulation",
            points=(*_article_30(points), *_impact_assessment(points), *_access(points)),
        ),
    )


def _declared_privacy(points: _Points) -> tuple[Fact, ...]:
    """Return what is declared about training with differential privacy, once; headway does not verify it."""
    found: dict[str, Fact] = {}
    for index, evidence in enumerate(points.release.document["record"]["evidence"]):
        for number, finding in enumerate(evidence["findings"]):
            if finding["code"] == DECLARED_PRIVACY:
                at = f"/record/evidence/{index}/findings/{number}/message"
                fact = points.tracer.fact(points.release, "Differential privacy, as declared", at)
                found.setdefault(fact.text, fact)
    return tuple(found.values())


def _model_facts(points: _Points) -> tuple[Fact, ...]:
    return _declared_privacy(points) + points.released(
        {
            "Name": "/record/name",
            "Task": "/record/variant/task",
            "Answers": "/record/variant/signature/output",
            "Format of the model": "/record/variant/artifact/format",
            "Digest of the model": "/record/variant/artifact/digest",
            "Engine": "/record/variant/engine",
            "Made at": "/record/made_at",
            "Made by": "/record/made_by",
            "Rule of the threshold": "/record/threshold_rule",
        }
    )


def _model_figures(points: _Points) -> tuple[Figure, ...]:
    tracer, release = points.tracer, points.release
    return (
        tracer.length(release, "Inputs", "/record/variant/signature/inputs"),
        tracer.number(release, "Size of the model", "/record/variant/artifact/size_bytes", unit="bytes"),
        tracer.number(release, "Decision threshold", "/record/threshold"),
    )


def _verdict(points: _Points) -> tuple[tuple[Fact, ...], tuple[Figure, ...]]:
    """Return the verdict of the release: its answer, who gave it, and the limit of each rule."""
    facts = points.released(
        {"Verdict": "/record/verdict/answer", "Given by": "/record/verdict/by", "Reason": "/record/verdict/why"}
    )
    verdict = points.release.document["record"]["verdict"]
    figures = [points.tracer.number(points.release, "Evaluations of the test rows", "/record/verdict/test_evaluations")]
    for index, result in enumerate(verdict["rule_results"]):
        for end in ("at_most", "at_least"):
            if result["rule"].get(end) is not None:
                name = f"Rule {result['rule']['measure']} {end.replace('_', ' ')}"
                at = f"/record/verdict/rule_results/{index}"
                figures.append(points.tracer.number(points.release, name, f"{at}/rule/{end}"))
                facts += points.released({name: f"{at}/answer"})
    return facts, tuple(figures)


def _model_card(points: _Points) -> Iterable[Point]:
    facts, figures = _verdict(points)
    yield Point(
        id="model-card.model",
        section="Model card",
        title="The model",
        facts=_model_facts(points),
        figures=_model_figures(points),
    )
    yield Point(
        id="model-card.quality",
        section="Model card",
        title="Quality, with intervals",
        figures=points.tracer.measured(*QUALITY, *CALIBRATION, sliced=False),
        gaps=points.unmeasured(QUALITY, "quality", "headway optimize"),
    )
    yield Point(
        id="model-card.speed",
        section="Model card",
        title="Speed and resources",
        figures=points.tracer.measured(*SPEED, "cost.cpu_s", "cost.per_million", "cost.energy_j", sliced=False),
        gaps=points.unmeasured((*SPEED, "cost.cpu_s"), "speed", "headway optimize"),
    )
    yield Point(
        id="model-card.verdict",
        section="Model card",
        title="Verdict of the release policy",
        facts=facts,
        figures=figures,
    )
    yield Point(
        id="model-card.not-judged",
        section="Model card",
        title="What could not be judged",
        gaps=tuple(points.not_judged.values()),
    )


def _data_card(points: _Points) -> Iterable[Point]:
    tracer, release = points.tracer, points.release
    digests = release.document["record"]["data"]
    figures = [tracer.number(release, "Rows behind the contract", "/record/contract/n_rows")]
    if (training := points.last("training")) is not None:
        figures.append(tracer.number(training, "Training rows", "/record/n_rows"))
    if (assessment := points.last("assessment")) is not None:
        figures.append(tracer.number(assessment, "Rows that were checked", "/record/n_rows"))
    yield Point(
        id="data-card.origin",
        section="Data card",
        title="Origin and versions",
        facts=(
            *points.declared(
                {
                    "Source": "data.source",
                    "Creator": "provenance.creator",
                    "Made from": "provenance.made_from",
                    "Description": "provenance.description",
                    "License": "provenance.license",
                }
            ),
            *points.released({f"Rows of {name}": f"/record/data/{escape_pointer(name)}" for name in sorted(digests)}),
        ),
        figures=tuple(figures),
        gaps=points.undeclared("provenance.creator", "provenance.license"),
    )
    yield _columns(points)
    yield Point(
        id="data-card.checks",
        section="Data card",
        title="Checks of the data",
        facts=_check_facts(points),
        gaps=_unchecked(points),
    )
    proposed = tracer.measured("ablation.useless", sliced=True)
    yield Point(
        id="data-card.minimisation",
        section="Data card",
        title="Columns whose removal costs nothing",
        statements=(
            "Each column below was masked or left out, and the error grew by less than the margin of the audit. Remove "
            "it from the data unless another purpose needs it.",
        )
        if proposed
        else (),
        figures=(*proposed, *_cost_of(tracer, proposed)),
        gaps=points.unmeasured(("ablation",), "what each column contributes", EVALUATE, plugins=("ablation",)),
    )


def _cost_of(tracer: Tracer, proposed: Sequence[Figure]) -> tuple[Figure, ...]:
    """Return the increase of the error without each proposed column, with its interval."""
    names = {figure.slice for figure in proposed}
    return tuple(one for one in tracer.measured("ablation.retrained", "ablation.masked") if one.slice in names)


def _personal_columns(points: _Points) -> dict[str, list[Fact]]:
    """Return the columns with personal data, and what the last check says of each; declared ones may have none."""
    personal, found = points.settings.document["personal"], dict[str, list[Fact]]()
    for name in (
        *personal["drop"],
        *personal["hash"],
        *personal["keep"],
        *points.settings.document["data"]["sensitive_features"],
    ):
        found.setdefault(name, [])
    assessment = points.last("assessment")
    for index, finding in enumerate(assessment.document["record"]["findings"] if assessment else ()):
        where = finding["where"]
        if finding["code"] in ("D050", "D051", "D054") and where.startswith("column "):
            fact = points.tracer.fact(assessment, "Found", f"/record/findings/{index}/message")  # type: ignore[arg-type]
            found.setdefault(where.removeprefix("column "), []).append(fact)
    return found


def _columns(points: _Points) -> Point:
    """Return the point on columns: purpose and legal basis of each, and what lacks one."""
    tracer, settings = points.tracer, points.settings
    personal = settings.document["personal"]
    inputs = [one["name"] for one in points.release.document["record"]["variant"]["signature"]["inputs"]]
    found = _personal_columns(points)
    facts: list[Fact] = []
    for name in dict.fromkeys((*inputs, *found)):
        for field, label in (("purpose", "purpose"), ("legal_basis", "legal basis")):
            key = name if name in personal[field] else "*"
            if key in personal[field] and (field == "purpose" or name in found):
                facts.append(tracer.fact(settings, f"{name}: {label}", f"/personal/{field}/{escape_pointer(key)}"))
        if name in personal["keep"]:
            facts.append(tracer.fact(settings, f"{name}: kept because", f"/personal/keep/{escape_pointer(name)}"))
        facts += found.get(name, ())
    without = {
        "the purpose of columns is not declared": (
            "[personal.purpose]",
            [name for name in inputs if not {name, "*"} & personal["purpose"].keys()],
        ),
        "the legal basis of columns with personal data is not declared": (
            "[personal.legal_basis]",
            [
                name
                for name in found
                if not {name, "*"} & personal["legal_basis"].keys() and name not in personal["drop"]
            ],
        ),
    }
    gaps = [
        Gap(what=what, subject=", ".join(names), hint=f"{table} in headway.toml")
        for what, (table, names) in without.items()
        if names
    ]
    return Point(
        id="data-card.columns",
        section="Data card",
        title="Columns: purpose and legal basis",
        facts=tuple(facts),
        figures=(tracer.length(points.release, "Columns that the model reads", "/record/variant/signature/inputs"),),
        gaps=tuple(gaps),
    )


def _check_facts(points: _Points) -> tuple[Fact, ...]:
    """Return the findings of the last check, notes excluded."""
    assessment = points.last("assessment")
    if assessment is None:
        return ()
    return tuple(
        points.tracer.fact(assessment, finding["code"], f"/record/findings/{index}/message")
        for index, finding in enumerate(assessment.document["record"]["findings"])
        if finding["severity"] != "note" and finding["code"] != UNJUDGED
    )


def _unchecked(points: _Points) -> tuple[Gap, ...]:
    """Return a gap if the data was not checked, or not the checks that could not judge."""
    assessment = points.last("assessment")
    if assessment is None:
        return (Gap(what="the data of this release was not checked", hint="headway check"),)
    return tuple(
        Gap(
            what="a check could not judge",
            subject=run["name"],
            hint="headway check",
            fact=points.tracer.fact(assessment, run["name"], f"/record/check_runs/{index}/unjudged"),
        )
        for index, run in enumerate(assessment.document["record"]["check_runs"])
        if run["unjudged"]
    )


def _changes(points: _Points) -> tuple[Fact, ...]:
    """Return who pointed what at a release, when and why, from the signed updates."""
    facts: list[Fact] = []
    for update in points.updates:
        move = update.document["record"]
        at = f"{move['pointer']} at {move['at']}"
        facts += points.tracer.facts(
            update,
            {f"{at}: release": "/record/release", f"{at}: by": "/record/who", f"{at}: because": "/record/why"},
        )
    return tuple(facts)


def _monitoring(points: _Points) -> tuple[tuple[Fact, ...], tuple[Figure, ...], tuple[Gap, ...]]:
    """Return what the last ended period of monitoring showed of this release."""
    watched = points.last("monitoring")
    if watched is None:
        return (), (), (Gap(what="no period of this release was monitored", hint="headway watch"),)
    tracer = points.tracer
    facts = tracer.facts(watched, {"Period": "/record/period", "Status": "/record/status", "Result": "/record/message"})
    figures = (
        tracer.number(watched, "Rows of the period", "/record/n_rows"),
        tracer.number(watched, "Rows with a label", "/record/n_labeled"),
    )
    return facts, figures, ()


def _threats(points: _Points) -> tuple[tuple[Fact, ...], tuple[Figure, ...], tuple[Gap, ...]]:
    """Return the threat table: the coverage of each requirement, gaps first, and how many there are."""
    table = points.last("threats")
    if table is None:
        return (), (), (Gap(what="the threats were not assessed", hint=THREATS),)
    tracer, rows = points.tracer, table.document["record"]["requirements"]
    open_ = {"measured": "an attack was measured to succeed", "gap": "a threat is not covered"}
    order = sorted(range(len(rows)), key=lambda index: (rows[index]["coverage"] not in open_, index))
    facts = [
        tracer.fact(table, "Threats assessed at", "/record/at"),
        tracer.fact(table, "Next assessment due by", "/record/due"),
        *(
            tracer.fact(table, f"{rows[index]['id']} {rows[index]['title']}", f"/record/requirements/{index}/coverage")
            for index in order
        ),
    ]
    gaps = [
        Gap(what=open_[rows[index]["coverage"]], subject=rows[index]["id"], hint=_next_command(rows[index]))
        for index in order
        if rows[index]["coverage"] in open_
    ]
    return tuple(facts), (tracer.length(table, "Requirements of the catalogue", "/record/requirements"),), tuple(gaps)


def _next_command(requirement: Mapping[str, Any]) -> str:
    """Return the command that would add the first evidence that a requirement lacks."""
    return next((str(missing["command"]) for missing in requirement["missing"] if missing["command"]), THREATS)


def _annex_iv(points: _Points) -> Iterable[Point]:
    measured = points.tracer.measured
    judged, limits = _verdict(points)
    yield Point(
        id="annex-iv.1",
        section="AI Act, Annex IV, point 1",
        title="What the system is, and for whom",
        facts=(
            *points.declared({"Intended purpose": "record.purpose", "Provider": "record.provider"}),
            *_model_facts(points),
        ),
        figures=_model_figures(points),
        gaps=points.undeclared("record.purpose", "record.provider"),
    )
    yield Point(
        id="annex-iv.2",
        section="AI Act, Annex IV, point 2",
        title="How it was built, on which data, and how it was tested",
        statements=(
            "The data card lists the data. headway judges on other rows than it trains on; the training rows of an "
            "imported model are not known. The intervals honour dependent rows as far as [data] declares them.",
        ),
        facts=(
            *points.declared({"Human oversight": "record.oversight", "Changes planned": "record.changes"}),
            *judged,
        ),
        figures=limits,
        gaps=points.undeclared("record.oversight", "record.changes"),
    )
    yield Point(
        id="annex-iv.3",
        section="AI Act, Annex IV, point 3",
        title="What it can do and cannot, for whom, and how it is overseen",
        statements=("Accuracy is shown over all rows, by slice, and by group of people.",),
        facts=points.declared({"Human oversight": "record.oversight"}),
        figures=(*measured(*QUALITY, sliced=False), *measured(*QUALITY, sliced=True), *measured(*PEOPLE)),
        gaps=(
            *points.undeclared("record.oversight"),
            *points.unmeasured(
                PEOPLE, "the difference between groups of people", "[data] sensitive_features", plugins=("bias",)
            ),
        ),
    )
    yield Point(
        id="annex-iv.4",
        section="AI Act, Annex IV, point 4",
        title="Why these measures are appropriate",
        statements=(
            "The release policy names the measures that decide, each with a limit. A rule that the rows cannot decide "
            "is undecided and does not pass.",
        ),
        facts=judged,
        figures=limits,
    )
    facts, figures, gaps = _threats(points)
    yield Point(
        id="annex-iv.5",
        section="AI Act, Annex IV, point 5",
        title="Risk management system",
        facts=(*points.declared({"Risk management": "record.risk_management"}), *facts),
        figures=figures,
        gaps=(*points.undeclared("record.risk_management"), *gaps),
    )
    yield Point(
        id="annex-iv.6",
        section="AI Act, Annex IV, point 6",
        title="Changes over its lifecycle",
        statements=("Each update of a pointer is numbered, signed, and chained to the one before.",),
        facts=_changes(points),
    )
    yield Point(
        id="annex-iv.7",
        section="AI Act, Annex IV, point 7",
        title="Standards that were applied",
        facts=points.declared({"Standard": "record.standards"}),
        gaps=points.undeclared("record.standards"),
    )
    yield Point(
        id="annex-iv.8",
        section="AI Act, Annex IV, point 8",
        title="EU declaration of conformity",
        statements=("A person signs the declaration; headway does not make one.",),
        facts=points.declared({"Declaration": "record.declaration"}),
        gaps=points.undeclared("record.declaration"),
    )
    facts, figures, gaps = _monitoring(points)
    yield Point(
        id="annex-iv.9",
        section="AI Act, Annex IV, point 9",
        title="Monitoring after release",
        facts=(*points.declared({"Retention of the log": "personal.retention"}), *facts),
        figures=figures,
        gaps=(*gaps, *points.undeclared("policy.watch")),
    )


def _article_15(points: _Points) -> Iterable[Point]:
    measured = points.tracer.measured
    judged, limits = _verdict(points)
    yield Point(
        id="article-15.1",
        section="AI Act, Article 15(1)",
        title="A level of accuracy, robustness and security that fits the purpose",
        statements=("The verdict of the release policy says whether each declared limit holds.",),
        facts=judged,
        figures=limits,
    )
    yield Point(
        id="article-15.3",
        section="AI Act, Article 15(3)",
        title="Accuracy that the instructions for use state",
        figures=measured(*QUALITY, sliced=False),
        gaps=points.unmeasured(QUALITY, "accuracy", "headway optimize"),
    )
    facts, figures, gaps = _monitoring(points)
    yield Point(
        id="article-15.4",
        section="AI Act, Article 15(4)",
        title="Robustness to errors, faults and feedback",
        facts=facts,
        figures=(*measured(*ROBUSTNESS), *figures),
        gaps=(
            *points.unmeasured(("robustness",), "robustness to corrupted rows", EVALUATE, plugins=("robustness",)),
            *gaps,
        ),
    )
    facts, figures, gaps = _threats(points)
    yield Point(
        id="article-15.5",
        section="AI Act, Article 15(5)",
        title="Resistance to attacks on data and model",
        statements=(
            "Poisoned data, changed rows that flip a decision, copies of the model, and what answers reveal of people "
            "are measured one by one.",
        ),
        facts=facts,
        figures=(*measured(*EVASION), *measured(*EXTRACTION), *measured(*PRIVACY), *figures),
        gaps=(
            *points.unmeasured(EVASION, "evasion", EVALUATE, plugins=("attack", "evasion")),
            *points.unmeasured(EXTRACTION, "extraction", EVALUATE, plugins=("extraction",)),
            *points.unmeasured(PRIVACY, "what answers reveal of the training rows", EVALUATE, plugins=("membership",)),
            *_unscreened(points),
            *gaps,
        ),
    )


def _unscreened(points: _Points) -> tuple[Gap, ...]:
    """Return a gap unless the screens for poisoned data ran and could judge."""
    assessment = points.last("assessment")
    runs = {run["name"]: run["unjudged"] for run in (assessment.document["record"]["check_runs"] if assessment else ())}
    return tuple(
        Gap(what="a screen for poisoned data did not judge", subject=name, hint="headway check")
        for name in ("backdoor", "flipped_labels")
        if runs.get(name, "absent")
    )


def _nist(points: _Points) -> Iterable[Point]:
    facts, figures = _verdict(points)
    yield Point(
        id="nist.govern",
        section="NIST AI RMF, GOVERN",
        title="Who decides, by which rules",
        statements=(
            "Rules are declared in the project and applied by the judge. Publishers and operators sign what they do.",
        ),
        facts=(*points.declared({"Provider": "record.provider", "Human oversight": "record.oversight"}), *facts),
        figures=figures,
        gaps=points.undeclared("record.provider"),
    )
    threats, counts, gaps = _threats(points)
    yield Point(
        id="nist.map",
        section="NIST AI RMF, MAP",
        title="Context, people and threats",
        facts=(*points.declared({"Intended purpose": "record.purpose", "People": "record.people"}), *threats),
        figures=counts,
        gaps=(
            *points.undeclared("record.purpose", "record.people"),
            *gaps,
        ),
    )
    families = (*QUALITY, *CALIBRATION, *ROBUSTNESS, *PEOPLE, *EVASION, *EXTRACTION, *PRIVACY)
    yield Point(
        id="nist.measure",
        section="NIST AI RMF, MEASURE",
        title="What was measured",
        figures=points.tracer.measured(*families, sliced=False),
        gaps=tuple(points.not_judged.values()),
    )
    watched, rows, unwatched = _monitoring(points)
    yield Point(
        id="nist.manage",
        section="NIST AI RMF, MANAGE",
        title="What is done about it",
        statements=(
            "A release that fails a rule is published only if a person overrides the verdict, which then names the "
            "person. A live one can be rolled back by a signed update.",
        ),
        facts=(*watched, *_changes(points)),
        figures=rows,
        gaps=unwatched,
    )


def _article_30(points: _Points) -> Iterable[Point]:
    lines: tuple[tuple[str, str, dict[str, str]], ...] = (
        (
            "a",
            "Controller and data protection officer",
            {"Controller": "record.controller", "Data protection officer": "record.officer"},
        ),
        ("b", "Purposes", {"Purpose": "record.purpose"}),
        ("c", "People and data", {"People": "record.people"}),
        ("d", "Recipients", {"Recipient": "record.recipients"}),
        ("e", "Transfers to other countries", {"Transfers": "record.transfers"}),
        (
            "f",
            "Time limits of erasure",
            {"Log, labels and quarantine": "personal.retention", "This record": "record.retention"},
        ),
    )
    columns = _columns(points)
    for letter, title, facts in lines:
        extra = columns if letter in ("b", "c") else None
        yield Point(
            id=f"article-30.1.{letter}",
            section=f"GDPR, Article 30(1)({letter})",
            title=title,
            facts=(*points.declared(facts), *(extra.facts if extra else ())),
            figures=_erased(points)[1] if letter == "f" else (),
            gaps=(*points.undeclared(*facts.values()), *(extra.gaps if extra else ())),
        )
    yield Point(
        id="article-30.1.g",
        section="GDPR, Article 30(1)(g)",
        title="Security measures",
        statements=(
            "Releases, pointer updates and proofs of erasure are signed and verified when they are read. Private keys "
            "lie outside the store. Whether servers ask for API keys is in the threat table.",
            "Personal data is dropped or replaced by a keyed hash when the data is opened, as declared.",
        ),
        facts=points.declared({"Dropped": "personal.drop", "Replaced by a hash": "personal.hash"}),
    )


def _erased(points: _Points) -> tuple[tuple[Fact, ...], tuple[Figure, ...]]:
    """Return what was erased: when, by whom, and the rows of each location."""
    facts: list[Fact] = []
    figures: list[Figure] = []
    for proof in points.erasures:
        erasure = decode_erasure(proof.content)
        at = erasure.done_at
        facts += points.tracer.facts(proof, {f"Erasure at {at}: by": "/who", f"Erasure at {at}: because": "/why"})
        figures += [
            points.tracer.number(
                proof, f"Rows erased from {part.location} at {at}", f"/erased/{index}/rows", unit="rows"
            )
            for index, part in enumerate(erasure.erased)
        ]
        figures += [
            points.tracer.number(proof, f"Searched in {store.name} at {at}", f"/searched/{index}/n_searched")
            for index, store in enumerate(erasure.searched)
            if store.is_reached
        ]
    return tuple(facts), tuple(figures)


def _not_erased(points: _Points) -> tuple[Gap, ...]:
    """Return a gap for each store that an erasure did not reach, and each location where it left the key.

    The last erasure of each key counts, and the last one by age.
    """
    gaps: list[Gap] = []
    for proof in {decode_erasure(proof.content).subject: proof for proof in points.erasures}.values():
        erasure = decode_erasure(proof.content)
        hint = "headway erase, for the same key" if erasure.subject else "headway erase"
        gaps += [
            Gap(
                what="an erasure did not reach a store",
                subject=store.name,
                hint=hint,
                fact=points.tracer.fact(proof, store.name, f"/searched/{index}/why"),
            )
            for index, store in enumerate(erasure.searched)
            if not store.is_reached
        ]
        field = "residuals" if "residuals" in proof.document else "stays"  # the name in proofs of 0.1
        gaps += [
            Gap(
                what="an erasure left the key in a location",
                subject=residual.location,
                hint=hint,
                fact=points.tracer.fact(proof, residual.location, f"/{field}/{index}/why"),
            )
            for index, residual in enumerate(erasure.residuals)
            if not residual.is_other
        ]
    return tuple(gaps)


def _impact_assessment(points: _Points) -> Iterable[Point]:
    measured = points.tracer.measured
    columns = _columns(points)
    yield Point(
        id="article-35.7.a",
        section="GDPR, Article 35(7)(a)",
        title="The processing and its purposes",
        facts=(*points.declared({"Purpose": "record.purpose", "Recipients": "record.recipients"}), *columns.facts),
        gaps=(*points.undeclared("record.purpose"), *columns.gaps),
    )
    proposed = measured("ablation.useless", sliced=True)
    yield Point(
        id="article-35.7.b",
        section="GDPR, Article 35(7)(b)",
        title="Necessity and proportion",
        statements=("Columns whose removal costs nothing are listed with their interval.",) if proposed else (),
        facts=points.declared({"Necessity": "record.necessity"}),
        figures=(*proposed, *_cost_of(points.tracer, proposed)),
        gaps=(
            *points.undeclared("record.necessity"),
            *points.unmeasured(("ablation",), "what each column contributes", EVALUATE, plugins=("ablation",)),
        ),
    )
    yield Point(
        id="article-35.7.c",
        section="GDPR, Article 35(7)(c)",
        title="Risks to people",
        facts=_declared_privacy(points),
        figures=(*measured(*PRIVACY), *measured(*PEOPLE), *measured(*EXTRACTION)),
        gaps=(
            *points.unmeasured(PRIVACY, "what answers reveal of the training rows", EVALUATE, plugins=("membership",)),
            *points.unmeasured(
                PEOPLE, "the difference between groups of people", "[data] sensitive_features", plugins=("bias",)
            ),
        ),
    )
    facts, figures = _erased(points)
    yield Point(
        id="article-35.7.d",
        section="GDPR, Article 35(7)(d)",
        title="Measures against the risks",
        statements=("Rows of a person are erased on request, with a signed proof of where was searched.",),
        facts=(
            *points.declared(
                {
                    "Dropped": "personal.drop",
                    "Replaced by a hash": "personal.hash",
                    "Retention of the log": "personal.retention",
                    "Human oversight": "record.oversight",
                }
            ),
            *facts,
        ),
        figures=figures,
        gaps=(*points.undeclared("personal.retention", "record.oversight"), *_not_erased(points)),
    )


def _access(points: _Points) -> Iterable[Point]:
    yield Point(
        id="article-15-gdpr.1",
        section="GDPR, Article 15(1)",
        title="Information for a person who asks",
        statements=("What is kept of one key is written by headway access; the points here go with it.",),
        facts=points.declared(
            {
                "Purpose": "record.purpose",
                "Recipient": "record.recipients",
                "Retention of the log": "personal.retention",
                "Rights": "record.rights",
                "Source of the data": "provenance.made_from",
                "Transfers": "record.transfers",
                "Human oversight": "record.oversight",
            }
        ),
        gaps=points.undeclared(
            "record.purpose", "record.recipients", "personal.retention", "record.rights", "provenance.made_from"
        ),
    )
