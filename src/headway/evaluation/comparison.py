"""Compare a variant with the baseline on the same labeled rows, both opened by their engines."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from math import inf, isnan
from time import monotonic
from typing import Literal

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.contracts import Blobs, Decider, Engine, SliceColumn
from headway.core.dataset import Dataset
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Evidence, Measurement, TimedCall
from headway.core.plugins import load_engine, open_baseline
from headway.core.record import Settings
from headway.core.release import SelfTest
from headway.core.search_result import Baseline
from headway.core.texts import text_codes
from headway.core.threads import cores
from headway.core.variant import DECIDES, MULTILABEL, Field, Signature, Variant
from headway.data import matrix
from headway.data.checks.split.duplicates import CLOSE_SHARE, outcome_agreement
from headway.data.provenance.fingerprint import table_digest
from headway.data.split import labeled_rows
from headway.engines.formats.columns import ColumnSelection, column_indices
from headway.engines.formats.trees import TreeEngine
from headway.evaluation.benchmark import TimedBaseline, TimedEngine, fastest_engine, time_model
from headway.evaluation.context import AuditContext, Comparison, EvaluatedRows, FloorRows, UnlabeledRows
from headway.evaluation.machine_load import LoadMeter, MachineBusy
from headway.evaluation.measure import build_evidence, busy_finding
from headway.evaluation.quality.multiclass import PROBABILITY_ROUNDING
from headway.evaluation.quality.row_errors import RowErrors, compute_row_errors
from headway.evaluation.settings.cost import CostSection
from headway.optimization.screening import answer_changing_steps, decision_changing_steps, proves_decisions

SELF_TEST_ROWS = 32
MAX_UNLABELED = 100_000
"""Rows without a label that are compared at most."""
_COMMON_WORD, _WORDS = 5, 12
MAX_COPIES, MIN_AGREEMENT = 0.01, 0.5
"""Share of copied rows, and Cohen's kappa of their outcomes, from which copies count as one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet(EvaluatedRows):
    """Labeled rows of a period with the answers of the baseline; built once for all variants.

    `dataset` is the digest of the whole period, and `labeled` are its labeled rows with all columns; `fields` are those
    of `rows`. A variant decides as its library does if it `follows_library`, else by the threshold. `baseline` is the
    digest of the baseline, which is not opened again and does not answer again: opening it took `open_s` seconds, and
    its answers `answer_s`.
    """

    period: str
    dataset: str
    labeled: Dataset
    follows_library: bool = False
    fields: tuple[Field, ...] = ()
    baseline: str = ""
    open_s: float = 0.0
    answer_s: float = 0.0


def build_evaluation_set(
    baseline: Baseline,
    dataset: Dataset,
    blobs: Blobs,
    *,
    price: CostSection | None = None,
    floor: FloorRows | None = None,
    timing_s: float = inf,
    reference: Engine | None = None,
) -> EvaluationSet:
    """Build the evaluation set of a period; `price` is that of the machine that serves, `floor` other labeled rows.

    A measurement of speed takes at most about `timing_s` seconds. `reference` is the baseline, if it is open already.
    """
    known = labeled_rows(dataset)
    rows = matrix.matrix(known.table, baseline.model.signature)
    began = monotonic()
    reference = open_variant(baseline.model, blobs) if reference is None else reference
    opened = monotonic()
    scores = reference.predict(rows)
    answered = monotonic()
    return EvaluationSet(
        period=dataset.name,
        dataset=table_digest(dataset.table),
        labeled=known,
        reference=reference,
        threshold=baseline.threshold,
        rows=rows,
        labels=matrix.target_values(known),
        reference_scores=scores,
        reference_decisions=library_decisions(reference, rows) if baseline.threshold_rule == "library" else None,
        follows_library=baseline.threshold_rule == "library",
        fields=baseline.model.signature.inputs,
        groups=dependent_groups(known, rows, baseline.model.signature),
        slices=matrix.slice_columns(known),
        costs=baseline.costs,
        weights=matrix.sample_weights(known),
        sensitive_features=matrix.sensitive_columns(known),
        unseen=matrix.unseen_rows(known.table, baseline.model.signature),
        price=price,
        query_ids=matrix.query_codes(known),
        floor=floor,
        findings=baseline.findings,
        timing_s=timing_s,
        baseline=baseline.model.digest,
        timed=cache(lambda: fastest_baseline(baseline.model, reference, rows, blobs, limit_s=timing_s)),
        unlabeled=_unlabeled_rows(baseline, dataset, reference),
        open_s=opened - began,
        answer_s=answered - opened,
    )


def _unlabeled_rows(baseline: Baseline, dataset: Dataset, reference: Engine) -> UnlabeledRows | None:
    """Return at most MAX_UNLABELED rows without an outcome; None for a task without decisions of single rows."""
    is_known = dataset.table[dataset.roles.target].is_not_null().to_numpy()
    unknown = np.flatnonzero(~is_known)
    if not len(unknown) or not is_known.any() or baseline.model.task not in (*DECIDES, MULTILABEL):
        return None
    unknown = unknown[:: -(-len(unknown) // MAX_UNLABELED)]
    chosen = replace(dataset, table=dataset.table[unknown])
    rows = matrix.matrix(chosen.table, baseline.model.signature)
    return UnlabeledRows(
        rows=rows,
        groups=matrix.group_codes(dataset)[np.concatenate([np.flatnonzero(is_known), unknown])],
        reference_scores=reference.predict(rows),
        reference_decisions=library_decisions(reference, rows) if baseline.threshold_rule == "library" else None,
        weights=matrix.sample_weights(chosen),
    )


def dependent_groups(dataset: Dataset, rows: Floats, signature: Signature) -> Ints:
    """Return the codes of the declared groups, or without any those of copied rows, int64 (n,).

    Rows of a model are copies if they are equal in every feature and their outcomes agree by more than half of what
    chance leaves: then they are one group, as what is dependent is not counted twice. Of rows that repeat because their
    columns are few and coarse, outcomes vary, and each row is its own group. So is a text: many people write the same.
    """
    own, roles = matrix.group_codes(dataset), dataset.roles
    is_judged = roles.task in (*DECIDES, MULTILABEL, "regression")
    if roles.groups or roles.query_id or signature.texts or not rows.size or not is_judged:
        return own
    content = np.ascontiguousarray(rows + 0.0)  # -0 is 0
    keys = content.view(np.dtype((np.void, content.strides[0]))).ravel()
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    copied = first[codes] != own
    if copied.mean() <= MAX_COPIES:
        return own
    labels = matrix.target_values(dataset).reshape(len(rows), -1)
    near = CLOSE_SHARE * float(labels.std()) if roles.task == "regression" else 0.0
    agreement = [
        outcome_agreement(outcomes[first[codes][copied]], outcomes[copied], outcomes, near=near)
        for outcomes in labels.T
    ]
    if not min(agreement) > MIN_AGREEMENT:
        return own
    groups: Ints = first[codes].astype(np.int64)
    return groups


def require_probabilities_of(baseline: Baseline, scores: Floats) -> None:
    """Raise DataError if a classifier's answers, (n, k), are outside of [0, 1], such as logits."""
    finite = scores[np.isfinite(scores)]
    if baseline.model.task not in DECIDES or not finite.size:
        return
    low, high = float(finite.min()), float(finite.max())
    if low < -PROBABILITY_ROUNDING or high > 1 + PROBABILITY_ROUNDING:
        end = "Sigmoid()" if baseline.model.task == "binary" else "Softmax(1)"
        raise DataError(
            f"the model answers from {low:.3g} to {high:.3g}, which is outside of [0, 1]",
            where=f"task '{baseline.model.task}', {len(scores):,} rows",
            hint=f"append what makes probabilities, as torch.nn.Sequential(model, torch.nn.{end}); or name its task, "
            "such as task='regression'",
        )


def fastest_baseline(
    model: Variant, opened: Engine, rows: Floats, blobs: Blobs, *, limit_s: float = inf
) -> TimedBaseline:
    """Return the baseline on its best number of threads for one row and for batches: its own, one, or every core.

    Parameters
    ----------
    model : Variant
        The baseline.
    opened : Engine
        The same, opened with its own settings.
    """
    defaults: Settings = getattr(type(opened), "defaults", {})
    own = int(model.settings.get("threads", defaults.get("threads", 0)))
    engines: dict[int, Engine] = {own: opened}
    if "threads" in defaults:
        all_cores = cores() if own or cores() != os.cpu_count() else 0  # 0: the library counts the cores of the machine
        for threads in {1, all_cores} - {own}:
            settings = {**model.settings, "threads": threads}
            engines[threads] = load_engine(model.engine)(blobs.get(model.artifact.digest), settings)
    one_row, batch = (
        fastest_engine(engines, rows, batch=batch, limit_s=limit_s) if len(engines) > 1 else own
        for batch in (False, True)
    )
    least_cpu = 1 if 1 in engines else own

    def timed(threads: int, kind: Literal["array_row", "batch"]) -> TimedEngine:
        call = TimedCall(engine=model.engine, call="predict", input=kind, rows=1, threads=threads)
        return TimedEngine(engine=engines[threads], call=call)

    return TimedBaseline(
        one_row=(timed(one_row, "array_row"), timed(least_cpu, "array_row")),
        batch=(timed(batch, "batch"), timed(least_cpu, "batch")),
    )


def compare_with_baseline(
    variant: Variant, evaluation_set: EvaluationSet, blobs: Blobs, *, view: Dataset | None = None
) -> Comparison:
    """Let a variant answer the evaluation set, and pair its answers with the baseline's.

    With a `view`, the variant reads the rows as that feature view gives them while the baseline keeps those of the
    evaluation set: a view that is wrong at serving shows as an error of the variant.
    """
    rows = matrix.matrix(labeled_rows(view).table, variant.signature) if view else evaluation_set.rows
    inputs = () if view else evaluation_set.fields
    is_baseline = view is None and variant.digest == evaluation_set.baseline
    names = [field.name for field in inputs]
    model = evaluation_set.reference if is_baseline else open_on_rows(variant, names, blobs)
    if is_baseline:
        scores, decisions = evaluation_set.reference_scores, evaluation_set.reference_decisions
    else:
        scores = model.predict(rows)
        decisions = library_decisions(model, rows) if evaluation_set.follows_library else None
    shared = {field.name: getattr(evaluation_set, field.name) for field in fields(EvaluatedRows)}
    if view:
        shared |= {"rows": rows, "floor": None}
    keeps = view is None and _keeps_decisions(variant, evaluation_set.threshold)
    subject = Comparison(
        variant=variant,
        model=model,
        scores=scores,
        decisions=decisions,
        inputs=inputs,
        keeps_decisions=keeps,
        keeps_answers=is_baseline or (view is None and bool(variant.steps) and not answer_changing_steps(variant)),
        **shared,
    )
    more = evaluation_set.unlabeled
    if more is None or view is not None:
        return subject
    new_scores = more.reference_scores if is_baseline else model.predict(more.rows)
    decided = library_decisions(model, more.rows) if evaluation_set.follows_library else None
    without_labels = replace(
        subject,
        rows=more.rows,
        labels=np.full((len(more.rows), *subject.labels.shape[1:]), np.nan),
        scores=new_scores,
        decisions=decided,
        reference_scores=more.reference_scores,
        reference_decisions=more.reference_decisions,
        groups=more.groups[len(subject.groups) :],
        weights=more.weights,
        slices={},
        sensitive_features={},
        unseen=None,
    )
    return replace(subject, without_labels=without_labels)


def _keeps_decisions(variant: Variant, threshold: float) -> bool:
    """Return whether the steps of a variant are proved to keep every decision of the baseline, at this threshold."""
    at = {step.settings.get("threshold", threshold) for step in variant.steps}
    return proves_decisions(variant) and at <= {threshold}


def library_decisions(model: Engine, rows: Floats) -> Ints | None:
    """Return the classes that the model's library predicts for rows (n, d), int64 (n,); None if the scores decide."""
    if type(model) is ColumnSelection:
        return library_decisions(model.model, model.select(rows))
    return model.decide(rows) if isinstance(model, Decider) else None


def open_variant(variant: Variant, blobs: Blobs) -> Engine:
    """Open the model of a variant with its engine; raises EngineError or PluginError."""
    content = blobs.get(variant.artifact.digest)
    if not variant.steps:
        return open_baseline(variant.engine, variant.artifact.digest, content, variant.settings)
    return load_engine(variant.engine)(content, variant.settings)


def open_on_rows(variant: Variant, names: Sequence[str], blobs: Blobs) -> Engine:
    """Open a variant that answers rows of these columns, of which it may read some; without names, of its own."""
    model = open_variant(variant, blobs)
    if not names or variant.signature.names == tuple(names):
        return model
    return ColumnSelection(model, column_indices(variant.signature.names, names))


def tree_artifact(subject: Comparison, context: AuditContext) -> tuple[TreeEngine, bytes, str]:
    """Return an engine that reads trees, the artifact that decides as the variant, and whose it is.

    It is the variant's own; if its engine exposes nothing, that of the baseline, from which all steps keep decisions.

    Raises
    ------
    NotApplicable
        If no engine exposes trees, or a step changes decisions.
    """
    for whose, variant in (("the variant", subject.variant), ("the baseline", context.baseline)):
        engine = load_engine(variant.engine) if variant else None
        if variant is None or not isinstance(engine, TreeEngine):
            continue
        if variant is not subject.variant and (steps := decision_changing_steps(subject.variant)):
            raise NotApplicable(f"step {steps[0].transform!r} may change decisions of the baseline")
        return engine, context.blobs.get(variant.artifact.digest), whose
    raise NotApplicable(f"engine {subject.variant.engine!r} exposes no trees or weights")


def check_width(width: int, subject: Comparison) -> None:
    """Raise NotApplicable unless a model reads as many columns as the rows have."""
    if width != len(subject.names):
        raise NotApplicable(f"its model reads {width} columns, the rows have {len(subject.names)}")


def record_self_test(variant: Variant, rows: Floats, blobs: Blobs, *, names: Sequence[str] = ()) -> SelfTest:
    """Return the first rows with the variant's own answers, which a server repeats before it takes traffic.

    `names` are the columns of the rows, if they are others than those that the variant reads.
    """
    if names:
        rows = rows.take(column_indices(variant.signature.names, names), axis=1)
    some = rows[:SELF_TEST_ROWS].copy()
    texts: dict[str, tuple[str | None, ...]] = {}
    for index, field in enumerate(variant.signature.inputs):
        if field.is_text:
            texts[field.name] = made = _anonymous_texts(text_codes.texts(rows[:, index]))
            some[:, index] = text_codes.keep(made)[: len(some)]
    answers = open_variant(variant, blobs).predict(some)
    for name in texts:
        some[:, variant.signature.names.index(name)] = np.arange(len(some))
    return SelfTest(rows=_as_stored(some), answers=_as_stored(answers), texts=texts)


def _anonymous_texts(texts: Sequence[str | None]) -> tuple[str, ...]:
    """Make texts for a self-test of words that several rows have, so that a release contains no text of the data."""
    counts = Counter(word for text in texts if text for word in set(text.split()))
    common = sorted(word for word, n in counts.items() if n >= _COMMON_WORD) or ["text"]
    random = np.random.default_rng(0)
    return tuple(" ".join(random.choice(common, _WORDS)) for _ in range(SELF_TEST_ROWS))


def _as_stored(values: Floats) -> tuple[tuple[float | None, ...], ...]:
    """Return numbers (n, d) as a record holds them, None for NaN."""
    return tuple(tuple(None if isnan(value) else value for value in row) for row in values.tolist())


def subsample(subject: Comparison, max_rows: int) -> Comparison:
    """Keep every k-th row so that at most `max_rows` remain; groups stay."""
    step = -(-len(subject.rows) // max_rows) if len(subject.rows) else 1
    return subject if step == 1 else select_rows(subject, np.arange(0, len(subject.rows), step))


def select_rows(subject: Comparison, which: Ints) -> Comparison:
    """Keep only these rows, int64 (m,)."""
    names = ("rows", "labels", "scores", "reference_scores", "groups")
    optional = ("decisions", "reference_decisions", "weights", "unseen", "query_ids")
    fewer = {name: getattr(subject, name)[which] for name in names}
    fewer |= {name: getattr(subject, name)[which] for name in optional if getattr(subject, name) is not None}
    slices, people = (
        {name: SliceColumn(codes=column.codes[which], values=column.values) for name, column in columns.items()}
        for columns in (subject.slices, subject.sensitive_features)
    )
    return replace(subject, **fewer, slices=slices, sensitive_features=people, without_labels=None)


def time_per_row(subject: Comparison) -> float:
    """Return the seconds per row that both models take together, without the first call of each."""
    spent = 0.0
    for engine in (subject.model, subject.reference):
        engine.predict(subject.rows)
        began = monotonic()
        engine.predict(subject.rows)
        spent += monotonic() - began
    return spent / len(subject.rows)


def errors_of_answers(subject: Comparison, answers: Floats, before: Floats | None = None) -> RowErrors:
    """Return the errors of other answers (n, k) to the same rows, paired with those of its own, or of `before`."""
    return compute_row_errors(with_answers(subject, answers, before))


def with_answers(subject: Comparison, answers: Floats, before: Floats | None = None) -> Comparison:
    """Return the comparison with other answers (n, k) in place of the variant's, paired with its own, or `before`.

    A NaN answer counts as completely wrong. Raises NotApplicable for one of a regression, where nothing is.
    """
    own = subject.scores if before is None else before
    return replace(
        without_proofs(subject) if before is None else subject,
        scores=_without_gaps(answers, subject),
        reference_scores=_without_gaps(own, subject),
        decisions=None,
        reference_decisions=None,
        without_labels=None,
    )


def without_proofs(subject: Comparison) -> Comparison:
    """Return the comparison without what is known of its steps: for other answers, or those of another baseline."""
    return replace(subject, keeps_decisions=False, keeps_answers=False, without_labels=None)


def _without_gaps(answers: Floats, subject: Comparison) -> Floats:
    silent = ~np.isfinite(answers).all(axis=1)
    if not silent.any():
        return answers
    if subject.variant.task not in ("binary", "multiclass"):
        raise NotApplicable(f"{int(silent.sum())} answers to altered rows are not finite")
    filled, labels = answers.copy(), subject.labels[silent]
    if answers.shape[1] == 1:
        filled[silent, 0] = 1 - labels
        return filled
    filled[silent] = 0.0
    filled[np.flatnonzero(silent), (labels.astype(np.int64) + 1) % answers.shape[1]] = 1.0
    return filled


SCREENING_ROUNDS, SCREENING_ROUND_NS, SCREENING_SHARE = 20, 300_000, 0.3


def screen_speed(variant: Variant, evaluation_set: EvaluationSet, blobs: Blobs) -> Evidence:
    """Measure the speed of a variant in twenty short rounds or fewer: it decides what is evaluated, and no rule.

    Intervals hold the time in another burst. CPU times are measured as well: the search orders by them if the machine
    was busy.
    """
    model = open_on_rows(variant, [field.name for field in evaluation_set.fields], blobs)
    found = (
        time_model(
            model,
            evaluation_set.rows,
            rounds=SCREENING_ROUNDS,
            round_ns=SCREENING_ROUND_NS,
            limit_s=SCREENING_SHARE * evaluation_set.timing_s,
            is_burst=True,
            meter=partial(LoadMeter, spin_ns=SCREENING_ROUND_NS),
        )
        if len(evaluation_set.rows)
        else []
    )
    return build_evidence(
        variant,
        [seen for seen in found if isinstance(seen, Measurement)],
        [busy_finding(seen) for seen in found if isinstance(seen, MachineBusy)],
        dataset_digest=evaluation_set.dataset,
        period=evaluation_set.period,
    )
