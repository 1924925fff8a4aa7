"""Propose the role of each column of a table.

A user corrects it, because a table does not show when a column is known.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl
from msgspec.structs import replace

from headway.core.dataset import OUTCOME, Dataset, Roles
from headway.core.errors import ConfigError, DataError, NotApplicable
from headway.core.label_sets import SEPARATOR
from headway.core.record import Record
from headway.core.variant import MULTILABEL
from headway.data.context import CheckContext, run_check
from headway.data.label_sets import MIN_LABELS, known_labels
from headway.data.roles import MAX_CLASSES, check_text_column, day_of, effective_groups, names_entities
from headway.data.texts import UNSPACED

MIN_GROUPS = 20
"""Fewest groups, and fewest of equal size that are worth as much: one group with half of the rows blinds every test."""
MIN_ATTRIBUTES = 2
"""An id that repeats has so many columns that are constant for each of its values, such as the birthday of a person."""
MAX_SLICES = 3
SPLIT_SHARES = (0.6, 0.8)
"""Shares of the rows, in order of time, at which the train and the validation period end."""
SUSPECTS = ("missing_with_outcome", "target_leak")
MAX_DISTINCT_SHARE = 0.5
"""Strings with more different values than this share of the rows are not classes."""
MAX_LABELS = 500
"""Strings with `|` are sets of labels if there are no more labels than this, and fewer than sets."""
MAX_INTEGER_CLASSES = 10
MAX_IMBALANCE = 10
"""More integers than this are classes if they are as frequent as each other within this factor: counts have tails."""
MIN_CLASS_ROWS = 10
"""Rows that each of more integers needs to be a class that can be learned."""
NEGATIVE = ("0", "-1", "false", "f", "no", "n", "negative", "neg")
"""Of two classes with one of these, in lower case, the other one is positive; else the rarer one."""
CLASS_NAME = re.compile(r"(?i)(^|_)(class|label|category|species|type|kind|digit|letter|intent|target|grade)(_|$)")
"""Matches the names of columns that hold a class."""
SENSITIVE_NAME = re.compile(
    r"(?i)(^|_)(sex|gender|race|ethnic(ity)?|ethnic_group|religion|nationality|native_country|disab(led|ility)|"
    r"age_?(group|band|range|bracket)|marital(_?status)?|sexual_orientation)(_|$)"
)
"""Matches the names of columns of personal characteristics that anti-discrimination law protects."""


MIN_WORDS = 3
"""Mostly different strings with this many words, in the median, are texts."""
MIN_CHARACTERS = 6
"""As many characters make a text in a script without spaces."""
_WORDS = r"\S+"


class Proposal(Record, frozen=True, kw_only=True):
    """The proposed fields of `[data]` and `[split]`, for a user to correct.

    Attributes
    ----------
    ignore : tuple of str
        Columns that are not features; `ignored` has the reason for each.
    suspects : dict of str to str
        Features that look as if they were written after the outcome, with the evidence. They are kept: only a person
        knows when they are written.
    outcome : tuple of str
        Suspects that a person has confirmed; no model reads them.
    features : tuple of str
        Columns that are left for the model, suspects among them. It is not declared yet when they are known.
    text : tuple of str
        The features that hold texts.
    is_unspaced : bool
        Whether these texts are of a script without spaces between words.
    categories : tuple of str
        The features that hold strings, other than texts.
    classes : tuple of str
        Sorted classes of a multiclass target of strings, or labels; empty if they are numbers.
    n_classes : int
        Number of classes or labels; 0 for a regression.
    reasons : dict of str to str
        Why the task and the groups were chosen, and columns of groups were not.
    """

    target: str
    task: str
    positive: str = ""
    time: str = ""
    groups: str = ""
    slices: tuple[str, ...] = ()
    sensitive_features: tuple[str, ...] = ()
    ignored: dict[str, str] = {}
    suspects: dict[str, str] = {}
    outcome: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    is_unspaced: bool = False
    categories: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    n_classes: int = 0
    reasons: dict[str, str] = {}
    split: dict[str, tuple[str, str]] = {}

    @property
    def ignore(self) -> tuple[str, ...]:
        """Return the columns that are not features."""
        return tuple(self.ignored)

    def confirm(self, names: Sequence[str]) -> Proposal:
        """Return the proposal with these suspects declared to be known only after the outcome."""
        after = set(names)
        return replace(
            self,
            outcome=tuple(name for name in self.suspects if name in after),
            suspects={name: why for name, why in self.suspects.items() if name not in after},
            slices=tuple(name for name in self.slices if name not in after),
            sensitive_features=tuple(name for name in self.sensitive_features if name not in after),
            features=tuple(name for name in self.features if name not in after),
            text=tuple(name for name in self.text if name not in after),
            categories=tuple(name for name in self.categories if name not in after),
        )

    @property
    def roles(self) -> Roles:
        """Return the roles that a project with these settings has."""
        return Roles(
            target=self.target,
            task=self.task,
            time=self.time,
            groups=self.groups,
            slices=self.slices,
            sensitive_features=self.sensitive_features,
            text=self.text,
            ignore=self.ignore,
            known=dict.fromkeys(self.outcome, OUTCOME),
        )


def propose_settings(table: pl.DataFrame, target: str, *, text: Sequence[str] = ()) -> Proposal:
    """Return the proposed role of each column for predicting `target`.

    Parameters
    ----------
    table : DataFrame
        The rows.
    target : str
        Column to predict.
    text : sequence of str
        Columns of texts; without any, long and mostly different strings with spaces are proposed.

    Raises
    ------
    ConfigError
        If the table lacks one of these columns, or a text is the target.
    DataError
        If the target cannot be predicted, or a text is not a string.
    """
    if target not in table.columns:
        where = f"columns: {', '.join(table.columns)}"
        raise ConfigError(
            f"no column '{target}' to predict" if target else "no target is given", where=where, hint="--target COLUMN"
        )
    task, positive, n_classes = _task(table[target].drop_nulls())
    _check_texts(table, target, text)
    others = [column for column in table.iter_columns() if column.name != target]
    texts = [column for column in others if (column.name in text if text else _is_text(column))]
    others = [column for column in others if column.name not in {text.name for text in texts}]
    time = _time(others)
    groups, why_groups = _groups(others, time, table)
    rest = [column for column in others if column.name not in (time, groups)]
    ignored = {column.name: why for column in rest if (why := _why_ignored(column))}
    features = [column for column in rest if column.name not in ignored]
    names = tuple(column.name for column in texts)
    roles = Roles(target=target, task=task, time=time, text=names, ignore=tuple(ignored))
    roles = replace(roles, groups=groups) if groups in table.columns else roles
    classes = _classes(table[target]) if task == "multiclass" else ()
    classes = tuple(sorted(known_labels(table[target]))) if task == MULTILABEL else classes
    suspects = _suspects(table, roles, positive)
    sensitive = tuple(column.name for column in features if _is_sensitive(column))
    slices = tuple(column.name for column in features if _is_slice(column) and column.name not in suspects)
    return Proposal(
        target=target,
        task=task,
        positive=positive,
        time=time,
        groups=groups,
        slices=slices[:MAX_SLICES],
        sensitive_features=tuple(name for name in sensitive if name not in suspects),
        ignored=ignored,
        suspects=suspects,
        features=(*names, *(column.name for column in features)),
        text=names,
        is_unspaced=any(map(_is_unspaced, texts)),
        categories=tuple(column.name for column in features if column.dtype == pl.String),
        classes=classes,
        n_classes=n_classes,
        reasons={"task": _why_task(table[target].drop_nulls()), "groups": why_groups},
        split=_split(table[time]) if time else {},
    )


def _check_texts(table: pl.DataFrame, target: str, text: Sequence[str]) -> None:
    """Raise ConfigError or DataError if a column that is named as a text cannot be one."""
    strings = [name for name, dtype in table.schema.items() if dtype == pl.String and name != target]
    options = " ".join(f"--text {name}" for name in strings) or "leave out --text: no column holds strings"
    for name in text:
        if name not in table.columns:
            near = difflib.get_close_matches(name, table.columns, 1)
            raise ConfigError(
                f"no column '{name}' of texts",
                where=f"columns: {', '.join(table.columns)}",
                hint=f"--text {near[0]}" if near else options,
            )
        if name == target:
            raise ConfigError(f"'{name}' is the target, and cannot be a text too", where="--text", hint=options)
        check_text_column(table[name], where=f"--text {name}", hint=options)


def _is_text(column: pl.Series) -> bool:
    """Return whether a column holds texts: mostly different strings of several words."""
    values = column.drop_nulls()
    if column.dtype != pl.String or values.is_empty() or values.n_unique() <= MAX_DISTINCT_SHARE * len(values):
        return False
    words = values.str.count_matches(_WORDS).median()
    return (isinstance(words, int | float) and words >= MIN_WORDS) or _is_unspaced(values)


def _is_unspaced(values: pl.Series) -> bool:
    letters = values.str.count_matches(f"[{UNSPACED}]").median()
    return isinstance(letters, int | float) and letters >= MIN_CHARACTERS


def _task(values: pl.Series) -> tuple[str, str, int]:
    """Return the task of a target, its positive class if that is not 1, and the number of classes."""
    counts = values.cast(pl.String).value_counts(sort=True)[values.name].to_list()
    if len(counts) < 2:
        raise DataError(f"'{values.name}' has {len(counts)} values: nothing to learn", hint="another --target")
    number = values.dtype.is_numeric()
    if (number and set(values.unique()) <= {0, 1}) or values.dtype == pl.Boolean:
        return "binary", "", 2
    if len(counts) == 2:
        named = [value for value in counts if value.lower() not in NEGATIVE]
        return "binary", named[0] if len(named) == 1 else counts[1], 2
    if number:
        return ("multiclass", "", len(counts)) if _are_classes(values) else ("regression", "", 0)
    if values.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise DataError(f"'{values.name}' is {values.dtype}, which cannot be predicted", hint="another --target")
    labels = known_labels(values) if values.str.contains(SEPARATOR, literal=True).any() else []
    if MIN_LABELS <= len(labels) <= MAX_LABELS and len(labels) < len(counts):
        return MULTILABEL, "", len(labels)
    if len(counts) > MAX_DISTINCT_SHARE * len(values):
        raise DataError(f"'{values.name}' has {len(counts):,} different strings", hint="another --target")
    return "multiclass", "", len(counts)


def _are_classes(values: pl.Series) -> bool:
    """Return whether integers are classes and not amounts.

    Few integers are, and more if each has ten rows and they start at 0 or 1 without a gap or are about equally
    frequent, or if they have the name of a class.
    """
    if values.dtype.is_float() and not bool((values == values.floor()).all()):
        return False
    counts = values.cast(pl.Int64).value_counts().sort(values.name)
    n_values, low, high = len(counts), counts[values.name][0], counts[values.name][-1]
    named = CLASS_NAME.search(values.name) is not None
    sizes = sorted(counts["count"])
    are_equal = sizes[-1] <= MAX_IMBALANCE * sizes[0]
    if n_values <= MAX_INTEGER_CLASSES:
        return True
    if sizes[0] < MIN_CLASS_ROWS and not named:
        return False
    if n_values <= MAX_CLASSES and are_equal:
        return True
    if low not in (0, 1) or high - low + 1 != n_values or n_values > MAX_DISTINCT_SHARE * len(values):
        return named and n_values <= MAX_CLASSES
    return n_values <= MAX_CLASSES or named or are_equal


def _classes(target: pl.Series) -> tuple[str, ...]:
    """Return the sorted classes of a target of strings, or of integers that are not numbered from 0."""
    values = target.drop_nulls()
    if not values.dtype.is_numeric():
        return tuple(values.cast(pl.String).unique().sort())
    integers = values.cast(pl.Int64).unique().sort().to_list()
    return () if integers == list(range(len(integers))) else tuple(map(str, integers))


def _time(columns: Sequence[pl.Series]) -> str:
    """Return the first complete column of times, else of dates."""
    kinds = (pl.Datetime, pl.Date)
    return next(
        (column.name for kind in kinds for column in columns if column.dtype == kind and _is_complete(column)), ""
    )


def _groups(columns: Sequence[pl.Series], time: str, table: pl.DataFrame) -> tuple[str, str]:
    """Return the column whose rows of one value are dependent, and why: of dates, of entities, of ids, or the day.

    A column is refused if a test over its groups would see too few of them: one that holds half of the rows counts as
    two groups, however many others there are.
    """
    days = [column for column in columns if column.dtype == pl.Date]
    named = [column for column in columns if names_entities(column.name) and not column.dtype.is_float()]
    unnamed = [column for column in columns if not names_entities(column.name)]
    times = [day_of(column) for column in columns if column.name == time and column.dtype == pl.Datetime]
    refused: list[str] = []
    for column in itertools.chain(days, named, (column for column in unnamed if _is_repeated_id(column, table)), times):
        if not _is_complete(column) or not MIN_GROUPS <= column.n_unique() <= len(column) / 2:
            continue
        sizes = column.value_counts(sort=True)["count"].to_numpy()
        n_seen = effective_groups(sizes)
        size = f"{len(sizes):,} groups, the largest with {sizes[0] / len(column):.1%} of the rows"
        if n_seen >= MIN_GROUPS:
            return column.name, "; ".join([f"{size}, worth {n_seen:,.0f} of equal size", *refused])
        refused.append(f"not '{column.name}': {size}, worth {n_seen:.1f} of equal size, too few for any test")
    return "", "; ".join(refused)


def _is_repeated_id(column: pl.Series, table: pl.DataFrame) -> bool:
    """Return whether a column without such a name identifies entities that have several rows.

    Its values are integers or hold digits, there are many of them, and they determine other columns that have fewer
    values, such as the birthday and the sex of a person.
    """
    is_code = column.dtype.is_integer() or (
        column.dtype == pl.String and bool(column.str.contains(r"\d").all()) and not _is_text(column)
    )
    count = column.n_unique() if is_code else 0
    if not max(MIN_GROUPS, len(column) ** 0.5) <= count <= len(column) / 2:
        return False
    names = [name for name, kind in table.schema.items() if name != column.name and not kind.is_nested()]
    distinct = table.select(pl.col(names).n_unique()).row(0, named=True)
    coarser = [name for name in names if 2 <= distinct[name] < count]
    if len(coarser) < MIN_ATTRIBUTES:
        return False
    within = table.group_by(column.name).agg(pl.len().alias(_ROWS), pl.col(coarser).n_unique())
    repeated = within.filter(pl.col(_ROWS) > 1)
    constant = repeated.select((pl.col(coarser) == 1).all()).row(0)
    return sum(bool(value) for value in constant) >= MIN_ATTRIBUTES


_ROWS = "__rows"


def _why_task(values: pl.Series) -> str:
    """Return the counts that decide between classes and numbers; empty for two values and for strings."""
    n_values = values.n_unique()
    if not values.dtype.is_numeric() or n_values <= 2:
        return ""
    smallest = values.value_counts(sort=True)["count"][-1]
    return f"{n_values:,} values in {len(values):,} rows, the rarest in {smallest:,}"


def _why_ignored(column: pl.Series) -> str:
    """Return why a column cannot be a feature; empty if it can."""
    values = column.drop_nulls()
    count = values.n_unique() if not values.dtype.is_nested() else len(values)
    if column.dtype in (pl.Date, pl.Datetime, pl.Time, pl.Duration):
        return "a time, which models do not read"
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)):
        return f"of type {column.dtype}, which models do not read"
    if count < 2:
        return "one value only" if count else "no value"
    if column.dtype == pl.String and count > len(column) / 2:
        return f"{count:,} different texts in {len(column):,} rows"
    if column.dtype.is_integer() and count == len(column):
        return "another number in each row"
    if names_entities(column.name) and column.dtype.is_integer():
        return "its name says that it identifies an entity"
    return ""


def _is_sensitive(column: pl.Series) -> bool:
    """Return whether a column, by its name, holds groups of people that a model must not treat worse."""
    if column.dtype.is_float():
        return False
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.name)
    return SENSITIVE_NAME.search(re.sub(r"[ .-]", "_", name)) is not None and 2 <= column.n_unique() <= MAX_CLASSES


def _is_slice(column: pl.Series) -> bool:
    return column.dtype in (pl.String, pl.Boolean) and 2 <= column.n_unique() <= MAX_CLASSES


def _suspects(table: pl.DataFrame, roles: Roles, positive: str) -> dict[str, str]:
    """Return the columns that look as if they were written after the outcome, with the finding on each."""
    target = pl.col(roles.target)
    coded = (target.cast(pl.String) == positive).cast(pl.Int8) if positive else target
    dataset = Dataset(name="table", table=table.with_columns(coded), roles=roles)
    found: dict[str, str] = {}
    for name in SUSPECTS:
        findings = run_check(name, CheckContext(dataset=dataset))
        if isinstance(findings, NotApplicable):
            continue
        found |= {
            finding.column: f"{finding.code}: {finding.message}"
            for finding in findings
            if finding.severity == "stop" and finding.column not in found
        }
    return found


def _split(time: pl.Series) -> dict[str, tuple[str, str]]:
    """Split by whole days: the first 60 % of the rows for training, 20 % for validation, the rest for testing."""
    days = time.cast(pl.Date).sort()
    edges = [days[0], *(days[int(len(days) * part)] for part in SPLIT_SHARES), days[-1] + timedelta(days=1)]
    if len(set(edges)) < len(edges):
        return {}
    dates = [edge.isoformat() for edge in edges if isinstance(edge, date)]
    return dict(zip(("train", "validation", "test"), itertools.pairwise(dates), strict=True))


def _is_complete(column: pl.Series) -> bool:
    return column.null_count() == 0
