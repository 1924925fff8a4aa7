"""A project made in a program: a fitted model, its rows with their roles, a policy, and a store that goes with it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import polars as pl
from msgspec.structs import replace

from headway import pipeline
from headway.api.tables import to_polars, to_series
from headway.core import config as settings
from headway.core.config import PolicySection
from headway.core.dataset import Dataset, Roles
from headway.core.errors import ConfigError, DataError
from headway.core.evidence import current_measure
from headway.core.renamed import warn_renamed
from headway.core.verdict import Rule
from headway.data.open import make_dataset
from headway.data.roles import parse_roles
from headway.data.split import split_by_shares
from headway.optimization.importers.custom_python import CustomModel, split_custom_code
from headway.optimization.importers.models import Taken, import_model, open_model_file
from headway.registry.project import Project, project_of
from headway.reporting.text.formatting import parse_duration

HALF = 0.5
"""The share of the rows on which the search looks, and that on which its winner is judged."""
MAX_CLASSES = 20


class Options(TypedDict, total=False):
    """What `optimize`, `evaluate` and `compare` may be told.

    `groups`: rows with one value share fate, which every interval honours. `time` orders the rows: the search looks at
    the earlier half, the winner is judged on the later one. `weight` counts a row more or less. `lists` are the rows
    that a ranking puts in order, else its groups are. Each of these is an array [n], or the name of a column. `slices`
    names columns whose values are judged one by one. `costs` says what a `false_alarm` and a `miss` cost: the threshold
    is chosen from them. `policy` maps measures to the most that is allowed. `task` is known from the model, else told
    from `y`. `folder` keeps the store, which else goes with the result; where it is a project, its name, policy and
    keys hold. `trust` opens files that can run code. `tell` is called with a line for each step.
    `budget` bounds the time of the search (`"60s"`, or seconds).
    """

    groups: Any
    lists: Any
    time: Any
    weight: Any
    slices: Sequence[str]
    costs: Mapping[str, float]
    policy: Mapping[str, float]
    objective: str
    budget: str | float
    transforms: Sequence[str]
    task: str
    name: str
    folder: str | Path
    trust: bool
    callback: Callable[[str], object]


class TemporaryFolder:
    """A folder that is gone when nothing refers to it any more, or the program ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="headway-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InMemoryProject:
    """The project, the model as an engine took it, and its labelled rows; `kept` holds a folder that goes with it.

    `native` is the Python of one's own that stood around the model, with the rows as that gives them.
    """

    project: Project
    taken: Taken
    rows: Dataset
    kept: TemporaryFolder | None
    native: CustomModel | None = None

    def halves(self) -> pipeline.Data:
        """The rows in two halves, groups whole: `choose` for the search, `test` for the winner."""
        return split_by_shares(self.rows, {"choose": HALF, "test": HALF})


def create_project(
    model: Any, rows: Any, labels: Any, options: Options, *, losses_only: bool = False
) -> InMemoryProject:
    """A fitted model, or the path of a model file, with labelled rows that it did not learn from.

    Where no policy is given, the careful one of the task is asked; `losses_only` leaves out what two models that were
    trained apart cannot keep, that single answers stay.

    Raises ConfigError for an option that there is not, DataError or EngineError that names what does not fit.
    """
    unknown = sorted(set(options) - set(Options.__annotations__))
    if unknown:
        raise ConfigError(f"no option {unknown[0]!r}", where=f"options: {', '.join(Options.__annotations__)}")
    native = None if isinstance(model, str | Path) else split_custom_code(model)
    if native:
        model, rows = native.model, native.rows(rows)
    taken = open_model(model, trust=options.get("trust", False))
    table = to_polars(rows, taken.adopted.names, absent=taken.adopted.absent)
    target = encode_labels(to_series(labels, "target"), taken.adopted.classes)
    table, data = _with_roles(table, target, options, reads=taken.adopted.names)
    kept = None if "folder" in options else TemporaryFolder()
    folder = kept.path if kept else Path(options["folder"])
    task = options.get("task") or taken.adopted.task or infer_task(target)
    data["task"] = task
    roles = parse_roles(settings.DataSection(**data))
    rules = _rules(roles, table, options, losses_only=losses_only)
    return InMemoryProject(
        project=project_of(_config(folder, data, options, rules)),
        taken=taken,
        rows=make_dataset(table, roles, name="rows"),
        kept=kept,
        native=native,
    )


def open_model(model: Any, *, trust: bool) -> Taken:
    """A fitted model, or the path of a model file, as an engine takes it."""
    if not isinstance(model, str | Path):
        return import_model(model)
    opened = open_model_file(Path(model), trust=trust)
    return opened if isinstance(opened, Taken) else import_model(opened)


def encode_labels(labels: pl.Series, classes: Sequence[str]) -> pl.Series:
    """Labels as float64 [n]: numbers as they are, and of a classifier the place of each among its classes.

    Raises DataError for a label that the model has no class for.
    """
    if not classes:
        if not (labels.dtype.is_numeric() or labels.dtype == pl.Boolean):
            raise DataError(
                f"labels are {labels.dtype}, and this model does not say which classes it has",
                hint="y = (y == 'the positive class')",
            )
        return labels.cast(pl.Float64)
    texts = _texts(labels)
    strange = sorted(set(texts.drop_nulls().unique()) - set(classes))
    if strange:
        raise DataError(
            f"labels hold {strange[0]!r}, which is no class of the model",
            where=f"its classes: {', '.join(classes)}",
            hint="give y as the model was fitted on it",
        )
    return texts.replace_strict(list(classes), [float(place) for place in range(len(classes))], return_dtype=pl.Float64)


def infer_task(labels: pl.Series) -> str:
    """The task that labels tell: 0 and 1 are binary, a few whole numbers multiclass, all else regression."""
    values = labels.drop_nulls().unique()
    if set(values) <= {0.0, 1.0}:
        return "binary"
    whole = bool((values == values.floor()).all())
    return "multiclass" if whole and len(values) <= MAX_CLASSES and values.min() == 0 else "regression"


def _texts(labels: pl.Series) -> pl.Series:
    """Labels as the classes are written: 1 for 1.0 and for True as scikit-learn's classes are."""
    if labels.dtype.is_float() and bool((labels.drop_nulls() == labels.drop_nulls().floor()).all()):
        labels = labels.cast(pl.Int64)
    if labels.dtype == pl.Boolean:
        return pl.Series(labels.name, ["True" if each else "False" for each in labels])
    return labels.cast(pl.String)


def _with_roles(
    table: pl.DataFrame, target: pl.Series, options: Options, *, reads: Sequence[str]
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table with a column for each role beside the features, and the fields of `[data]` that say so.

    A column that is named for a role is no feature, unless the model says that it `reads` it.
    """
    data: dict[str, Any] = {"source": "rows", "slices": tuple(options.get("slices", ()))}
    given = {"target": target, **{role: options.get(role) for role in ("groups", "lists", "time", "weight")}}
    named = {values for values in given.values() if isinstance(values, str)}
    features = table.drop(named - set(reads), strict=False)
    for role, values in given.items():
        if values is None:
            continue
        name = _free(role, features.columns)
        column = _named(table, values, role) if isinstance(values, str) else to_series(values, role)
        if len(column) != len(table):
            raise DataError(f"{len(table):,} rows, and {len(column):,} values of {role}", hint="one for each row")
        features, data[role] = features.with_columns(column.alias(name)), name
    return features, data


def _named(table: pl.DataFrame, name: str, role: str) -> pl.Series:
    if name not in table.columns:
        raise DataError(f"no column '{name}' for {role}", where=f"columns: {', '.join(table.columns)}")
    return table[name]


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _rules(roles: Roles, table: pl.DataFrame, options: Options, *, losses_only: bool) -> tuple[Rule, ...]:
    if "policy" not in options:
        limits = default_policy(roles, table, judged=HALF)
        return tuple(
            Rule(measure=name, at_most=limit)
            for name, limit in limits.items()
            if not losses_only or name.endswith(".drop")
        )
    rules = []
    for name, limit in options["policy"].items():
        if (current := current_measure(name)) != name:
            warn_renamed("policy", name, current)
        rules.append(Rule(measure=current, at_most=limit))
    return tuple(rules)


def _config(folder: Path, data: dict[str, Any], options: Options, rules: tuple[Rule, ...]) -> settings.Config:
    """The configuration of the folder's own project, where it is one, with what the options say in its place."""
    own = settings.load(folder) if (folder / settings.FILE).exists() else settings.Config(folder=str(folder))
    policy = own.policy if own.policy.release and "policy" not in options else replace(own.policy, release=rules)
    return replace(
        own,
        project=replace(own.project, name=options.get("name", own.project.name)),
        data=settings.DataSection(**data),
        model=settings.ModelSection(
            costs=settings.Costs(**options["costs"]) if "costs" in options else own.model.costs
        ),
        optimize=replace(
            own.optimize,
            objective=options.get("objective", own.optimize.objective),
            transforms=tuple(options.get("transforms", own.optimize.transforms)),
            budget_s=parse_duration(str(options["budget"])) if "budget" in options else own.optimize.budget_s,
        ),
        policy=policy,
    )


DEFAULT_LIMITS: dict[str, dict[str, float]] = {
    "binary": {"roc_auc.drop": 0.005, "brier.drop": 0.005, "probability_shift": 0.02, "decision_churn": 0.01},
    "multiclass": {"accuracy.drop": 0.005, "log_loss.drop": 0.01, "decision_churn": 0.01},
    "regression": {"r2.drop": 0.005},
    "ranking": {"ndcg10.drop": 0.005, "decision_churn": 0.05},
    "embedding": {"recall1.drop": 0.01, "mean_cosine.drop": 0.01},
}
"""By task, of all rows."""
SLICE_LIMIT = 0.05
"""The share of decisions that a classifier may change on any slice, and on the rows that lack a column's value."""


def default_policy(roles: Roles, table: pl.DataFrame, *, judged: float) -> dict[str, float]:
    """The limits for a table of which a share in (0, 1] will be judged, by measure.

    Parts are asked only where one is large enough to be judged: a rule that nothing can answer would let nothing pass.
    """
    asked = dict(DEFAULT_LIMITS.get(roles.task, {}))
    if roles.task not in ("binary", "multiclass"):
        return asked
    known = table.filter(pl.col(roles.target).is_not_null())
    parts = {
        "worst_slice.decision_churn": _slice_sizes(roles, known),
        "missing.decision_churn": _missing_sizes(roles, known),
    }
    return asked | {
        name: SLICE_LIMIT for name, sizes in parts.items() if any(_is_large_enough(each, judged) for each in sizes)
    }


def _slice_sizes(roles: Roles, table: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Rows and groups of every value of every slice column."""
    for name in roles.slices:
        sizes = table.group_by(name).agg(pl.len(), _groups(roles).alias("groups"))
        yield from sizes.select("len", "groups").iter_rows()


def _missing_sizes(roles: Roles, table: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Rows and groups that lack the value of a column, for each column that may be a feature."""
    for column in table.drop(roles.not_features, strict=False).iter_columns():
        lacks = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
        yield table.filter(lacks).select(pl.len(), _groups(roles).alias("groups")).row(0)


def _groups(roles: Roles) -> pl.Expr:
    """How many groups there are; without such a column every row is one."""
    return pl.col(roles.groups).n_unique() if roles.groups else pl.len()


def _is_large_enough(size: tuple[int, int], judged: float) -> bool:
    """Whether so much of a part as will be judged is large enough for the judge."""
    policy = PolicySection()
    return size[0] * judged >= policy.slice_rows and size[1] * judged >= policy.slice_groups
