"""Read LightGBM's text format with every index checked, and convert it to `Forest`.

The library's own loader trusts counts and indices, and a wrong one ends the process. A model that was read here has
every index in range and every tree complete, so it can be handed to the library, truncated or compiled. The rules
follow LightGBM's tree.h and tree.cpp, versions 4.5 to 4.7.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import EngineError, NotApplicable
from headway.engines.formats.trees import ZERO_THRESHOLD, Forest, Link, Tree

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

_MISSING_IS_ZERO, _ZERO_IS_MISSING = 0, 1  # codes of the text format
_SLOPE_OBJECTIVES = ("binary", "multiclassova")
_LINKS: dict[str, Link] = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "multiclassova": "sigmoid",
    "multiclass": "softmax",
    "cross_entropy_lambda": "softplus",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LightgbmTree:
    """A tree (leaves before scaling), the nodes [m] at which zero counts as missing, and the text it was read from.

    `linear` is true if the leaves are linear models, whose coefficients `tree` does not hold.
    """

    tree: Tree
    zero_is_missing: Bools
    linear: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LightgbmModel:
    """A LightGBM model in text form; `tail` is the text after the trees, which no prediction depends on."""

    header: Mapping[str, str]
    trees: tuple[LightgbmTree, ...]
    tail: str

    @property
    def width(self) -> int:
        """Number of columns of a row."""
        return int(self.header["max_feature_idx"]) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(self.header["feature_names"].split(" ")) if self.header.get("feature_names") else ()

    @property
    def categories(self) -> tuple[tuple[str, ...], ...]:
        """Categories of each categorical column of the training dataframe, in the order of their codes.

        Raises EngineError if the line of the text that lists them is malformed.
        """
        line = next((line for line in self.tail.split("\n") if line.startswith(_PANDAS)), "")
        try:
            columns = json.loads(line[len(_PANDAS) :] or "null") or ()
            return tuple(tuple(str(value) for value in column) for column in columns)
        except (ValueError, TypeError) as error:
            raise _not_a_model(f"the line '{_PANDAS}' is not a list of lists") from error

    @property
    def outputs(self) -> int:
        """Number of columns of an answer, which is the number of trees that one iteration adds."""
        return int(self.header["num_class"])

    @property
    def iterations(self) -> int:
        """Number of boosting iterations."""
        return len(self.trees) // self.outputs

    @property
    def averages(self) -> bool:
        """True for a random forest, whose answer is the mean of the trees and not their sum."""
        return "average_output" in self.header

    @property
    def objective(self) -> tuple[str, Mapping[str, str]]:
        """Name of the objective and its parameters; the name is empty if the model answers raw scores."""
        name, *rest = self.header.get("objective", "").split(" ")
        return name, {key: value for key, _, value in (word.partition(":") for word in rest)}

    def truncate(self, iterations: int) -> LightgbmModel:
        """Return the model of the first iterations, without feature importances, which were computed over all trees."""
        _, parameters, rest = self.tail.partition("\nparameters:\n")
        return replace(self, trees=self.trees[: iterations * self.outputs], tail=parameters + rest)

    def text(self) -> str:
        """Return the text of the model, with recomputed tree sizes."""
        return _model_text(self.header, [tree.text for tree in self.trees], self.tail)

    def prediction_text(self) -> str:
        """Return only the lines that predictions need, all of which were checked, for the library to load."""
        return _model_text(self.header, ["\n".join(_prediction_lines(tree.text)) for tree in self.trees], "")


def read_lightgbm(content: bytes) -> LightgbmModel:
    """Read a model from bytes.

    Raises EngineError, which names the line or the tree, if the bytes are not a complete LightGBM model in text form.
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
    header = _read_header(head)
    width = int(header["max_feature_idx"]) + 1
    trees = tuple(_read_tree(block, width, where=f"tree {number}") for number, block in enumerate(blocks))
    if not trees or len(trees) % int(header["num_class"]):
        raise _not_a_model(f"{len(trees)} trees cannot be divided among {header['num_class']} outputs")
    return LightgbmModel(header=header, trees=trees, tail=tail)


def _not_a_model(why: str, where: str = "") -> EngineError:
    return EngineError(
        f"these bytes are not a LightGBM model in text form: {why}",
        where=where,
        hint="booster.save_model('model.txt')",
    )


def _require(holds: bool | np.bool_, why: str, where: str) -> None:
    if not holds:
        raise _not_a_model(why, where)


def _read_header(text: str) -> Mapping[str, str]:
    header = _read_fields(text.strip("\n"), "header")
    for name in ("num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"):
        _require(re.fullmatch(r"[0-9]{1,7}|-1", header.get(name, "")) is not None, f"no number {name!r}", "header")
    width, outputs = int(header["max_feature_idx"]) + 1, int(header["num_class"])
    _require(width >= 1 and outputs >= 1, "no columns, or no outputs", "header")
    _require(header["num_tree_per_iteration"] == header["num_class"], "an iteration is not one tree a class", "header")
    for name in ("feature_names", "feature_infos"):
        listed = header.get(name, "").split(" ")
        _require("" not in listed and len(listed) == width, f"{name!r} does not name {width} columns", "header")
    if "monotone_constraints" in header:
        _require(
            len(_read_ints(header, "monotone_constraints", "header")) == width, "constraints of other columns", "header"
        )
    if "objective" in header:
        _check_objective(header["objective"], outputs)
    return {name: value for name, value in header.items() if name != "tree_sizes"}


def _check_objective(text: str, outputs: int) -> None:
    name, *rest = text.split(" ")
    _require(_OBJECTIVE.fullmatch(text) is not None, f"unknown objective {text!r}", "header")
    parameters = dict(word.partition(":")[::2] for word in rest)
    classes = parameters.get("num_class", "0") if name.startswith("multiclass") else "1"
    _require(classes == str(outputs), f"objective {text!r} with {outputs} outputs", "header")
    slope = parameters.get("sigmoid", "0" if name in ("binary", "multiclassova") else "1")
    _require(0 < float(slope or 0) < np.inf, f"objective {text!r} has no slope", "header")


def _read_tree(block: str, width: int, where: str) -> LightgbmTree:
    text = block.strip("\n")
    fields = _read_fields(text, where)
    _require(len(fields) <= 22, "more lines than a tree has", where)
    _require(len(_read_floats(fields, "shrinkage", where)) <= 1, "'shrinkage' is not one number", where)
    leaf = _read_floats(fields, "leaf_value", where)
    inner = len(leaf) - 1
    _require(
        inner >= 0 and fields.get("num_leaves") == str(inner + 1), "'num_leaves' is not the number of leaves", where
    )
    feature, left, right = (_read_ints(fields, name, where) for name in ("split_feature", "left_child", "right_child"))
    kind, threshold = _read_ints(fields, "decision_type", where), _read_floats(fields, "threshold", where)
    _require({len(a) for a in (feature, left, right, kind, threshold)} == {inner}, "lines of unequal length", where)
    _require(bool(np.all((feature >= 0) & (feature < width))), f"a split outside the {width} columns", where)
    _require(bool(np.all((kind >= 0) & (kind < 12))), "an unknown kind of split", where)
    _check_children(left, right, where)
    categorical, sets = (kind & 1).astype(bool), _read_sets(fields, where)
    number = threshold[categorical]
    is_set = (number >= 0) & (number < len(sets)) & (number == np.floor(number))
    _require(bool(np.all(is_set)), "a split by a missing set", where)
    missing, default_left = kind >> 2, (kind & 2).astype(bool)
    tree = Tree(
        feature=feature,
        threshold=np.where(categorical, threshold, _outside_zero(threshold)),
        categorical=categorical,
        # A missing value is in no set. A column without missing values in training sends them where zero goes.
        missing_left=~categorical & np.where(missing == _MISSING_IS_ZERO, threshold >= 0, default_left),
        left=left,
        right=right,
        leaf=leaf[:, None],
        sets=sets,
    )
    return LightgbmTree(
        tree=tree,
        zero_is_missing=~categorical & (missing == _ZERO_IS_MISSING),
        linear=_read_linear(fields, len(leaf), width, where=where),
        text=text,
    )


def _outside_zero(threshold: Floats) -> Floats:
    """Move thresholds inside LightGBM's zero interval (|x| <= 1e-35 of float32) to the end of their side."""
    below = np.nextafter(-ZERO_THRESHOLD, -np.inf)
    inside = np.abs(threshold) <= ZERO_THRESHOLD
    return np.where(inside, np.where(threshold < 0, below, ZERO_THRESHOLD), threshold)


def _check_children(left: Ints, right: Ints, where: str) -> None:
    """Check that every leaf and every inner node but the root has one parent, which comes before it."""
    parents, children = np.arange(len(left)), np.concatenate([left, right])
    expected = np.concatenate([np.arange(-len(left) - 1, 0), parents[1:]]) if len(left) else parents
    _require(np.array_equal(np.sort(children), expected), "nodes and leaves do not make one tree", where)
    for child in (left, right):
        _require(bool(np.all((child < 0) | (child > parents))), "a node comes before its parent", where)


def _read_sets(fields: Mapping[str, str], where: str) -> tuple[Ints, ...]:
    """Return the categories of each set; a set is a range of 32-bit words, category c is bit c % 32 of word c // 32."""
    count = _read_ints(fields, "num_cat", where)
    _require(len(count) == 1 and count[0] >= 0, "'num_cat' is not one number", where)
    if not count[0]:
        return ()
    bounds, words = _read_ints(fields, "cat_boundaries", where), _read_ints(fields, "cat_threshold", where)
    _require(len(bounds) == count[0] + 1, "'cat_boundaries' does not bound each set", where)
    _require(bounds[0] == 0 and bounds[-1] == len(words) and bool(np.all(np.diff(bounds) > 0)), "sets overlap", where)
    _require(bool(np.all((words >= 0) & (words < 2**32))), "a set is not made of 32-bit words", where)
    bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little").reshape(-1, 32)
    return tuple(np.flatnonzero(bits[start:stop]) for start, stop in pairwise(bounds))


def _read_linear(fields: Mapping[str, str], leaves: int, width: int, *, where: str) -> bool:
    """Return whether leaves are linear models, after checking that their columns and coefficients are complete."""
    flag = fields.get("is_linear", "0")
    _require(flag in ("0", "1"), "'is_linear' is neither 0 nor 1", where)
    if flag == "0":
        return False
    counts, columns = _read_ints(fields, "num_features", where), _read_ints(fields, "leaf_features", where)
    sizes = (
        len(_read_floats(fields, "leaf_const", where)),
        len(counts),
        len(_read_floats(fields, "leaf_coeff", where)),
    )
    _require(bool(np.all(counts >= 0)), "a leaf with a negative number of columns", where)
    _require(
        sizes == (leaves, leaves, counts.sum()) and len(columns) == counts.sum(), "leaves of unequal length", where
    )
    _require(bool(np.all((columns >= 0) & (columns < width))), f"a leaf reads outside the {width} columns", where)
    return True


def _read_fields(text: str, where: str) -> dict[str, str]:
    """Read `key=value` lines; a key without a value (`tree`, `average_output`) gets an empty one."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        _require(re.fullmatch(r"[a-z_]+", key) is not None and key not in fields, f"line {line[:60]!r}", where)
        _require("=" not in value or (key == "feature_names" and value[0] != "="), f"line {line[:60]!r}", where)
        fields[key] = value
    return fields


def _read_ints(fields: Mapping[str, str], name: str, where: str) -> Ints:
    numbers = [number for number in fields.get(name, "").split(" ") if number]
    _require(_INTS.fullmatch(" ".join(numbers)) is not None, f"{name!r} is not a list of integers", where)
    return np.array(numbers, dtype=np.int64)


def _read_floats(fields: Mapping[str, str], name: str, where: str) -> Floats:
    numbers = [number for number in fields.get(name, "").split(" ") if number]
    _require(_FLOATS.fullmatch(" ".join(numbers)) is not None, f"{name!r} is not a list of numbers", where)
    return np.array(numbers, dtype=np.float64)


def _prediction_lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if _PREDICTS.fullmatch(line.partition("=")[0])]


def _model_text(header: Mapping[str, str], trees: list[str], tail: str) -> str:
    blocks = [f"Tree={number}\n{text}\n\n\n" for number, text in enumerate(trees)]
    lines = [f"{key}={value}" if value else key for key, value in header.items()]
    sizes = " ".join(str(len(block)) for block in blocks)
    return "\n".join([*lines, f"tree_sizes={sizes}", "", "".join(blocks)]).rstrip("\n") + "\n\n" + _END[1:] + tail


def lightgbm_forest(model: LightgbmModel) -> Forest:
    """Convert a model to `Forest`; raise NotApplicable if leaves are linear, or zero is missing in some splits only."""
    if any(tree.linear for tree in model.trees):
        raise NotApplicable("its leaves are linear models, which the tree kernels do not support")
    scale = _leaf_scale(model)
    return Forest(
        width=model.width,
        trees=tuple(
            replace(read.tree, leaf=read.tree.leaf * scale, outputs=(number % model.outputs,))
            for number, read in enumerate(model.trees)
        ),
        base=np.zeros(model.outputs),
        link=_link_of(model),
        zero_as_missing=_zero_as_missing(model),
    )


def _zero_as_missing(model: LightgbmModel) -> tuple[int, ...]:
    """Return the columns in which every numeric split counts zero as missing."""
    numeric = [(read, ~read.tree.categorical) for read in model.trees]
    splits = [(read.tree.feature[nodes], read.zero_is_missing[nodes]) for read, nodes in numeric]
    zero, other = (
        {int(column) for feature, flags in splits for column in feature[flags == flag]} for flag in (True, False)
    )
    if zero & other:
        raise NotApplicable(f"column {min(zero & other)} counts zero as missing in some splits and not in others")
    return tuple(sorted(zero))


def _link_of(model: LightgbmModel) -> Link:
    name, parameters = model.objective
    if "sqrt" in parameters:  # the model was fitted to the signed square root of the target
        return "signed square"
    return _LINKS.get(name, "identity")


def _leaf_scale(model: LightgbmModel) -> float:
    """Return the factor of a leaf: the slope of the sigmoid, divided by the number of trees where they are averaged."""
    name, parameters = model.objective
    slope = float(parameters.get("sigmoid", 1.0)) if name in _SLOPE_OBJECTIVES else 1.0
    return slope / model.iterations if model.averages else slope
