"""CatBoost's binary model (.cbm), read strictly: its own loader trusts the indices of splits and leaves.

What is read has every index in range and every tree whole, so that the bytes can be handed to the library, and the
trees compiled. The rules are those of CatBoost's model.cpp and model.fbs, versions 0.26 to 1.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import EngineError
from headway.engines.formats.flatbuffer import Table, root

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MAGIC, _FORM = b"CBM1", "FlabuffersModel_v1"
_DEEPEST, _MOST_COLUMNS = 16, 2**20
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


def looks_like(content: bytes) -> bool:
    """Whether bytes begin as CatBoost's binary model does."""
    return content.startswith(_MAGIC)


def read(content: bytes) -> CatboostModel:
    """The model in these bytes.

    Raises EngineError where they are not a whole CatBoost model, or one that reads more than numbers, which it names.
    """
    try:
        return _model(_core(content))
    except (ValueError, RecursionError) as error:
        hint = "model.save_model('model.cbm')"
        raise EngineError(f"these bytes are not a CatBoost model: {error}", hint=hint) from error


def _need(holds: bool | np.bool_, why: str) -> None:
    if not holds:
        raise ValueError(why)


def _core(content: bytes) -> Table:
    _need(content.startswith(_MAGIC), "they do not begin with 'CBM1'")
    size = int.from_bytes(content[4:8], "little")
    _need(len(content) >= 12 and 8 + size <= len(content), "cut short")
    core = root(content[8 : 8 + size])
    _need(core.text(0) == _FORM, f"form {core.text(0)!r:.60} is unknown")
    return core


def _model(core: Table) -> CatboostModel:
    trees = core.table(1)
    if trees is None:
        raise ValueError("no trees")
    _expect_numbers_alone(core, trees)
    outputs, features = trees.whole(0, "<i", 0), trees.tables(5)
    _need(1 <= outputs <= 2**16, f"{outputs} outputs")
    places = [(each.whole(1, "<i", -1), each.whole(2, "<i", -1)) for each in features]
    _need(0 < len(places) <= _MOST_COLUMNS, f"{len(places)} columns")
    _need(places == [(place, place) for place in range(len(places))], "columns that were dropped, or out of order")
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
    _need(np.isfinite(model.scale), f"the scale is {model.scale}")
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
        _need(not trees.tables(field), f"{kind} of no column")
    _need(not core.tables(3), "parts after the trees")


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
    _need(len(bias) == outputs and np.all(np.isfinite(bias)), "the bias is not a number for each output")
    return bias


def _splits(trees: Table, features: list[Table]) -> tuple[Ints, Floats]:
    """Column and border of each split of the trees, which number all borders, column by column."""
    with np.errstate(
        invalid="ignore"
    ):  # a signalling NaN in a file that was altered; what is no number is refused below
        borders = [each.array(3, np.float32).astype(np.float64) for each in features]
    _need(all(np.all(np.isfinite(each)) and np.all(np.diff(each) > 0) for each in borders), "borders that do not rise")
    column = np.repeat(np.arange(len(features)), [len(each) for each in borders])
    number = trees.array(1, np.int32).astype(np.int64)
    if not len(column):  # no tree of this model asks anything
        _need(not number.any(), "a split that is not there")
        return np.zeros(len(number), np.int64), np.zeros(len(number))
    _need(np.all((number >= 0) & (number < len(column))), "a split that is not there")
    return column[number], np.concatenate(borders)[number]


def _sizes(trees: Table, splits: int) -> Ints:
    sizes, starts = (trees.array(field, np.int32).astype(np.int64) for field in (2, 3))
    _need(len(sizes) > 0, "no trees")
    _need(np.all(sizes >= 0) and sizes.sum() == splits, "splits of no tree")
    _need(np.array_equal(starts, np.cumsum([0, *sizes[:-1]])), "trees that overlap")
    return sizes


def _leaves(trees: Table, outputs: int) -> Floats:
    values, weights = trees.array(8, np.float64).astype(np.float64), trees.array(9, np.float64)
    _need(len(values) % outputs == 0 and np.all(np.isfinite(values)), "a leaf that is not a number for each output")
    _need(len(weights) in (0, len(values) // outputs), "weights of no leaves")
    return values.reshape(-1, outputs)


def _check_levels(model: CatboostModel) -> None:
    _need(np.all(model.sizes <= _DEEPEST), "a tree that is too deep")
    _need((2**model.sizes).sum() == len(model.leaf), f"{len(model.leaf)} leaves are not those of the trees")


def _check_steps(model: CatboostModel) -> None:
    """Each split but a tree's first is one other's child, and every end is a leaf, in whole rows of the leaf values."""
    count, place = len(model.feature), np.arange(len(model.feature))
    _need(len(model.left) == len(model.end) == count, "steps of no split")
    _need(np.all(model.sizes > 0), "a tree of no node")
    last = np.repeat(np.cumsum(model.sizes), model.sizes)
    sides = [place[side > 0] + side[side > 0] for side in (model.left, model.right)]
    _need(all(np.all(place + side < last) for side in (model.left, model.right)), "a step out of the tree")
    firsts = np.cumsum([0, *model.sizes[:-1]])
    _need(np.array_equal(np.sort(np.concatenate([firsts, *sides])), place), "nodes that do not make trees")
    ends = model.end[(model.left == 0) | (model.right == 0)]
    _need(np.all(ends % model.outputs == 0), "a leaf between the leaves")
    _need(np.all(ends < model.leaf.size), "a leaf that is not there")
