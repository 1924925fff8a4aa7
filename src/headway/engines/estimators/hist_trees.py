"""What the trees of HistGradientBoosting say, in the words of `formats.trees`: x <= t in float64, and sets of values.

Its encoder gives each category a code, and what it did not learn counts as missing. A split by categories sends some of
them left, the others right, and what is missing to a side: here the set holds those that do not go where missing does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from headway.core.errors import NotApplicable
from headway.core.variant import Field
from headway.engines.estimators.skops_file import Columns
from headway.engines.formats.trees import Forest, Link, Tree

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_CODES = 256
_LINKS: dict[str, Link] = {"IdentityLink": "identity", "LogLink": "exp"}


class Codes(NamedTuple):
    """Of each code of a column the value in a row, int64 [c], and where no row can hold it; the code of None, or -1."""

    value: Ints
    absent: Bools
    none: int


class Reading(NamedTuple):
    """Of each column as the trees number them: its place in a row, and the codes of those that are categories."""

    place: Ints
    codes: dict[int, Codes]


def forest(model: Any, columns: Columns | None) -> Forest:
    """The trees of a fitted model, for rows as headway gives them: texts by their ranks among those of `columns`.

    Raises NotApplicable where a category is no whole number, or a text is read as a number.
    """
    inputs = () if columns is None else columns.inputs
    reading = _reading(model, inputs)
    texts = {place for place, field in enumerate(inputs) if field.datatype == "BYTES"}
    categorical = {int(reading.place[column]) for column in reading.codes}
    if texts - categorical:
        raise NotApplicable(f"it reads the texts of column '{inputs[min(texts - categorical)].name}' as numbers")
    return Forest(
        width=int(model.n_features_in_),
        trees=tuple(
            _tree(predictor, reading, output=output)
            for stage in model._predictors
            for output, predictor in enumerate(stage)
        ),
        base=np.ravel(model._baseline_prediction).astype(np.float64),
        link=_link(model),
        whole="exact",
        finite=tuple(sorted(categorical - texts)),
    )


def _link(model: Any) -> Link:
    if is_classifier(model):
        return "sigmoid" if model.n_trees_per_iteration_ == 1 else "softmax"
    name = type(model._loss.link).__name__
    if name not in _LINKS:
        raise NotApplicable(f"what it makes of its sums is not known ({name})")
    return _LINKS[name]


def _reading(model: Any, inputs: tuple[Field, ...]) -> Reading:
    """The trees number the columns of categories first, then the others."""
    if model._preprocessor is None:
        return Reading(np.arange(model.n_features_in_), {})
    categorical = np.asarray(model.is_categorical_, bool)
    places = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
    learned = model._preprocessor.named_transformers_["encoder"].categories_
    codes = {
        column: _codes(values.tolist(), inputs[places[column]] if inputs else None)
        for column, values in enumerate(learned)
    }
    return Reading(places, codes)


def _codes(learned: list[Any], field: Field | None) -> Codes:
    """The codes of what an encoder learned; NaN, which stands last, has none."""
    known = [each for each in learned if each is None or each == each]
    if field is not None and field.datatype == "BYTES":
        rank = {text: number for number, text in enumerate(field.categories)}
        if any(not isinstance(each, str) for each in known if each is not None):
            raise NotApplicable(f"it learned numbers in column '{field.name}', which is text")
        value = np.array([rank.get(each, -1) for each in known], np.int64)
        return Codes(value, value < 0, known.index(None) if None in known else -1)
    if any(isinstance(each, str | None) or each != int(each) for each in known):
        strange = next(each for each in known if isinstance(each, str | None) or each != int(each))
        raise NotApplicable(f"one of its categories is {strange!r}, which is no whole number")
    return Codes(np.array([int(each) for each in known], np.int64), np.zeros(len(known), bool), -1)


def _tree(predictor: Any, reading: Reading, *, output: int) -> Tree:
    nodes = predictor.nodes
    inner = ~nodes["is_leaf"].astype(bool)
    number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(~inner) - 1))
    split = nodes[inner]
    feature = split["feature_idx"].astype(np.int64)
    categorical = split["is_categorical"].astype(bool)
    missing_left = split["missing_go_to_left"].astype(bool)
    left, right = number[split["left"]], number[split["right"]]
    sets, none_left = _sets(predictor, split[categorical], reading)
    swapped = categorical & missing_left
    goes_left = missing_left & ~swapped
    goes_left[categorical] = none_left
    return Tree(
        feature=reading.place[feature],
        threshold=np.where(categorical, np.cumsum(categorical) - 1, split["num_threshold"]),
        categorical=categorical,
        missing_left=goes_left,
        left=np.where(swapped, right, left),
        right=np.where(swapped, left, right),
        leaf=nodes["value"][~inner][:, None].astype(np.float64),
        outputs=(output,),
        sets=sets,
    )


def _sets(predictor: Any, split: Any, reading: Reading) -> tuple[tuple[Ints, ...], Bools]:
    """Of each split by categories the values that do not go where missing does, and whether None is one of them."""
    words = np.asarray(predictor.raw_left_cat_bitsets, np.uint32).reshape(-1, _CODES // 32)
    lefts = np.unpackbits(words.astype("<u4").view(np.uint8), axis=1, bitorder="little").astype(bool)
    sets, none = [], np.zeros(len(split), bool)
    for place, node in enumerate(split):
        codes = reading.codes[int(node["feature_idx"])]
        apart = lefts[node["bitset_idx"], : len(codes.value)] ^ bool(node["missing_go_to_left"])
        none[place] = codes.none >= 0 and apart[codes.none]
        sets.append(np.sort(codes.value[apart & ~codes.absent]))
    return tuple(sets), none
