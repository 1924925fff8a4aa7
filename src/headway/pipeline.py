"""The product in one page: check -> train -> optimize -> evaluate -> release -> serve -> monitor -> retrain.

Each step takes a project and records, and returns a record. What it measured is saved in the project's store.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import polars as pl
from msgspec.structs import replace as replaced

from headway.batch import predict as scoring
from headway.batch.compute import open_workers
from headway.batch.journal import Receipt
from headway.batch.scorer import Progress
from headway.batch.settings.compute import ComputeSection
from headway.core import plugins
from headway.core.approval import ApprovalOutcome
from headway.core.arrays import Floats, Ints
from headway.core.comparison import PointComparison
from headway.core.config import Config
from headway.core.contracts import Engine, LabeledData
from headway.core.dataset import Dataset
from headway.core.erasure import Erasure
from headway.core.errors import ConfigError, DataError, HeadwayError, NotApplicable, StoreError
from headway.core.evidence import AS_CALLED, CALLS, TRAINING_ROWS, Evidence, Finding, Measurement
from headway.core.feature_report import FeatureReport
from headway.core.monitoring import KeyProbing, MonitoringReport, ProbingReport, RowSource, Ticket
from headway.core.plan import Demand, DeploymentPlan, NetworkTimes, Prices, ServiceTimes
from headway.core.provenance import TrainingDigests
from headway.core.search_result import Baseline, SearchResult
from headway.core.selective import CertificateAudit, SelectiveCertificate
from headway.core.training import Promotion, Retraining
from headway.core.value_replay import ValueReplay
from headway.core.variant import LIBRARY_THRESHOLD, ThresholdRule, Variant
from headway.core.verdict import LIVE, SLICES, EvaluatedVariant, PolicyTest
from headway.data import check as checking
from headway.data.checks.split.duplicates import copy_findings, count_copies, match_rows, row_hashes
from headway.data.contract.discovery import columns_read, observed_contract
from headway.data.matrix import matrix, sample_weights, target_values
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.policy import PolicySection
from headway.data.settings.provenance import ProvenanceSection
from headway.data.settings.split import SplitSection
from headway.data.split import labeled_rows, months_of, split_dataset
from headway.data.texts import text_columns
from headway.deployment.plan.demand import demand_of_log
from headway.deployment.plan.plan import plan_deployment
from headway.deployment.plan.search import PlanInputs, PlanVariant
from headway.evaluation import explore_answers
from headway.evaluation.answer_plan import LabeledAnswers, make_plan, measure_answers, require_decidable
from headway.evaluation.audit_context import (
    SavedShadows,
    build_audit_context,
    load_training_data,
    retrained_by,
    share_audits,
)
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.candidate_privacy import audit_candidates, candidate_context, select_results
from headway.evaluation.comparison import (
    EvaluationSet,
    build_evaluation_set,
    compare_with_baseline,
    library_decisions,
    open_variant,
    record_self_test,
    require_probabilities_of,
)
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.explore import MAX_ROWS, tables_file
from headway.evaluation.feature_worth import Ablation, measure_worth
from headway.evaluation.learning_curves.curve import ProjectCurve
from headway.evaluation.machine_load import BUSY, wait_until_quiet
from headway.evaluation.measure import Audits, measure, run_audits, with_more, with_results
from headway.evaluation.point_comparison import OpenedModel
from headway.evaluation.point_comparison import compare_models as compare_opened
from headway.evaluation.reference_model import floor_rows
from headway.evaluation.selective import certify_threshold
from headway.evaluation.service_times import measure_service_times
from headway.evaluation.settings.answer import AnswerSection
from headway.evaluation.settings.cost import CostSection
from headway.evaluation.settings.evaluate import EvaluateSection
from headway.evaluation.statistics.intervals import MIN_GROUPS, exact_measurement
from headway.evaluation.threshold import choose_threshold, library_threshold
from headway.evaluation.variant_tasks import TIMED, VariantMeter
from headway.features.join import open_with_views, view_digests
from headway.features.rules import inputs_through, views_read
from headway.monitoring import certificate, completion, feature_values, monitor, probing
from headway.monitoring.assessment import assess as assessing
from headway.monitoring.assessment.assess import AssessmentResult, check_context
from headway.monitoring.assessment.history import open_assessed_dataset
from headway.monitoring.broken_inputs import broken_since_training
from headway.monitoring.budget import Budget, broken_days, day_number, recorded_inputs
from headway.monitoring.deployed_release import DeployedRelease, open_deployed_release, pending_ticket
from headway.monitoring.erasure import access as accessing
from headway.monitoring.erasure import erase as erasing
from headway.monitoring.erasure.access import AccessExport
from headway.monitoring.erasure.erase import ErasureRequest
from headway.monitoring.external_scores import open_scores
from headway.monitoring.prediction_log import read_predictions
from headway.monitoring.retraining import promotion, recalibration
from headway.monitoring.retraining import retrain as retraining
from headway.monitoring.scored_rows import score_rows
from headway.monitoring.settings.retrain import RetrainSection
from headway.monitoring.status import with_broken_inputs
from headway.monitoring.windows import monitoring_windows
from headway.optimization import search, training
from headway.optimization.context import Refit, TransformContext
from headway.optimization.importers import models as importing
from headway.optimization.screening import (
    EVALUATION,
    LEFT_OUT,
    VERDICT,
    TimeBudget,
    answers_of,
    failed_candidate,
    left_out,
    screen_candidates,
    screened_out,
)
from headway.optimization.settings.optimize import OptimizeSection
from headway.registry import judge as judging
from headway.registry import searches
from headway.registry.bundle import Bundle, open_release
from headway.registry.candidate import read_candidate
from headway.registry.default_policy import release_policy
from headway.registry.forwarding import find_forwarding
from headway.registry.live import JudgedChange, compare_with_live, find_main_release
from headway.registry.policy_tests import run_policy_tests
from headway.registry.project import LIVE_POINTER, LiveRelease, Project, find_live
from headway.registry.provenance import lineage, origins
from headway.registry.publish import PublishedRelease, release_winner
from headway.serving import process
from headway.serving.auth.keys import keys_file, read_keys, throttle_key
from headway.serving.auth.shared_keys import keys_of_all_servers
from headway.serving.settings.serve import ServeSection
from headway.serving.settings.slo import SloSection
from headway.serving.temporary_server import temporary_server

Data = Mapping[str, Dataset]
Callback = Callable[[str], object]
TEST = "test"
WATCH_WAIT_S = 600.0
MeasureCalls = Callable[[SearchResult], Sequence[Measurement | NotApplicable]]
QUIET_TIMEOUT_S, KINDS_OF_CALLS = 600, 2
OF_WINNER = ("discovered", "floor")
"""Metrics computed only for the winner of a search, unless a rule needs them."""
_PRIVACY_SHARE, _PRIVACY_AUDITS = 0.3, 3
"""Attacks on the candidates of a search: their share of its budget, and their time limit in audits of a winner."""
_TIMED_CALLS = 3
_MAX_COPIES = 0.1
"""Share of the rows of `test` from which copies of training rows leave absolute rules undecided."""
_MARGIN = 1.25  # of the predicted duration of the verdict on `test`


def periods(project: Project) -> Data:
    """Load the project's data and split it into train, validation, test and live.

    The features of `[features] views` are columns like others, as they were known at each decision. A model from a file
    needs no train period.
    """
    dataset = open_with_views(project.config, project.state)
    return split_dataset(dataset, project.config[SplitSection], fitted=bool(project.config[ModelSection].file))


def check(project: Project, dataset: Dataset) -> list[Finding]:
    """Run every data check on the rows of a project, with the features of its views.

    Returns
    -------
    list of Finding
        What the checks found. A check that could not run is a finding of its own.
    """
    joined = open_with_views(project.config, project.state, opened=dataset)
    return checking.run_checks(check_context(project, joined))


def assess(project: Project, dataset: Dataset, *, who: str) -> AssessmentResult:
    """Run every check and save the result as an assessment, or return the last one if the data did not change.

    A new assessment is opened for another source, other columns, shifted distributions or other settings.

    Parameters
    ----------
    who : str
        Name of the person, for the record.
    """
    return assessing.assess(project, dataset, who=who)


def train(project: Project, data: Data, *, features: Sequence[str] = (), trust: bool | str = False) -> Baseline:
    """Fit the baseline on `train` and take its decision threshold on `validation`.

    Without `[model] costs` the model's own `predict` decides; with them the threshold minimizes the expected cost of
    decisions. A training function that takes a `curve` has its learning curve recorded; evaluations on `validation` are
    not counted.

    Parameters
    ----------
    features : sequence of str
        Columns to train on; all features if empty.
    trust : bool or str
        Whether to open a model file that can run code.

    Raises
    ------
    DataError
        If a feature is known only after the outcome.
    """
    config = project.config
    training.require_model(config)
    if config[ModelSection].file:
        return import_model(project, importing.open_model_file(training.model_path(config), trust=trust), data)
    began = time.perf_counter()
    curve = ProjectCurve(data["train"], data["validation"])
    found: list[Finding] = []
    model = training.train_model(
        config, data["train"], project.blobs, features=features, curve=curve.begin, on_import=found.extend
    )
    seconds = time.perf_counter() - began - curve.spent
    made_with = training.training_digests(config, data["train"])
    baseline = _baseline(project, model, data, findings=tuple(found), made_with=made_with)
    if (seen := curve.record()) is not None:
        project.save(replaced(seen, recipe=training.recipe_digest(config)))
    if config[DataSection].time:
        project.save(training.training_record(project.config, baseline, data, seconds))
    return baseline


def import_model(project: Project, model: object, data: Data) -> Baseline:
    """Import a model that was fitted elsewhere as the baseline, and take its decision threshold.

    Parameters
    ----------
    model : estimator or ModelFile
        Fitted model.
    """
    all_rows = replace(data["validation"], table=pl.concat([period.table for period in data.values()]))
    limits = importing.ImportLimits(
        timeout_s=project.config[ModelSection].import_timeout_s, memory_mb=project.config[ModelSection].import_memory_mb
    )
    imported = importing.import_fitted_model(model, limits=limits)
    variant = importing.import_baseline(imported, all_rows, project.blobs)
    held_out = [labeled_rows(period).table for name, period in data.items() if name != "train"]
    findings = (*imported.findings, *_seen_rows(project, variant, held_out))
    baseline = _baseline(project, variant, data, findings=findings)
    time_column = project.config[DataSection].time
    if "test" in data and time_column and all_rows.table.schema[time_column].is_temporal():
        project.save(training.imported_training(project.config, baseline, data))
    return baseline


def optimize(
    project: Project,
    baseline: Baseline,
    data: Data,
    *,
    budget: TimeBudget | None = None,
    measure_calls: MeasureCalls | None = None,
    refit: Refit | None = None,
    callback: Callback = lambda _: None,
) -> SearchResult:
    """Search for the fastest variant that the policy allows.

    Variants are evaluated on `validation`; the fastest feasible one is then evaluated on `test`, and each evaluation on
    `test` is counted. A variant that can no longer win is only screened. The budget holds for all of that: forms that
    keep the answers come first, a step that would not end in time is left out, and the time to judge the winner on
    `test` is reserved.

    Parameters
    ----------
    budget : TimeBudget, optional
        Time budget that has begun already; by default one of `[optimize] budget_s` that begins now.
    measure_calls : callable, optional
        Measures the winner against the user's own object, both called as the user calls it, once the winner is known.
    refit : callable, optional
        Trains the baseline on some of the rows of `train`, where the project has no training function.
    callback : callable
        Called with a line of text for each step of the search.

    Returns
    -------
    SearchResult
        All variants with their evidence, and the winner; the baseline wins if no variant is better.
    """
    require_decidable(project.config)
    config = project.config[OptimizeSection]
    budget = budget or TimeBudget(config.budget_s)
    _wait_quiet(project, budget, callback)
    validation = _evaluation_set(project, baseline, data["validation"], timing_s=budget.timing_s)
    require_probabilities_of(baseline, validation.reference_scores)
    test = _test_set(project, baseline, data, validation=lambda: validation, reference=validation.reference)
    metrics = _metrics(project)
    if validation.timed and len(validation.rows):
        validation.timed()  # opens the baseline on other numbers of threads: once, so it predicts no evaluation
    with budget.timed(EVALUATION):
        evaluated_baseline = evaluate(project, baseline.model, validation, metrics=metrics)
    budget.is_busy = any(finding.code == BUSY for finding in evaluated_baseline.evidence.findings)
    verdict_s = _seconds_of_verdict(budget, validation, test) + KINDS_OF_CALLS * budget.timing_s
    is_private = _asks_for_privacy(project.config)
    budget.reserve(verdict_s + (_PRIVACY_SHARE * budget.budget_s if is_private else 0))
    transform_context = _transform_context(
        project,
        baseline,
        validation,
        data,
        without=_features_of(config.without, baseline, where="without"),
        refit=refit,
    )
    candidates = search.CandidateGenerator(
        baseline.model,
        transform_context,
        config.transforms,
        budget=budget,
        answers=_answer_time(validation),
    )
    with open_workers(project.config, alone=True) as workers:
        meter = VariantMeter(
            baseline=baseline,
            period=data["validation"],
            evaluation_set=validation,
            blobs=project.blobs,
            workers=workers,
        )
        screened = screen_candidates(
            evaluated_baseline,
            candidates.batches(),
            config.objective,
            measure_speed=partial(_measured, project, meter),
            evaluate=partial(_measured, project, meter, metrics=metrics),
            budget=budget,
            callback=callback,
        )
    if is_private:
        budget.reserve(verdict_s)
        screened = _with_privacy(project, baseline, screened, validation, data, transform_context, budget, callback)
    judged = [row for row in screened if not screened_out(row)]
    timed = {row.variant.digest for row in screened}
    untimed = [variant for variant in candidates.variants if variant.digest not in timed]
    not_screened = {variant.name: f"too little of {budget} was left to measure its speed" for variant in untimed}
    late = sum(map(left_out, screened)) + sum(finding.code == LEFT_OUT for finding in candidates.refusals)

    def result_of(rows: Sequence[EvaluatedVariant], slower: dict[str, str] | None = None) -> SearchResult:
        winner, not_judged, failed = _winner(project, rows, test, budget)
        reasons = search.explain_losses(screened, winner.variant, config.objective) | not_screened
        result = SearchResult(
            name=project.name,
            baseline=baseline,
            evaluated=tuple(judged),
            screened_out=tuple(row for row in screened if screened_out(row)),
            winner=winner,
            reasons=reasons | not_judged | failed | (slower or {}),
            refusals=candidates.refusals,
            self_test=record_self_test(
                winner.variant, validation.rows, project.blobs, names=baseline.model.signature.names
            ),
            at=datetime.now(UTC).isoformat(timespec="microseconds"),
            budget_s=budget.budget_s,
            seconds=round(budget.elapsed_s, 3),
            n_left_out=len(untimed) + len(not_judged) + late,
        )
        return _with_answers(project, result, validation, test)

    result = result_of(judged)
    _wait_quiet(project, budget, callback)
    calls = _calls_of(project, result, measure_calls)
    if search.wins_by_speed(judged, result.winner.variant, config.objective) and (ratio := _slower_as_called(calls)):
        why = f"slower than the model as called: x {ratio.value:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]"
        result = result_of([evaluated_baseline], {result.winner.variant.name: why})
        calls = _calls_of(project, result, measure_calls)
    result = replaced(result, winner=_with_calls(project, result.winner, calls))
    searches.save_search(project, result)
    return result


def _calls_of(
    project: Project, result: SearchResult, measure_calls: MeasureCalls | None
) -> Sequence[Measurement | NotApplicable]:
    """Time the winner as the user calls it, if it is another variant than the baseline or a rule asks for it."""
    has_rule = any(rule.measure.startswith(CALLS) for rule in project.config[PolicySection].release)
    if not (result.improved or has_rule):
        return []
    return measure_calls(result) if measure_calls else [_NOT_IN_MEMORY]


def _slower_as_called(calls: Sequence[Measurement | NotApplicable]) -> Measurement | None:
    """Return the ratio that shows a winner to be slower than the user's own call: by the clock, else of CPU time."""
    ratios = {ratio.name: ratio for ratio in reversed(calls) if isinstance(ratio, Measurement)}
    ratio = ratios.get(AS_CALLED) or ratios.get("cost.cpu_s.as_called.speedup")
    return ratio if ratio and ratio.has_interval and ratio.high < 1 else None


_NOT_IN_MEMORY = NotApplicable(
    "latency.as_called: the user's own model is not in memory, so only engines are compared",
    hint="pass the fitted object in Python: headway.optimize(model, X, y)",
)


def _with_privacy(
    project: Project,
    baseline: Baseline,
    screened: Sequence[EvaluatedVariant],
    validation: EvaluationSet,
    data: Data,
    transform_context: TransformContext,
    budget: TimeBudget,
    callback: Callback,
) -> list[EvaluatedVariant]:
    """Attack the candidates that may win, add what was measured to their evidence, and judge the rules on privacy."""
    config = project.config
    ruled = _private_measures(config)
    feasible = [row for row in screened if not screened_out(row) and judging.feasible(row.verdict)]
    ranked = search.rank_by_objective([screened[0], *feasible], config[OptimizeSection].objective, judging.feasible)
    context = replace(
        build_audit_context(
            config,
            data,
            project.blobs,
            signature=baseline.model.signature,
            judged=data["validation"],
            key_per_s=project.config[ServeSection].key_per_s,
            made_with=baseline.training,
            state=project.state,
        ),
        baseline=baseline.model,
        transform_context=lambda: transform_context,
    )
    found = audit_candidates(
        [row.variant for row in (*ranked, *feasible)],
        lambda variant: compare_with_baseline(variant, validation, project.blobs),
        audits=list(ruled),
        context=candidate_context(context),
        limit_s=min(budget.remaining_s, _PRIVACY_AUDITS * config[EvaluateSection].budget_s),
        budget=budget,
        callback=callback,
    )

    def judged(row: EvaluatedVariant) -> EvaluatedVariant:
        if row is not screened[0] and row not in feasible:
            return row
        evidence = row.evidence
        for name, result in found[answers_of(row.variant)].items():
            evidence = with_results(evidence, select_results(result, ruled=ruled[name]), kind="audit", name=name)
        policy = judging.candidate_policy(release_policy(config[PolicySection], row.variant.task, evidence))
        verdict = judging.judge(evidence, policy, test_evaluations=row.verdict.test_evaluations)
        project.save(evidence)
        project.save(verdict)
        return replaced(row, evidence=evidence, verdict=verdict)

    return [judged(row) for row in screened]


def _private_measures(config: Config) -> dict[str, list[str]]:
    """Return the audits that a search runs on its candidates, each with the measures that rules on privacy need of it.

    Without such a rule it is `membership`.
    """
    rules = [rule.measure.removeprefix(SLICES) for rule in config[PolicySection].release if rule.private]
    found = {}
    for name in plugins.names("audit"):
        own = tuple(plugins.declaration("audit", name, "ON_REQUEST", ()))
        if measures := [rule for rule in rules if rule.startswith(own)]:
            found[name] = measures
    return found or {"membership": []}


def _wait_quiet(project: Project, budget: TimeBudget, callback: Callback) -> None:
    """Wait until other processes leave the cores, if the project asks for it; the budget does not count that."""
    if project.config[OptimizeSection].wait_quiet:
        began = time.monotonic()
        wait_until_quiet(timeout_s=QUIET_TIMEOUT_S, callback=callback)
        budget.exclude(time.monotonic() - began)


def _with_calls(
    project: Project, winner: EvaluatedVariant, calls: Sequence[Measurement | NotApplicable]
) -> EvaluatedVariant:
    """Add measurements of the user's own calls to the winner's evidence, and judge it again."""
    return _judged_again(project, winner, with_results(winner.evidence, calls, kind="call", name="latency"))


def _with_answers(
    project: Project, result: SearchResult, validation: EvaluationSet, test: EvaluationSet
) -> SearchResult:
    """Add the plan of selective answering, chosen on `validation` and certified on `test`, and judge the winner again.

    Without `[answer] limit` the winner answers every row. With `[answer] forwarded_by` it answers rows that a device
    does not, and the certificate is of the answers of both.
    """
    section, winner = project.config[AnswerSection], result.winner
    if not section.limit:
        return result
    chosen, held_out = (
        LabeledAnswers.of(compare_with_baseline(winner.variant, rows, project.blobs)) for rows in (validation, test)
    )
    digest = ""
    if section.forwarded_by:
        device = find_forwarding(project.registry, section)
        chosen, held_out = device.behind(chosen, validation.labeled), device.behind(held_out, test.labeled)
        digest = device.digest
    plan = replaced(make_plan(chosen, held_out, section), forwarded_by=digest)
    measured, findings = measure_answers(plan, chosen.without_device(), held_out.without_device(), section)
    evidence = with_results(winner.evidence, measured, kind="metric", name="answer")
    evidence = replaced(evidence, findings=(*evidence.findings, *findings))
    return replaced(result, winner=_judged_again(project, winner, evidence), answers=plan)


def _judged_again(project: Project, winner: EvaluatedVariant, evidence: Evidence) -> EvaluatedVariant:
    """Judge a winner by evidence with more measurements, and save both."""
    verdict = judging.judge_release(
        evidence,
        project.config[PolicySection],
        task=winner.variant.task,
        live=find_live(project, winner.variant.digest),
        test_evaluations=winner.verdict.test_evaluations,
    )
    project.save(evidence)
    project.save(verdict)
    return replaced(winner, evidence=evidence, verdict=verdict)


def evaluate(
    project: Project,
    variant: Variant,
    evaluation_set: EvaluationSet,
    *,
    view: Dataset | None = None,
    metrics: Sequence[str] = (),
) -> EvaluatedVariant:
    """Measure a variant against the baseline and judge it by the project's policy.

    On `validation` only the relative rules apply, which decide what is feasible; the absolute ones wait for `test`.

    Parameters
    ----------
    view : Dataset, optional
        Other features of the same rows, for a variant that reads them.
    metrics : sequence of str
        Metrics to compute; all but those of speed if empty.
    """
    names = metrics or [name for name in plugins.names("metric") if name not in TIMED]
    subject = compare_with_baseline(variant, evaluation_set, project.blobs, view=view)
    evidence = measure(subject, names, dataset_digest=evaluation_set.dataset, period=evaluation_set.period)
    return _judged(project, variant, evidence, evaluation_set, subject=subject)


def evaluate_model(project: Project, model: object, rows: Dataset) -> EvaluatedVariant:
    """Evaluate a model that was fitted elsewhere on labeled rows, with every metric."""
    baseline = import_model(project, model, {"validation": rows})
    evaluation_set = build_evaluation_set(baseline, rows, project.blobs)
    return evaluate(project, baseline.model, evaluation_set, metrics=plugins.names("metric"))


def compare_models(project: Project, model: object, other: object, rows: Dataset) -> EvaluatedVariant:
    """Compare another model with a model, both fitted elsewhere, on the same labeled rows, and judge the difference."""
    baseline = import_model(project, model, {"validation": rows})
    imported = importing.import_fitted_model(other)
    variant = importing.import_baseline(imported, rows, project.blobs)
    evaluation_set = build_evaluation_set(baseline, rows, project.blobs)
    compared = evaluate(project, variant, evaluation_set, view=rows, metrics=plugins.names("metric"))
    findings = (*compared.evidence.findings, *imported.findings)
    return replaced(compared, evidence=replaced(compared.evidence, findings=findings))


def open_winner(project: Project, result: SearchResult) -> Engine:
    """Open the winner of a search with its engine."""
    return open_variant(result.winner.variant, project.blobs)


def audit_winner(
    project: Project,
    result: SearchResult,
    data: Data,
    *,
    audits: Sequence[str] = (),
    metrics: bool = True,
    callback: Callback = lambda _: None,
) -> SearchResult:
    """Evaluate the winner of a search on `test` with every metric and audit.

    Parameters
    ----------
    audits : sequence of str
        Audits to run; if empty all but those that run on request, with those that are requested.
    metrics : bool
        Measure the metrics again, which counts as one more evaluation of `test`. Otherwise the results of the audits
        are added to the evidence of the winner.
    callback : callable
        Called with a line of text for each audit.

    Raises
    ------
    DataError
        If the rows of `test` are not those that the search was evaluated on.
    """
    validation = cache(lambda: _evaluation_set(project, result.baseline, data["validation"]))
    evaluation_set = _test_set(project, result.baseline, data, validation=validation)
    if evaluation_set.dataset != result.winner.evidence.dataset:
        raise DataError(
            "the rows of test are not those that the last search was judged on",
            where=f"digest {evaluation_set.dataset}, of the search {result.winner.evidence.dataset}",
            hint="headway optimize",
        )
    if metrics:
        project.state.count_evaluation(project.name, evaluation_set.dataset)
    contract = columns_read(result.baseline.contract, result.winner.variant.signature)
    served = partial(temporary_server, project.config, project.blobs, contract, result.self_test)
    context = replace(_audit_context(project, result, data), serve=served)
    subject = compare_with_baseline(result.winner.variant, evaluation_set, project.blobs)
    chosen = Audits(names=audits or _requested_audits(project.config), context=context, callback=callback)
    chosen = replace(chosen, results=_shared_audits(project, subject, chosen, data, made_with=result.baseline.training))
    evidence = measure(
        subject,
        plugins.names("metric") if metrics else (),
        dataset_digest=evaluation_set.dataset,
        period=evaluation_set.period,
        audits=chosen,
    )
    if metrics:
        winner = _judged(project, subject.variant, evidence, evaluation_set, subject=subject)
    else:
        winner = _judged_again(project, result.winner, with_more(result.winner.evidence, evidence))
    found = replaced(result, winner=winner)
    if metrics and project.config[AnswerSection].limit:
        found = _with_answers(project, found, validation(), evaluation_set)
    searches.save_search(project, found, is_evaluation=True)
    return found


def measure_location(
    project: Project,
    result: SearchResult,
    data: Data,
    *,
    location: str,
    seconds: float,
    accept_busy: bool = False,
    callback: Callback = lambda _: None,
) -> Iterator[ServiceTimes]:
    """Yield the service times of the winner of a search, then of the baseline, on this machine, and save each.

    Each is served by one worker on loopback, as for the audit `load`.

    Parameters
    ----------
    location
        Name of this kind of machine in a price file.
    seconds
        Time of the measurement of one variant.
    accept_busy
        Measure although other processes use the cores; raises NotApplicable without it.
    """
    validation = _evaluation_set(project, result.baseline, data["validation"])
    config = project.config.having(replaced(project.config[ServeSection], workers=1))
    for variant in {one.digest: one for one in (result.winner.variant, result.baseline.model)}.values():
        callback(f"measure {variant.name} at {location}")
        subject = compare_with_baseline(variant, validation, project.blobs)
        names = result.baseline.model.signature.names
        self_test = record_self_test(variant, validation.rows, project.blobs, names=names)
        contract = columns_read(result.baseline.contract, variant.signature)
        with temporary_server(config, project.blobs, contract, self_test, variant) as trial:
            found = measure_service_times(subject, trial, location=location, seconds=seconds, accept_busy=accept_busy)
        project.save(found)
        yield found


def plan(
    project: Project, result: SearchResult, prices: Prices, demand: Demand, *, at: str = "", with_changes: bool = True
) -> DeploymentPlan:
    """Plan where the winner of a search, or another evaluated variant that was measured, should run; save the plan.

    The objectives are those of `[slo]`. A variant of which the verdict is not pass does not keep the quality rules; the
    winner may answer on a device what its certificate allows.
    """
    times = {(one.variant, one.location): one for one in project.records(ServiceTimes)}
    networks = {one.name: one for one in project.records(NetworkTimes)}
    # The winner is first, by its verdict on test.
    rows = {row.variant.digest: row for row in (result.winner, *result.evaluated, result.winner)}
    measured = {variant for variant, _ in times} | {result.winner.variant.digest}
    variants = [
        PlanVariant(
            digest=digest,
            name=row.variant.name,
            problem=_quality_problem(row),
            answered_share=_certified_share(result) if digest == result.winner.variant.digest else None,
        )
        for digest, row in rows.items()
        if digest in measured
    ]
    inputs = PlanInputs(
        variants=variants,
        demand=demand,
        prices=prices,
        service_times=[one for one in times.values() if one.variant in rows],
        networks=list(networks.values()),
        p99_ms=project.config[SloSection].p99_ms,
        availability=project.config[SloSection].availability,
    )
    found = plan_deployment(inputs, name=project.name, at=at, with_changes=with_changes)
    project.save(found)
    return found


def logged_demand(project: Project, *, sites: int = 1) -> Demand:
    """Return the demand by the prediction log of the live release; raises DataError if it has too few requests."""
    live = find_live(project, "")
    rows = pl.DataFrame() if live is None else read_predictions(project.config.state, project.name, [live.digest])
    if rows.is_empty():
        raise DataError("no request of the live release is logged", hint="headway plan PRICES --per-s RATE")
    requests = rows.unique("request", keep="first").sort("at_us")
    return demand_of_log(requests["at_us"].to_numpy(), 1 / requests["rate"].to_numpy(), sites=sites)


def _quality_problem(row: EvaluatedVariant) -> str:
    """Return why a variant does not keep the quality rules; empty if it does."""
    if row.verdict.answer == "pass":
        return ""
    failed = [result.message for result in row.verdict.rule_results if result.answer != "pass"]
    return f"{row.verdict.answer}: {failed[0] if failed else row.verdict.why or 'no rule was judged'}"


def _certified_share(result: SearchResult) -> Measurement | None:
    plan = result.answers
    return plan.certificate.coverage if plan is not None and plan.certificate.is_certified else None


def test_policy(project: Project, result: SearchResult, data: Data) -> list[PolicyTest]:
    """Test the policy on copies of the winner that were broken on purpose.

    It uses `validation`, where evaluations are not counted.
    """
    evaluation_set = _evaluation_set(project, result.baseline, data["validation"])
    subject = compare_with_baseline(result.winner.variant, evaluation_set, project.blobs)
    metrics = [name for name in _metrics(project) if name not in TIMED]
    policy = release_policy(project.config[PolicySection], subject.variant.task, result.winner.evidence)
    return run_policy_tests(
        subject, policy, metrics=metrics, dataset=evaluation_set.dataset, period=evaluation_set.period
    )


def expect_unchanged(project: Project, result: SearchResult) -> None:
    """Raise Refused if the rows of the project's periods are no longer those that the winner was evaluated on."""
    origins.expect_unchanged(project, periods(project), result.baseline.data)


def gate(project: Project, result: SearchResult, *, first_model: bool = False) -> JudgedChange:
    """Judge the stored evidence on the winner of a search by the current policy and against the live release.

    Parameters
    ----------
    first_model : bool
        Whether no release was ever live. Otherwise the verdict is undecided where none is change: it was not brought.
    """
    change = JudgedChange(search=result, live=find_main_release(project, first_model=first_model))
    return _judged_change(project, change, result.winner.evidence, against=None if change.is_live else change.live)


def gate_candidate(project: Project, folder: Path, *, first_model: bool = False) -> JudgedChange:
    """Measure the candidate in a folder against the live release, on the project's own test rows, and judge it.

    No code that came with the candidate runs: its models are opened only if every part of them is known to be harmless.
    What it says of itself is not read. Only the evaluation of `test` is saved.

    Parameters
    ----------
    folder : Path
        What `headway optimize --candidate` wrote, where the code of the change ran.
    first_model : bool
        As for `gate`.

    Raises
    ------
    Refused
        If a model may hold code, or answers another task.
    DataError
        If it reads columns that the project's data lack, or that are known only after the outcome.
    """
    data = periods(project)
    search, blobs = read_candidate(folder, data[TEST])
    project = replace(project, blobs=blobs)
    baseline = replaced(search.baseline, costs=project.config[ModelSection].decision_costs.pair)
    validation = cache(lambda: _evaluation_set(project, baseline, data["validation"]))
    test = _test_set(project, baseline, data, validation=validation)
    project.state.count_evaluation(project.name, test.dataset)
    subject = compare_with_baseline(search.winner.variant, test, blobs)
    evidence = measure(subject, plugins.names("metric"), dataset_digest=test.dataset, period=test.period)
    live = find_main_release(project, first_model=first_model)
    if live is not None:
        evidence = compare_with_live(live, subject, test.labeled, evidence, timed=True)
    return _judged_change(project, JudgedChange(search=search, live=live), evidence, against=live)


def _judged_change(
    project: Project, change: JudgedChange, evidence: Evidence, *, against: LiveRelease | None
) -> JudgedChange:
    """Judge evidence on a change; nothing is saved. Rules against live need a live release."""
    winner, policy = change.search.winner, project.config[PolicySection]
    if change.live is None:
        policy = replaced(policy, release=tuple(rule for rule in policy.release if not rule.measure.startswith(LIVE)))
    verdict = judging.judge_release(
        evidence,
        policy,
        task=winner.variant.task,
        live=against,
        test_evaluations=project.state.test_evaluations(project.name, evidence.dataset),
    )
    return replace(change, search=replaced(change.search, winner=replaced(winner, evidence=evidence, verdict=verdict)))


def release(project: Project, result: SearchResult, *, who: str, why: str = "", override: str = "") -> PublishedRelease:
    """Sign the winner with its evidence and point `live` at it.

    Parameters
    ----------
    override : str
        Reason of a person who releases a winner whose verdict is not pass.

    Raises
    ------
    Refused
        If the verdict is not pass and was not overridden.
    """
    return release_winner(project, result, who=who, why=why, override=override)


def complete_approvals(project: Project, *, callback: Callback = lambda _: None) -> list[ApprovalOutcome]:
    """Complete what people approved, with the publisher's key of this machine; return what became of each approval."""
    check = partial(expect_unchanged, project)
    return completion.complete_approvals(project, callback=callback, check_search=check)


def follow_approvals(
    project: Project, *, unpublished: bool = False, overrides: bool = False, callback: Callback
) -> None:
    """Complete approvals as they come, until the process ends.

    Parameters
    ----------
    unpublished : bool
        Also sign winners of searches and retrained models, whose records are not signed.
    overrides : bool
        Also what the judge did not pass.
    """
    check = partial(expect_unchanged, project)
    completion.follow_approvals(
        project, unpublished=unpublished, overrides=overrides, callback=callback, check_search=check
    )


def load(project: Project, reference: str) -> tuple[Bundle, Engine]:
    """Open a release with its engine, after its signature is verified and its self-test has passed.

    Raises
    ------
    Refused
        If the release does not verify.
    StoreError
        If the reference names no release.
    """
    bundle = project.registry.resolve(reference)
    return bundle, open_release(bundle)


def send_lineage(project: Project, *, callback: Callback) -> None:
    """Send new lineage events if `[provenance] lineage_to` names a receiver.

    A delivery that fails is reported to `callback`, and the events are sent next time.
    """
    if not project.config[ProvenanceSection].lineage_to:
        return
    try:
        callback(lineage.delivery_message(lineage.send(project)))
    except HeadwayError as error:
        callback(f"lineage was not sent: {error}")


def serve(config: Config, references: Sequence[str], *, callback: Callback = lambda _: None) -> None:
    """Verify the releases behind the references, load them, and answer requests until the process is stopped."""
    process.serve(config, references, announce=lambda listening: callback(str(listening)))


def predict(
    config: Config,
    reference: str,
    source: Path | str,
    out: Path,
    *,
    keep: Sequence[str] = (),
    spreadsheet_safe: bool = False,
    threads: int = 0,
    callback: Callable[[Progress], object] = lambda _: None,
) -> Receipt:
    """Score a file larger than memory with a release; a run that was killed resumes."""
    return scoring.predict(
        config,
        reference,
        source,
        out,
        keep=keep,
        spreadsheet_safe=spreadsheet_safe,
        threads=threads,
        callback=callback,
    )


def watch(
    project: Project,
    *,
    until: datetime | None = None,
    every: str = "1mo",
    source: RowSource = "table",
    callback: Callback = lambda _: None,
) -> list[MonitoringReport]:
    """Monitor each period since the live release was evaluated.

    Each period is judged once; later calls return the saved answer. The false-alarm budget of the year is spent only on
    new periods. A ticket is opened where the policy asks for one. Data that were never checked are reported (D057). One
    process at a time does this, on all machines that share the state; another one waits for it, `WATCH_WAIT_S` at most.

    Parameters
    ----------
    until : datetime, optional
        End of the monitored time; now by default.
    every : str
        Length of a period, such as `1mo` or `14d`.
    source : {"table", "log"}
        Whether rows come from the project's table or from the prediction log.
    """
    with project.lease("watch", wait_s=WATCH_WAIT_S) as lease:
        deployed, dataset = _open_monitored(project, source, callback)  # after the wait: live may have moved
        reports, clock = project.records(MonitoringReport), datetime.now(UTC)
        now = clock.replace(tzinfo=None)
        ticket, found = pending_ticket(project, deployed), []
        context = monitor.MonitoringContext(
            deployed=deployed,
            config=project.config,
            budget=Budget(reports),
            source=source,
            opened_at=clock.isoformat(timespec="seconds"),
        )
        for window in monitoring_windows(
            deployed,
            dataset,
            project.config,
            now=now,
            until=until,
            every=every,
            source=source,
            broken_when_judged=_broken_when_judged(deployed, dataset, reports),
        ):
            seen = monitor.monitor_window(context, window, pending=ticket)
            ticket = seen.report.ticket or ticket
            lease.expect_held()
            made = (seen.evidence, seen.report.ticket, seen.report) if seen.is_new else (seen.report.ticket,)
            for record in filter(None, made):
                project.save(record)
            if seen.is_new:
                reports.append(seen.report)
            found.append(seen.report)
        own = (report for report in reports if report.release == deployed.digest)
        broken = tuple(recorded_inputs(own, accepted=project.config[RetrainSection].accept_out_of_range))
        if ticket is not None and ticket.broken != broken:
            project.save(with_broken_inputs(ticket, broken))
    return found


def _broken_when_judged(
    deployed: DeployedRelease, dataset: Dataset | None, reports: Sequence[MonitoringReport]
) -> frozenset[int]:
    """Return the days of the reference on which a report found an input broken, if it still is.

    These are all of its days if too few others are left to compare with.
    """
    since, until = deployed.training.judged_since[:10], deployed.training.judged_until
    recorded = [day for entry in recorded_inputs(reports) for day in entry.days if since <= day < until]
    if dataset is None or not recorded:
        return frozenset()
    broken = broken_days(broken_since_training(deployed, dataset, reports, until=deployed.judged[1]))
    judged = range(day_number(since), day_number(until[:10]) + 1)
    return frozenset(judged) if broken and len(set(judged) - broken) < MIN_GROUPS else broken


def audit_certificate(project: Project) -> CertificateAudit | None:
    """Audit the certificate of the live release by labels of drawn answers, and withdraw what they break.

    A withdrawal opens a ticket. None if the live release answers every row, or nothing is live. One process at a time
    does this, as with `watch`.
    """
    if project.config[ModelSection].scores or project.state.last(project.name, LIVE_POINTER) is None:
        return None
    with project.lease("watch", wait_s=WATCH_WAIT_S):
        audit = certificate.audit_answers(project)
        if audit is not None and (ticket := certificate.propose_after_audit(project, audit)):
            project.save(ticket)
        return audit


def audit_probing(project: Project, *, callback: Callback = lambda _: None) -> ProbingReport | None:
    """Find API keys whose logged requests copy or probe the live release, and throttle them if that is set.

    The rows that the release was judged on say what honest requests look like. A key whose throttle a person ended is
    not throttled again for what it sent until that day. None if no request with an API key was logged since the last
    report. One process at a time does this, as with `watch`.
    """
    if project.config[ModelSection].scores or project.state.last(project.name, LIVE_POINTER) is None:
        return None
    with project.lease("watch", wait_s=WATCH_WAIT_S):
        deployed = open_deployed_release(project, for_log=True)

        def honest() -> Floats:
            if not deployed.training.dataset or not project.config[DataSection].time:
                raise NotApplicable("the rows that the release was judged on are not known: it needs [data] time")
            dataset = open_assessed_dataset(project, callback, sampled=True, views=deployed.release.views)
            since, until = deployed.judged
            return score_rows(deployed, dataset, since=since).between(since, until).rows

        report = probing.audit_keys(project, deployed, honest)
        if report is None:
            return None
        per_s = project.config[ServeSection].throttle_per_s
        if per_s and report.found:
            report = replaced(report, keys=tuple(_throttled(project, key, per_s) for key in report.keys))
        project.save(report)
        return report


def _throttled(project: Project, found: KeyProbing, per_s: float) -> KeyProbing:
    """Throttle a key that is found, unless it is throttled already or a person ended that on the day or later."""
    file = keys_file(project.config)
    known = read_keys(file).get(found.api_key)
    if not found.is_found or known is None or known.revoked:
        return found
    if known.throttle_per_s:
        return replaced(found, throttled=True)
    if known.throttled_at[:10] >= found.day:
        return found
    with keys_of_all_servers(project.config, change=True):
        throttle_key(file, found.api_key, per_s=per_s)
    return replaced(found, throttled=True)


def _open_monitored(project: Project, source: RowSource, callback: Callback) -> tuple[DeployedRelease, Dataset | None]:
    """Open what is monitored, with the project's table unless only the log is read."""
    if project.config[ModelSection].scores:
        dataset = open_assessed_dataset(project, callback, sampled=True)
        return open_scores(project, dataset), dataset
    deployed = open_deployed_release(project, for_log=source == "log")
    is_known = source == "table" or deployed.training.dataset
    if not is_known:
        return deployed, None
    return deployed, open_assessed_dataset(project, callback, sampled=True, views=deployed.release.views)


def open_ticket(project: Project) -> Ticket | None:
    """Return the open ticket on the live release, or None; raises ConfigError for the scores of another system."""
    training.require_model(project.config)
    return pending_ticket(project, _open_retrained(project))


def _open_retrained(project: Project) -> DeployedRelease:
    """Open the live release for a retraining; rows of a table without times are older than its log."""
    deployed = open_deployed_release(project, for_log=not project.config[DataSection].time)
    if not project.config[DataSection].time and deployed.release.answers is None:
        raise ConfigError(
            "without a time column, rows after the release are not known",
            where="[data] time",
            hint='time = "COLUMN", then headway optimize and headway release',
        )
    return deployed


def retrain(
    project: Project,
    *,
    until: datetime | None = None,
    who: str = "headway retrain",
    callback: Callback = lambda _: None,
) -> Retraining:
    """Retrain the live release and judge the new one against it; `promote` makes it live.

    If the new one passes, its data is checked, and the assessment saved by `who`. A run that was killed resumes after
    the last training that finished. Raises ConfigError, with what to add, if the project has no training function.
    """
    training.require_model(project.config)
    training.require_training_function(project.config)
    deployed = _open_retrained(project)
    dataset = open_assessed_dataset(project, callback, views=deployed.release.views)
    data = retraining.prepare_retraining(project, deployed, dataset, until)
    found = retraining.retrain(
        project,
        deployed,
        data,
        ticket=pending_ticket(project, deployed),
        compute=partial(open_workers, project.config),
        callback=callback,
    )
    if found.search_result.winner.verdict.answer == "pass":
        of_release = found.search_result.baseline.data
        assessing.assess_retrained(project, data.dataset, who=who, data=of_release, callback=callback)
    return found


def recalibrate(project: Project, *, until: datetime | None = None, callback: Callback = lambda _: None) -> Retraining:
    """Refit the calibrator of the live release on the last labeled days, and judge the result against it."""
    training.require_model(project.config)
    deployed = open_deployed_release(project)
    dataset = open_assessed_dataset(project, callback, views=deployed.release.views)
    return recalibration.recalibrate_release(
        project,
        deployed,
        recalibration.prepare_recalibration(project, deployed, dataset, until),
    )


def promote(project: Project, found: Retraining, *, who: str, why: str = "") -> Promotion:
    """Promote a retraining or recalibration that passed, by a rollout or at once, depending on `[retrain] through`.

    A run that was killed resumes from the saved records.

    Raises
    ------
    Refused
        If the live release has changed since the evaluation.
    """
    return promotion.begin_promotion(project, found, who=who, why=why)


def follow_promotion(
    project: Project, *, callback: Callback, wait: Callable[[float], object] = time.sleep
) -> Promotion:
    """Follow the rollout of a retraining until it ends or no more requests come.

    `wait` is called between two evaluations.
    """
    return promotion.follow_promotion(project, callback=callback, wait=wait)


def report_features(project: Project, reference: str = "") -> FeatureReport:
    """Report what each feature of the views of a release costs, what it is worth, how old it is and how it drifts.

    The worth is measured on `validation`, where evaluations are not counted. The report is saved.

    Parameters
    ----------
    reference : str
        A release; by default the live one.

    Raises
    ------
    DataError
        If the release has no feature views.
    """
    bundle = project.registry.resolve(reference or f"{project.name}@live")
    expect_views(bundle)
    try:
        ablations = _ablations(project, bundle)
    except HeadwayError as error:
        report = feature_values.build_feature_report(project, bundle, {})
        report = replaced(report, unknown=(*report.unknown[:-1], f"worth: {error.what}"))
    else:
        report = feature_values.build_feature_report(project, bundle, ablations)
    project.save(report)
    return report


def _ablations(project: Project, bundle: Bundle) -> dict[str, Ablation]:
    release = bundle.release
    evaluation_set = _evaluation_set(project, last_search(project).baseline, periods(project)["validation"])
    subject = compare_with_baseline(release.variant, evaluation_set, project.blobs)
    names = release.variant.signature.names
    alone = [(name,) for view in release.views for name in view.feature_names if name in names]
    together = [inputs_through(release.views, view.name, names) for view in release.views]
    return measure_worth(
        subject,
        [*alone, *together],
        blobs=project.blobs,
        budget_s=project.config[EvaluateSection].budget_s,
        calibrator=release.calibrator,
    )


def replay_features(
    project: Project,
    reference: str = "",
    *,
    since: datetime | None = None,
    only_new: bool = False,
    max_lag_s: float | None = None,
) -> ValueReplay:
    """Compare what logged requests of a release saw of its views with what they should have seen; save the result.

    Parameters
    ----------
    reference : str
        A release; by default the live one.
    since : datetime, optional
        Begin of the requests to replay, in UTC if it has no zone; by default all that are logged, at most the newest
        100,000.
    only_new : bool
        Whether to replay only requests since the last replay, with an hour of those before, as the task `replay` does.
    max_lag_s : float, optional
        Time for which a value may be known before the online store has it, seconds; by default that of
        `[features] max_lag`.

    Raises
    ------
    DataError
        If the release has no feature views.
    """
    bundle = project.registry.resolve(reference or f"{project.name}@live")
    expect_views(bundle)
    lag_s = feature_values.allowed_lag_s(project) if max_lag_s is None else max_lag_s
    if only_new:
        found = feature_values.replay_new(project, bundle, max_lag_s=lag_s)
    else:
        begin = since.replace(tzinfo=since.tzinfo or UTC) if since else None
        since_us = int(begin.timestamp() * 1e6) if begin else 0
        found = feature_values.replay_log(project, bundle, since_us=since_us, max_lag_s=lag_s)
    project.save(found)
    return found


def replay_former(project: Project) -> list[ValueReplay]:
    """Replay the new requests of releases that served since their last replay and are not live; save the results.

    A release without feature views is left out.
    """
    found = list[ValueReplay]()
    for digest in feature_values.served_since_replay(project):
        bundle = project.registry.resolve(f"{project.name}@{digest}")
        if any(not view.is_on_demand for view in bundle.release.views):
            lag_s = feature_values.allowed_lag_s(project)
            found.append(feature_values.replay_new(project, bundle, max_lag_s=lag_s))
            project.save(found[-1])
    return found


def expect_views(bundle: Bundle) -> None:
    """Raise DataError if a release has no feature views."""
    if not bundle.release.views:
        hint = 'name the views that the model reads: [features] views = ["NAME"]; then headway optimize and release'
        raise DataError(f"release {bundle.digest[:19]} reads no feature views", hint=hint)


def erase(project: Project, request: ErasureRequest) -> Erasure:
    """Erase the rows of one key, or those older than a time, from log, labels and features, with a signed proof."""
    return erasing.erase(project, request)


def export_key(project: Project, key: str) -> AccessExport:
    """Read what is kept of one key, from the places that an erasure goes through; nothing is changed."""
    return accessing.read_kept_rows(project, key)


def last_search(project: Project) -> SearchResult:
    """Return the result of the last search; raises StoreError if there was none."""
    return searches.find_search(project)


def find_search(project: Project, reference: str) -> SearchResult:
    """Return the search of a digest or of its first digits, the last one if it is empty; raises StoreError."""
    return searches.find_search(project, reference)


def compare_points(
    project: Project,
    search: SearchResult,
    data: Data,
    first: str,
    second: str,
    *,
    period: str = "validation",
    n_examples: int = 0,
    seconds: float = 0.0,
) -> PointComparison:
    """Compare two models point by point on the labeled rows of a period.

    Each is a variant of the search (its digest, the first digits of it, or its name) or a release (`NAME@live`).
    Decisions on `test` are counted, so this period cannot be used.

    Parameters
    ----------
    n_examples : int
        Number of rows that they decide differently to return; they may hold personal data.
    seconds : float
        How long calls of one row are timed.

    Raises
    ------
    DataError
        If there are no labeled rows of that period, or the models answer different questions.
    StoreError
        If the variant or release is unknown.
    """
    if period == TEST or period not in data or not len(labeled_rows(data[period]).table):
        known = [name for name in data if name not in (TEST, "train") and len(labeled_rows(data[name]).table)]
        raise DataError(f"models are not compared on {period!r}", hint=f"compare them on {' or '.join(known)}")
    rows = _evaluation_set(project, search.baseline, data[period])
    one, other = (_opened(project, search, rows, reference) for reference in (first, second))
    found = compare_opened(one, other, rows, n_examples=n_examples, seconds=seconds)
    learned = search.baseline.data.get("train", "")
    cautions = [
        f"{model.name} was trained on other rows than the models of this search; if it learned from {period}, it looks "
        "better here than it is"
        for model in (one, other)
        if model.trained_on not in ("", learned)
    ]
    return replaced(found, cautions=tuple(cautions))


def _opened(project: Project, search: SearchResult, rows: EvaluationSet, reference: str) -> OpenedModel:
    """Open a variant of a search or a release, and let it answer the rows."""
    row = _variant_of(search, reference)
    if row is not None:
        subject = compare_with_baseline(row.variant, rows, project.blobs)
        return OpenedModel(
            name=row.variant.name,
            digest=row.variant.digest,
            is_release=False,
            variant=row.variant,
            engine=subject.model,
            threshold=rows.threshold,
            scores=subject.scores,
            decisions=subject.decisions,
            timings=row.evidence.measurements,
        )
    if "@" not in reference:
        hint = f"headway searches DIGEST lists its variants; a release is named as {project.name}@live"
        raise StoreError(f"no variant of this search is called {reference!r}", hint=hint)
    bundle = project.registry.resolve(reference)
    found, engine = bundle.release, open_release(bundle)
    missing = [name for name in found.variant.signature.names if name not in rows.labeled.table.columns]
    if missing:
        raise DataError(f"the release reads columns that these rows do not have: {', '.join(missing)}", where=reference)
    answers = engine.predict(matrix(rows.labeled.table, found.variant.signature))
    return OpenedModel(
        name=f"{reference}: {found.variant.name}",
        digest=bundle.digest,
        is_release=True,
        variant=found.variant,
        engine=engine,
        threshold=found.threshold,
        scores=calibration_function(found.calibrator)(answers),
        trained_on=found.data.get("train", ""),
        timings=[timing for evidence in found.evidence for timing in evidence.measurements],
    )


def _variant_of(search: SearchResult, reference: str) -> EvaluatedVariant | None:
    digits = reference.removeprefix("sha256:")
    for row in (*search.evaluated, *search.screened_out):
        if row.variant.name == reference or row.variant.digest == reference:
            return row
        if len(digits) >= searches.MIN_DIGITS and row.variant.digest.removeprefix("sha256:").startswith(digits):
            return row
    return None


def prepare_explore(project: Project, digest: str, data: Data, *, callback: Callback = lambda _: None) -> Path:
    """Make the tables with which the dashboard answers Explore at once, if they are absent; return their file.

    Every variant that the search evaluated answers the rows of `validation` as they are, without each feature, and the
    labeled rows of every month of `validation` and `live`. Rows of `test` are left alone.

    Raises
    ------
    DataError
        If the rows of `validation` are no longer those of the search.
    """
    path = tables_file(project.config.state, digest)
    if path.exists():
        return path
    search = searches.read_search(project, digest)
    usual = _evaluation_set(project, search.baseline, data["validation"])
    judged = search.evaluated_baseline.evidence.dataset
    if usual.dataset != judged:
        raise DataError(
            "the rows of validation are no longer those of this search",
            where=f"digest {usual.dataset}, of the search {judged}",
            hint="headway optimize",
        )
    months = {
        name: build_evaluation_set(search.baseline, _at_most(rows, MAX_ROWS), project.blobs, reference=usual.reference)
        for period in ("validation", "live")
        if period in data
        for name, rows in months_of(labeled_rows(data[period])).items()
    }
    explore_answers.make_tables(
        path,
        search,
        digest,
        usual,
        months=months,
        together=project.config[EvaluateSection].together,
        blobs=project.blobs,
        callback=callback,
    )
    return path


def _at_most(rows: Dataset, count: int) -> Dataset:
    """Return every k-th row, so that at most that many remain."""
    return replace(rows, table=rows.table.gather_every(max(-(-len(rows.table) // count), 1)))


def _evaluation_set(
    project: Project, baseline: Baseline, period: Dataset, *, timing_s: float = math.inf
) -> EvaluationSet:
    return build_evaluation_set(baseline, period, project.blobs, price=project.config[CostSection], timing_s=timing_s)


def _answer_time(validation: EvaluationSet) -> search.AnswerTime:
    """Return how long the baseline takes to open, which was measured, and to answer."""
    times = []
    for _ in range(_TIMED_CALLS if len(validation.rows) else 0):
        began = time.perf_counter()
        validation.reference.predict(validation.rows[:1])
        times.append(time.perf_counter() - began)
    call_s = min(times, default=0.0)
    row_s = max(validation.answer_s - call_s, 0.0) / max(len(validation.rows), 1)
    return search.AnswerTime(open_s=validation.open_s, call_s=call_s, row_s=row_s)


def _seconds_of_verdict(budget: TimeBudget, validation: EvaluationSet, test: EvaluationSet) -> float:
    """Predict how long the winner's evaluation on `test` takes: as the baseline's on `validation`, by their rows."""
    rows = len(test.rows) / max(len(validation.rows), 1)
    return _MARGIN * budget.expected_s(EVALUATION) * max(rows, 1.0)


def _test_set(
    project: Project,
    baseline: Baseline,
    data: Data,
    *,
    validation: Callable[[], EvaluationSet],
    reference: Engine | None = None,
) -> EvaluationSet:
    """Build the evaluation set of `test`; the floor of its verdict is fitted on other rows, once for all variants."""
    copied = _copied_rows(baseline, data)
    signature = baseline.model.signature
    floor = floor_rows(
        lambda: _labeled_data(validation()),
        lambda: load_training_data(data, signature),
        texts=text_columns(signature),
    )
    found = build_evaluation_set(
        baseline, data["test"], project.blobs, price=project.config[CostSection], floor=floor, reference=reference
    )
    return replace(found, findings=(*found.findings, *copied))


def _copied_rows(baseline: Baseline, data: Data) -> list[Finding]:
    """Return a finding if many rows of `test` are rows of `train`, with the same label."""
    names = baseline.model.signature.names
    train, test = data.get("train"), data["test"]
    if train is None or not set(names) <= set(train.table.columns):
        return []
    equal = match_rows(*([row_hashes(period.table.select(names))] for period in (train, test)))
    copies = count_copies(train, test, equal)
    found = copy_findings(copies, code=TRAINING_ROWS, how="equal in every feature")
    warnings = [finding for finding in found if finding.severity == "warn"]
    return [replaced(finding, severity="undecided") for finding in warnings] if copies.share > _MAX_COPIES else warnings


def _judged(
    project: Project,
    variant: Variant,
    evidence: Evidence,
    evaluation_set: EvaluationSet,
    *,
    subject: Comparison | None = None,
) -> EvaluatedVariant:
    """Judge evidence by the policy, and record how often its rows were evaluated where that is counted.

    On `test` the verdict is that on a release: with its floor, and against the release that is live, for which the
    answers of the `subject` are compared.
    """
    policy, task = project.config[PolicySection], variant.task
    live = find_live(project, variant.digest) if evidence.period == TEST else None
    if live is not None and subject is not None:
        evidence = compare_with_live(live, subject, evaluation_set.labeled, evidence)
    evaluations = project.state.test_evaluations(project.name, evidence.dataset)
    if evaluations:
        how = "evaluations of these rows so far, this one included"
        counted = exact_measurement(
            "test_evaluations", float(evaluations), n_rows=len(evaluation_set.labels), method=how
        )
        evidence = replaced(evidence, measurements=(*evidence.measurements, counted))
    if evidence.period == TEST:
        verdict = judging.judge_release(evidence, policy, task=task, live=live, test_evaluations=evaluations)
    else:
        policy = release_policy(policy, task, evidence)
        relative = evidence.period == "validation"
        rules = judging.relative_policy(policy) if relative else policy
        verdict = judging.judge(evidence, rules, test_evaluations=evaluations)
    project.save(evidence)
    project.save(verdict)
    return EvaluatedVariant(variant=variant, evidence=evidence, verdict=verdict)


def _seen_rows(project: Project, variant: Variant, periods: Sequence[pl.DataFrame]) -> list[Finding]:
    """Return a finding if a period that should be new to a model, or all of them, are the rows it was trained on."""
    engine = open_variant(variant, project.blobs)
    for table in (pl.concat(periods), *periods[1:]):
        rows = partial(matrix, table, variant.signature)
        if found := importing.find_training_rows(engine, rows, n_rows=len(table)):
            return found
    return []


def _baseline(
    project: Project,
    model: Variant,
    data: Data,
    *,
    findings: tuple[Finding, ...] = (),
    made_with: TrainingDigests | None = None,
) -> Baseline:
    """Save a model as the baseline, with its decision threshold and the data it is evaluated on."""
    known = labeled_rows(data["validation"])
    costs, threshold = project.config[ModelSection].decision_costs.pair, LIBRARY_THRESHOLD
    rule: ThresholdRule = "library" if project.config[ModelSection].costs is None else "costs"
    if model.task == "binary":
        engine, known_rows = open_variant(model, project.blobs), matrix(known.table, model.signature)
        scores = engine.predict(known_rows)[:, 0]
        threshold = (
            library_threshold(scores, library_decisions(engine, known_rows), getattr(engine, "thresholds", ()))
            if rule == "library"
            else choose_threshold(target_values(known), scores, costs=costs, weights=sample_weights(known))
        )
    digests = origins.save_versions(
        project, data, code=training.recipe_digest(project.config) if project.config[ModelSection].train else ""
    )
    rows = matrix(
        pl.concat(labeled_rows(data[name]).table for name in ("train", "validation") if name in data), model.signature
    )
    contract = observed_contract(rows, model.signature, margin=project.config[PolicySection].contract_margin)
    views = views_read(data["validation"].views, model.signature.names)
    baseline = Baseline(
        model=model,
        threshold=threshold,
        threshold_rule=rule,
        costs=costs,
        data={**digests, **view_digests(views)},
        views=views,
        contract=contract,
        findings=(*findings, *importing.declared_training_privacy(project.config[ModelSection])),
        training=made_with or TrainingDigests(),
    )
    project.save(baseline)
    return baseline


def _requested_audits(config: Config) -> list[str]:
    """Return the default audits, and those on request that `[evaluate] audits` or a rule of the policy names."""
    found = []
    for name in plugins.names("audit"):
        measures = tuple(plugins.declaration("audit", name, "ON_REQUEST", ()))
        is_ruled = any(rule.measure.startswith(measures) for rule in config[PolicySection].release)
        if not measures or name in config[EvaluateSection].audits or is_ruled:
            found.append(name)
    unknown = [name for name in config[EvaluateSection].audits if name not in found]
    if unknown:
        raise ConfigError(
            f"unknown audit {unknown[0]!r}", where="[evaluate] audits", hint="headway plugins lists the audits"
        )
    return found


def _shared_audits(
    project: Project, subject: Comparison, audits: Audits, data: Data, *, made_with: TrainingDigests
) -> dict[str, MetricResults | NotApplicable]:
    """Run the audits that Ray shares, if it is set; it has ended when the others measure time."""
    if (
        not project.config[ComputeSection].ray or subject.variant.signature.texts
    ):  # rows hold numbers of texts of this process
        return {}
    shared, retraining = (
        [name for name in audits.names if plugins.declaration("audit", name, literal, False)]
        for literal in ("SHARED", "RETRAINS")
    )
    if audits.context.retrain is None:
        retraining = []
    if not (shared or retraining):
        return {}
    with open_workers(project.config) as workers:
        found = share_audits(subject, shared, audits.context, workers)
        if retraining:
            saved = SavedShadows(project.config, project.state, project.blobs)
            retrained = retrained_by(
                project.config, data, subject.variant.signature, workers, made_with=made_with, saved=saved
            )
            context = replace(audits.context, **retrained)
            found |= run_audits(subject, replace(audits, names=retraining, context=context))
    return found


def _audit_context(project: Project, result: SearchResult, data: Data) -> AuditContext:
    """Build the context of audits: how the model is trained, and what the transforms of the winner worked with."""
    baseline, signature = result.baseline, result.baseline.model.signature
    read = result.winner.variant.signature.names
    return replace(
        build_audit_context(
            project.config,
            data,
            project.blobs,
            signature=signature,
            judged=data["test"],
            key_per_s=project.config[ServeSection].key_per_s,
            made_with=baseline.training,
            state=project.state,
        ),
        baseline=baseline.model,
        transform_context=lambda: _transform_context(
            project,
            baseline,
            _evaluation_set(project, baseline, data["validation"]),
            data,
            without=[name for name in signature.names if name not in read],
        ),
        calibrator=baseline.calibrator,
        views=baseline.views,
    )


def _features_of(features: Sequence[str], baseline: Baseline, *, where: str) -> list[str]:
    """Return the features of a setting of `[optimize]`: those named, and all that need a view that is named."""
    names, found = baseline.model.signature.names, list[str]()
    for name in features:
        through = [name] if name in names else inputs_through(baseline.views, name.partition("@")[0], names)
        if not through:
            raise ConfigError(
                f"the model reads no feature and no view {name!r}",
                where=f"[optimize] {where}",
                hint=f"features: {', '.join(names)}",
            )
        found += through
    return found


def _transform_context(
    project: Project,
    baseline: Baseline,
    evaluation_set: EvaluationSet,
    data: Data,
    *,
    without: Sequence[str] = (),
    refit: Refit | None = None,
) -> TransformContext:
    """Build the context of transforms: the rows of `validation`, and those of `train` on demand.

    None retrains a baseline that is known to be made with other training code, settings or rows.
    """
    trains = bool(project.config[ModelSection].train) and "train" in data
    if trains and baseline.training.is_known:
        trains = not baseline.training.differences(training.training_digests(project.config, data["train"]))

    @cache
    def retrain(features: tuple[str, ...]) -> Variant:
        return training.train_model(project.config, data["train"], project.blobs, features=features)

    def train_on_some(learned: Ints, answered: Ints) -> Floats:
        names = baseline.model.signature.names
        return training.refit_answers(project.config, data["train"], learned, answered, features=names)

    def certify(
        confidence: Floats, errors: Floats, thresholds: Floats, limit: float, groups: Ints
    ) -> SelectiveCertificate:
        return certify_threshold(confidence, errors, thresholds=thresholds.tolist(), limit=limit, groups=groups)

    return TransformContext(
        blobs=project.blobs,
        sample=evaluation_set.rows,
        validation=_labeled_data(evaluation_set),
        train=lambda: load_training_data(data, baseline.model.signature),
        threshold=baseline.threshold,
        model_families=project.config[OptimizeSection].families,
        opened={baseline.model.digest: evaluation_set.reference},
        columns=baseline.model.signature.names,
        without=tuple(without),
        retrain=(lambda features: retrain(tuple(features))) if trains else None,
        refit=train_on_some if trains else refit,
        ordered=bool(project.config[DataSection].time),
        deferred=tuple(_features_of(project.config[OptimizeSection].defer, baseline, where="defer")),
        max_changed=project.config[OptimizeSection].max_changed,
        certify=certify,
        baseline=baseline.model,
        private=_asks_for_privacy(project.config),
    )


def _asks_for_privacy(config: Config) -> bool:
    """Return whether `[optimize] private` or a rule of the policy asks for answers that say less."""
    return config[OptimizeSection].private or any(rule.private for rule in config[PolicySection].release)


def _labeled_data(evaluation_set: EvaluationSet) -> LabeledData:
    return LabeledData(
        rows=evaluation_set.rows,
        labels=evaluation_set.labels,
        groups=evaluation_set.groups,
        weights=evaluation_set.weights,
        slices=evaluation_set.slices,
    )


def _measured(
    project: Project,
    meter: VariantMeter,
    variants: Sequence[Variant],
    proceed: Callable[[], bool],
    *,
    metrics: Sequence[str] = (),
) -> Iterator[tuple[int, EvaluatedVariant]]:
    """Measure variants and judge them; without metrics by their speed alone, and the relative rules of the policy."""
    for number, evidence in meter.measure(variants, proceed, metrics=metrics):
        variant = variants[number]
        if metrics:
            yield number, _judged(project, variant, evidence, meter.evaluation_set)
            continue
        policy = release_policy(project.config[PolicySection], variant.task, evidence)
        verdict = judging.judge(evidence, judging.relative_policy(policy))
        yield number, EvaluatedVariant(variant=variant, evidence=evidence, verdict=verdict)


def _metrics(project: Project) -> list[str]:
    """Return the metrics that a search computes for every variant."""
    rules = [rule.measure.split(".") for rule in project.config[PolicySection].release]
    return [name for name in plugins.names("metric") if name not in OF_WINNER or any(name in parts for parts in rules)]


def _winner(
    project: Project, judged: Sequence[EvaluatedVariant], test: EvaluationSet, budget: TimeBudget
) -> tuple[EvaluatedVariant, dict[str, str], dict[str, str]]:
    """Return the fastest variant that is feasible on `validation` and on `test`; the baseline is the last candidate.

    If the first is not feasible on `test`, others are evaluated while that fits into the budget. The second result is
    the names of those left out, with the reason; the third is that of those that raised an error.
    """
    rows = search.rank_by_objective(judged, project.config[OptimizeSection].objective, judging.feasible)
    budget.reserve(KINDS_OF_CALLS * budget.timing_s)
    not_judged: dict[str, str] = {}
    failed: dict[str, str] = {}
    for row in rows:
        if row is not rows[0] and row is not rows[-1] and budget.expected_s(VERDICT) > budget.remaining_s:
            not_judged[row.variant.name] = f"too little of {budget} was left to evaluate it on test"
            continue
        project.state.count_evaluation(project.name, test.dataset)
        try:
            with budget.timed(VERDICT):
                found = evaluate(project, row.variant, test)
        except Exception as error:  # noqa: BLE001 - of any library; the baseline's own is raised again
            failed[row.variant.name] = failed_candidate(row.variant, error).message
            continue
        if judging.feasible(found.verdict):
            break
    return found, not_judged, failed
