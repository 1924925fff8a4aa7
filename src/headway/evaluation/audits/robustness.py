"""Robustness to corrupted inputs: missing, noisy, stale, swapped or unseen values, wrong units, texts, each month."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import Engine, SliceColumn
from headway.core.errors import EngineError, NotApplicable
from headway.core.evidence import Measurement
from headway.core.texts import MAX_TEXT, text_codes
from headway.core.variant import Field
from headway.evaluation.comparison import subsample, time_per_row, with_answers
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.quality.row_errors import compute_row_errors, decision_churn
from headway.evaluation.statistics.intervals import CHANGE, Sample, jackknife_interval
from headway.evaluation.statistics.subsets import RowStatistic, mean_measurement, subset_mean, subset_minus_rest
from headway.evaluation.statistics.tables import binary_answers, exact_auc, leave_one_out_auc, score_table
from headway.evaluation.text_corruptions import PHRASES, TEXT_KINDS, ChangeText, Phrases, text_changes

SHARED = True
MAX_ROWS, MIN_ROWS = 20_000, 1_250


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure the error on corrupted rows, of the variant and of the baseline.

    KIND is missing, unseen, stale, swapped, noise, unit or months, and for texts typos, case, truncated, spaces,
    accents or paraphrase; a slice names the feature and the corruption.

    - `robustness.KIND.drop` and `.decision_churn`: how much larger the error is than the baseline's on the same
      corrupted rows, and how often the decisions of the two differ.
    - `robustness.KIND.excess`, `.roc_auc.decrease` and `.changed_decisions`: what the corruption costs the variant.

    Slow models are evaluated on fewer rows. A kind is reported completely or not at all, so that no rule passes on a
    part.
    """
    until = context.until()
    months = _months(subject, context.months)
    some = _subsample_to_budget(subject, context)
    inputs = build_corruption_inputs(some, context)
    found: list[Measurement | NotApplicable] = [*months]
    for kind, corruptors in KINDS.items():
        corruptions = list(corruptors(inputs))
        try:
            found += _measure_kind(some, corruptions, until)
        except NotApplicable as error:
            message = f"robustness.{kind}, {len(corruptions)} corruptions: {error.what}"
            found.append(NotApplicable(message, where=error.where, hint=error.hint))
    return found


def _measure_kind(subject: Comparison, corruptions: Sequence[Corruption], until: float) -> list[Measurement]:
    """Return all measurements of one kind; raise NotApplicable if time runs out, or an answer cannot be judged."""
    found: list[Measurement] = []
    for corruption in corruptions:
        if monotonic() >= until:
            raise NotApplicable("time ran out before all were measured", hint="headway evaluate --budget 10m")
        found += measure_robustness(subject, corruption)
    return found


def _subsample_to_budget(subject: Comparison, context: AuditContext) -> Comparison:
    """Subsample the rows to what both models can answer in time: 20,000, halved down to 1,250."""
    few = subsample(subject, MIN_ROWS)
    inputs = build_corruption_inputs(few, context)
    count = sum(1 for corruptors in KINDS.values() for _ in corruptors(inputs))
    a_row = context.row_s or time_per_row(few)
    max_rows = MAX_ROWS
    while max_rows > MIN_ROWS and count * max_rows * a_row > context.budget_s / 2:
        max_rows //= 2
    return subsample(subject, max_rows)


def _months(subject: Comparison, months: SliceColumn | None) -> list[Measurement]:
    """Measure each month: `robustness.months.excess` against all other months, `.drop` against the baseline."""
    errors = compute_row_errors(subject)
    codes = [] if months is None else np.unique(months.codes).tolist()
    if months is None or len(codes) < 2:
        return []
    all_rows = np.ones(len(subject.rows), dtype=np.bool_)
    lost = RowStatistic(
        name="robustness.months.drop",
        values=errors.increase,
        among=all_rows,
        bounds=errors.bounds,
        blocks=errors.blocks,
    )
    erred = replace(lost, name="robustness.months.excess", values=errors.variant, bounds=(0.0, errors.bounds[1]))
    found = []
    for code in codes:
        inside = months.codes == code
        both = (subset_minus_rest(erred, inside), subset_mean(lost, inside))
        found += [named(measurement, slice=f"month={months.values[code]}") for measurement in both]
    return found


def measure_robustness(subject: Comparison, corruption: Corruption) -> list[Measurement]:
    """Measure one corruption: `.excess`, `.drop`, and for a classifier the changed decisions and the AUC.

    `.drop` and `.decision_churn` compare with the baseline on the same corrupted rows, the others with the variant
    itself on the original rows.
    """
    rows = corruption.rows()
    variant, reference = (_predict_or_nan(engine, rows, subject) for engine in (subject.model, subject.reference))
    alone, paired = with_answers(subject, variant), with_answers(subject, variant, reference)
    found = [_error_increase("excess", alone), _error_increase("drop", paired)]
    if subject.variant.task != "regression":
        altered = None if corruption.altered is None else corruption.altered(rows)
        found += [
            _changed_decisions("changed_decisions", alone, altered),
            _changed_decisions("decision_churn", paired, altered),
        ]
    if subject.variant.task == "binary" and subject.labels.min() < subject.labels.max():
        found.append(_auc_decrease(alone))
    return [
        named(measurement, name=f"robustness.{corruption.kind}.{measurement.name}", slice=corruption.what)
        for measurement in found
    ]


def _predict_or_nan(engine: Engine, rows: Floats, subject: Comparison) -> Floats:
    """Return the answers of an engine; NaN if it rejects the rows."""
    try:
        return engine.predict(rows)
    except EngineError:
        return np.full_like(subject.scores, np.nan)


def _error_increase(name: str, subject: Comparison) -> Measurement:
    errors = compute_row_errors(subject)
    return mean_measurement(name, errors.increase, errors.blocks, errors.bounds)


def _changed_decisions(name: str, subject: Comparison, altered: Bools | None) -> Measurement:
    """Return the share of rows with another decision: of those that are altered, if some are."""
    turned = decision_churn(subject, compute_row_errors(subject).blocks)
    among = turned.among if altered is None or not altered.any() else turned.among & altered
    return named(subset_mean(turned, among), name=name)


def _auc_decrease(subject: Comparison) -> Measurement:
    answers = binary_answers(subject)
    now, was = (exact_auc(scores, answers.labels, answers.weights) for scores in (answers.scores, answers.reference))
    without, before = (
        leave_one_out_auc(score_table(scores, answers)) for scores in (answers.scores, answers.reference)
    )
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    return jackknife_interval("roc_auc.decrease", was - now, before - without, sample)


SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """One corruption; `rows` builds the corrupted rows (n, d), `what` is the slice of its measurements.

    `altered` returns which of these rows differ from the original ones, if decisions are counted among them.
    """

    kind: str
    what: str
    rows: Callable[[], Floats]
    altered: Callable[[Floats], Bools] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorruptionInputs:
    """Rows (n, d) to corrupt with their groups (n,), and the type of each column.

    `parts` are the columns that fail together, by name; `ordered` is True if groups follow each other in time.
    `phrases` are tables of phrases with others that mean the same, by their name.
    """

    rows: Floats
    groups: Ints
    fields: tuple[Field, ...]
    parts: Mapping[str, Sequence[int]]
    ordered: bool
    phrases: Mapping[str, Phrases] = field(default_factory=dict)

    @property
    def texts(self) -> list[int]:
        """Text columns."""
        return [index for index, field in enumerate(self.fields) if field.is_text]

    @property
    def numeric(self) -> list[int]:
        """Numeric columns with at least three values: a flag has no unit and no noise."""
        numeric = (index for index, field in enumerate(self.fields) if field.datatype != "BYTES")
        return [index for index in numeric if len(np.unique(self.finite(index))) > 2]

    @property
    def categorical(self) -> list[int]:
        """Categorical columns."""
        return [index for index, field in enumerate(self.fields) if field.datatype == "BYTES" and not field.is_text]

    def finite(self, index: int) -> Floats:
        """Return the finite values of a column."""
        values: Floats = self.rows[:, index]
        return values[np.isfinite(values)]


Corruptor = Callable[[CorruptionInputs], Iterator[Corruption]]


def build_corruption_inputs(subject: Comparison, context: AuditContext) -> CorruptionInputs:
    """Collect what corruptions need; a part is a list of `[evaluate] together`, or a feature in no list."""
    names = subject.names
    alone = ([name] for name in names if not any(name in group for group in context.feature_groups))
    return CorruptionInputs(
        rows=subject.rows,
        groups=subject.groups,
        fields=subject.fields,
        parts={" + ".join(group): [names.index(name) for name in group] for group in (*context.feature_groups, *alone)},
        ordered=context.months is not None,
        phrases={"phrases of headway": PHRASES, **context.paraphrases},
    )


def seeded_generator(*key: int) -> np.random.Generator:
    """Return the random generator of one corruption, independent of which others there are."""
    return np.random.default_rng([SEED, *key])


def replace_columns(rows: Floats, columns: Sequence[int] | Ints, values: Floats | float) -> Floats:
    """Copy rows with other values in these columns, (n, columns) or one for all."""
    altered = rows.copy()
    altered[:, columns] = values
    return altered


GAPS, NOISE = 0.1, (0.1, 0.5)
UNITS: dict[str, Callable[[Floats], Floats]] = {
    "x 1000": lambda values: values * 1000,
    "/ 1000": lambda values: values / 1000,
    "x 60": lambda values: values * 60,
    "/ 60": lambda values: values / 60,
    "as C, is F": lambda values: (values - 32) / 1.8,
    "as F, is C": lambda values: values * 1.8 + 32,
}


def remove_values(inputs: CorruptionInputs) -> Iterator[Corruption]:
    """Remove each part completely, then a tenth of all values; no text is missing, for models refuse such rows."""
    for name, part in inputs.parts.items():
        columns = [index for index in part if index not in inputs.texts]
        if columns:
            yield Corruption(kind="missing", what=name, rows=partial(replace_columns, inputs.rows, columns, np.nan))
    if len(inputs.texts) < len(inputs.fields):
        yield Corruption(kind="missing", what=f"{GAPS:.0%} of all", rows=partial(_gaps, inputs.rows, inputs.texts))


def use_unseen_categories(inputs: CorruptionInputs) -> Iterator[Corruption]:
    """Replace each categorical column by a category unknown to the model, read as its field declares."""
    for index in inputs.categorical:
        field = inputs.fields[index]
        if field.unseen != "refused":
            value = float(len(field.categories)) if field.ranks_unseen else np.nan
            yield Corruption(kind="unseen", what=field.name, rows=partial(replace_columns, inputs.rows, [index], value))


def add_noise(inputs: CorruptionInputs) -> Iterator[Corruption]:
    """Add normal noise of 0.1 and 0.5 standard deviations to each numeric column, then to all of them."""
    for share in NOISE:
        for index in inputs.numeric:
            what = f"{inputs.fields[index].name} +- {share:g} sd"
            yield Corruption(kind="noise", what=what, rows=partial(_noisy, inputs, [index], share))
        if len(inputs.numeric) > 1:
            rows = partial(_noisy, inputs, inputs.numeric, share)
            yield Corruption(kind="noise", what=f"all +- {share:g} sd", rows=rows)


def convert_units(inputs: CorruptionInputs) -> Iterator[Corruption]:
    """Convert each numeric column to a unit that the model did not learn."""
    for index in inputs.numeric:
        for slip, convert in UNITS.items():
            rows = partial(_converted, inputs.rows, index, convert)
            yield Corruption(kind="unit", what=f"{inputs.fields[index].name} {slip}", rows=rows)


def _gaps(rows: Floats, untouched: Sequence[int]) -> Floats:
    missing = seeded_generator(len(rows)).random(rows.shape) < GAPS
    missing[:, untouched] = False
    return np.where(missing, np.nan, rows)


def _noisy(inputs: CorruptionInputs, columns: Sequence[int], share: float) -> Floats:
    altered = inputs.rows.copy()
    for index in columns:
        altered[:, index] += seeded_generator(index).normal(0, share * inputs.finite(index).std(), len(altered))
    return altered


def _converted(rows: Floats, index: int, convert: Callable[[Floats], Floats]) -> Floats:
    return replace_columns(rows, [index], convert(rows[:, [index]]))


def swap_columns(inputs: CorruptionInputs) -> Iterator[Corruption]:
    """Swap each column with the most similar one of its type.

    Numeric columns are similar by the share of values that lie within the range of the other.
    """
    rows, fields = inputs.rows, inputs.fields
    by_type = [columns for columns in (inputs.categorical, inputs.numeric) if len(columns) > 1]
    pairs = {tuple(sorted((index, _most_similar(index, columns, rows)))) for columns in by_type for index in columns}
    for one, other in sorted(pairs):
        what = f"{fields[one].name} <-> {fields[other].name}"
        yield Corruption(kind="swapped", what=what, rows=partial(_swap, rows, (one, other), fields))


def use_stale_values(inputs: CorruptionInputs) -> Iterator[Corruption]:
    """Replace each part by its values at the same position of the previous group; nothing if rows have no time."""
    before = _previous_rows(inputs.groups)
    for name, columns in inputs.parts.items() if inputs.ordered else ():
        yield Corruption(kind="stale", what=name, rows=partial(_previous_values, inputs.rows, columns, before))


def _most_similar(index: int, columns: Sequence[int], rows: Floats) -> int:
    """Return the column most similar to this one, the nearest of equally similar ones."""
    others = [column for column in columns if column != index]
    return max(others, key=lambda column: (_similarity(rows[:, index], rows[:, column]), -abs(column - index)))


def _similarity(one: Floats, other: Floats) -> float:
    return min(_share_within(one, other), _share_within(other, one))


def _share_within(values: Floats, others: Floats) -> float:
    return float(((values >= np.nanmin(others)) & (values <= np.nanmax(others))).mean()) if others.size else 0.0


def _swap(rows: Floats, pair: tuple[int, int], fields: tuple[Field, ...]) -> Floats:
    one, other = pair
    altered = rows.copy()
    altered[:, one] = _recode(rows[:, other], fields[other], fields[one])
    altered[:, other] = _recode(rows[:, one], fields[one], fields[other])
    return altered


def _recode(values: Floats, was: Field, now: Field) -> Floats:
    """Encode the values of one column as another reads them: numbers stay, categories by rank there or as unseen."""
    if was.datatype != "BYTES":
        return values
    unseen_code = float(len(now.categories)) if now.ranks_unseen else np.nan
    ranks = {text: float(rank) for rank, text in enumerate(now.categories)}
    table = np.array([*(ranks.get(text, unseen_code) for text in was.categories), unseen_code])
    known = np.isfinite(values)
    read = np.full(len(values), np.nan)
    read[known] = table[np.minimum(values[known].astype(np.int64), len(table) - 1)]
    return read


def _previous_values(rows: Floats, columns: Sequence[int], before: Ints) -> Floats:
    return replace_columns(rows, columns, rows[np.ix_(before, np.asarray(columns))])


def _previous_rows(groups: Ints) -> Ints:
    """Return the index (n,) of the row at the same position of the previous group; rows of the first group keep theirs.

    >>> _previous_rows(np.array([0, 0, 1, 1, 1, 1])).tolist()
    [0, 1, 0, 0, 1, 1]
    """
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    before = np.arange(len(groups))
    for last, now in zip(range(len(starts) - 1), range(1, len(starts)), strict=True):
        offset = np.arange(sizes[now]) * sizes[last] // sizes[now]
        before[order[starts[now] : starts[now] + sizes[now]]] = order[starts[last] + offset]
    return before


def change_texts(inputs: CorruptionInputs, kind: str) -> Iterator[Corruption]:
    """Change every text of each text column in the ways of one kind."""
    for index in inputs.texts:
        for name, change in text_changes(inputs.phrases)[kind].items():
            yield Corruption(
                kind=kind,
                what=f"{inputs.fields[index].name} {name}",
                rows=partial(_changed_texts, inputs.rows, index, change),
                altered=partial(_altered, inputs.rows, index),
            )


def _changed_texts(rows: Floats, index: int, change: ChangeText) -> Floats:
    different, which = np.unique(rows[:, index], return_inverse=True)
    texts = [None if text is None else change(text)[:MAX_TEXT] for text in text_codes.texts(different)]
    return replace_columns(rows, [index], np.array(text_codes.keep(texts))[which][:, None])


def _altered(rows: Floats, index: int, corrupted: Floats) -> Bools:
    return np.asarray(rows[:, index] != corrupted[:, index])


KINDS: dict[str, Corruptor] = {
    "missing": remove_values,
    "unseen": use_unseen_categories,
    "stale": use_stale_values,
    "swapped": swap_columns,
    "noise": add_noise,
    "unit": convert_units,
    **{kind: partial(change_texts, kind=kind) for kind in TEXT_KINDS},
}
