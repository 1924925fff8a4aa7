"""D003: A single column predicts the target too well: it may have been written after the outcome."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from headway.core.arrays import Floats, Ints
from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.variant import MULTILABEL
from headway.data.context import CheckContext
from headway.data.label_sets import indicator_matrix, known_labels
from headway.data.matrix import is_number_or_string
from headway.data.roles import known_line

CODES = ("D003",)
STRONG_AUC, STRONG_SHARE = 0.85, 0.6
"""A column that predicts this well is reported, but many honest ones do."""
USUAL, MIN_USUAL = 0.7, 3
"""A strong column is ordinary if so many others reach this part of the way to STRONG_AUC or STRONG_SHARE."""
CERTAIN_AUC, CERTAIN_SHARE = 0.995, 0.97
"""A column that predicts this well is hardly ever known before: petal width explains 0.93 of the iris species."""
PURITY, MIN_MARKED, BY_CHANCE, MAX_OVERALL = 0.995, 20, 1e-6, 0.8
"""Values that one outcome writes: its share among their rows, their number, the level of chance, and the largest share
of the outcome in the table."""
WRITTEN_AFTER = re.compile(
    r"(?i)(?:^|[_ .-])"
    r"(after|outcome|result|status|final|post|actual|closed|resolved|resolution|cancell?ed|cancellation|"
    r"refund(?:ed)?|recover(?:y|ed|ies)|charge_?off|chargeback|settled|settlement|discharged?|deceased|death|died|end|"
    r"ended|finished|completed|returned|label|verdict|conclusion|follow_?up)(?=[_ .-]|$)"
)
"""Names of columns that are usually written once the outcome is known."""
MIN_WORD = 4
GENERIC_WORDS = frozenset(
    {"target", "class", "value", "type", "name", "code", "number", "count", "rate", "mean", "total"}
)
MAX_CLASSES = 50
BINS = 256
ROWS_PER_VALUE = 2
MAX_SPAN, HUNDREDTHS, PROBED_ROWS = 65_536, 100, 1_000
_VALUE = "__value"


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per feature that alone predicts the target too well.

    It stops if the column looks as if it were written after the outcome: it determines the target (ROC AUC of 0.995,
    or 0.97 of the variance explained), it has a value, or one other than 0, for one outcome only, it makes a sum with
    the target, or it predicts well and has a name such as `status_after`. A column that merely predicts well (ROC AUC
    above 0.85, or 0.6 of two classes explained) is a warning until it is declared under `[data.known]`; a note where
    three other columns predict nearly as well.
    """
    dataset = context.dataset
    roles = dataset.roles
    skills = single_column_skills(dataset, dataset.features)
    known = dataset.table.filter(pl.col(roles.target).is_not_null())
    evidences = {name: _evidence(known, roles, name, skill) for name, skill in skills.items()}
    outcomes = {name for name, evidence in evidences.items() if evidence is not None and evidence.is_outcome}
    usual = {name for name, skill in skills.items() if name not in outcomes and skill.strength >= USUAL}
    return [
        _finding(evidence, len(known), declared=name in roles.known, n_usual=len(usual - {name}))
        for name, evidence in evidences.items()
        if evidence is not None and (evidence.is_outcome or name not in roles.known)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What speaks against a column: a sentence, the number behind it, its limit, and whether it is an outcome."""

    column: str
    message: str
    measured: float
    limit: float
    is_outcome: bool = True


def _evidence(known: pl.DataFrame, roles: Roles, name: str, skill: ColumnSkill) -> _Evidence | None:
    """Return the strongest evidence against a column of the rows with an outcome, or None."""
    auc, explained = skill.auc or 0.5, skill.explained or 0.0
    by_auc = _Evidence(
        column=name, message=f"'{name}' alone reaches a ROC AUC of {auc:.3f}", measured=auc, limit=CERTAIN_AUC
    )
    by_share = _Evidence(
        column=name,
        message=f"'{name}' alone explains {explained:.1%} of '{roles.target}'",
        measured=explained,
        limit=CERTAIN_SHARE,
    )
    if auc >= CERTAIN_AUC:
        return by_auc
    if explained > CERTAIN_SHARE:
        return by_share
    if roles.task in ("binary", "multiclass") and (marked := _marked_outcome(known, roles, name)):
        return marked
    if roles.task == "regression" and (summed := _sum_with_target(known, roles, name)):
        return summed
    strong = replace(by_auc, limit=STRONG_AUC) if auc > STRONG_AUC else None
    if strong is None and explained > STRONG_SHARE and roles.task in ("binary", "multiclass"):
        strong = replace(by_share, limit=STRONG_SHARE)
    if strong is None:
        return None
    if why := _name_of_outcome(name, roles.target):
        return replace(strong, message=f"{strong.message}, and {why},")
    return replace(strong, is_outcome=False) if roles.task == "binary" else None


def _finding(evidence: _Evidence, rows: int, *, declared: bool, n_usual: int) -> Finding:
    suspicion = "it looks as if it were written after the outcome"
    is_usual = not evidence.is_outcome and n_usual >= MIN_USUAL
    usual = f", and {n_usual} other columns predict nearly as well" if is_usual else ""
    return Finding(
        code="D003",
        severity="note" if is_usual else "stop" if evidence.is_outcome and not declared else "warn",
        message=f"{evidence.message} on {rows:,} rows{usual}: "
        + (suspicion if evidence.is_outcome else "is it known when a prediction is requested?"),
        where=f"column {evidence.column}",
        measured=evidence.measured,
        limit=evidence.limit,
        hint=f'{known_line(evidence.column, "outcome")}, or "request" if it is known when a prediction is requested',
    )


def _name_of_outcome(name: str, target: str) -> str:
    """Return why a name looks like that of a column written after the outcome; empty if it does not."""
    if found := WRITTEN_AFTER.search(_snake_case(name)):
        return f"its name has '{found[1].lower()}' in it"
    shared = _words(name) & _words(target)
    return f"its name has '{min(shared)}' in it, as that of the target" if shared else ""


def _words(name: str) -> set[str]:
    return {word for word in re.split(r"[^a-z]+", _snake_case(name).lower()) if len(word) >= MIN_WORD} - GENERIC_WORDS


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)


def _marked_outcome(known: pl.DataFrame, roles: Roles, name: str) -> _Evidence | None:
    """Return evidence if a column is filled in, is missing, or is not 0, in rows of one class only.

    This finds what is written once a case has ended, such as the date of a refund, even if most rows lack it. A class
    that most rows have proves little: the rare class may be impossible in a region.
    """
    column, target = known[name], known[roles.target]
    column = column.fill_nan(None) if column.dtype.is_float() else column
    present = column.is_not_null()
    cases = [("is filled in", present, 0.1), ("is missing", ~present, 0.8)]
    if column.dtype.is_numeric():
        cases.append(("is not 0", (column != 0).fill_null(False), 0.3))
    for verb, rows, min_covered in cases:
        count = int(rows.sum())
        if not MIN_MARKED <= count <= len(known) - MIN_MARKED:
            continue
        if verb == "is not 0" and (count > len(known) / 2 or column.filter(rows).n_unique() < MIN_MARKED):
            continue  # the dummy of a category, or a column in which 0 is a value as any other
        value, same = target.filter(rows).value_counts(sort=True).row(0)
        total = int((target == value).sum())
        share, overall, covered = int(same) / count, total / len(known), int(same) / total
        if (
            share >= PURITY
            and covered >= min_covered
            and overall**count < BY_CHANCE
            and (overall <= MAX_OVERALL or covered >= MAX_OVERALL)
        ):
            label = f"{value:g}" if isinstance(value, float) else value
            message = f"'{name}' {verb} in {count:,} rows, and {share:.1%} of them have '{roles.target}' = {label},"
            return _Evidence(column=name, message=message, measured=share, limit=PURITY)
    return None


def _sum_with_target(known: pl.DataFrame, roles: Roles, name: str) -> _Evidence | None:
    """Return evidence if a number adds up with another one to the target, or the target with another one to it."""
    table = known.gather_every(max(1, len(known) // PROBED_ROWS))
    names = [other for other in table.columns if table.schema[other].is_numeric() and other not in roles.not_features]
    if name not in names or len(table) < MIN_MARKED or table[name].n_unique() < MIN_MARKED:
        return None
    y, x = (table[column].cast(pl.Float64).to_numpy() for column in (roles.target, name))
    close = 1e-9 * np.maximum(np.abs(y) + np.abs(x), 1.0)
    for other in names:
        z = table[other].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if other == name or len(np.unique(z)) < MIN_MARKED:
            continue
        for rest, message in (
            (y - x - z, f"'{name}' and '{other}' add up to '{roles.target}'"),
            (x - y - z, f"'{name}' is the sum of '{roles.target}' and '{other}'"),
        ):
            if (np.abs(rest) <= close).all():
                return _Evidence(column=name, message=message, measured=1.0, limit=1.0)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetColumns:
    """The target as numeric columns: 0 and 1 per class, or ranks in [0, 1] of a number; no missing values."""

    columns: pl.DataFrame
    binary: bool

    @property
    def squares(self) -> float:
        """Total sum of squares about the mean, over all columns."""
        values = self.columns.to_numpy()
        return float((values.var(axis=0) * len(values)).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSkill:
    """`auc`, in [0.5, 1], of a number for two classes, and `explained`, the share of the target's variance.

    `explained` is adjusted for the number of values (Ezekiel 1930); None if values hardly ever repeat.
    """

    auc: float | None
    explained: float | None

    @property
    def strength(self) -> float:
        """The larger of AUC and share, in units of what is reported: 0 predicts nothing, and 1 is reported."""
        return max(((self.auc or 0.5) - 0.5) / (STRONG_AUC - 0.5), (self.explained or 0.0) / STRONG_SHARE)


def target_columns(target: pl.Series, task: str) -> TargetColumns:
    """Encode the outcomes; raise NotApplicable if no single column could predict them."""
    if task == "embedding":
        raise NotApplicable(f"the skill of a single column is not defined for task '{task}'")
    classes = target.unique().sort().to_list() if task in ("binary", "multiclass") else []
    if target.n_unique() < 2:
        raise NotApplicable(f"the target has one {'class' if classes else 'value'} only")
    if len(classes) > MAX_CLASSES:
        raise NotApplicable(f"the target has more than {MAX_CLASSES} classes")
    if not classes:
        return TargetColumns(columns=pl.DataFrame({"y0": target.rank("average") / len(target)}), binary=False)
    shown = classes[1:] if len(classes) == 2 else classes
    one_hot = {f"y{index}": (target == value).cast(pl.Float64) for index, value in enumerate(shown)}
    return TargetColumns(columns=pl.DataFrame(one_hot), binary=task == "binary" and len(classes) == 2)


def single_column_skills(dataset: Dataset, names: Sequence[str]) -> dict[str, ColumnSkill]:
    """Compute the skill of each column over the rows with an outcome, for the label that it predicts best.

    Other types are skipped.

    Missing is a value of its own and ranks lowest.
    """
    known = dataset.table.filter(pl.col(dataset.roles.target).is_not_null())
    read = [name for name in names if is_number_or_string(known.schema[name])]
    if dataset.roles.task == MULTILABEL:
        by_label = _label_columns(known[dataset.roles.target])
        return {name: _best(column_skill(known[name], outcomes) for outcomes in by_label) for name in read}
    outcomes = target_columns(known[dataset.roles.target], dataset.roles.task)
    return {name: column_skill(known[name], outcomes) for name in read}


def _label_columns(target: pl.Series) -> list[TargetColumns]:
    """Return the outcomes of each label that some rows have and others have not."""
    labels = known_labels(target)
    if len(labels) > MAX_CLASSES:
        raise NotApplicable(f"the target has more than {MAX_CLASSES} labels")
    has_label = indicator_matrix(target, labels).T
    found = [pl.DataFrame({"y0": values}) for values in has_label if values.min() < values.max()]
    if not found:
        raise NotApplicable("no label differs between rows")
    return [TargetColumns(columns=columns, binary=True) for columns in found]


def _best(skills: Iterable[ColumnSkill]) -> ColumnSkill:
    """Return the largest skill of a column for any label."""
    aucs, shares = zip(*((skill.auc, skill.explained) for skill in skills), strict=True)
    return ColumnSkill(
        auc=max((auc for auc in aucs if auc is not None), default=None),
        explained=max((share for share in shares if share is not None), default=None),
    )


def column_skill(column: pl.Series, outcomes: TargetColumns) -> ColumnSkill:
    """Compute the skill of a column for the outcomes of the same rows."""
    values = column.fill_nan(None) if column.dtype.is_float() else column
    by_value = _sum_by_value(values, outcomes)
    auc = _auc(by_value) if outcomes.binary and _is_ordered(column.dtype) else None
    if len(by_value) * ROWS_PER_VALUE > len(values) and _is_ordered(column.dtype):
        by_value = _sum_by_value((values.rank("ordinal") - 1) * BINS // len(values), outcomes)
    if len(by_value) * ROWS_PER_VALUE > len(values):
        return ColumnSkill(auc=auc, explained=None)
    return ColumnSkill(auc=auc, explained=_explained(by_value, outcomes, len(values)))


def _is_ordered(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean


def _sum_by_value(column: pl.Series, outcomes: TargetColumns) -> pl.DataFrame:
    """Sum the outcomes per value, missing first."""
    codes = _integer_codes(column)
    if codes is not None:
        return _sum_by_code(codes, outcomes)
    table = outcomes.columns.with_columns(column.alias(_VALUE))
    return table.group_by(_VALUE).agg(pl.len(), pl.col(outcomes.columns.columns).sum()).sort(_VALUE, nulls_last=False)


def _integer_codes(column: pl.Series) -> Ints | None:
    """Return integers, or hundredths, as codes from 1, 0 for missing; None for other numbers or a wide range."""
    if not column.dtype.is_numeric() or not column.count():
        return None
    unit = HUNDREDTHS if column.dtype.is_float() else 1
    low, high = column.min(), column.max()
    if not (isinstance(low, int | float) and isinstance(high, int | float) and (high - low) * unit < MAX_SPAN):
        return None
    if unit == 1:
        if column.dtype == pl.UInt64:  # its values may exceed those of Int64, their distances do not
            column, low = column - int(low), 0
        return (column.cast(pl.Int64) - (int(low) - 1)).fill_null(0).to_numpy()
    values: Floats = column.fill_null(float("nan")).to_numpy()
    if not _are_hundredths(values[:PROBED_ROWS]) or not _are_hundredths(values):
        return None
    found: Floats = np.nan_to_num(np.rint(values * unit) - (round(low * unit) - 1))
    return found.astype(np.int64)


def _are_hundredths(values: Floats) -> bool:
    return bool(((np.rint(values * HUNDREDTHS) / HUNDREDTHS == values) | np.isnan(values)).all())


def _sum_by_code(codes: Ints, outcomes: TargetColumns) -> pl.DataFrame:
    """Sum the outcomes per code, three times as fast as per value."""
    counts = np.bincount(codes)
    columns = zip(outcomes.columns.columns, outcomes.columns, strict=True)
    sums = {name: np.bincount(codes, column.to_numpy()) for name, column in columns}
    return pl.DataFrame({_VALUE: np.arange(len(counts)), "len": counts, **sums}).filter(pl.col("len") > 0)


def _auc(by_value: pl.DataFrame) -> float:
    """Compute ROC AUC by mid-ranks (Mann and Whitney 1947), in the better direction."""
    ones = by_value["y0"].to_numpy()
    zeros = by_value["len"].to_numpy() - ones
    before = np.cumsum(zeros) - zeros
    auc = float((ones * (before + zeros / 2)).sum() / (ones.sum() * zeros.sum()))
    return max(auc, 1 - auc)


def _explained(by_value: pl.DataFrame, outcomes: TargetColumns, rows: int) -> float:
    counts: Floats = by_value["len"].to_numpy().astype(np.float64)
    sums = by_value.select(outcomes.columns.columns).to_numpy()
    total = outcomes.squares
    between = float((np.square(sums) / counts[:, None]).sum() - (np.square(sums.sum(axis=0)) / rows).sum())
    return 1 - (total - between) / (rows - len(counts)) * (rows - 1) / total
