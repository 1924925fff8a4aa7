"""Read CatBoost's binary models (.cbm) with every index checked.

The library's own loader trusts the indices of splits and leaves. A model that was read here has every index in range
and every tree complete, so its bytes can be handed to the library and its trees can be compiled. The rules follow
CatBoost's model.cpp and model.fbs, versions 0.26 to 1.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import EngineError
from headway.engines.formats.catboost_ctr import CATEGORIES, NO_CATEGORIES, CategoryColumns, read_categories
from headway.engines.formats.flatbuffer import FlatTable, root_table
from headway.engines.formats.trees import Forest, Link, Tree, constant_tree

_MAGIC, _FORM = b"CBM1", "FlabuffersModel_v1"
_MAX_DEPTH, _MAX_COLUMNS = 16, 2**20
_MISSING_GOES_RIGHT = 2
# Fields of the schema that are present only if the model reads more than numbers and categories.
_OTHER_COLUMNS = {12: "text", 18: "embedding"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CatboostModel:
    """A CatBoost model: scale * sum of the leaves + `bias` [k], then the link of `loss`.

    `sizes` counts the splits of each tree; a split is x > `border` of a column, or x == `border` where `equal`. Columns
    from `width` on are those that `categories` computes. In a symmetric tree all nodes of a level share one split, the
    root's is the last, and leaves are numbered by the answers to all splits. In other trees `left` and `right` are the
    distance to a child among the splits, and 0 means that the split's `end` is the leaf. `leaf` [n, k] holds the leaves
    of all trees.
    """

    width: int
    names: tuple[str, ...]
    loss: str
    scale: float
    bias: Floats
    missing_right: Bools
    sizes: Ints
    feature: Ints
    border: Floats
    equal: Bools
    leaf: Floats
    left: Ints
    right: Ints
    end: Ints
    categories: CategoryColumns | None = None

    @property
    def outputs(self) -> int:
        """Number of columns of the sum."""
        return len(self.bias)

    @property
    def symmetric(self) -> bool:
        """True if all nodes of a level share one split."""
        return not len(self.end)


def is_catboost(content: bytes) -> bool:
    """Return whether bytes start like a CatBoost binary model."""
    return content.startswith(_MAGIC)


def read_catboost(content: bytes) -> CatboostModel:
    """Read a model from bytes.

    Raises EngineError if they are not a complete CatBoost model, or if the model reads texts or embeddings.
    """
    try:
        core = _core(content)
        return _model(core, content[8 + len(core.content) :])
    except (ValueError, RecursionError) as error:
        hint = "model.save_model('model.cbm')"
        raise EngineError(f"these bytes are not a CatBoost model: {error}", hint=hint) from error


def _require(holds: bool | np.bool_, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _core(content: bytes) -> FlatTable:
    _require(content.startswith(_MAGIC), "they do not start with 'CBM1'")
    size = int.from_bytes(content[4:8], "little")
    _require(len(content) >= 12 and 8 + size <= len(content), "truncated")
    core = root_table(content[8 : 8 + size])
    _require(core.string(0) == _FORM, f"unknown form {core.string(0)!r:.60}")
    return core


def _model(core: FlatTable, behind: bytes) -> CatboostModel:
    trees = core.table(1)
    if trees is None:
        raise ValueError("no trees")
    _check_readable(trees)
    outputs, features = trees.integer(0, "<i", 0), trees.tables(5)
    _require(1 <= outputs <= 2**16, f"{outputs} outputs")
    _require(len(features) <= _MAX_COLUMNS, f"{len(features)} columns")
    _require([column.integer(1, "<i", -1) for column in features] == list(range(len(features))), "reordered columns")
    notes = {entry.string(0): entry.string(1) for entry in core.tables(2)}
    numbers, borders = np.array([column.integer(2, "<i", -1) for column in features], np.int64), _borders(features)
    categories = read_categories(
        trees, core.strings(3), behind, numbers=numbers, borders=borders, notes=notes.get(CATEGORIES, "")
    )
    names = _names(features, numbers, categories)
    feature, border, equal = _splits(trees, numbers, borders, categories, width=len(names))
    steps = trees.array(10, np.uint16, 2).astype(np.int64).reshape(-1, 2)
    missing_right = np.zeros(len(names) + (len(categories.computed) if categories else 0), bool)
    missing_right[numbers] = [column.integer(5, "<b", 0) == _MISSING_GOES_RIGHT for column in features]
    model = CatboostModel(
        width=len(names),
        names=names,
        loss=_loss(notes),
        scale=trees.number(14, "<d", 1.0),
        bias=_bias(trees, outputs),
        missing_right=missing_right,
        sizes=_sizes(trees, len(feature)),
        feature=feature,
        border=border,
        equal=equal,
        leaf=_leaves(trees, outputs),
        left=steps[:, 0],
        right=steps[:, 1],
        end=trees.array(11, np.uint32).astype(np.int64),
        categories=categories,
    )
    _require(np.isfinite(model.scale), f"the scale is {model.scale}")
    _check_levels(model) if model.symmetric else _check_steps(model)
    return model


def _check_readable(trees: FlatTable) -> None:
    for field, kind in _OTHER_COLUMNS.items():
        if found := trees.tables(field):
            columns = ", ".join(str(column.string(2) or column.integer(1, "<i", -1)) for column in found[:5])
            raise EngineError(
                f"the CatBoost model reads {len(found)} {kind} columns, and headway passes numbers and categories",
                where=f"{kind} columns: {columns}",
                hint=f"encode these columns as numbers and train without {kind}_features",
            )
    _require(not trees.tables(13), "estimated features without a column")


def _names(features: list[FlatTable], numbers: Ints, categories: CategoryColumns | None) -> tuple[str, ...]:
    """Return the names of all columns in the order of a row, of which each must be there once."""
    others = categories or NO_CATEGORIES
    at = np.concatenate([numbers, others.columns])
    _require(len(at) > 0 and np.array_equal(np.sort(at), np.arange(len(at))), "dropped or reordered columns")
    names = [*(column.string(4) for column in features), *others.names]
    return tuple(names[index] for index in np.argsort(at))


def _loss(info: Mapping[str, str]) -> str:
    """Return the name of the loss; strings that the library parses as JSON must be valid JSON, not nested too deep."""
    parsed = {key: json.loads(value) for key, value in info.items() if value[:1] in ("{", "[")}
    parameters: Any = parsed.get("params", {})
    loss = parameters.get("loss_function", {}) if isinstance(parameters, dict) else {}
    name = loss.get("type", "") if isinstance(loss, dict) else ""
    return name if isinstance(name, str) else ""


def _bias(trees: FlatTable, outputs: int) -> Floats:
    several = trees.array(16, np.float64).astype(np.float64)
    bias = several if len(several) else np.full(outputs, trees.number(15, "<d", 0.0))
    _require(len(bias) == outputs and np.all(np.isfinite(bias)), "the bias is not a number for each output")
    return bias


def _borders(features: list[FlatTable]) -> list[Floats]:
    with np.errstate(invalid="ignore"):  # a signalling NaN in an altered file; non-finite borders are rejected below
        borders = [column.array(3, np.float32).astype(np.float64) for column in features]
    rising = all(np.all(np.isfinite(border)) and np.all(np.diff(border) > 0) for border in borders)
    _require(rising, "borders that do not increase")
    return borders


def _splits(
    trees: FlatTable, numbers: Ints, borders: list[Floats], categories: CategoryColumns | None, *, width: int
) -> tuple[Ints, Floats, Bools]:
    """Return column and border of each split, and whether it tests equality.

    The file numbers all borders, column by column: those of numbers, of one-hot columns, then of statistics.
    """
    others = categories or NO_CATEGORIES
    lengths = np.array([*(len(border) for border in borders), *others.splits], np.int64)
    column = np.repeat(np.concatenate([numbers, width + np.arange(len(others.computed))]), lengths)
    border = np.concatenate([np.zeros(0), *borders, *(np.arange(count, dtype=np.float64) for count in others.splits)])
    equal = np.repeat(np.arange(len(lengths)) - len(borders) < len(others.one_hot), lengths)
    equal[: sum(map(len, borders))] = False
    number = trees.array(1, np.int32).astype(np.int64)
    if not len(column):  # no tree of this model has a split
        _require(not number.any(), "a split that does not exist")
        return np.zeros(len(number), np.int64), np.zeros(len(number)), np.zeros(len(number), bool)
    _require(np.all((number >= 0) & (number < len(column))), "a split that does not exist")
    return column[number], border[number], equal[number]


def _sizes(trees: FlatTable, splits: int) -> Ints:
    sizes, starts = (trees.array(field, np.int32).astype(np.int64) for field in (2, 3))
    _require(len(sizes) > 0, "no trees")
    _require(np.all(sizes >= 0) and sizes.sum() == splits, "splits without a tree")
    _require(np.array_equal(starts, np.cumsum([0, *sizes[:-1]])), "trees that overlap")
    return sizes


def _leaves(trees: FlatTable, outputs: int) -> Floats:
    values, weights = trees.array(8, np.float64).astype(np.float64), trees.array(9, np.float64)
    _require(len(values) % outputs == 0 and np.all(np.isfinite(values)), "a leaf that is not a number for each output")
    _require(len(weights) in (0, len(values) // outputs), "weights without leaves")
    return values.reshape(-1, outputs)


def _check_levels(model: CatboostModel) -> None:
    _require(np.all(model.sizes <= _MAX_DEPTH), "a tree that is too deep")
    _require((2**model.sizes).sum() == len(model.leaf), f"{len(model.leaf)} leaves do not match the trees")


def _check_steps(model: CatboostModel) -> None:
    """Check that each split but a tree's first has one parent, and that every end is a complete row of leaf values."""
    count, index = len(model.feature), np.arange(len(model.feature))
    _require(len(model.left) == len(model.end) == count, "steps without a split")
    _require(np.all(model.sizes > 0), "a tree without nodes")
    last = np.repeat(np.cumsum(model.sizes), model.sizes)
    children = [index[step > 0] + step[step > 0] for step in (model.left, model.right)]
    _require(all(np.all(index + step < last) for step in (model.left, model.right)), "a step out of the tree")
    roots = np.cumsum([0, *model.sizes[:-1]])
    _require(np.array_equal(np.sort(np.concatenate([roots, *children])), index), "nodes that do not form trees")
    ends = model.end[(model.left == 0) | (model.right == 0)]
    _require(np.all(ends % model.outputs == 0), "a leaf between two leaves")
    _require(np.all(ends < model.leaf.size), "a leaf that does not exist")


BINARY_LOSSES = ("Logloss", "CrossEntropy", "Focal")
MULTICLASS_LOSSES: dict[str, Link] = {"MultiClass": "softmax", "MultiClassOneVsAll": "sigmoid"}
RANKING_LOSSES = (
    *("YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "LambdaMart", "StochasticRank"),
    *("QueryRMSE", "QuerySoftMax", "QueryCrossEntropy"),
)
LOSS_TASKS = {
    "binary": BINARY_LOSSES,
    "multiclass": tuple(MULTICLASS_LOSSES),
    "ranking": RANKING_LOSSES,
    "quantile": ("Quantile", "LogLinQuantile", "Expectile"),
    "survival": ("Cox", "SurvivalAft"),
}
EXPONENT_LOSSES = ("Poisson", "Tweedie")


def catboost_forest(model: CatboostModel) -> Forest:
    """Convert a model to `Forest`; symmetric trees are expanded.

    Columns that are computed from categories follow those of the row. With them the bias is a last tree, since the
    library adds it last.
    """
    trees = tuple(_symmetric_trees(model) if model.symmetric else _asymmetric_trees(model))
    bias = constant_tree(model.bias.tolist(), tuple(range(model.outputs)))
    return Forest(
        width=len(model.missing_right),
        trees=trees if model.categories is None else (*trees, bias),
        base=model.bias if model.categories is None else np.zeros(model.outputs),
        link=_link_of(model.loss),
        input_dtype="float32",
        sum_dtype="float64",
        category_cast="exact",
    )


def numeric_part(model: CatboostModel) -> Forest:
    """Return a forest over a row whose splits of numbers are those of the model, to find the edges of its columns."""
    number = model.feature < model.width
    splits = zip(model.feature[number].tolist(), model.border[number].tolist(), strict=True)
    trees = tuple(
        Tree(
            feature=np.array([column]),
            threshold=np.array([border]),
            categorical=np.zeros(1, bool),
            missing_left=np.ones(1, bool),
            left=np.array([-1]),
            right=np.array([-2]),
            leaf=np.zeros((2, 1)),
        )
        for column, border in sorted(set(splits))
    )
    return Forest(width=model.width, trees=trees, base=np.zeros(1), input_dtype="float32")


@runtime_checkable
class CategoryEngine(Protocol):
    """Optional method of an engine of tree models that read categories."""

    @classmethod
    def category_model(cls, content: bytes) -> CatboostModel | None:
        """Return the model if it reads categories, which `compile_categories` compiles; None if it does not."""
        ...


def _link_of(loss: str) -> Link:
    if loss in BINARY_LOSSES:
        return "sigmoid"
    return "exp" if loss in EXPONENT_LOSSES else MULTICLASS_LOSSES.get(loss, "identity")


def _symmetric_trees(model: CatboostModel) -> Iterator[Tree]:
    """Yield symmetric trees with nodes level by level, so that the children of node i are 2i + 1 and 2i + 2."""
    start = first_leaf = 0
    for size in model.sizes.tolist():
        inner = 2**size - 1
        split = start + np.repeat(np.arange(size)[::-1], 2 ** np.arange(size))
        left, right = (2 * np.arange(inner) + offset for offset in (1, 2))
        yield _tree(
            model,
            split,
            left=np.where(left < inner, left, ~(left - inner)),
            right=np.where(right < inner, right, ~(right - inner)),
            leaf=model.leaf[first_leaf : first_leaf + 2**size],
        )
        start, first_leaf = start + size, first_leaf + 2**size


def _asymmetric_trees(model: CatboostModel) -> Iterator[Tree]:
    """Yield trees of any shape; a split without a child on one side has a leaf there."""
    start = 0
    for size in model.sizes.tolist():
        index = np.arange(start, start + size)
        left, right = model.left[index], model.right[index]
        inner = (left > 0) | (right > 0)
        ends = (left == 0) | (right == 0)
        leaf = ~(np.cumsum(ends) - 1)
        number = np.where(inner, np.cumsum(inner) - 1, leaf)
        child = [np.where(step > 0, number[np.arange(size) + step], leaf) for step in (left, right)]
        yield _tree(
            model,
            index[inner],
            left=child[0][inner],
            right=child[1][inner],
            leaf=model.leaf[model.end[index[ends]] // model.outputs],
        )
        start += size


def _tree(model: CatboostModel, split: Ints, *, left: Ints, right: Ints, leaf: Floats) -> Tree:
    feature, equal = model.feature[split], model.equal[split]
    return Tree(
        feature=feature,
        threshold=np.where(equal, np.cumsum(equal) - 1, model.border[split]),
        categorical=equal,
        missing_left=~model.missing_right[feature],
        left=np.where(equal, right, left).astype(np.int64),
        right=np.where(equal, left, right).astype(np.int64),
        leaf=leaf * model.scale,
        outputs=tuple(range(model.outputs)),
        sets=tuple(np.array([value]) for value in model.border[split[equal]].astype(np.int64)),
    )
