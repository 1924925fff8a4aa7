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

from headway.core.errors import EngineError
from headway.engines.formats import trees

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MAGIC, _FORM = b"CBM1", "FlabuffersModel_v1"
_MAX_DEPTH, _MAX_COLUMNS = 16, 2**20
_MISSING_GOES_RIGHT = 2
# Fields of the schema whose being there says that the model reads more than numbers.
_OTHER_COLUMNS = {4: "categorical", 12: "text", 18: "embedding"}
_LEFT_OVER = {6: "one-hot splits", 7: "statistics of categories", 13: "estimated features"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CatboostModel:
    """A model of CatBoost over numbers: scale * sum of the leaves + `bias` [k], then what `loss` makes of it.

    `sizes` counts the splits of each tree, x > `border` of a column. The trees are symmetric, one split a level and the
    root's last, their leaves numbered by the answers to all; or `left` and `right` say how many splits further on a
    child stands, 0 that the split's own `end` is the leaf. `leaf` is [n, k] of all trees.
    """

    width: int
    names: tuple[str, ...]
    loss: str
    scale: float
    bias: Floats
    missing_right: NDArray[np.bool_]
    sizes: Ints
    feature: Ints
    border: Floats
    leaf: Floats
    left: Ints
    right: Ints
    end: Ints

    @property
    def outputs(self) -> int:
        """Columns of the sum."""
        return len(self.bias)

    @property
    def symmetric(self) -> bool:
        """Whether every level of a tree asks one question."""
        return not len(self.end)


def is_catboost(content: bytes) -> bool:
    """Whether bytes begin as CatBoost's binary model does."""
    return content.startswith(_MAGIC)


def read_catboost(content: bytes) -> CatboostModel:
    """The model in these bytes.

    Raises EngineError where they are not a whole CatBoost model, or one that reads more than numbers, which it names.
    """
    try:
        return _model(_core(content))
    except (ValueError, RecursionError) as error:
        hint = "model.save_model('model.cbm')"
        raise EngineError(f"these bytes are not a CatBoost model: {error}", hint=hint) from error


def _require(holds: bool | np.bool_, why: str) -> None:
    if not holds:
        raise ValueError(why)


def _core(content: bytes) -> Table:
    _require(content.startswith(_MAGIC), "they do not begin with 'CBM1'")
    size = int.from_bytes(content[4:8], "little")
    _require(len(content) >= 12 and 8 + size <= len(content), "cut short")
    core = root_table(content[8 : 8 + size])
    _require(core.text(0) == _FORM, f"form {core.text(0)!r:.60} is unknown")
    return core


def _model(core: Table) -> CatboostModel:
    trees = core.table(1)
    if trees is None:
        raise ValueError("no trees")
    _expect_numbers_alone(core, trees)
    outputs, features = trees.whole(0, "<i", 0), trees.tables(5)
    _require(1 <= outputs <= 2**16, f"{outputs} outputs")
    places = [(each.whole(1, "<i", -1), each.whole(2, "<i", -1)) for each in features]
    _require(0 < len(places) <= _MAX_COLUMNS, f"{len(places)} columns")
    _require(places == [(place, place) for place in range(len(places))], "columns that were dropped, or out of order")
    feature, border = _splits(trees, features)
    steps = trees.array(10, np.uint16, 2).astype(np.int64).reshape(-1, 2)
    model = CatboostModel(
        width=len(features),
        names=tuple(each.text(4) for each in features),
        loss=_loss({each.text(0): each.text(1) for each in core.tables(2)}),
        scale=trees.number(14, "<d", 1.0),
        bias=_bias(trees, outputs),
        missing_right=np.array([each.whole(5, "<b", 0) == _MISSING_GOES_RIGHT for each in features]),
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


def _expect_numbers_alone(core: Table, trees: Table) -> None:
    for field, kind in _OTHER_COLUMNS.items():
        if found := trees.tables(field):
            places = ", ".join(str(each.text(2) or each.whole(1, "<i", -1)) for each in found[:5])
            raise EngineError(
                f"the CatBoost model reads {len(found)} {kind} columns, and headway gives it numbers",
                where=f"{kind} columns: {places}",
                hint=f"train it without {'cat' if field == 4 else kind}_features, on columns that were made numbers",
            )
    for field, kind in _LEFT_OVER.items():
        _require(not trees.tables(field), f"{kind} of no column")
    _require(not core.tables(3), "parts after the trees")


def _loss(info: Mapping[str, str]) -> str:
    """The name of the loss; texts that the library reads as JSON must be JSON, and not too deep."""
    read = {key: json.loads(value) for key, value in info.items() if value[:1] in ("{", "[")}
    given: Any = read.get("params", {})
    loss = given.get("loss_function", {}) if isinstance(given, dict) else {}
    name = loss.get("type", "") if isinstance(loss, dict) else ""
    return name if isinstance(name, str) else ""


def _bias(trees: Table, outputs: int) -> Floats:
    several = trees.array(16, np.float64).astype(np.float64)
    bias = several if len(several) else np.full(outputs, trees.number(15, "<d", 0.0))
    _require(len(bias) == outputs and np.all(np.isfinite(bias)), "the bias is not a number for each output")
    return bias


def _splits(trees: Table, features: list[Table]) -> tuple[Ints, Floats]:
    """Column and border of each split of the trees, which number all borders, column by column."""
    with np.errstate(
        invalid="ignore"
    ):  # a signalling NaN in a file that was altered; what is no number is refused below
        borders = [each.array(3, np.float32).astype(np.float64) for each in features]
    _require(
        all(np.all(np.isfinite(each)) and np.all(np.diff(each) > 0) for each in borders), "borders that do not rise"
    )
    column = np.repeat(np.arange(len(features)), [len(each) for each in borders])
    number = trees.array(1, np.int32).astype(np.int64)
    if not len(column):  # no tree of this model asks anything
        _require(not number.any(), "a split that is not there")
        return np.zeros(len(number), np.int64), np.zeros(len(number))
    _require(np.all((number >= 0) & (number < len(column))), "a split that is not there")
    return column[number], np.concatenate(borders)[number]


def _sizes(trees: Table, splits: int) -> Ints:
    sizes, starts = (trees.array(field, np.int32).astype(np.int64) for field in (2, 3))
    _require(len(sizes) > 0, "no trees")
    _require(np.all(sizes >= 0) and sizes.sum() == splits, "splits of no tree")
    _require(np.array_equal(starts, np.cumsum([0, *sizes[:-1]])), "trees that overlap")
    return sizes


def _leaves(trees: Table, outputs: int) -> Floats:
    values, weights = trees.array(8, np.float64).astype(np.float64), trees.array(9, np.float64)
    _require(len(values) % outputs == 0 and np.all(np.isfinite(values)), "a leaf that is not a number for each output")
    _require(len(weights) in (0, len(values) // outputs), "weights of no leaves")
    return values.reshape(-1, outputs)


def _check_levels(model: CatboostModel) -> None:
    _require(np.all(model.sizes <= _MAX_DEPTH), "a tree that is too deep")
    _require((2**model.sizes).sum() == len(model.leaf), f"{len(model.leaf)} leaves are not those of the trees")


def _check_steps(model: CatboostModel) -> None:
    """Each split but a tree's first is one other's child, and every end is a leaf, in whole rows of the leaf values."""
    count, place = len(model.feature), np.arange(len(model.feature))
    _require(len(model.left) == len(model.end) == count, "steps of no split")
    _require(np.all(model.sizes > 0), "a tree of no node")
    last = np.repeat(np.cumsum(model.sizes), model.sizes)
    sides = [place[side > 0] + side[side > 0] for side in (model.left, model.right)]
    _require(all(np.all(place + side < last) for side in (model.left, model.right)), "a step out of the tree")
    firsts = np.cumsum([0, *model.sizes[:-1]])
    _require(np.array_equal(np.sort(np.concatenate([firsts, *sides])), place), "nodes that do not make trees")
    ends = model.end[(model.left == 0) | (model.right == 0)]
    _require(np.all(ends % model.outputs == 0), "a leaf between the leaves")
    _require(np.all(ends < model.leaf.size), "a leaf that is not there")


BINARY_LOSSES = ("Logloss", "CrossEntropy", "Focal")
MULTICLASS_LOSSES: dict[str, trees.Link] = {"MultiClass": "softmax", "MultiClassOneVsAll": "sigmoid"}
RANKING_LOSSES = (
    *("YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "LambdaMart", "StochasticRank"),
    *("QueryRMSE", "QuerySoftMax", "QueryCrossEntropy"),
)
LOSS_TASKS = {"binary": BINARY_LOSSES, "multiclass": tuple(MULTICLASS_LOSSES), "ranking": RANKING_LOSSES}
EXPONENT_LOSSES = ("Poisson", "Tweedie")


def catboost_forest(model: CatboostModel) -> trees.Forest:
    """The trees of a model; a symmetric one is written out."""
    return trees.Forest(
        width=model.width,
        trees=tuple(_symmetric_trees(model) if model.symmetric else _asymmetric_trees(model)),
        base=model.bias,
        link=_link_of(model.loss),
        input_dtype="float32",
        sum_dtype="float64",
    )


def _link_of(loss: str) -> trees.Link:
    if loss in BINARY_LOSSES:
        return "sigmoid"
    return "exp" if loss in EXPONENT_LOSSES else MULTICLASS_LOSSES.get(loss, "identity")


def _symmetric_trees(model: CatboostModel) -> Iterator[trees.Tree]:
    """Symmetric trees: nodes level by level, so that the children of node i are 2i + 1 and 2i + 2."""
    start = first_leaf = 0
    for size in model.sizes.tolist():
        inner = 2**size - 1
        split = start + np.repeat(np.arange(size)[::-1], 2 ** np.arange(size))
        left, right = (2 * np.arange(inner) + side for side in (1, 2))
        yield _tree(
            model,
            split,
            left=np.where(left < inner, left, ~(left - inner)),
            right=np.where(right < inner, right, ~(right - inner)),
            leaf=model.leaf[first_leaf : first_leaf + 2**size],
        )
        start, first_leaf = start + size, first_leaf + 2**size


def _asymmetric_trees(model: CatboostModel) -> Iterator[trees.Tree]:
    """Trees of any form: a split with a side that leads nowhere ends there in a leaf of its own."""
    start = 0
    for size in model.sizes.tolist():
        place = np.arange(start, start + size)
        left, right = model.left[place], model.right[place]
        inner = (left > 0) | (right > 0)
        ends = (left == 0) | (right == 0)
        number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(ends) - 1))
        own = ~(np.cumsum(ends) - 1)
        child = [np.where(side > 0, number[np.arange(size) + side], own) for side in (left, right)]
        yield _tree(
            model,
            place[inner],
            left=child[0][inner],
            right=child[1][inner],
            leaf=model.leaf[model.end[place[ends]] // model.outputs],
        )
        start += size


def _tree(model: CatboostModel, split: Ints, *, left: Ints, right: Ints, leaf: Floats) -> trees.Tree:
    feature = model.feature[split]
    return trees.Tree(
        feature=feature,
        threshold=model.border[split],
        categorical=np.zeros(len(split), bool),
        missing_left=~model.missing_right[feature],
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        leaf=leaf * model.scale,
        outputs=tuple(range(model.outputs)),
    )


def root_table(content: bytes) -> Table:
    """The table that a buffer holds; this and every question raise ValueError where the bytes do not reach."""
    return Table(content, _offset(content, 0))


@dataclass(frozen=True, slots=True)
class Table:
    """A table at a place of a buffer; an absent field answers what the schema says of it, or nothing."""

    content: bytes
    place: int

    def number(self, field: int, form: str, absent: float) -> float:
        """A field that is a number, of a `struct` form (`<i`)."""
        at = self._at(field)
        return absent if at is None else float(_unpacked(self.content, form, at))

    def whole(self, field: int, form: str, absent: int) -> int:
        """A field that is a whole number, of a `struct` form (`<i`)."""
        at = self._at(field)
        return absent if at is None else int(_unpacked(self.content, form, at))

    def table(self, field: int) -> Table | None:
        """A field that is a table."""
        at = self._at(field)
        return None if at is None else Table(self.content, _offset(self.content, at))

    def text(self, field: int) -> str:
        """A field that is a text."""
        return self.array(field, np.uint8).tobytes().decode("utf-8")

    def array(self, field: int, kind: DTypeLike, each: int = 1) -> NDArray[np.generic]:
        """A field that is a vector of numbers, or of structures of so many numbers: those, one after the other."""
        at = self._at(field)
        dtype = np.dtype(kind).newbyteorder("<")
        if at is None:
            return np.zeros(0, dtype)
        start, count = self._vector(at)
        count *= each
        if count * dtype.itemsize > len(self.content) - start:
            raise ValueError(f"byte {start}: cut short, {count} numbers are said to follow")
        return np.frombuffer(self.content, dtype, count, start)

    def tables(self, field: int) -> list[Table]:
        """A field that is a vector of tables."""
        at = self._at(field)
        if at is None:
            return []
        start, count = self._vector(at)
        if count * 4 > len(self.content) - start:
            raise ValueError(f"byte {start}: cut short, {count} tables are said to follow")
        return [Table(self.content, _offset(self.content, start + 4 * number)) for number in range(count)]

    def _vector(self, at: int) -> tuple[int, int]:
        start = _offset(self.content, at)
        return start + 4, int(_unpacked(self.content, "<I", start))

    def _at(self, field: int) -> int | None:
        """Where a field lies, or None where the table leaves it out."""
        vtable = self.place - int(_unpacked(self.content, "<i", self.place))
        size, slot = int(_unpacked(self.content, "<H", vtable)), 4 + 2 * field
        inside = int(_unpacked(self.content, "<H", vtable + slot)) if slot + 2 <= size else 0
        return self.place + inside if inside else None


def _offset(content: bytes, at: int) -> int:
    return at + int(_unpacked(content, "<I", at))


def _unpacked(content: bytes, form: str, at: int) -> float:
    if not 0 <= at <= len(content) - struct.calcsize(form):
        raise ValueError(f"byte {at}: outside the {len(content)} bytes that there are")
    number: float = struct.unpack_from(form, content, at)[0]
    return number
