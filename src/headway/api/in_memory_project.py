"""A project without a headway.toml: a fitted model, labeled rows and their roles, a policy, a folder for evidence."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway import pipeline
from headway.api.model import AnswerForm, Model, answer_form
from headway.api.tables import (
    expect_rows_and_labels,
    expect_width,
    library_of,
    to_polars,
    to_series,
    with_named_categories,
)
from headway.core import config as settings
from headway.core import plugins
from headway.core.arrays import Bools
from headway.core.contracts import ImportedModel
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError
from headway.core.evidence import current_measure
from headway.core.feature_view import FeatureView
from headway.core.label_sets import name_labels
from headway.core.renamed import warn_renamed
from headway.core.settings.project import ProjectSection
from headway.core.variant import DECIDES, MULTILABEL
from headway.core.verdict import Rule
from headway.data.label_sets import encode_label_sets, require_label_names
from headway.data.open import make_dataset
from headway.data.roles import parse_roles
from headway.data.settings.data import DataSection
from headway.data.settings.model import Costs, ModelSection
from headway.data.settings.policy import PolicySection
from headway.data.split import split_by_shares
from headway.evaluation.answer_plan import require_one_answer
from headway.evaluation.settings.answer import AnswerSection
from headway.features.catalog import resolve_view
from headway.optimization.importers.custom_python import CustomModel, split_custom_code
from headway.optimization.importers.huggingface import open_text_model, reads_texts
from headway.optimization.importers.models import import_fitted_model, open_model_file
from headway.optimization.settings.optimize import OptimizeSection
from headway.registry.default_policy import default_rules
from headway.registry.project import Project, project_of
from headway.reporting.text import words
from headway.reporting.text.formatting import parse_duration

HALF = 0.5
"""Share of the rows that the search uses; its winner is judged on the rest."""
MAX_CLASSES = 20
FORMER_COSTS = {"false_alarm": "false_positive", "miss": "false_negative"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class InMemoryProject:
    """A project, the imported model, and its labeled rows.

    Attributes
    ----------
    project : Project
    imported : ImportedModel
        The model as an engine opened it.
    rows : Dataset
    native : CustomModel or None
        The user's own Python around the model, such as a pipeline step; `rows` are what it passes to the model.
    library : str
        Library of the table that was passed: `pandas` or `polars`.
    temporary : bool
        The folder is deleted with the project.
    train : Dataset or None
        The rows that the model was trained on, if they were passed.
    form : AnswerForm
        Types and shapes of the answers of the user's own model.
    """

    project: Project
    imported: ImportedModel
    rows: Dataset
    native: CustomModel | None = None
    library: str = "polars"
    temporary: bool = False
    train: Dataset | None = None
    form: AnswerForm = dataclasses.field(default_factory=AnswerForm)

    def halves(self) -> pipeline.Data:
        """Split the rows in two, by whole groups: one half for the search, one to judge the winner.

        The rows that the model was trained on, if known, are `train`.
        """
        halves = split_by_shares(self.rows, {"validation": HALF, "test": HALF})
        return halves if self.train is None else {"train": self.train, **halves}


def create_project(
    model: Any,
    rows: Any,
    labels: Any,
    *,
    groups: Any = None,
    time: Any = None,
    query_id: Any = None,
    sample_weight: Any = None,
    trained_on: Any = None,
    slices: Sequence[str] = (),
    views: Sequence[FeatureView | str] = (),
    costs: Mapping[str, float] | None = None,
    policy: Mapping[str, float | str] | None = None,
    objective: str | None = None,
    transforms: Sequence[str] | None = None,
    budget: str | float | None = None,
    wait_quiet: bool = False,
    task: str = "",
    answer_limit: float | None = None,
    name: str | None = None,
    folder: str | Path | None = None,
    trust: bool | str = False,
    drops_only: bool = False,
) -> InMemoryProject:
    """Create a project of a fitted model, or of a model file, and labeled rows; parameters as in `headway.optimize`.

    Without a policy the default one of the task applies. `drops_only` leaves out its rules on single answers, which
    two separately trained models cannot meet. Without a folder, a temporary one is deleted with the project.

    Raises DataError or EngineError that names what does not fit.
    """
    expect_rows_and_labels(rows, labels)
    library, original = library_of(rows), (model, rows)
    native = _custom_part(model)
    columns = {"groups": groups, "query_id": query_id, "time": time, "sample_weight": sample_weight}
    if native and isinstance(model, str | Path):
        rows, columns = _split_roles(rows, columns)
    if native:
        model, rows = native.model, native.rows(rows)
    imported = open_model(model, trust=trust)
    expect_width(rows, imported.names, imported.width)
    form = answer_form(*original, () if native else imported.names)
    table = to_polars(rows, imported.names, absent=imported.absent)
    table = with_named_categories(table, rows, len(imported.categories))
    if MULTILABEL in (task, imported.task):
        imported, target = encode_several_labels(labels, imported)
    else:
        y = to_series(labels, "target")
        decides = bool(imported.classes) or DECIDES[0] in (task, imported.task)
        y = _without_nan(y) if decides else y
        _expect_known(y.drop_nulls() if decides and y.null_count() < len(y) else y)
        target = encode_labels(y, imported.classes)
    table, fields = _with_roles(table, {"target": target, **columns}, reads=imported.names)
    data = DataSection(
        **fields,
        source="rows",
        slices=tuple(slices),
        task=task or imported.task or infer_task(target, outputs=imported.outputs),
    )
    if data.task == MULTILABEL:
        data = replace(data, classes=imported.classes)
        if costs is not None:
            where, hint = "costs", "leave it out: a label is given above a probability of one half"
            raise ConfigError("costs set a threshold between two classes", where=where, hint=hint)
        if answer_limit is not None:
            require_one_answer(data.task)
    roles = parse_roles(data)
    for column in slices:
        _named_column(table, column, "slices")
    table, learned = _split_learned(table, trained_on, groups=roles.groups)
    rules, floor = (default_rules(roles, table, judged=HALF), "") if policy is None else _parse_policy(policy)
    require_known_measures((rule.measure for rule in rules), where="policy")
    require_known_measures([] if objective is None else [objective], where="objective")
    if policy is None and drops_only:
        rules = tuple(rule for rule in rules if rule.measure.endswith(".drop"))
    directory = (
        Path(folder).expanduser().absolute() if folder is not None else Path(tempfile.mkdtemp(prefix="headway-"))
    )
    config = _config_of(directory, data, rules, floor=None if policy is None else floor)
    config = config.having(
        replace(config[ProjectSection], name=config[ProjectSection].name if name is None else name),
        ModelSection(costs=config[ModelSection].costs if costs is None else parse_costs(costs)),
        config[AnswerSection]
        if answer_limit is None
        else replace(config[AnswerSection], limit=_expect_share(answer_limit)),
        replace(
            config[OptimizeSection],
            objective=config[OptimizeSection].objective if objective is None else objective,
            transforms=config[OptimizeSection].transforms if transforms is None else tuple(transforms),
            budget_s=config[OptimizeSection].budget_s if budget is None else parse_duration(str(budget)),
            wait_quiet=wait_quiet or config[OptimizeSection].wait_quiet,
        ),
    )
    project = project_of(config)
    found = InMemoryProject(
        project=project,
        imported=imported,
        rows=dataclasses.replace(
            make_dataset(table, roles, name="rows"), views=_find_views(project, views, table.columns)
        ),
        native=native,
        library=library,
        temporary=folder is None,
        train=None if learned is None else make_dataset(learned, roles, name="train"),
        form=form,
    )
    if folder is None:
        weakref.finalize(found, shutil.rmtree, directory, ignore_errors=True)
    return found


def learned_rows(trained_on: Any, count: int) -> Bools:
    """Return which of the rows a model was trained on; raise DataError if it is not a bool for each, or leaves none."""
    mask = np.asarray(trained_on)
    if mask.dtype != bool or mask.shape != (count,) or mask.all():
        raise DataError(
            f"expected True or False for each of {count:,} rows, met {mask.dtype} of shape {mask.shape}"
            if mask.dtype != bool or mask.shape != (count,)
            else "the model was trained on every row of X, so none is left to judge a variant",
            where="trained_on",
            hint="pass all rows as X and y, and trained_on = (np.arange(len(y)) < n_train)",
        )
    return mask


def _split_learned(table: pl.DataFrame, trained_on: Any, *, groups: str) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return the rows that the model was not trained on, and those it was; raise DataError for a group in both."""
    if trained_on is None:
        return table, None
    mask = pl.Series(learned_rows(trained_on, len(table)))
    others, learned = table.filter(~mask), table.filter(mask)
    shared = set(others[groups].unique()) & set(learned[groups].unique()) if groups else set()
    if shared:
        raise DataError(
            f"{len(shared):,} groups have rows that the model was trained on, and others",
            where="trained_on",
            hint="rows of one group are dependent: mark all rows of a group, or none",
        )
    return others, learned


def _expect_share(limit: float) -> float:
    """Return a limit of wrong answers; raises ConfigError if it is none."""
    if not 0 <= limit < 1:
        hint = "answer_limit=0.05: at most 5 of 100 answers may be wrong"
        raise ConfigError(f"expected a share from 0 up to 1, met {limit!r}", where="answer_limit", hint=hint)
    return float(limit)


def _find_views(
    project: Project, views: Sequence[FeatureView | str], columns: Sequence[str]
) -> tuple[FeatureView, ...]:
    """Return the definitions of views; raises DataError for one that no column was joined from."""
    found = [resolve_view(project.state, view) if isinstance(view, str) else view for view in views]
    for view in found:
        names = [feature.name for feature in view.features]
        if not set(names) & set(columns):
            where, hint = f"its features: {', '.join(names)}", "leave it out, or join its features to X"
            raise DataError(f"X has no column of view '{view.reference}'", where=where, hint=hint)
    return tuple(found)


def _custom_part(model: Any) -> CustomModel | None:
    """Return a model's own Python with the model behind it, such as the tokenizer of a snapshot; None without."""
    if isinstance(model, str | Path):
        return open_text_model(Path(model)) if reads_texts(Path(model)) else None
    return None if isinstance(model, Model) else split_custom_code(model)


def _split_roles(rows: Any, columns: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a table without the columns that are named for a role, and the roles with their values."""
    if not hasattr(rows, "columns"):
        return rows, dict(columns)
    table = to_polars(rows)
    found = {
        role: _named_column(table, values, role) if isinstance(values, str) else values
        for role, values in columns.items()
    }
    return table.drop(*{values for values in columns.values() if isinstance(values, str)}), found


def _without_nan(labels: pl.Series) -> pl.Series:
    """Return labels with nulls for NaN: of a row without a label it is known whether a variant decides otherwise."""
    return labels.fill_nan(None) if labels.dtype.is_float() else labels


def _expect_known(labels: pl.Series) -> None:
    """Raise DataError where a label is missing or infinite: nothing can be measured on that row."""
    unknown = ~labels.is_finite().fill_null(value=False) if labels.dtype.is_float() else labels.is_null()
    if unknown.any():
        raise DataError(
            f"y has no finite value in {int(unknown.sum()):,} of {len(labels):,} rows",
            where=f"the first is row {unknown.arg_max()}",
            hint="leave these rows out: known = pd.notna(y) (polars: y.is_not_null()), then X[known] and y[known]",
        )


def _expect_weights(weights: pl.Series) -> None:
    """Raise DataError for weights by which nothing can be averaged."""
    numbers = weights.cast(pl.Float64, strict=False)
    wrong = ~(numbers.is_finite() & (numbers >= 0)).fill_null(value=False)
    if wrong.any():
        raise DataError(
            f"sample_weight is negative, missing or no number in {int(wrong.sum()):,} rows",
            where=f"the first is row {wrong.arg_max()}: {weights[int(wrong.arg_max() or 0)]!r}",
            hint="weights are numbers of 0 or more; leave out the rows that have none",
        )
    if not (numbers > 0).any():
        raise DataError("every sample_weight is 0, so nothing can be measured", hint="leave sample_weight out")


def open_model(model: Any, *, trust: bool | str) -> ImportedModel:
    """Open a fitted model, or the path of a model file, with the engine that can run it."""
    if isinstance(model, Model):
        return model.as_imported()
    if not isinstance(model, str | Path):
        return import_fitted_model(model)
    opened = open_model_file(Path(model), trust=trust)
    return opened if isinstance(opened, ImportedModel) else import_fitted_model(opened)


def encode_labels(labels: pl.Series, classes: Sequence[str]) -> pl.Series:
    """Return labels as float64 [n]: numbers as they are, for a classifier the index of each among its classes.

    Raises DataError for a label that is not a class of the model.
    """
    if not classes:
        if not (labels.dtype.is_numeric() or labels.dtype == pl.Boolean):
            raise DataError(
                f"labels are {labels.dtype}, and this model does not say which classes it has",
                hint="y = (y == 'the positive class')",
            )
        return labels.cast(pl.Float64)
    has_floats = all(re.fullmatch(r"-?\d+\.\d+", name) for name in classes)
    names = (
        labels.cast(pl.Float64).cast(pl.String) if has_floats and labels.dtype.is_numeric() else _class_names(labels)
    )
    unknown = sorted(set(names.drop_nulls().unique()) - set(classes))
    if unknown:
        raise DataError(
            f"y has the label {unknown[0]!r}, which is not a class of the model",
            where=f"its classes: {', '.join(classes)}",
            hint="pass y in the form that the model was fitted on",
        )
    return names.replace_strict(list(classes), [float(index) for index in range(len(classes))], return_dtype=pl.Float64)


def encode_several_labels(labels: Any, imported: ImportedModel) -> tuple[ImportedModel, pl.Series]:
    """Return the labels of rows as strings such as `billing|delivery`, and the model with names for its labels.

    Parameters
    ----------
    labels : array-like
        An indicator matrix (n, k) of 0 and 1 as the model was fitted on; the columns of a table name the labels. For a
        model whose labels have names, also strings or lists of names.
    imported : ImportedModel
        The model, with the labels that it knows.

    Raises
    ------
    DataError
        If the labels do not fit the model.
    """
    known, shape = imported.classes, tuple(getattr(labels, "shape", ()))
    is_numbered = known == tuple(str(index) for index in range(len(known)))
    if len(shape) != 2:
        if is_numbered:
            raise DataError(
                "the model numbers its labels, and y does not say which column a name is",
                hint="binarizer = sklearn.preprocessing.MultiLabelBinarizer(); fit the model on "
                "binarizer.fit_transform(lists), and pass y = pd.DataFrame(binarizer.transform(lists), "
                "columns=binarizer.classes_)",
            )
        found = encode_label_sets(pl.Series("target", list(labels), strict=False), known)
        _expect_known(found)
        return imported, found
    names = tuple(str(name) for name in getattr(labels, "columns", known))
    if not is_numbered and names != known:
        raise DataError(
            "the columns of y are not the labels of the model, in their order",
            where=f"y: {', '.join(names)}; the model: {', '.join(known)}",
            hint=f"y = y[{list(known)!r}]",
        )
    table = to_polars(labels, [f"y{index}" for index in range(shape[1])])
    values = table.select(pl.all().cast(pl.Float64, strict=False)).to_numpy()
    wrong = np.flatnonzero(~np.isin(values, (0.0, 1.0)).all(axis=1))
    if len(wrong):
        raise DataError(
            f"y has other values than 0 and 1 in {len(wrong):,} rows",
            where=f"the first is row {wrong[0]}",
            hint="an indicator matrix (n, k): sklearn.preprocessing.MultiLabelBinarizer().fit_transform(lists)",
        )
    names = names or tuple(str(index) for index in range(shape[1]))
    if len(names) != shape[1] or (known and len(known) != shape[1]):
        raise DataError(
            f"y has {shape[1]} columns, and the model has {len(known or names)} labels",
            hint="pass y in the form that the model was fitted on: an indicator matrix with a column for each label",
        )
    require_label_names(names)
    return dataclasses.replace(imported, classes=names), pl.Series("target", name_labels(values, names), pl.String)


def infer_task(labels: pl.Series, *, outputs: int = 0) -> str:
    """Infer the task from labels: 0 and 1 are binary, a few whole numbers from 0 on multiclass, the rest regression.

    A model that is known to answer several numbers has a class for each; one that answers one number has none.
    """
    values = np.unique(labels.drop_nulls().to_numpy())
    if not len(values) or (set(values.tolist()) <= {0.0, 1.0} and outputs < 2):
        return "binary"
    are_integers = bool((values == np.floor(values)).all())
    if outputs:
        are_classes = are_integers and outputs > 1 and values.min() >= 0 and values.max() < outputs
    else:
        are_classes = are_integers and values.min() == 0 and len(values) <= MAX_CLASSES
    return "multiclass" if are_classes else "regression"


def parse_costs(costs: Mapping[str, float]) -> Costs:
    """Return costs from a mapping; raises ConfigError for an unknown name, and warns for a former one."""
    values = {}
    for name, cost in costs.items():
        current = FORMER_COSTS.get(name, name)
        if current != name:
            warn_renamed("costs", name, current, stacklevel=4)
        if current not in FORMER_COSTS.values():
            raise ConfigError(
                f"unknown cost {name!r}", where="costs", hint='costs={"false_positive": 1, "false_negative": 4}'
            )
        values[current] = cost
    return Costs(false_positive=values.get("false_positive", 1.0), false_negative=values.get("false_negative", 1.0))


def require_known_measures(names: Iterable[str], *, where: str) -> None:
    """Raise ConfigError, with the nearest name, for a measure that nothing measures; called before a search begins.

    A measure that resembles no known one is accepted if a metric of another package is installed.
    """
    outside = [name for name in plugins.names("metric") if name not in plugins.own("metric")]
    for name in names:
        if words.is_known_measure(name) or name.partition(".")[0] in outside:
            continue
        near = words.nearest_measure(name)
        if near or not outside:
            hint = f"nearest: {near}" if near else "headway evaluate shows the names of all measures"
            raise ConfigError(f"no measure is called '{name}'", where=where, hint=hint)


def _parse_policy(policy: Mapping[str, float | str]) -> tuple[tuple[Rule, ...], str]:
    """Return the rules of upper limits by measure, with a warning for a former name, and the floor."""
    limits = dict(policy)
    floor = limits.pop("floor", "")
    wrong = next((name for name, limit in limits.items() if isinstance(limit, str)), None)
    if floor not in ("", "data", "none") or wrong:
        name = wrong or "floor"
        raise ConfigError(
            f"the policy has {policy[name]!r} for {name!r}",
            where="policy",
            hint='policy={"roc_auc.drop": 0.002, "floor": "data"}, or "none" for relative rules alone',
        )
    for name in limits:
        if (current := current_measure(name)) != name:
            warn_renamed("policy", name, current, stacklevel=4)
    rules = tuple(Rule(measure=current_measure(name), at_most=float(limit)) for name, limit in limits.items())
    return rules, str(floor)


def _class_names(labels: pl.Series) -> pl.Series:
    """Labels as the classes are written: 1 for 1.0, and "True" for True, as scikit-learn's classes are."""
    if labels.dtype.is_float() and bool((labels.drop_nulls() == labels.drop_nulls().floor()).all()):
        labels = labels.cast(pl.Int64)
    if labels.dtype == pl.Boolean:
        return pl.Series(labels.name, ["True" if label else "False" for label in labels])
    return labels.cast(pl.String)


def _with_roles(
    table: pl.DataFrame, columns: Mapping[str, Any], *, reads: Sequence[str]
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the table with a column for each role, and the fields of `[data]` that name them.

    A column that is named for a role is not a feature, unless the model `reads` it.
    """
    named = {values for values in columns.values() if isinstance(values, str)}
    features = table.drop(named - set(reads), strict=False)
    fields: dict[str, Any] = {}
    for role, values in columns.items():
        if values is None:
            continue
        name = _unused_name(role, features.columns)
        column = _named_column(table, values, role) if isinstance(values, str) else to_series(values, role)
        if len(column) != len(table):
            raise DataError(f"{len(table):,} rows, but {len(column):,} values of {role}", hint="pass one for each row")
        if role == "sample_weight":
            _expect_weights(column)
        features, fields[role] = features.with_columns(column.alias(name)), name
    return features, fields


def _named_column(table: pl.DataFrame, name: str, role: str) -> pl.Series:
    if name not in table.columns:
        raise DataError(f"no column '{name}' for {role}", where=f"columns: {', '.join(table.columns)}")
    return table[name]


def _unused_name(name: str, used: Sequence[str]) -> str:
    while name in used:
        name += "_"
    return name


def _config_of(folder: Path, data: DataSection, rules: tuple[Rule, ...], *, floor: str | None) -> settings.Config:
    """Return the configuration of a folder's project, if any, with these data; a floor marks rules that the call gives.

    Without it the project's own rules apply, if it has any.
    """
    config = settings.load(folder) if (folder / settings.FILE).exists() else settings.Config(folder=str(folder))
    if floor is not None or not config[PolicySection].release:
        own = config[PolicySection].floor if floor is None else floor
        config = config.having(replace(config[PolicySection], release=rules, floor=own))
    return config.having(data)
