"""LightGBM's text format, read strictly: its own loader trusts counts and indices, and a wrong one ends the process.

What is read here has every index in range and every tree whole, so that it can be handed to the library, cut to fewer
trees, or written as a graph. The rules are those of LightGBM's tree.h and tree.cpp, versions 4.5 to 4.7.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import EngineError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_END = "\nend of trees\n"
_PANDAS = "pandas_categorical:"
_PREDICTS = re.compile(
    "num_leaves|num_cat|split_feature|threshold|decision_type|left_child|right_child|leaf_value|cat_boundaries|"
    "cat_threshold|is_linear|leaf_const|num_features|leaf_features|leaf_coeff|shrinkage"
)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_INTS = re.compile(r"(-?[0-9]{1,10}( -?[0-9]{1,10})*)?")
_FLOAT = r"-?(?:[0-9]{1,400}(?:\.[0-9]{1,400})?(?:e[-+]?[0-9]{1,3})?|inf)"
_FLOATS = re.compile(rf"({_FLOAT}( {_FLOAT})*)?")
_OBJECTIVE = re.compile(
    r"(regression|regression_l1|huber|fair|poisson|quantile|mape|gamma|tweedie|binary|multiclass|multiclassova|"
    rf"cross_entropy|cross_entropy_lambda|lambdarank|rank_xendcg)( [a-z_]+(:{_FLOAT})?)*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree: m inner nodes and m + 1 leaves; a child >= 0 is an inner node, a child < 0 is the leaf ~child.

    `feature`, `threshold`, `left`, `right` are [m], `leaf` is [m + 1]. Where `categorical`, `threshold` is the number
    of the node's set in `sets`: whole numbers that go left. `missing` is 0 (a missing value counts as zero), 1 (zero
    and missing go to the default side) or 2 (missing goes to the default side).
    """

    feature: Ints
    threshold: Floats
    categorical: NDArray[np.bool_]
    default_left: NDArray[np.bool_]
    missing: Ints
    left: Ints
    right: Ints
    leaf: Floats
    sets: tuple[Ints, ...]
    linear: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """A LightGBM model in text form; `tail` is what follows the trees and does not change a prediction."""

    header: Mapping[str, str]
    trees: tuple[Tree, ...]
    tail: str

    @property
    def width(self) -> int:
        """Columns of a row."""
        return int(self.header["max_feature_idx"]) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self.header["feature_names"].split(" ")) if self.header.get("feature_names") else ()

    @property
    def categories(self) -> tuple[tuple[str, ...], ...]:
        """Of each categorical column of the dataframe that it was trained on, the values in the order of their ranks.

        Raises EngineError where the line that says so is no list of lists.
        """
        line = next((each for each in self.tail.split("\n") if each.startswith(_PANDAS)), "")
        try:
            return tuple(
                tuple(str(value) for value in each) for each in json.loads(line[len(_PANDAS) :] or "null") or ()
            )
        except (ValueError, TypeError) as error:
            raise _not_a_model(f"the line '{_PANDAS}' is no list of lists") from error

    @property
    def outputs(self) -> int:
        """Columns of an answer: trees that one iteration adds."""
        return int(self.header["num_class"])

    @property
    def iterations(self) -> int:
        """Boosting iterations: trees of one output."""
        return len(self.trees) // self.outputs

    @property
    def averages(self) -> bool:
        """True for a random forest: the answer is the mean of the trees, not their sum."""
        return "average_output" in self.header

    @property
    def objective(self) -> tuple[str, Mapping[str, str]]:
        """Name of the objective and its parameters; an empty name where the model answers raw scores."""
        name, *rest = self.header.get("objective", "").split(" ")
        return name, {key: value for key, _, value in (each.partition(":") for each in rest)}

    def first(self, iterations: int) -> TextModel:
        """The model of the first iterations; feature importances are left out, as they were of all the trees."""
        _, parameters, rest = self.tail.partition("\nparameters:\n")
        return replace(self, trees=self.trees[: iterations * self.outputs], tail=parameters + rest)

    def text(self) -> str:
        """The text of the model, with the sizes of its trees as they are."""
        return _written(self.header, [tree.text for tree in self.trees], self.tail)

    def essence(self) -> str:
        """Only what predictions need, all of it checked: what is safe to hand to the library."""
        return _written(self.header, ["\n".join(_essential(tree.text)) for tree in self.trees], "")


def read(content: bytes) -> TextModel:
    """The model in these bytes.

    Raises EngineError that names the line or the tree where the bytes are not a whole LightGBM model in text form.
    """
    try:
        body, end, tail = content.decode("utf-8").partition(_END)
    except UnicodeDecodeError as error:
        raise _not_a_model(f"byte {error.start} is not text") from error
    if _CONTROL.search(body):
        raise _not_a_model("it holds control characters")
    if not body.startswith("tree\n"):
        raise _not_a_model("the first line is not 'tree'")
    if not end:
        raise _not_a_model("cut short: no line 'end of trees'")
    head, *blocks = re.split(r"^Tree=[0-9]+\n", body + "\n", flags=re.MULTILINE)
    header = _header(head)
    width = int(header["max_feature_idx"]) + 1
    trees = tuple(_tree(block, width, where=f"tree {number}") for number, block in enumerate(blocks))
    if not trees or len(trees) % int(header["num_class"]):
        raise _not_a_model(f"{len(trees)} trees do not share out among {header['num_class']} outputs")
    return TextModel(header=header, trees=trees, tail=tail)


def _not_a_model(why: str, where: str = "") -> EngineError:
    return EngineError(
        f"these bytes are not a LightGBM model in text form: {why}",
        where=where,
        hint="booster.save_model('model.txt')",
    )


def _need(holds: bool | np.bool_, why: str, where: str) -> None:
    if not holds:
        raise _not_a_model(why, where)


def _header(text: str) -> Mapping[str, str]:
    header = _fields(text.strip("\n"), "header")
    for name in ("num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"):
        _need(re.fullmatch(r"[0-9]{1,7}|-1", header.get(name, "")) is not None, f"no number {name!r}", "header")
    width, outputs = int(header["max_feature_idx"]) + 1, int(header["num_class"])
    _need(width >= 1 and outputs >= 1, "no columns, or no outputs", "header")
    _need(header["num_tree_per_iteration"] == header["num_class"], "an iteration is not one tree a class", "header")
    for name in ("feature_names", "feature_infos"):
        listed = header.get(name, "").split(" ")
        _need("" not in listed and len(listed) == width, f"{name!r} does not name {width} columns", "header")
    if "monotone_constraints" in header:
        _need(len(_ints(header, "monotone_constraints", "header")) == width, "constraints of other columns", "header")
    if "objective" in header:
        _check_objective(header["objective"], outputs)
    return {name: value for name, value in header.items() if name != "tree_sizes"}


def _check_objective(text: str, outputs: int) -> None:
    name, *rest = text.split(" ")
    _need(_OBJECTIVE.fullmatch(text) is not None, f"unknown objective {text!r}", "header")
    given = dict(each.partition(":")[::2] for each in rest)
    classes = given.get("num_class", "0") if name.startswith("multiclass") else "1"
    _need(classes == str(outputs), f"objective {text!r} with {outputs} outputs", "header")
    slope = given.get("sigmoid", "0" if name in ("binary", "multiclassova") else "1")
    _need(0 < float(slope or 0) < np.inf, f"objective {text!r} has no slope", "header")


def _tree(block: str, width: int, where: str) -> Tree:
    text = block.strip("\n")
    fields = _fields(text, where)
    _need(len(fields) <= 22, "more lines than a tree has", where)
    _need(len(_floats(fields, "shrinkage", where)) <= 1, "'shrinkage' is not one number", where)
    leaf = _floats(fields, "leaf_value", where)
    inner = len(leaf) - 1
    _need(inner >= 0 and fields.get("num_leaves") == str(inner + 1), "'num_leaves' is not the number of leaves", where)
    feature, left, right = (_ints(fields, name, where) for name in ("split_feature", "left_child", "right_child"))
    kind, threshold = _ints(fields, "decision_type", where), _floats(fields, "threshold", where)
    _need({len(a) for a in (feature, left, right, kind, threshold)} == {inner}, "lines of unequal length", where)
    _need(bool(np.all((feature >= 0) & (feature < width))), f"a split outside the {width} columns", where)
    _need(bool(np.all((kind >= 0) & (kind < 12))), "an unknown kind of split", where)
    _check_children(left, right, where)
    categorical, sets = (kind & 1).astype(bool), _sets(fields, where)
    number = threshold[categorical]
    whole = (number >= 0) & (number < len(sets)) & (number == np.floor(number))
    _need(bool(np.all(whole)), "a split by a set that is not there", where)
    return Tree(
        feature=feature,
        threshold=threshold,
        categorical=categorical,
        default_left=(kind & 2).astype(bool),
        missing=kind >> 2,
        left=left,
        right=right,
        leaf=leaf,
        sets=sets,
        linear=_linear(fields, len(leaf), width, where=where),
        text=text,
    )


def _check_children(left: Ints, right: Ints, where: str) -> None:
    """Every inner node but the root and every leaf is somebody's child once, and a node comes after its parent."""
    parents, children = np.arange(len(left)), np.concatenate([left, right])
    wanted = np.concatenate([np.arange(-len(left) - 1, 0), parents[1:]]) if len(left) else parents
    _need(np.array_equal(np.sort(children), wanted), "nodes and leaves do not make one tree", where)
    for side in (left, right):
        _need(bool(np.all((side < 0) | (side > parents))), "a node comes before its parent", where)


def _sets(fields: Mapping[str, str], where: str) -> tuple[Ints, ...]:
    """The categories of each set; a set is a range of 32-bit words, category c is bit c % 32 of word c // 32."""
    count = _ints(fields, "num_cat", where)
    _need(len(count) == 1 and count[0] >= 0, "'num_cat' is not one number", where)
    if not count[0]:
        return ()
    bounds, words = _ints(fields, "cat_boundaries", where), _ints(fields, "cat_threshold", where)
    _need(len(bounds) == count[0] + 1, "'cat_boundaries' does not bound each set", where)
    _need(bounds[0] == 0 and bounds[-1] == len(words) and bool(np.all(np.diff(bounds) > 0)), "sets overlap", where)
    _need(bool(np.all((words >= 0) & (words < 2**32))), "a set is not made of 32-bit words", where)
    bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little").reshape(-1, 32)
    return tuple(np.flatnonzero(bits[start:stop]) for start, stop in pairwise(bounds))


def _linear(fields: Mapping[str, str], leaves: int, width: int, *, where: str) -> bool:
    """True where leaves are linear models; their columns and coefficients are then checked to be as many as said."""
    flag = fields.get("is_linear", "0")
    _need(flag in ("0", "1"), "'is_linear' is neither 0 nor 1", where)
    if flag == "0":
        return False
    counts, columns = _ints(fields, "num_features", where), _ints(fields, "leaf_features", where)
    sizes = (len(_floats(fields, "leaf_const", where)), len(counts), len(_floats(fields, "leaf_coeff", where)))
    _need(bool(np.all(counts >= 0)), "a leaf reads fewer than no columns", where)
    _need(sizes == (leaves, leaves, counts.sum()) and len(columns) == counts.sum(), "leaves of unequal length", where)
    _need(bool(np.all((columns >= 0) & (columns < width))), f"a leaf reads outside the {width} columns", where)
    return True


def _fields(text: str, where: str) -> dict[str, str]:
    """`key=value` lines; a key that stands alone (`tree`, `average_output`) has an empty value."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        _need(re.fullmatch(r"[a-z_]+", key) is not None and key not in fields, f"line {line[:60]!r}", where)
        _need("=" not in value or (key == "feature_names" and value[0] != "="), f"line {line[:60]!r}", where)
        fields[key] = value
    return fields


def _ints(fields: Mapping[str, str], name: str, where: str) -> Ints:
    numbers = [each for each in fields.get(name, "").split(" ") if each]
    _need(_INTS.fullmatch(" ".join(numbers)) is not None, f"{name!r} is not whole numbers", where)
    return np.array(numbers, dtype=np.int64)


def _floats(fields: Mapping[str, str], name: str, where: str) -> Floats:
    numbers = [each for each in fields.get(name, "").split(" ") if each]
    _need(_FLOATS.fullmatch(" ".join(numbers)) is not None, f"{name!r} is not numbers", where)
    return np.array(numbers, dtype=np.float64)


def _essential(text: str) -> list[str]:
    return [line for line in text.split("\n") if _PREDICTS.fullmatch(line.partition("=")[0])]


def _written(header: Mapping[str, str], trees: list[str], tail: str) -> str:
    blocks = [f"Tree={number}\n{text}\n\n\n" for number, text in enumerate(trees)]
    lines = [f"{key}={value}" if value else key for key, value in header.items()]
    sizes = " ".join(str(len(block)) for block in blocks)
    return "\n".join([*lines, f"tree_sizes={sizes}", "", "".join(blocks)]).rstrip("\n") + "\n\n" + _END[1:] + tail
