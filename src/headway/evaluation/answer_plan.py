"""Choose which rows a model answers, on `validation`, and certify that on other held-out rows.

Rule and thresholds are taken from `validation`. A threshold for all classes is certified by the tests of
`evaluation.selective`; with `per_class` each class has a threshold and a certificate of its own, at a level that the
classes share (Bonferroni).

E009: no threshold is certified (warn), or some classes have no certificate of their own (note).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import get_args

import msgspec
import numpy as np
from msgspec.structs import replace

from headway.core.answering import AnswerDecider, Answers, confidences, reject_index
from headway.core.arrays import Bools, Floats, Ints
from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.evidence import Finding, Measurement
from headway.core.selective import AnswerPlan, ConfidenceRule, SelectiveCertificate
from headway.core.variant import DECIDES, MULTILABEL
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.evaluation.context import Comparison
from headway.evaluation.selective import certify_threshold, measure_risk, risk_test
from headway.evaluation.settings.answer import AnswerSection
from headway.evaluation.statistics.claims import MAX_GROUPS_RATIO
from headway.evaluation.statistics.intervals import exact_measurement

NOT_CERTIFIED = "E009"
_STEPS, _CURVE, _SHOWN = 60, 25, 5
_SECTION = "[answer]"
_OF_DEVICE = -1
"""Class of a row that a device answers: none of those of the model."""


def require_one_answer(task: str) -> None:
    """Raise ConfigError for a task that has no single class to answer."""
    if task in DECIDES:
        return
    what = f"a model for {task} has no classes to answer"
    if task == MULTILABEL:
        what = "a certificate is about one answer a row, and a multilabel model gives several"
    hint = "remove [answer] limit; selective answering needs a classifier of one class a row"
    raise ConfigError(what, where=_SECTION, hint=hint)


def require_decidable(config: Config) -> None:
    """Raise ConfigError for settings of decisions that the task or the weights of the rows rule out.

    A certificate needs one class a row, and rows without weights, since its exact tests count rows. Costs set a
    threshold between two classes.
    """
    if config[ModelSection].costs is not None and config[DataSection].task != "binary":
        raise ConfigError(
            f"costs set a threshold between two classes, and the task is {config[DataSection].task}",
            where="[model] costs",
            hint="leave them out ([model] costs, costs=): the model's own predict decides then",
        )
    if config[AnswerSection].limit:
        require_one_answer(config[DataSection].task)
    if config[AnswerSection].limit and config[DataSection].sample_weight:
        raise ConfigError(
            "a limit on wrong answers is certified by counting rows, which have weights here",
            where="[data] sample_weight",
            hint="leave out the weights (sample_weight), or the limit ([answer] limit, answer_limit)",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledAnswers:
    """Answers of a model to labeled rows, before any threshold.

    Attributes
    ----------
    classes
        Classes of the model, k.
    probabilities
        float64 of shape (n, k), or (n, 1) with that of the second of two classes.
    labels
        Index of the class of each row, int64 of shape (n,).
    groups
        Group of each row, int64 of shape (n,); None if each row is independent.
    threshold
        Decision threshold of two classes.
    by_device
        Rows that the release of a device answers, bool of shape (n,), and `device_errors` which of these answers are
        wrong; they count in a certificate as answered. None without a device.
    """

    classes: tuple[str, ...]
    probabilities: Floats
    labels: Ints
    groups: Ints | None
    threshold: float
    by_device: Bools | None = None
    device_errors: Bools | None = None

    @classmethod
    def of(cls, subject: Comparison) -> LabeledAnswers:
        """Return the answers of a variant to the rows of a period.

        Raises
        ------
        ConfigError
            If its task has no classes.
        """
        variant = subject.variant
        require_one_answer(variant.task)
        outputs = subject.scores.shape[1]
        names = variant.signature.classes or tuple(str(index) for index in range(max(outputs, 2)))
        return cls(
            classes=names,
            probabilities=subject.scores,
            labels=subject.labels.astype(np.int64),
            groups=subject.groups if len(np.unique(subject.groups)) < len(subject.groups) else None,
            threshold=subject.threshold,
        )

    def answered_by(self, rule: ConfidenceRule, reject: str) -> _Confidences:
        """Return the answer to each row and the confidence in it, -inf for rows that are rejects."""
        index = reject_index(reject, self.classes)
        answer, confidence = confidences(rule, self.probabilities, threshold=self.threshold, reject=index)
        confidence = np.where(np.isnan(confidence) | (answer == index), -np.inf, confidence)
        wrong = answer != self.labels
        if self.by_device is not None and self.device_errors is not None:
            answer = np.where(self.by_device, _OF_DEVICE, answer)
            confidence = np.where(self.by_device, np.inf, confidence)
            wrong = np.where(self.by_device, self.device_errors, wrong)
        return _Confidences(answer=answer, confidence=confidence, errors=wrong.astype(np.float64), groups=self.groups)

    def behind(self, device: LabeledAnswers, plan: AnswerPlan) -> LabeledAnswers:
        """Return these answers as those to what a device does not answer by its plan; `device` has the same rows."""
        decided = device.decided(plan)
        return replace_fields(self, by_device=decided.is_answered, device_errors=decided.answer != self.labels)

    def subset(self, chosen: Bools) -> LabeledAnswers:
        """Return the answers to some rows, bool (n,)."""
        return LabeledAnswers(
            classes=self.classes,
            probabilities=self.probabilities[chosen],
            labels=self.labels[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            threshold=self.threshold,
            by_device=None if self.by_device is None else self.by_device[chosen],
            device_errors=None if self.device_errors is None else self.device_errors[chosen],
        )

    def without_device(self) -> LabeledAnswers:
        """Return the answers to rows that no device answers."""
        return self if self.by_device is None else replace_fields(self.subset(~self.by_device), by_device=None)

    def decided(self, plan: AnswerPlan) -> Answers:
        """Return what the plan decides for these rows."""
        return AnswerDecider(plan, self.classes, threshold=self.threshold)(self.probabilities)

    @property
    def n_units(self) -> int:
        """Number of groups, or of rows without groups."""
        return len(self.labels) if self.groups is None else len(np.unique(self.groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Confidences:
    """Answer, confidence and error of each row, by one rule."""

    answer: Ints
    confidence: Floats
    errors: Floats
    groups: Ints | None

    def of_class(self, index: int) -> _Confidences:
        """Return the same rows, of which only those with this answer may be answered."""
        confidence = np.where(self.answer == index, self.confidence, -np.inf)
        return _Confidences(answer=self.answer, confidence=confidence, errors=self.errors, groups=self.groups)

    def thresholds(self, limit: float) -> list[float]:
        """Return thresholds between the confidences of these rows, from the one most surely within the limit down."""
        values = np.unique(self.confidence[np.isfinite(self.confidence)])
        if not len(values):
            return []
        middles = np.concatenate((values[:1] / 2, (values[:-1] + values[1:]) / 2))
        found = middles[np.unique(np.linspace(0, len(middles) - 1, _STEPS).astype(np.int64))]
        chances = [self.chance(float(threshold), limit) for threshold in found]
        return [float(threshold) for threshold in found[: int(np.argmin(chances)) + 1]]

    def chance(self, threshold: float, limit: float) -> float:
        """Return the p-value of "the share of errors is at least the limit" above a threshold."""
        return risk_test(self.confidence >= threshold, self.errors, groups=self.groups).p_value(limit)

    def certify(self, thresholds: Sequence[float], limit: float, level: float) -> SelectiveCertificate:
        """Test the thresholds on these rows."""
        return certify_threshold(
            self.confidence, self.errors, thresholds=thresholds, limit=limit, groups=self.groups, level=level
        )


def make_plan(validation: LabeledAnswers, held_out: LabeledAnswers, section: AnswerSection) -> AnswerPlan:
    """Choose rule and thresholds on `validation`, and certify them on held-out rows.

    Parameters
    ----------
    validation, held_out : LabeledAnswers
        Answers of one model to different rows.
    section : AnswerSection
        Its `limit` is above 0.

    Returns
    -------
    AnswerPlan
        Without thresholds if nothing is certified: then nothing is answered.

    Raises
    ------
    ConfigError
        If the class of rejects is not a class of the model.
    """
    classes = validation.classes
    if section.reject and section.reject not in classes:
        raise ConfigError(
            f"the model has no class {section.reject!r}",
            where=f"{_SECTION} reject",
            hint=f"classes of the model: {', '.join(classes[:_SHOWN])}{', ...' if len(classes) > _SHOWN else ''}",
        )
    rule = section.rule or _best_rule(validation, section)
    chosen, tested = (rows.answered_by(rule, section.reject) for rows in (validation, held_out))
    ratio = held_out.n_units / validation.n_units
    thresholds = chosen.thresholds(section.limit)
    if not section.per_class:
        certificate = _certified(tested, thresholds, section, section.level)
        above = {name: certificate.threshold for name in classes if name != section.reject}
        plan = AnswerPlan(
            rule=rule,
            thresholds=above if certificate.is_certified else {},
            certificate=certificate,
            reject=section.reject,
            stages=section.stages,
        )
        return replace(plan, classes=_classes(plan, classes, chosen, tested, section, ratio))
    return _plan_per_class(rule, classes, chosen, tested, section, ratio)


def _best_rule(validation: LabeledAnswers, section: AnswerSection) -> ConfidenceRule:
    """Return the rule that answers most rows of `validation` within the limit: as tested there, else as counted."""

    def coverage(rule: ConfidenceRule) -> tuple[float, float]:
        rows = validation.answered_by(rule, section.reject)
        order = np.argsort(-rows.confidence, kind="stable")
        known = np.isfinite(rows.confidence[order])
        risk = np.cumsum(rows.errors[order]) / np.arange(1, len(order) + 1)
        within = np.flatnonzero((risk <= section.limit) & known)
        counted = (int(within[-1]) + 1) / len(order) if len(within) else 0.0
        thresholds = rows.thresholds(section.limit)
        certified = rows.certify(thresholds, section.limit, section.level).coverage.value if thresholds else 0.0
        return certified, counted

    rules: tuple[ConfidenceRule, ...] = get_args(ConfidenceRule)
    return max(rules, key=coverage)


def _certified(
    rows: _Confidences, thresholds: Sequence[float], section: AnswerSection, level: float
) -> SelectiveCertificate:
    """Test thresholds on held-out rows; without any, nothing is certified."""
    return rows.certify(thresholds or [1.0], section.limit, level)


def _classes(
    plan: AnswerPlan,
    classes: Sequence[str],
    chosen: _Confidences,
    tested: _Confidences,
    section: AnswerSection,
    ratio: float,
) -> dict[str, SelectiveCertificate]:
    """Test the threshold of the plan for each class with enough rows, all together at the level."""
    if not plan.certificate.is_certified:
        return {}
    threshold = plan.certificate.threshold
    candidates = {name: [threshold] for name in plan.thresholds}
    supported = _supported(candidates, classes, chosen, section, ratio)
    level = 1 - (1 - section.level) / max(len(supported), 1)
    return {name: tested.of_class(classes.index(name)).certify([threshold], section.limit, level) for name in supported}


def _plan_per_class(
    rule: ConfidenceRule,
    classes: Sequence[str],
    chosen: _Confidences,
    tested: _Confidences,
    section: AnswerSection,
    ratio: float,
) -> AnswerPlan:
    """Certify a threshold for each class with enough rows; rows of other classes are not answered.

    The share of errors of all answers is a mean of those of the classes, so it is within the limit if all of them are.
    """
    names = [name for name in classes if name != section.reject]
    candidates = {name: chosen.of_class(classes.index(name)).thresholds(section.limit) for name in names}
    supported = _supported(
        {name: found for name, found in candidates.items() if found}, classes, chosen, section, ratio
    )
    level = 1 - (1 - section.level) / max(len(supported), 1)
    certificates = {
        name: tested.of_class(classes.index(name)).certify(candidates[name], section.limit, level) for name in supported
    }
    thresholds = {name: found.threshold for name, found in certificates.items() if found.is_certified}
    floors = np.array([thresholds.get(name, math.inf) for name in classes])
    coverage, risk = measure_risk(
        tested.confidence >= floors[tested.answer], tested.errors, groups=tested.groups, level=section.level
    )
    if thresholds:
        risk = replace(risk, high=section.limit, method=f"certificates of {len(thresholds)} classes, Bonferroni")
    needed = [found.groups_needed for found in certificates.values() if found.groups_needed is not None]
    return AnswerPlan(
        rule=rule,
        thresholds=thresholds,
        certificate=SelectiveCertificate(
            threshold=min(thresholds.values(), default=math.inf),
            coverage=coverage,
            risk=risk,
            limit=section.limit,
            groups_needed=min(needed, default=None),
        ),
        classes=certificates,
        reject=section.reject,
        stages=section.stages,
    )


def _supported(
    candidates: Mapping[str, Sequence[float]],
    classes: Sequence[str],
    chosen: _Confidences,
    section: AnswerSection,
    ratio: float,
) -> list[str]:
    """Return the classes that are frequent enough on `validation` for a certificate on held-out rows.

    More classes need more rows each, since they share the level.
    """
    units = {
        name: ratio
        * risk_test(
            chosen.of_class(classes.index(name)).confidence >= thresholds[-1], chosen.errors, groups=chosen.groups
        ).n_answered
        for name, thresholds in candidates.items()
    }
    order = sorted(units, key=lambda name: -units[name])
    enough = [
        count
        for count, name in enumerate(order, start=1)
        if units[name] >= least_units(section.limit, (1 - section.level) / count, by_group=chosen.groups is not None)
    ]
    return [name for name in classes if name in order[: max(enough, default=0)]]


def least_units(limit: float, alpha: float, *, by_group: bool) -> int:
    """Return the number of answered rows, or of groups, without any error that certify a limit."""
    return math.ceil(-math.log(alpha) / (limit if by_group else -math.log1p(-limit)))


def measure_answers(
    plan: AnswerPlan, validation: LabeledAnswers, held_out: LabeledAnswers, section: AnswerSection
) -> tuple[list[Measurement], list[Finding]]:
    """Return the measurements of a plan on held-out rows, and findings on what is not certified.

    `answer.coverage` and `answer.risk` are those of the plan, by class of the answer as well. `answer.groups_needed`
    is about how many held-out groups, or rows, a class without a certificate needs, at most ten times those at hand.
    `answer.curve_coverage` and `answer.curve_risk` are those of other thresholds of the confidence.
    `answer.cost_per_thousand` is the cost of the other stages.
    """
    decided, errors = held_out.decided(plan), held_out.answered_by(plan.rule, plan.reject).errors
    found = [
        replace(plan.certificate.coverage, name="answer.coverage"),
        _of_answers(plan.certificate.risk, "answer.risk"),
        *_cost(plan, section),
    ]
    for index, name in enumerate(held_out.classes):
        answered = decided.is_answered & (decided.answer == index)
        if name in plan.thresholds and answered.any():
            coverage, risk = _of_class(plan, name, decided.answer == index, answered, errors, held_out.groups, section)
            found += [coverage, risk]
    found += _groups_needed(plan, validation, held_out, section)
    return [*found, *_curve(plan, held_out, section)], _findings(plan, held_out, found)


def _of_answers(risk: Measurement, name: str, slice: str = "") -> Measurement:
    """Return a risk under the name of the evidence; bets on whole groups hold at any time."""
    return replace(risk, name=name, slice=slice, validity="anytime" if risk.n_groups else "fixed")


def _of_class(
    plan: AnswerPlan,
    name: str,
    mine: Bools,
    answered: Bools,
    errors: Floats,
    groups: Ints | None,
    section: AnswerSection,
) -> tuple[Measurement, Measurement]:
    """Return the share of the rows with this answer that are answered, and the share of errors among these."""
    level = 1 - (1 - section.level) / max(len(plan.classes), 1)
    coverage, risk = measure_risk(
        answered[mine], errors[mine], groups=None if groups is None else groups[mine], level=level
    )
    if name in plan.classes and plan.classes[name].is_certified:
        risk = plan.classes[name].risk
    slice = f"answer={name}"
    return replace(coverage, name="answer.coverage", slice=slice), _of_answers(risk, "answer.risk", slice)


def _groups_needed(
    plan: AnswerPlan, validation: LabeledAnswers, held_out: LabeledAnswers, section: AnswerSection
) -> list[Measurement]:
    """Return how many held-out groups, or rows, would do: for all answers, and for classes without a certificate."""
    unit, method = ("rows" if held_out.groups is None else "groups"), "estimated from validation"
    chosen = validation.answered_by(plan.rule, plan.reject)
    alpha = (1 - section.level) / max(len(plan.classes) + 1, 1)
    needed: dict[str, int | None] = {}
    if not plan.certificate.is_certified and not section.per_class:
        needed[""] = plan.certificate.groups_needed
    for index, name in enumerate(held_out.classes):
        certificate = plan.classes.get(name)
        if name == plan.reject or (certificate and certificate.is_certified):
            continue
        rows = chosen.of_class(index)
        thresholds = [plan.thresholds[name]] if name in plan.thresholds else rows.thresholds(section.limit)[-1:]
        if thresholds:
            test = risk_test(rows.confidence >= thresholds[0], rows.errors, groups=rows.groups)
            count = test.groups_needed(section.limit, alpha)
            needed[f"answer={name}"] = None if count and count > MAX_GROUPS_RATIO * held_out.n_units else count
    return [
        replace(
            exact_measurement("answer.groups_needed", float(count), n_rows=len(validation.labels), method=method),
            slice=slice,
            unit=unit,
        )
        for slice, count in needed.items()
        if count is not None
    ]


def _cost(plan: AnswerPlan, section: AnswerSection) -> list[Measurement]:
    """Return what the other stages cost for a thousand rows, with the interval of the coverage; nothing without costs.

    The first of the other stages is taken to answer all that the model does not.
    """
    costs = {"remote": section.remote.cost_per_call, "people": section.cost_per_message}
    price = 1000 * costs.get(plan.stages[0] if plan.stages else "people", 0.0)
    share = plan.certificate.coverage
    if not price:
        return []
    return [
        replace(
            share,
            name="answer.cost_per_thousand",
            value=price * (1 - share.value),
            low=price * (1 - share.high),
            high=price * (1 - share.low),
            se=None if share.se is None else price * share.se,
            bounds=(0.0, price),
            effective_rows=msgspec.UNSET,
        )
    ]


def _curve(plan: AnswerPlan, held_out: LabeledAnswers, section: AnswerSection) -> list[Measurement]:
    """Return coverage and risk of thresholds of the confidence, for all classes alike."""
    rows = held_out.answered_by(plan.rule, plan.reject)
    known = rows.confidence[np.isfinite(rows.confidence)]
    found: list[Measurement] = []
    for threshold in np.unique(np.quantile(known, np.linspace(0, 0.98, _CURVE))) if len(known) else ():
        coverage, risk = measure_risk(
            rows.confidence >= threshold, rows.errors, groups=rows.groups, level=section.level
        )
        slice = f"confidence>={threshold:.6g}"
        found += [
            replace(coverage, name="answer.curve_coverage", slice=slice),
            _of_answers(risk, "answer.curve_risk", slice),
        ]
    return found


def _findings(plan: AnswerPlan, held_out: LabeledAnswers, found: Sequence[Measurement]) -> list[Finding]:
    """Return why nothing is answered, or which classes have no certificate of their own."""
    unit = "rows" if held_out.groups is None else "groups"
    if not plan.thresholds:
        needed = next((seen for seen in found if seen.name == "answer.groups_needed"), None)
        of = f" ({needed.slice})" if needed is not None and needed.slice else ""
        more = f"about {needed.value:,.0f} held-out {unit} would do{of}" if needed is not None else ""
        return [
            Finding(
                code=NOT_CERTIFIED,
                severity="warn",
                message=f"no threshold is certified to keep {plan.certificate.limit:.3g} of the answers wrong at most, "
                f"so the model answers nothing; there are {held_out.n_units:,} held-out {unit}"
                + (f", and {more}" if more else ", and more of the same would not help"),
                measured=float(held_out.n_units),
                limit=needed.value if needed is not None else None,
                hint="add labeled rows to test, or raise [answer] limit",
            )
        ]
    without = [
        name
        for name in held_out.classes
        if name != plan.reject and not (name in plan.classes and plan.classes[name].is_certified)
    ]
    if not without:
        return []
    shown = ", ".join(without[:_SHOWN]) + (", ..." if len(without) > _SHOWN else "")
    certified = "they are answered by the certificate of all classes together"
    return [
        Finding(
            code=NOT_CERTIFIED,
            severity="note",
            message=f"{len(without)} of {len(held_out.classes)} classes have no certificate of their own: {shown}; "
            + (certified if all(name in plan.thresholds for name in without) else "they are not answered"),
            hint="answer.groups_needed in the evidence estimates how many held-out rows or groups each needs",
        )
    ]
