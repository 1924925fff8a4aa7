"""The part `pruning` of bench/optimize.py: nodes that `fipe` and `pine` leave in small ensembles of public tables.

Every table is halved at random: one half trains a LightGBM model of 50 trees, the other is `validation`. Five tables
come with scikit-learn, and each of their rows is a group; the flights have days as groups. Two have three classes, and
50 trees for each; `pine` is for two classes. `pine.broken` repeats `pine`
over random days of the flights, and counts the certificates that other days break.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import lightgbm
import numpy as np
from sklearn import datasets as bundled

from harness import Row, shown
from headway.core.arrays import Floats, Ints
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.plugins import load_blobs, load_engine
from headway.core.selective import SelectiveCertificate
from headway.core.variant import Field, Signature, Variant
from headway.engines.compiled.forest import read_forest
from headway.engines.formats.trees import Forest, limit_of_sum
from headway.evaluation.selective import certify_threshold
from headway.optimization.context import TransformContext
from headway.optimization.equal_decisions import DecisionSearch
from headway.optimization.transforms import fipe, pine
from headway.optimization.transforms._weights import count_nodes, decide_by, tree_values
from optimization import datasets

TREES, LEAVES = 50, (2, 4)
LIMIT_S = 30.0
ALPHA = {"breast_cancer": 0.05, "diabetes": 0.05, "digits": 0.05, "flights": 0.1}
SEVERAL_CLASSES = ("iris", "wine")
TARGETS = {"fipe": 0.5, "pine": 0.35}
SPLITS, DAYS, ROWS_A_DAY = 60, 110, 60
_RANDOM_ROWS = 200_000
_MIXED_ROWS, _NEAREST_ROWS = 20_000, 4_000
_NODES = 7  # of the arrays of a compiled forest: where the nodes of each tree begin, and the end
TINY = {"LIMIT_S": 2.0, "SPLITS": 2, "DAYS": 20, "ROWS_A_DAY": 10, "ALPHA": {"digits": 0.05, "flights": 0.3}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a public table with labels of classes, and the group of each row."""

    rows: Floats
    labels: Floats
    groups: Ints


def rows() -> tuple[list[Row], list[str]]:
    """Return the rows of all tables, and a sentence for each transform that offered nothing."""
    fipe.LIMIT_S = pine.LIMIT_S = LIMIT_S
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(name, leaves) for name in (*ALPHA, *SEVERAL_CLASSES) for leaves in LEAVES]
        found = [row for name, leaves in pairs for row in _of_table(name, leaves, Path(folder))]
        made = [row for row in found if isinstance(row, Row)] + _broken(Path(folder))
    return made, [sentence for sentence in found if isinstance(sentence, str)]


def _of_table(name: str, leaves: int, folder: Path) -> Iterator[Row | str]:
    """Yield the rows of a table, whose trees have so many leaves; those of more than two leaves have no target."""
    table, alpha = _table(name), ALPHA.get(name, 0.0)
    random = np.random.default_rng(0)
    is_train = random.permutation(table.groups.max() + 1)[table.groups] % 2 == 0
    learned = replace(table, rows=table.rows[is_train], labels=table.labels[is_train])
    context = _context(table, ~is_train, folder, alpha, random)
    model = _trained(context, learned, leaves)
    forest = load_engine("lightgbm").forest(context.read(model))
    for transform in (fipe,) if name in SEVERAL_CLASSES else (fipe, pine):
        kind = transform.__name__.rpartition(".")[2]
        which = f"{name}.{leaves}_leaves" if leaves > min(LEAVES) else name
        if kind == "fipe" and len(forest.base) == 1:
            yield _needed(f"fipe.nodes_needed.{which}", forest, model, context)
        key, began = f"{kind}.nodes_left.{which}", perf_counter()
        try:
            [found] = transform.plugin(model, context)
        except NotApplicable as reason:
            yield f"{key}: {reason.what}"
            continue
        seconds, settings = perf_counter() - began, found.steps[0].settings
        share = int(read_forest(context.read(found))[_NODES][-1]) / count_nodes(forest)
        how = f"{settings['trees']} of {len(forest.trees)} trees of {leaves} leaves remain, found in {seconds:.1f} s"
        if kind == "pine":
            how += f"; alpha {alpha:g}, {len(np.unique(context.validation.groups)) // 2} groups certify"
            how += f" {settings['changed_at_most']:.3f}"
        target = TARGETS[kind]
        if leaves > min(LEAVES):
            yield shown(key, share, "", how)
        else:
            yield Row(name=key, measured=share, unit="", target=f"<= {target:g}", ok=share <= target, against=how)
        if kind == "fipe":
            yield _changed(
                f"fipe.decisions_changed{key.removeprefix('fipe.nodes_left')}", forest, model, found, context
            )


def _needed(name: str, forest: Forest, model: Variant, context: TransformContext) -> Row:
    """Count thresholds between whose two sides some row changes its decision: every equal ensemble has a node for each.

    The rows are random ones and mixtures with those of `validation`, those nearest to the limit.
    """
    search, random = DecisionSearch(forest, context.threshold), np.random.default_rng(2)
    drawn = search.random_rows(_MIXED_ROWS, random)
    known = context.sample[random.integers(len(context.sample), size=len(drawn))]
    rows = np.concatenate([drawn, np.where(random.random(drawn.shape) < 0.5, known, drawn)])
    margins = tree_values(forest, rows).sum(axis=(1, 2)) + forest.base[0] - limit_of_sum(forest, context.threshold)
    rows = rows[np.argsort(np.abs(margins))[:_NEAREST_ROWS]]
    decide = decide_by(context.open(model).predict, context.threshold)
    splits = {
        (int(column), float(at))
        for tree in forest.trees
        for column, at in zip(tree.feature, tree.threshold, strict=True)
    }
    needed = 0
    for column, threshold in splits:
        below, above = rows.copy(), rows.copy()
        below[:, column], above[:, column] = threshold, np.nextafter(threshold, np.inf)
        needed += bool((decide(below) != decide(above)).any())
    how = f"{needed} of {len(splits)} different splits change a decision at their threshold"
    return shown(name, needed / count_nodes(forest), "", f"{how}, so every ensemble of equal decisions has each")


def _changed(name: str, forest: Forest, model: Variant, found: Variant, context: TransformContext) -> Row:
    """Count the decisions that differ on validation rows and on random cells: none should."""
    random = DecisionSearch(forest, context.threshold).random_rows(_RANDOM_ROWS, np.random.default_rng(1))
    probes = np.concatenate([context.sample, random])
    before, after = (decide_by(context.open(variant).predict, context.threshold)(probes) for variant in (model, found))
    count = int((before != after).sum())
    return Row(name=name, measured=count, unit="rows", target="0", ok=not count, against=f"of {len(probes):,} rows")


def _broken(folder: Path) -> list[Row]:
    """Certify on random days of the flights, and count how often the decisions of all other days change more."""
    table, alpha = _table("flights"), ALPHA["flights"]
    random = np.random.default_rng(1)
    days = random.permutation(table.groups.max() + 1)
    is_train = np.isin(table.groups, days[: len(days) // 4])
    learned = replace(table, rows=table.rows[is_train], labels=table.labels[is_train])
    certified, broken, shares = 0, 0, list[float]()
    for _ in range(SPLITS):
        chosen = random.permutation(days[len(days) // 4 :])
        used = np.isin(table.groups, chosen[:DAYS])
        context = _context(table, used, folder, alpha, random)
        model = _trained(context, learned, min(LEAVES))
        try:
            [found] = pine.plugin(model, context)
        except NotApplicable:
            continue
        fresh = table.rows[np.isin(table.groups, chosen[DAYS:])]
        before, after = (context.open(variant).predict(fresh)[:, 0] >= context.threshold for variant in (model, found))
        shares.append(float((before != after).mean()))
        certified, broken = certified + 1, broken + (shares[-1] > alpha)
    share = broken / max(certified, 1)
    how = f"{broken} of {certified} certificates, of {SPLITS} splits; changed on fresh days"
    how += f" {np.median(shares or [np.nan]):.4f} (largest {max(shares, default=np.nan):.4f}), alpha {alpha:g}"
    ok = bool(certified) and share <= alpha
    return [Row(name="pine.broken", measured=share, unit="", target=f"<= {alpha:g}", ok=ok, against=how)]


def _context(
    table: Table, selected: np.ndarray, folder: Path, alpha: float, random: np.random.Generator
) -> TransformContext:
    """Return a context whose validation rows are these, with groups in random order."""
    groups = np.unique(table.groups[selected], return_inverse=True)[1]
    groups = random.permutation(groups.max() + 1)[groups]
    order = np.argsort(groups, kind="stable")
    data = LabeledData(
        rows=table.rows[selected][order], labels=table.labels[selected][order], groups=groups[order].astype(np.int64)
    )
    blobs = load_blobs("files")(folder)
    return TransformContext(blobs=blobs, sample=data.rows, validation=data, certify=_certify, max_changed=alpha)


def _certify(
    confidence: Floats, errors: Floats, thresholds: Floats, limit: float, groups: Ints
) -> SelectiveCertificate:
    return certify_threshold(confidence, errors, thresholds=thresholds, limit=limit, groups=groups)


def _trained(context: TransformContext, table: Table, leaves: int) -> Variant:
    classes = int(table.labels.max()) + 1
    kind = {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}
    settings = {**kind, "num_leaves": leaves, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    booster = lightgbm.train(settings, lightgbm.Dataset(table.rows, table.labels), TREES)
    artifact = context.save(booster.model_to_string().encode(), "lightgbm")
    task = "binary" if classes == 2 else "multiclass"
    inputs = tuple(Field(name=f"c{index}") for index in range(table.rows.shape[1]))
    return Variant(artifact=artifact, engine="lightgbm", signature=Signature(inputs=inputs), task=task)


def flights_by_day() -> Table:
    """Return some rows of every day of the flights."""
    parts = [
        (datasets.rows(part), np.load(datasets.rows_directory() / f"{part}-date.npy")) for part in ("train", "test")
    ]
    dates = np.concatenate([days for _, days in parts])
    groups = np.unique(dates, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    number = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
    some = order[number < ROWS_A_DAY]
    cells = np.concatenate([part.rows for part, _ in parts])
    late = np.concatenate([part.late for part, _ in parts])
    return Table(rows=cells[some], labels=late[some].astype(np.float64), groups=groups[some])


def _bundled(name: str) -> Table:
    cells, target = getattr(bundled, f"load_{name}")(return_X_y=True)
    if name == "digits":
        target = target >= 5
    elif name == "diabetes":
        target = target > np.median(target)
    return Table(rows=cells.astype(np.float64), labels=target.astype(np.float64), groups=np.arange(len(cells)))


def _table(name: str) -> Table:
    return flights_by_day() if name == "flights" else _bundled(name)
