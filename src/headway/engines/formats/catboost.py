"""Read CatBoost's binary models (.cbm) with every index checked.

The library's own loader trusts the indices of splits and leaves. A model that was read here has every index in range
and every tree complete, so its bytes can be handed to the library and its trees can be compiled. The rules follow
CatBoost's model.cpp and model.fbs, versions 0.26 to 1.2.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import EngineError
from headway.engines.formats.trees import Forest, Link, Tree

_MAGIC, _FORM = b"CBM1", "FlabuffersModel_v1"
_MAX_DEPTH, _MAX_COLUMNS = 16, 2**20
_MISSING_GOES_RIGHT = 2
# Fields of the schema that are present only if the model reads more than numbers.
_OTHER_COLUMNS = {4: "categorical", 12: "text", 18: "embedding"}
_LEFT_OVER = {6: "one-hot splits", 7: "statistics of categories", 13: "estimated features"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CatboostModel:
    """A CatBoost model over numeric columns: scale * sum of the leaves + `bias` [k], then the link of `loss`.

    `sizes` counts the splits of each tree; a split is x > `border` of a column. In a symmetric tree all nodes of a
    level share one split, the root's is the last, and leaves are numbered by the answers to all splits. In other trees
    `left` and `right` are the distance to a child among the splits, and 0 means that the split's `end` is the leaf.
    `leaf` [n, k] holds the leaves of all trees.
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
    leaf: Floats
    left: Ints
    right: Ints
    end: Ints

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

    Raises EngineError if they are not a complete CatBoost model, or if the model reads columns that are not numeric.
    """
    try:
        return _model(_core(content))
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


def _model(core: FlatTable) -> CatboostModel:
    trees = core.table(1)
    if trees is None:
        raise ValueError("no trees")
    _check_numeric(core, trees)
    outputs, features = trees.integer(0, "<i", 0), trees.tables(5)
    _require(1 <= outputs <= 2**16, f"{outputs} outputs")
    columns = [(column.integer(1, "<i", -1), column.integer(2, "<i", -1)) for column in features]
    _require(0 < len(columns) <= _MAX_COLUMNS, f"{len(columns)} columns")
    _require(columns == [(index, index) for index in range(len(columns))], "dropped or reordered columns")
    feature, border = _splits(trees, features)
    steps = trees.array(10, np.uint16, 2).astype(np.int64).reshape(-1, 2)
    model = CatboostModel(
        width=len(features),
        names=tuple(column.string(4) for column in features),
        loss=_loss({entry.string(0): entry.string(1) for entry in core.tables(2)}),
        scale=trees.number(14, "<d", 1.0),
        bias=_bias(trees, outputs),
        missing_right=np.array([column.integer(5, "<b", 0) == _MISSING_GOES_RIGHT for column in features]),
        sizes=_sizes(trees, len(feature)),
        feature=feature,
        border=border,
        leaf=_leaves(trees, outputs),
        left=steps[:, 0],
        right=steps[:, 1],
        end=trees.array(11, np.uint32).astype(np.int64),
    )
    _require(np.isfinite(model.scale), f"the scale is {model.scale}")
    _check_levels(model) if model.symmetric else _check_steps(model)
    return model


def _check_numeric(core: FlatTable, trees: FlatTable) -> None:
    for field, kind in _OTHER_COLUMNS.items():
        if found := trees.tables(field):
            columns = ", ".join(str(column.string(2) or column.integer(1, "<i", -1)) for column in found[:5])
            raise EngineError(
                f"the CatBoost model reads {len(found)} {kind} columns, and headway passes numbers",
                where=f"{kind} columns: {columns}",
                hint=f"encode these columns as numbers and train without {'cat' if field == 4 else kind}_features",
            )
    for field, kind in _LEFT_OVER.items():
        _require(not trees.tables(field), f"{kind} without a column")
    _require(not core.tables(3), "parts after the trees")


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


def _splits(trees: FlatTable, features: list[FlatTable]) -> tuple[Ints, Floats]:
    """Return column and border of each split; the file numbers all borders, column by column."""
    with np.errstate(invalid="ignore"):  # a signalling NaN in an altered file; non-finite borders are rejected below
        borders = [column.array(3, np.float32).astype(np.float64) for column in features]
    rising = all(np.all(np.isfinite(border)) and np.all(np.diff(border) > 0) for border in borders)
    _require(rising, "borders that do not increase")
    column = np.repeat(np.arange(len(features)), [len(border) for border in borders])
    number = trees.array(1, np.int32).astype(np.int64)
    if not len(column):  # no tree of this model has a split
        _require(not number.any(), "a split that does not exist")
        return np.zeros(len(number), np.int64), np.zeros(len(number))
    _require(np.all((number >= 0) & (number < len(column))), "a split that does not exist")
    return column[number], np.concatenate(borders)[number]


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
LOSS_TASKS = {"binary": BINARY_LOSSES, "multiclass": tuple(MULTICLASS_LOSSES), "ranking": RANKING_LOSSES}
EXPONENT_LOSSES = ("Poisson", "Tweedie")


def catboost_forest(model: CatboostModel) -> Forest:
    """Convert a model to `Forest`; symmetric trees are expanded."""
    return Forest(
        width=model.width,
        trees=tuple(_symmetric_trees(model) if model.symmetric else _asymmetric_trees(model)),
        base=model.bias,
        link=_link_of(model.loss),
        input_dtype="float32",
        sum_dtype="float64",
    )


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
    feature = model.feature[split]
    return Tree(
        feature=feature,
        threshold=model.border[split],
        categorical=np.zeros(len(split), bool),
        missing_left=~model.missing_right[feature],
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        leaf=leaf * model.scale,
        outputs=tuple(range(model.outputs)),
    )


def root_table(content: bytes) -> FlatTable:
    """Return the root table of a FlatBuffer; this and every field access raise ValueError outside the bytes."""
    return FlatTable(content, _offset(content, 0))


@dataclass(frozen=True, slots=True)
class FlatTable:
    """A table at a position of a FlatBuffer, whose fields are known by their index in the schema.

    Numbers are little-endian. A table starts with the distance back to its vtable, which holds the offset of each
    field; 0 means that the field is absent, and the method returns the default of the schema.
    """

    content: bytes
    position: int

    def number(self, field: int, form: str, absent: float) -> float:
        """Return a numeric field in a `struct` format (`<d`)."""
        at = self._find(field)
        return absent if at is None else float(_unpack(self.content, form, at))

    def integer(self, field: int, form: str, absent: int) -> int:
        """Return an integer field in a `struct` format (`<i`)."""
        at = self._find(field)
        return absent if at is None else int(_unpack(self.content, form, at))

    def table(self, field: int) -> FlatTable | None:
        """Return a field that is a table."""
        at = self._find(field)
        return None if at is None else FlatTable(self.content, _offset(self.content, at))

    def string(self, field: int) -> str:
        """Return a string field."""
        return self.array(field, np.uint8).tobytes().decode("utf-8")

    def array(self, field: int, dtype: DTypeLike, per_item: int = 1) -> NDArray[np.generic]:
        """Return a field that is a vector of numbers, or of structs of `per_item` numbers, flattened."""
        at = self._find(field)
        little = np.dtype(dtype).newbyteorder("<")
        if at is None:
            return np.zeros(0, little)
        start, count = self._vector(at)
        count *= per_item
        if count * little.itemsize > len(self.content) - start:
            raise ValueError(f"byte {start}: truncated, {count} numbers expected")
        return np.frombuffer(self.content, little, count, start)

    def tables(self, field: int) -> list[FlatTable]:
        """Return a field that is a vector of tables."""
        at = self._find(field)
        if at is None:
            return []
        start, count = self._vector(at)
        if count * 4 > len(self.content) - start:
            raise ValueError(f"byte {start}: truncated, {count} tables expected")
        return [FlatTable(self.content, _offset(self.content, start + 4 * number)) for number in range(count)]

    def _vector(self, at: int) -> tuple[int, int]:
        start = _offset(self.content, at)
        return start + 4, int(_unpack(self.content, "<I", start))

    def _find(self, field: int) -> int | None:
        vtable = self.position - int(_unpack(self.content, "<i", self.position))
        size, slot = int(_unpack(self.content, "<H", vtable)), 4 + 2 * field
        inside = int(_unpack(self.content, "<H", vtable + slot)) if slot + 2 <= size else 0
        return self.position + inside if inside else None


def _offset(content: bytes, at: int) -> int:
    return at + int(_unpack(content, "<I", at))


def _unpack(content: bytes, form: str, at: int) -> float:
    if not 0 <= at <= len(content) - struct.calcsize(form):
        raise ValueError(f"byte {at}: outside the {len(content)} bytes")
    number: float = struct.unpack_from(form, content, at)[0]
    return number
