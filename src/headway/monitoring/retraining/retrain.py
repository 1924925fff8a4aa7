"""Retrain the live release on all labeled rows, and judge it against live on days that neither was trained on.

Each training and the outcome are saved as soon as they are done: a run that was killed is resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core import plugins
from headway.core.answering import decide
from headway.core.arrays import Bools, Floats, Ints
from headway.core.config import FILE
from headway.core.contracts import Engine
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.evidence import Evidence, Finding, Measurement
from headway.core.feature_view import FeatureView
from headway.core.monitoring import BrokenInput, MonitoringReport, Ticket
from headway.core.record import canonical, digest_of
from headway.core.search_result import Baseline, SearchResult
from headway.core.selective import AnswerPlan
from headway.core.training import Retraining, Training, TrainingTask
from headway.core.variant import Step, Variant
from headway.core.verdict import RELATIVE, EvaluatedVariant, Rule, Verdict
from headway.core.workers import Compute, here
from headway.data import matrix
from headway.data.contract.discovery import observed_contract
from headway.data.provenance.fingerprint import table_digest
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.policy import PolicySection
from headway.data.split import labeled_rows, select_period
from headway.evaluation.answer_plan import LabeledAnswers, make_plan, measure_answers, require_decidable
from headway.evaluation.comparison import dependent_groups, open_variant, record_self_test
from headway.evaluation.context import Comparison
from headway.evaluation.measure import measure
from headway.evaluation.selective import measure_risk
from headway.evaluation.settings.answer import AnswerSection
from headway.evaluation.statistics.seeds import pool_seeds
from headway.features.rules import views_read
from headway.monitoring.broken_inputs import broken_since_training, require_healthy_inputs
from headway.monitoring.budget import broken_days
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.input_rules import broken_finding
from headway.monitoring.retraining.logged_labels import with_logged_labels
from headway.monitoring.scored_rows import day_numbers, parse_delay, time_expression
from headway.monitoring.settings.retrain import RetrainSection
from headway.optimization import search
from headway.optimization.context import TransformContext
from headway.optimization.importers.models import declared_training_privacy
from headway.optimization.training import TrainingInputs, recipe_digest, train_task, training_digests
from headway.registry.forwarding import find_forwarding
from headway.registry.judge import judge
from headway.registry.project import Project
from headway.registry.provenance import origins
from headway.registry.withdrawals import withdrawn_classes

Callback = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RetrainingData:
    """Rows to train on, and rows held out to judge by; `key` identifies the outcome.

    `dataset` has both. `findings` say what changed of the rows that live was trained on.
    """

    dataset: Dataset
    rows: Dataset
    holdout: Dataset
    until: datetime
    end: datetime
    recipe: str
    key: str
    findings: tuple[Finding, ...] = ()


def prepare_retraining(
    project: Project, deployed: DeployedRelease, dataset: Dataset, until: datetime | None
) -> RetrainingData:
    """Select all rows labeled by a time since the first training began; the last `[retrain] judged_days` are held out.

    Rows are those of the table, and those that people labeled in the logs of all releases (`logged_labels`).

    Rows of days on which an input was broken do not train (`broken_inputs`).

    Raises DataError if live was trained on days that would be held out, since there is nothing new to judge by, and if
    an input is out of its range on a held-out day: there the model that learned the broken feed would look better.
    """
    require_decidable(project.config)
    labeled, drawn, unread = with_logged_labels(project, deployed, dataset)
    rows, end = rows_labeled_by(project, labeled, until)
    since = end - timedelta(days=project.config[RetrainSection].judged_days)
    if since < deployed.trained_until:
        raise DataError(
            f"the last labeled days begin at {since:%F}, but the live release was trained on days up to "
            f"{deployed.trained_until:%F}",
            where=f"{FILE} [retrain] judged_days",
            hint="wait for more labels",
        )
    begin = datetime.fromisoformat(deployed.training.since)
    judged, _ = (rows, end) if drawn is labeled else rows_labeled_by(project, drawn, until)
    holdout = select_period(judged, since, end, name=f"{since:%Y-%m-%d} to {end:%Y-%m-%d}")
    broken = require_healthy_days(project, deployed, labeled, holdout, end)
    learned, left_out = _without_broken_days(select_period(rows, begin, since, name="train"), broken)
    code = recipe_digest(project.config)
    rules = [str(rule) for rule in promotion_rules(project.config[PolicySection]).release]
    digests = (deployed.digest, table_digest(learned.table), table_digest(holdout.table))
    key = outcome_key("retrain", *digests, code, project.config[RetrainSection].seeds, rules)
    found = (*unread, *left_out, *_changed_training_rows(project, deployed, labeled))
    if labeled is not dataset:
        labeled = replace_dataclass(labeled, digest=table_digest(labeled.table))
    return RetrainingData(
        dataset=labeled, rows=learned, holdout=holdout, until=since, end=end, recipe=code, key=key, findings=found
    )


def require_healthy_days(
    project: Project, deployed: DeployedRelease, dataset: Dataset, judged: Dataset, until: datetime
) -> list[BrokenInput]:
    """Return the broken inputs of a table up to a time; raise DataError if one is on a day of the judged rows."""
    reports = project.records(MonitoringReport)
    accepted = project.config[RetrainSection].accept_out_of_range
    broken = broken_since_training(deployed, dataset, reports, until=until)
    broken = [entry for entry in broken if entry.column not in accepted]
    require_healthy_inputs(np.unique(_days(judged)), broken)
    return broken


def _without_broken_days(rows: Dataset, broken: Sequence[BrokenInput]) -> tuple[Dataset, list[Finding]]:
    """Return the rows of days without a broken input, and a finding for each input that left out days."""
    days = frozenset(_days(rows).tolist())
    left_out = [entry for entry in broken if days & broken_days([entry])]
    if not left_out:
        return rows, []
    is_healthy = ~np.isin(_days(rows), list(broken_days(left_out)))
    findings = [
        replace(broken_finding(entry), message=f"{entry.message}; these days do not train", hint="repair the feed")
        for entry in left_out
    ]
    return replace_dataclass(rows, table=rows.table.filter(pl.Series(is_healthy))), findings


def _days(rows: Dataset) -> Ints:
    return day_numbers(rows.table.select(time_expression(rows)).to_series().to_numpy())


def _changed_training_rows(project: Project, deployed: DeployedRelease, dataset: Dataset) -> tuple[Finding, ...]:
    """Return a finding (D065) if the rows that live was trained on have changed."""
    if not deployed.training.n_rows:
        return ()
    since, until = (datetime.fromisoformat(text) for text in (deployed.training.since, deployed.training.until))
    try:
        then = select_period(dataset, since, until, name="train")
    except DataError as error:
        message = f"the rows that live was trained on are gone: {error.what}"
        return (Finding(code="D065", severity="warn", message=message, where=error.where, hint="restore them"),)
    if table_digest(labeled_rows(then).table) == deployed.training.dataset:
        return ()
    found = origins.changed_rows(project, then, deployed.training.dataset)
    return (found,) if found else ()


def retrain(
    project: Project,
    deployed: DeployedRelease,
    data: RetrainingData,
    *,
    ticket: Ticket | None = None,
    compute: Callable[[], Compute] = here,
    callback: Callback = lambda _: None,
) -> Retraining:
    """Retrain the live release with the same steps, and judge it against live; no pointer moves.

    The first seed is the one to release; the others show how much is chance. `compute` opens the workers that train, if
    there is anything to train. Raises DataError if a check of the data says stop, ConfigError if more than one seed is
    configured and the training function takes none.
    """
    done = find_outcome(project, data.key)
    if done:
        return done
    for finding in data.findings:
        callback(f"{finding.severity} {finding.code}: {finding.message}; {finding.hint}")
    began = time.perf_counter()
    origins.save_versions(project, {"train": data.rows, "test": data.holdout}, code=data.recipe)
    trainings = _trainings(project, deployed, data, compute, callback)
    callback("evaluate against live")
    result = _search_result(project, deployed, data, trainings)
    found = Retraining(
        name=project.name,
        key=data.key,
        live=deployed.digest,
        search_result=result,
        ticket=ticket,
        trainings=len(trainings),
        seconds=time.perf_counter() - began,
        message=_outcome_message(result.winner.verdict, trainings) + _coverage_message(result.winner.evidence),
        findings=data.findings,
    )
    project.save(found)
    return found


def find_outcome(project: Project, key: str) -> Retraining | None:
    """Return the last saved outcome with this key."""
    stored = reversed(project.records(Retraining))
    return next((retraining for retraining in stored if retraining.key == key), None)


def _trainings(
    project: Project,
    deployed: DeployedRelease,
    data: RetrainingData,
    compute: Callable[[], Compute],
    callback: Callback,
) -> list[Training]:
    """Return a training for each seed: the saved one if there is one, else a new one, which is saved."""
    count, dataset = project.config[RetrainSection].seeds, table_digest(data.rows.table)
    seeds: list[int | None] = list(range(count)) if count > 1 else [None]
    found: dict[int | None, Training] = {}
    for stored in project.records(Training):
        if (stored.dataset, stored.recipe) == (dataset, data.recipe):
            found.setdefault(stored.seed, stored)
    missing, names = [seed for seed in seeds if seed not in found], deployed.release.variant.signature.names

    def tasks() -> Iterator[TrainingTask]:
        for seed in missing:
            callback(f"train {seeds.index(seed) + 1}/{len(seeds)} on {len(data.rows.table):,} rows")
            yield TrainingTask(features=names, seed=seed)

    if missing:
        inputs = TrainingInputs.of(project.config, data.rows, names)
        with compute() as workers:
            for number, trained in workers.map(train_task, inputs, tasks()):
                found[missing[number]] = Training(
                    dataset=dataset,
                    recipe=data.recipe,
                    model=trained.save(project.blobs),
                    since=deployed.training.since,
                    until=data.until.isoformat(),
                    judged_since=data.until.isoformat(),
                    judged_until=data.end.isoformat(),
                    n_rows=len(data.rows.table),
                    seconds=trained.seconds,
                    seed=missing[number],
                )
                project.save(found[missing[number]])
    return [found[seed] for seed in seeds]


def _search_result(
    project: Project, deployed: DeployedRelease, data: RetrainingData, trainings: list[Training]
) -> SearchResult:
    holdout = make_holdout(deployed, data.holdout)
    first, *others = (training.model for training in trainings)
    shipped = _with_steps_of(project, deployed.release.variant, first, holdout)
    policy = promotion_rules(project.config[PolicySection])
    of_others = [_evidence(project, holdout, model) for model in others]
    subject = holdout.subject(shipped, open_variant(shipped, project.blobs))
    answers = certify_answers(project, holdout, subject)
    found = {
        variant.digest: pool_seeds([_evidence(project, holdout, variant), *of_others])
        for variant in ([first] if shipped.digest == first.digest else [first, shipped])
    }
    evidence = answers.added_to(found[shipped.digest])
    declared = declared_training_privacy(project.config[ModelSection])
    found[shipped.digest] = replace(evidence, findings=(*evidence.findings, *declared))
    rows = [
        judge_against_live(project, variant, found[variant.digest], policy)
        for variant in ([first] if shipped.digest == first.digest else [first, shipped])
    ]
    baseline = Baseline(
        model=first,
        training=training_digests(project.config, data.rows),
        threshold=deployed.release.threshold,
        threshold_rule=deployed.release.threshold_rule,
        data={"train": trainings[0].dataset, "test": holdout.digest},
        views=_views(deployed, data, first),
        contract=observed_contract(
            matrix.matrix(data.rows.table, first.signature),
            first.signature,
            margin=project.config[PolicySection].contract_margin,
        ),
    )
    return SearchResult(
        name=project.name,
        baseline=baseline,
        evaluated=(rows[0],),
        winner=rows[-1],
        self_test=record_self_test(shipped, subject.rows, project.blobs),
        answers=answers.plan,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _views(deployed: DeployedRelease, data: RetrainingData, model: Variant) -> tuple[FeatureView, ...]:
    """Return the views of a retrained release: those joined to its rows, and those of live without a definition."""
    undefined = tuple(view for view in deployed.release.views if not view.features)
    return (*undefined, *views_read(data.rows.views, model.signature.names))


def _evidence(project: Project, holdout: HoldoutSet, variant: Variant) -> Evidence:
    return holdout.measure(holdout.subject(variant, open_variant(variant, project.blobs)))


def _with_steps_of(project: Project, live: Variant, model: Variant, holdout: HoldoutSet) -> Variant:
    """Apply the steps and settings of live to the new model; return it unchanged if they no longer apply."""
    rows = holdout.subject(model, open_variant(model, project.blobs)).rows
    steps = [step.transform for step in _steps(live) if step.transform in plugins.names("transform")]
    made = (
        search.generate_candidates(model, TransformContext(blobs=project.blobs, sample=rows), steps) if steps else None
    )
    same_form = (variant for variant in (made.variants if made else ()) if _form(variant) == _form(live))
    return next(same_form, model)


def _form(variant: Variant) -> tuple[object, ...]:
    return variant.engine, _steps(variant), variant.settings


def _steps(variant: Variant) -> list[Step]:
    """Return the steps without that of features that were left out, which the new model was not trained on."""
    return [step for step in variant.steps if step.transform != search.WITHOUT]


def _coverage_message(evidence: Evidence) -> str:
    """Return which share of the held-out messages the new model and live answer alone; empty without a certificate."""
    new, live = evidence.find("answer.coverage"), evidence.find("answer.live_coverage")
    if new is None or live is None:
        return ""
    return (
        f"; by its new certificate it answers {new.value:.1%} [{new.low:.1%}, {new.high:.1%}] of {new.n_rows:,} rows "
        f"held out alone, live answers {live.value:.1%} [{live.low:.1%}, {live.high:.1%}] now"
    )


def _outcome_message(verdict: Verdict, trainings: list[Training]) -> str:
    first = trainings[0]
    seconds = sum(training.seconds for training in trainings)
    seeds = f"{len(trainings)} seeds" if len(trainings) > 1 else "one training"
    unmet = "; ".join(result.message for result in verdict.rule_results if result.answer != "pass")
    return (
        f"retrained on {first.n_rows:,} rows before {first.until[:10]} ({seeds}, {seconds:.1f} s): "
        + ("shown to be better than live" if not unmet else f"{verdict.answer} against live: {unmet}")
        + f", on days from {first.judged_since[:10]} that neither was trained on"
    )


EXCLUDED_METRICS = ("latency", "floor")
NO_WORSE = Rule(measure="brier.drop", at_most=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HoldoutSet:
    """Labeled rows held out of training, with the predictions of the live release on them, float64 [n, 1]."""

    dataset: Dataset
    digest: str
    deployed: DeployedRelease
    scores: Floats

    def subject(self, variant: Variant, model: Engine, *, scores: Floats | None = None) -> Comparison:
        """Pair a variant with live; its predictions [n, 1] are those of its model, unless given."""
        rows = matrix.matrix(self.dataset.table, variant.signature)
        return Comparison(
            variant=variant,
            model=model,
            reference=self.deployed.model,
            rows=rows,
            labels=matrix.target_values(self.dataset),
            scores=model.predict(rows) if scores is None else scores,
            reference_scores=self.scores,
            groups=dependent_groups(self.dataset, rows, variant.signature),
            slices=matrix.slice_columns(self.dataset),
            threshold=self.deployed.release.threshold,
            weights=matrix.sample_weights(self.dataset),
            query_ids=matrix.query_codes(self.dataset),
            sensitive_features=matrix.sensitive_columns(self.dataset),
        )

    def measure(self, subject: Comparison) -> Evidence:
        """Measure every metric but those of speed, with live as the reference."""
        names = [name for name in plugins.names("metric") if name not in EXCLUDED_METRICS]
        found = measure(subject, names, dataset_digest=self.digest, period=self.dataset.name)
        return replace(found, reference=self.deployed.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedAnswers:
    """Plan of a release that replaces another, with what was measured of it and of live; no plan: all rows."""

    plan: AnswerPlan | None = None
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()

    def added_to(self, evidence: Evidence) -> Evidence:
        """Return evidence with these measurements and findings."""
        return replace(
            evidence,
            measurements=(*evidence.measurements, *self.measurements),
            findings=(*evidence.findings, *self.findings),
        )


def certify_answers(project: Project, holdout: HoldoutSet, subject: Comparison) -> CertifiedAnswers:
    """Choose what a new model answers alone on the earlier half of the held-out groups, and certify it on the later.

    Without `[answer] limit` it answers every row. If nothing is certified it answers none.
    """
    section, live = project.config[AnswerSection], holdout.deployed.release
    if not section.limit:
        return CertifiedAnswers()
    answers, digest = LabeledAnswers.of(subject), ""
    if section.forwarded_by:
        device = find_forwarding(project.registry, section)
        answers, digest = device.behind(answers, holdout.dataset), device.digest
    later = _is_later(subject.groups)
    chosen, tested = (answers.subset(part) for part in (~later, later))
    if not len(chosen.labels):
        raise DataError(
            "one group of held-out rows cannot both choose and certify what the model answers alone",
            where=f"{FILE} [retrain] judged_days",
            hint="hold out more days",
        )
    plan = replace(make_plan(chosen, tested, section), forwarded_by=digest)
    measured, findings = measure_answers(plan, chosen.without_device(), tested.without_device(), section)
    found = CertifiedAnswers(plan=plan, measurements=tuple(measured), findings=tuple(findings))
    if live.answers is None:
        return found
    withdrawn = withdrawn_classes(project.state, live.answers, name=project.name, digest=holdout.deployed.digest)
    now = decide(
        live.answers, answers.classes, holdout.scores[later], threshold=live.threshold, withdrawn=withdrawn
    ).is_answered
    coverage, _ = measure_risk(now, np.zeros(len(now)), groups=tested.groups, level=section.level)
    return replace_dataclass(found, measurements=(*found.measurements, replace(coverage, name="answer.live_coverage")))


def _is_later(groups: Ints) -> Bools:
    """Return which rows are of the later half of the groups, by the first row of each."""
    _, first, index = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    later: Bools = rank[index] >= len(first) // 2
    return later


def make_holdout(deployed: DeployedRelease, rows: Dataset) -> HoldoutSet:
    """Return labeled rows as a holdout set, with the predictions of live."""
    inputs = matrix.matrix(rows.table, deployed.release.variant.signature)
    return HoldoutSet(dataset=rows, digest=table_digest(rows.table), deployed=deployed, scores=deployed.predict(inputs))


def promotion_rules(policy: PolicySection) -> PolicySection:
    """Return the policy with the rules that a release must meet to replace live.

    These are `[[policy.retrain]]`, or the relative rules of a release with live as the baseline, and a Brier score
    shown to be no worse. Rules on single predictions are left out, since a model trained on more data answers
    differently. Absolute rules are left out, since live may break them as well, and a better release should not be held
    back.
    """
    own = tuple(rule for rule in policy.release if rule.relative and not rule.measure.endswith(RELATIVE))
    rules = policy.retrain or (NO_WORSE, *(rule for rule in own if rule.measure != NO_WORSE.measure))
    return replace(policy, release=rules)


def recalibration_rules(policy: PolicySection) -> PolicySection:
    """Return the promotion rules that a shift can affect: it keeps ranks within a day, so none on ROC AUC."""
    rules = promotion_rules(policy)
    return replace(rules, release=tuple(rule for rule in rules.release if "roc_auc" not in rule.measure))


def judge_against_live(
    project: Project, variant: Variant, evidence: Evidence, policy: PolicySection
) -> EvaluatedVariant:
    """Judge evidence against live, and save evidence and verdict."""
    verdict = judge(evidence, policy)
    project.save(evidence)
    project.save(verdict)
    return EvaluatedVariant(variant=variant, evidence=evidence, verdict=verdict)


def rows_labeled_by(project: Project, dataset: Dataset, until: datetime | None) -> tuple[Dataset, datetime]:
    """Return the rows whose label had arrived by a time, or all labeled rows; and the exclusive end of those rows."""
    time, delay = time_expression(dataset), parse_delay(project.config[DataSection].label_delay)
    labeled = dataset.table.filter(pl.col(dataset.roles.target).is_not_null())
    last = labeled.select(time.max()).item()
    if last is None:
        raise DataError("no row has a label", where=dataset.name, hint="headway labels add")
    end = min(until - delay, last) if until else last
    all_labeled = Dataset(name=dataset.name, table=labeled, roles=dataset.roles, views=dataset.views)
    end += timedelta(microseconds=1)
    return select_period(all_labeled, datetime.min, end, name=dataset.name), end


def outcome_key(*parts: str | int | Sequence[str]) -> str:
    """Return the digest of everything that determines an outcome."""
    return digest_of(canonical(parts))
