"""Membership inference: whether answers distinguish the rows that a model was trained on, and which rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic

import numpy as np
from msgspec.structs import replace as changed

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import Engine, LabeledData
from headway.core.errors import NotApplicable
from headway.core.evidence import AttackEffort, Measurement
from headway.core.training import TrainingTask
from headway.core.variant import Variant
from headway.data.split import half_of_groups
from headway.evaluation.comparison import open_on_rows
from headway.evaluation.context import REGISTERED_MODELS, AuditContext, Comparison, MetricResults
from headway.evaluation.membership_inference import (
    FEW,
    LABELS,
    LIRA,
    MIN_FLAGGED,
    MIN_GROUPS,
    POPULATION,
    RMIA,
    Attacked,
    AttackRates,
    Exposure,
    Shadows,
    Signals,
    read_signals,
    score_all,
    score_lira,
    score_rmia,
    share_interval,
)
from headway.evaluation.statistics.intervals import exact_measurement
from headway.optimization.ablation import repeat_steps
from headway.optimization.screening import answer_changing_steps
from headway.storage.in_memory import InMemoryBlobs

RETRAINS = True
ON_REQUEST = ("privacy.membership.",)

MIN_MODELS = 12
"""Least number of shadow models: half of the pairs calibrate the attacks, the others are attacked. With fewer than
`REGISTERED_MODELS` the attack is not complete, and no rule is met by it."""
TRAINING_SHARE = 0.75
"""Share of the time budget in which trainings begin."""
MAX_ROWS, MIN_OTHERS = 20_000, 200
_RATES = {"tpr_1pct": 0.01, "tpr_0.1pct": 0.001}
_CURVE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_OFTEN, _RARELY, _EXPOSED_MODELS, _SHOWN_ROWS = 0.5, 0.1, 6, 20
THIS_MODEL = "this model"
OTHER_ROWS_KNOWN = "this model, its other rows known"
"""Slice of an attacker who holds all other rows of the model, and trains shadow models on halves of them."""
_ATTACKS = (LIRA, FEW, RMIA, POPULATION, LABELS)
_TASKS = ("binary", "multiclass", "regression")
_RECIPE_HINT = 'def train(rows, labels, *, seed=0) in train.py, and train = "train:train" under [model]'
_AGAIN_HINT = "run again, stored ones are reused: headway evaluate --audit membership --budget 10m"


class _TooFewModels(NotApplicable):
    """Too few shadow models were trained in time."""

    def __init__(self, message: str, n_models: int) -> None:
        super().__init__(message, hint=_AGAIN_HINT)
        self.n_models = n_models


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure whether an attacker who has a row and its label can infer that the model was trained on it.

    With a training function, up to 64 models are trained on halves of the groups of `train`, in complementary pairs.
    Half of the pairs calibrate the attacks, the models of the others are attacked: the rows of the other half are
    non-members that differ from the members by nothing but chance. Steps of the variant that change answers are
    repeated on each, and the models without them are attacked too, for the paired difference. Attacks are slices:
    `lira` (offline), `few shadows` (four shadow models), `rmia`, `population` (the confidence alone) and `label only`.
    The strongest on the calibration pairs is the measure over all rows.

    Without one, the variant is attacked itself, with the rows of the evaluation as non-members (`population`,
    `label only`). That is refused for rows with a time: those of `train` are older, and a difference may be drift.
    With both, `this model` is the variant, attacked by the confidence alone. It is the measure over all rows if it is
    shown to leak more than models of its training do; no rule is met by that. `this model, its other rows known` is the
    variant, attacked by `lira` or `rmia` with shadow models of its own rows: a stronger attacker, who is kept apart.

    Measures:

    - `privacy.membership.auc`: how well members and non-members are distinguished; 0.5 is by chance.
    - `privacy.membership.tpr_1pct` and `.tpr_0.1pct`: share of members that are recognized with 1 % and .1 % of the
      non-members flagged; 0.01 and 0.001 are by chance. Also for each group of people and each declared slice.
    - `privacy.membership.auc.difference`, `.tpr_1pct.difference`: for a variant with steps that change answers, the
      measure minus that of the baseline, each by the attack that is strongest on it, on the same models; below 0 the
      steps are a defence.
    - `privacy.membership.roc`: the same at other shares of the non-members, which are the slices.
    - `privacy.membership.exposed`: rows recognized by at least half of the models trained on them, and at most a tenth
      of the others; `privacy.membership.row`: this share for the 20 most exposed, by position in `train`.
    - `privacy.membership.models`: models that were attacked, of those trained.

    Each has the number of shadow models as its effort: with fewer than 24 a rule may fail by it, and is never met.
    Another attacker may recognize more rows. A calibrator of the release is left out: it keeps the order of answers.

    Raises
    ------
    NotApplicable
        If no row is known to be a member, the task has no label for a row, or nothing can be attacked.
    """
    began = monotonic()
    data = _members(subject, context)
    shadow_reason: NotApplicable | None = None
    trained: _Trained | None = None
    try:
        trained = _train(subject, context, data, until=began + TRAINING_SHARE * context.budget_s)
    except NotApplicable as reason:
        shadow_reason = reason
    best = "" if trained is None else _strongest(trained, data.groups[trained.positions])
    own = _attack_this_model(
        subject, context, data, trained, score_lira if best == LIRA else partial(score_rmia, is_offline=True)
    )
    if trained is None:
        if isinstance(own, NotApplicable):
            raise NotApplicable(f"{own.what}; {shadow_reason.what}" if shadow_reason else own.what, hint=_RECIPE_HINT)
        n_models = shadow_reason.n_models if isinstance(shadow_reason, _TooFewModels) else 0
        results = [*own, *([shadow_reason] if shadow_reason else [])]
        return _with_effort(results, POPULATION, n_models, (shadow_reason and shadow_reason.hint) or _RECIPE_HINT)
    results = [*_attack_recipe(trained, data, best), *([own] if isinstance(own, NotApplicable) else own)]
    if caveats := context.training_caveats:
        unit = "shadow models known to be made as this model"
        return [*_of_worse_model(_with_effort(results, best, 0, caveats[0].hint, unit=unit)), *caveats]
    return _of_worse_model(_with_effort(results, best, 2 * len(trained.pairs), _AGAIN_HINT))


def _with_effort(
    results: Sequence[Measurement | NotApplicable], best: str, n_models: int, hint: str, *, unit: str = "shadow models"
) -> list[Measurement | NotApplicable]:
    """Return the results with the number of shadow models that each was measured with; `best` is the attack of most."""

    attacks = {name: name for name in _ATTACKS} | {THIS_MODEL: POPULATION}

    def effort(attack: str) -> AttackEffort:
        return AttackEffort(
            attack=attack,
            done=n_models,
            registered=REGISTERED_MODELS,
            unit=unit,
            hint=hint if n_models < REGISTERED_MODELS else "",
        )

    return [
        changed(result, effort=effort(attacks.get(result.slice, best))) if isinstance(result, Measurement) else result
        for result in results
    ]


def _members(subject: Comparison, context: AuditContext) -> LabeledData:
    """Return the rows that the model was trained on; raise NotApplicable if none are known, or they have no label."""
    if subject.variant.task not in _TASKS:
        raise NotApplicable(f"the rows of a {subject.variant.task} have no label each, which an attacker would compare")
    data = context.train()
    if data is None or not len(data.rows):
        raise NotApplicable(
            "the rows that the model was trained on are not known, so that no row is a member",
            hint="declare them: [split] train",
        )
    n_groups = len(np.unique(data.groups))
    if n_groups < MIN_GROUPS:
        raise NotApplicable(f"the training rows have {n_groups} groups, and {MIN_GROUPS} are needed for an interval")
    return data


class _SignalReader:
    """Reads the signals of models on the same rows."""

    def __init__(self, subject: Comparison, rows: Floats, labels: Floats) -> None:
        self._subject, self._rows, self._labels = subject, rows, labels
        self._scale = float(np.std(labels)) or 1.0
        self._outputs = subject.scores.shape[1]

    def read(self, engine: Engine) -> Signals | None:
        """Return the signals; None for a model with other outputs, as of a half in which a class is missing."""
        answers = engine.predict(self._rows)
        if answers.shape[1] != self._outputs or not np.isfinite(answers).all():
            return None
        return read_signals(
            answers,
            self._labels,
            task=self._subject.variant.task,
            threshold=self._subject.threshold,
            scale=self._scale,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trained:
    """Models trained on halves: their signals on rows of `train`, and then on rows of the evaluation.

    `positions` are the rows of `train`, int64 (n,). `pairs` are the models of each complementary pair; those of even
    number calibrate. `before` are the signals of the same models without the steps of the variant, if these change
    answers and each model could be read without them.
    """

    shadows: Shadows
    before: Shadows | None = None
    positions: Ints
    pairs: Sequence[tuple[int, int]]
    has_labels: bool
    n_trained: int

    @property
    def calibration(self) -> list[int]:
        """Models that calibrate the attacks."""
        return [model for number, pair in enumerate(self.pairs) for model in pair if number % 2 == 0]

    @property
    def targets(self) -> list[int]:
        """Models that are attacked."""
        return [model for number, pair in enumerate(self.pairs) for model in pair if number % 2]

    def signals(self, model: int) -> Signals:
        """Return the signals of one model on the rows of `train`."""
        return Signals(*(values[model, : len(self.positions)] for values in self.shadows.signals))

    def members(self, model: int) -> Bools:
        """Return which rows of `train` the model was trained on."""
        inside: Bools = self.shadows.inside[model, : len(self.positions)]
        return inside

    def some(self, models: Sequence[int]) -> Shadows:
        """Return some models on the rows of `train`."""
        n_rows = len(self.positions)
        part = self.shadows.some(models)
        return Shadows(
            signals=Signals(*(values[:, :n_rows] for values in part.signals)), inside=part.inside[:, :n_rows]
        )


def _train(subject: Comparison, context: AuditContext, data: LabeledData, *, until: float) -> _Trained:
    """Train models on halves of the groups while there is time, and read their signals.

    Raises
    ------
    NotApplicable
        If the baseline cannot be retrained, or too few models ended.
    """
    if context.retrain is None:
        raise NotApplicable(
            "no shadow models: the model cannot be retrained, or its training function takes no seed", hint=_RECIPE_HINT
        )
    positions = _spread(subject, data.rows)
    others = _spread(subject, subject.rows if context.months is None else subject.rows[:0])
    rows = np.concatenate([data.rows[positions], subject.rows[others]])
    reader = _SignalReader(subject, rows, np.concatenate([data.labels[positions], subject.labels[others]]))
    tasks = [TrainingTask(features=subject.names, seed=half, half=half) for half in context.halves]
    found: dict[int, Signals] = {}
    before: dict[int, Signals] = {}
    began, n_trained = monotonic(), 0
    for number, engine, baseline in _engines(subject, context, data, tasks, until):
        n_trained += 1
        half = context.halves[number]
        if (signals := reader.read(engine)) is not None:
            found[half] = signals
        if baseline is not None and (signals := reader.read(baseline)) is not None:
            before[half] = signals
    pairs = [(half, half + 1) for half in context.halves[::2] if half in found and half + 1 in found]
    if 2 * len(pairs) < MIN_MODELS:
        raise _TooFewModels(
            f"no shadow models: {len(pairs)} pairs of models were trained in {monotonic() - began:.0f} s, and "
            f"{MIN_MODELS // 2} are needed",
            2 * len(pairs),
        )
    models = [model for pair in pairs for model in pair]
    order = {model: index for index, model in enumerate(models)}
    inside = [_inside(data, positions, half, subject.groups[others]) for half in models]
    return _Trained(
        shadows=Shadows.of([found[model] for model in models], inside),
        before=Shadows.of([before[model] for model in models], inside) if before.keys() >= set(models) else None,
        positions=positions,
        pairs=[(order[first], order[second]) for first, second in pairs],
        has_labels=subject.variant.task != "regression",
        n_trained=n_trained,
    )


def _inside(data: LabeledData, positions: Ints, half: int, others: Ints) -> Bools:
    """Return which rows a model was trained on; of each pair, one model stands for those trained on a non-member.

    So members and non-members are compared with as many models that were not trained on them.
    """
    inside = half_of_groups(data.groups, half)[positions]
    return inside if not len(others) else np.concatenate([inside, half_of_groups(others, half)])


def _engines(
    subject: Comparison, context: AuditContext, data: LabeledData, tasks: Sequence[TrainingTask], until: float
) -> Iterator[tuple[int, Engine, Engine | None]]:
    """Yield each retrained model as its callers would see it, and without the steps of the variant.

    The latter is None for a variant without steps that change answers: both are the same model.

    Raises
    ------
    NotApplicable
        If a step cannot be repeated.
    """
    assert context.retrain is not None
    if not answer_changing_steps(subject.variant):
        for number, engine in context.retrain(tasks, lambda: monotonic() < until):
            yield number, engine, None
        return
    if context.retrain_variants is None or context.transform_context is None:
        raise NotApplicable("no shadow models: the steps of the variant cannot be repeated on retrained models")
    transforms = context.transform_context()

    def refuse(features: Sequence[str]) -> Variant:
        raise NotApplicable(f"a step trains the model again, without a half of the rows ({len(features)} features)")

    for number, trained in context.retrain_variants(tasks, lambda: monotonic() < until):
        blobs = InMemoryBlobs()
        baseline = trained.save(blobs)
        half = partial(_half, data, tasks[number].half or 0)
        own = replace(transforms, blobs=blobs, baseline=baseline, opened={}, train=half, retrain=refuse)
        after = open_on_rows(repeat_steps(baseline, subject.variant.steps, own), subject.names, blobs)
        yield number, after, open_on_rows(baseline, subject.names, blobs)


def _half(data: LabeledData, half: int) -> LabeledData:
    """Return the rows that a model of this half was trained on."""
    inside = half_of_groups(data.groups, half)
    weights = None if data.weights is None else data.weights[inside]
    return LabeledData(rows=data.rows[inside], labels=data.labels[inside], groups=data.groups[inside], weights=weights)


def _spread(subject: Comparison, rows: Floats) -> Ints:
    """Return the positions of at most `MAX_ROWS` rows that the variant answers, spread over all."""
    positions = np.arange(0, len(rows), max(-(-len(rows) // MAX_ROWS), 1), dtype=np.int64)
    if not len(positions):
        return positions
    is_answered = np.isfinite(subject.model.predict(rows[positions])).all(axis=1)
    return positions[is_answered]


def _attack_recipe(trained: _Trained, data: LabeledData, best: str) -> Iterator[Measurement | NotApplicable]:
    """Attack the models that calibrate nothing, and yield the measurements."""
    groups = data.groups[trained.positions]
    calibration = trained.some(trained.calibration)
    by_attack = _attacks(trained, trained.targets, calibration)
    for attack, attacked in by_attack.items():
        rates = AttackRates(attacked, groups)
        yield rates.auc("privacy.membership.auc", attack)
        yield from _rates(rates, attack)
    chosen = by_attack[best]
    rates = AttackRates(chosen, groups)
    how = f"attack {best!r}; "
    overall = [rates.auc("privacy.membership.auc"), *_rates(rates), *_roc(rates), *_difference(trained, rates, groups)]
    yield from (changed(one, method=how + one.method) if isinstance(one, Measurement) else one for one in overall)
    yield from _by_group_of_people(chosen, data, trained.positions)
    yield from _exposed(chosen, trained)
    yield exact_measurement(
        "privacy.membership.models",
        float(len(chosen)),
        n_rows=len(groups),
        method=f"models attacked, of {trained.n_trained} trained on halves of the groups; the others calibrate",
    )


def _difference(trained: _Trained, rates: AttackRates, groups: Ints) -> Iterator[Measurement]:
    """Yield how much less, or more, the steps of the variant let the strongest attack recognize."""
    if trained.before is None:
        return
    without = replace(trained, shadows=trained.before, before=None)
    attacked = _attacks(without, without.targets, without.some(without.calibration))[_strongest(without, groups)]
    before = AttackRates(attacked, groups)
    yield rates.auc("privacy.membership.auc.difference", minus=before)
    try:
        yield rates.true_positive_rate("privacy.membership.tpr_1pct.difference", _RATES["tpr_1pct"], minus=before)
    except NotApplicable:
        return  # the rate itself gives the reason


def _attacks(trained: _Trained, targets: Sequence[int], calibration: Shadows) -> dict[str, list[Attacked]]:
    """Return the scores of each attack on each target."""
    found: dict[str, list[Attacked]] = {}
    for target in targets:
        scores = score_all(trained.signals(target), calibration, has_labels=trained.has_labels)
        for attack, values in scores.items():
            found.setdefault(attack, []).append(Attacked(scores=values, members=trained.members(target)))
    return found


def _strongest(trained: _Trained, groups: Ints) -> str:
    """Return the attack that recognizes most members of the calibration models, each without its own pair."""
    calibration = trained.calibration
    gains: dict[str, list[float]] = {}
    for first in range(0, len(calibration), 2):
        pair = calibration[first : first + 2]
        rest = [model for model in calibration if model not in pair]
        for attack, attacked in _attacks(trained, pair, trained.some(rest)).items():
            rates = AttackRates(attacked, groups)
            try:
                gain = rates.true_positive_rate("", max(0.01, MIN_FLAGGED / rates.n_others)).value
            except NotApplicable:
                gain = rates.auc("").value
            gains.setdefault(attack, []).append(gain)
    return max(gains, key=lambda attack: float(np.mean(gains[attack])))


def _rates(rates: AttackRates, slice: str = "") -> Iterator[Measurement | NotApplicable]:
    """Yield the true-positive rates; without a slice the reason for each that cannot be measured."""
    for name, rate in _RATES.items():
        try:
            yield rates.true_positive_rate(f"privacy.membership.{name}", rate, slice)
        except NotApplicable as reason:
            if not slice:
                yield reason


def _roc(rates: AttackRates) -> Iterator[Measurement]:
    for rate in _CURVE:
        if rate * rates.n_others >= MIN_FLAGGED:
            yield rates.true_positive_rate("privacy.membership.roc", rate, f"{rate:g}")


def _by_group_of_people(attacked: Sequence[Attacked], data: LabeledData, positions: Ints) -> Iterator[Measurement]:
    """Yield the rates of each group of people and declared slice with enough rows."""
    for column, of_rows in data.slices.items():
        codes = of_rows.codes[positions]
        for code, value in enumerate(of_rows.values):
            inside = codes == code
            groups = data.groups[positions][inside]
            fewest = min(min(int(one.members[inside].sum()), int((~one.members[inside]).sum())) for one in attacked)
            if fewest < MIN_OTHERS or len(np.unique(groups)) < MIN_GROUPS:
                continue
            some = [Attacked(scores=one.scores[inside], members=one.members[inside]) for one in attacked]
            rates, label = AttackRates(some, groups), f"{column}={value}"
            yield rates.auc("privacy.membership.auc", label)
            yield from (one for one in _rates(rates, label) if isinstance(one, Measurement))


def _exposed(attacked: Sequence[Attacked], trained: _Trained) -> Iterator[Measurement | NotApplicable]:
    """Yield the number of exposed rows, and the most exposed ones by position; no value of a row is stored.

    Each row is a member of one model of each pair, so fewer pairs than `_EXPOSED_MODELS` show nothing of any row.
    """
    if len(attacked) < 2 * _EXPOSED_MODELS:
        yield NotApplicable(
            f"privacy.membership.exposed needs {2 * _EXPOSED_MODELS} attacked models, there are {len(attacked)}",
            hint="headway evaluate --audit membership --budget 10m",
        )
        return
    exposure = Exposure.of(attacked, 0.01)
    rows = exposure.recognized(at_least=_OFTEN, at_most=_RARELY, models=_EXPOSED_MODELS)
    n_rows = len(trained.positions)
    yield exact_measurement(
        "privacy.membership.exposed",
        float(len(rows)),
        n_rows=n_rows,
        method="rows of train given away by at least half of the models trained on them, and at most a tenth of others",
    )
    for row in rows[:_SHOWN_ROWS]:
        share, count = float(exposure.as_member[row]), int(exposure.n_member[row])
        low, high = share_interval(share, count)
        yield Measurement(
            name="privacy.membership.row",
            slice=f"row {trained.positions[row]}",
            value=share,
            low=low,
            high=high,
            method=f"share of {count} models trained on it that give it away, Wilson; position in train, from 0",
            n_rows=count,
        )


def _attack_this_model(
    subject: Comparison,
    context: AuditContext,
    data: LabeledData,
    trained: _Trained | None,
    score: Callable[[Signals, Shadows], Floats],
) -> list[Measurement | NotApplicable] | NotApplicable:
    """Attack the variant itself: by this score if there are shadow models, else by what needs none."""
    if context.months is not None:
        return NotApplicable(
            "the variant itself was not attacked: rows of train are older than others, and a difference may be drift"
        )
    positions = _spread(subject, data.rows) if trained is None else trained.positions
    others = _spread(subject, subject.rows)
    if len(others) < MIN_OTHERS or len(np.unique(subject.groups)) < MIN_GROUPS:
        return NotApplicable(
            f"the variant itself was not attacked: there are {len(others)} rows in "
            f"{len(np.unique(subject.groups))} groups that it was not trained on; {MIN_OTHERS} rows in {MIN_GROUPS} "
            "groups are needed"
        )
    rows = np.concatenate([data.rows[positions], subject.rows[others]])
    labels = np.concatenate([data.labels[positions], subject.labels[others]])
    signals = _SignalReader(subject, rows, labels).read(subject.model)
    if signals is None:
        return NotApplicable("the variant itself was not attacked: an answer to a training row is not finite")
    members = np.arange(len(rows)) < len(positions)
    first_other = int(data.groups.max()) + 1
    groups = np.concatenate([data.groups[positions], subject.groups[others] + first_other])
    if trained is not None:
        scores = {THIS_MODEL: signals.confidence, OTHER_ROWS_KNOWN: score(signals, trained.shadows)}
        by_slice = {
            name: AttackRates([Attacked(scores=values, members=members)], groups) for name, values in scores.items()
        }
        return [
            result
            for name, rates in by_slice.items()
            for result in (rates.auc("privacy.membership.auc", name), *_rates(rates, name))
        ]
    found: list[Measurement | NotApplicable] = []
    scores = score_all(signals, None, has_labels=subject.variant.task != "regression")
    for attack, values in scores.items():
        rates = AttackRates([Attacked(scores=values, members=members)], groups)
        found += [rates.auc("privacy.membership.auc", attack), *_rates(rates, attack)]
        if attack == POPULATION:
            found += [rates.auc("privacy.membership.auc"), *_rates(rates), *_roc(rates)]
    return found


def _of_worse_model(results: Sequence[Measurement | NotApplicable]) -> list[Measurement | NotApplicable]:
    """Return all results; a measure over all rows is that of the variant itself if it is shown to leak more.

    Shadow models do not leak as such a variant does, so no attack on it is complete.
    """
    of_variant = {
        result.name: result for result in results if isinstance(result, Measurement) and result.slice == THIS_MODEL
    }
    effort = AttackEffort(
        attack=POPULATION,
        done=0,
        registered=REGISTERED_MODELS,
        unit="shadow models that give away as much as this model",
        hint="check that the function of [model] train makes this model",
    )

    def worse(result: Measurement | NotApplicable) -> Measurement | NotApplicable:
        own = of_variant.get(result.name) if isinstance(result, Measurement) and not result.slice else None
        if isinstance(result, Measurement) and own is not None and own.se is not None and own.low > result.high:
            return changed(own, slice="", method=f"{THIS_MODEL}; {own.method}", effort=effort)
        return result

    return list(map(worse, results))
