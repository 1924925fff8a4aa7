"""Read XGBoost's UBJSON and JSON models with every index checked, write them, and convert them to `Forest`.

The library's own loader trusts the indices of a tree. A model that was read here, of versions 1.6 to 3.4, has every
index in range and every tree complete, so it can be handed to the library, truncated or compiled. Pruned nodes,
training statistics and the weights of DART's trees are not written. The rules follow XGBoost's tree_model.cc,
gbtree_model.cc and learner.cc.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import EngineError, NotApplicable
from headway.engines.formats.trees import Forest, Link, Tree
from headway.engines.formats.ubjson import DocumentSection, Writable, decode_ubjson, encode_ubjson

Floats32 = NDArray[np.float32]

MISSING, CATEGORIES = "headway_missing", "headway_categories"


class Objective(NamedTuple):
    """The task of an objective, the link from a sum of leaves to an answer, and the link of its base score."""

    task: str
    link: Link = "identity"
    base: Literal["identity", "log", "logit"] = "identity"


_REGRESSION, _COUNT = Objective("regression"), Objective("regression", "exp", "log")
_RANKING, _SURVIVAL = Objective("ranking"), Objective("survival", "exp", "log")
OBJECTIVES = {
    "binary:hinge": Objective("binary", "positive"),
    "binary:logistic": Objective("binary", "sigmoid", "logit"),
    "binary:logitraw": Objective("binary"),
    "count:poisson": _COUNT,
    "multi:softprob": Objective("multiclass", "softmax"),
    "rank:map": _RANKING,
    "rank:ndcg": _RANKING,
    "rank:pairwise": _RANKING,
    "reg:absoluteerror": _REGRESSION,
    "reg:expectileerror": Objective("quantile"),
    "reg:gamma": _COUNT,
    "reg:logistic": Objective("regression", "sigmoid", "logit"),
    "reg:pseudohubererror": _REGRESSION,
    "reg:quantileerror": Objective("quantile"),
    "reg:squarederror": _REGRESSION,
    "reg:squaredlogerror": _REGRESSION,
    "reg:tweedie": _COUNT,
    "survival:aft": _SURVIVAL,
    "survival:cox": _SURVIVAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class XgboostModel:
    """An XGBoost model: trees, or the `weights` of a linear model, float32 [(d + 1) * k].

    Attributes
    ----------
    base : tuple of float
        Base score, one or one per output, before the objective's link.
    categories : mapping
        Category names of a column, in order, where the model stores them.
    bounds : tuple of int
        Number of trees before each round and after the last one.
    best_rounds : int
        Rounds that an estimator with early stopping predicts with; 0 means all.
    """

    width: int
    outputs: int
    objective: str
    parameters: Mapping[str, Mapping[str, str]]
    base: tuple[float, ...]
    version: tuple[int, ...]
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    trees: tuple[Tree, ...] = ()
    bounds: tuple[int, ...] = (0,)
    weights: Floats32 | None = None
    best_rounds: int = 0
    missing: float = math.nan

    @property
    def rounds(self) -> int:
        """Number of boosting rounds."""
        return len(self.bounds) - 1

    def truncate(self, rounds: int) -> XgboostModel:
        """Return the model of its first rounds."""
        bounds = self.bounds[: rounds + 1]
        return replace(self, trees=self.trees[: bounds[-1]], bounds=bounds, best_rounds=0)

    def content(self) -> bytes:
        """Return the model as UBJSON, which is safe to load for the library and which `read_xgboost` reads back."""
        base = [f"{value:.9g}" for value in self.base]
        learner: dict[str, Writable] = {
            "attributes": self._attributes(),
            "feature_names": self.names,
            "feature_types": self.types,
            "gradient_booster": self._booster(),
            "learner_model_param": {
                "base_score": base[0] if len(base) == 1 else f"[{','.join(base)}]",
                "boost_from_average": "0",
                "num_class": str(self.outputs) if self.outputs > 1 else "0",
                "num_feature": str(self.width),
                "num_target": "1",
            },
            "objective": {"name": self.objective, **self.parameters},
        }
        return encode_ubjson({"learner": learner, "version": self.version})

    def _attributes(self) -> dict[str, Writable]:
        """Return the attributes that only `read_xgboost` reads."""
        names = msgspec.json.encode(self.categories).decode()
        found: dict[str, Writable] = {} if math.isnan(self.missing) else {MISSING: repr(self.missing)}
        return found | {CATEGORIES: names} if self.categories else found

    def _booster(self) -> dict[str, Writable]:
        if self.weights is not None:
            return {"model": {"boosted_rounds": 0, "weights": self.weights}, "name": "gblinear"}
        model: dict[str, Writable] = {
            "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(self.trees))},
            "iteration_indptr": self.bounds,
            "tree_info": [tree.outputs[0] for tree in self.trees],
            "trees": [_tree_document(tree, number, self.width) for number, tree in enumerate(self.trees)],
        }
        return {"model": model, "name": "gbtree"}


def _tree_document(tree: Tree, number: int, width: int) -> dict[str, Writable]:
    """Return a tree in the library's form: inner nodes and leaves in one list, siblings side by side.

    The library expects a right child directly after the left one, whatever the file says.
    """
    condition, default_left, left_child, right_child = _library_splits(tree)
    pairs = np.column_stack([left_child, right_child]).ravel()
    node = np.concatenate([[0 if len(pairs) else -1], pairs])  # at each position: an inner node, or a leaf as ~leaf
    inner, size = node >= 0, len(node)
    position = np.flatnonzero(inner)
    left = np.where(inner, 2 * node + 1, -1)
    zeros, members = np.zeros(size, np.float32), [np.zeros(0, np.int64), *tree.sets]
    sizes = np.array([len(members) for members in tree.sets], np.int64)
    leaf = tree.leaf[:, 0].astype(np.float32)
    return {
        "base_weights": zeros,
        "categories": np.concatenate(members).astype(np.int32),
        "categories_nodes": position[tree.categorical].astype(np.int32),
        "categories_segments": np.cumsum([0, *sizes[:-1]])[: len(sizes)].astype(np.int64),
        "categories_sizes": sizes,
        "default_left": _scatter(default_left, inner).astype(np.uint8),
        "id": number,
        "left_children": left.astype(np.int32),
        "loss_changes": zeros,
        "parents": np.concatenate([[2**31 - 1], np.repeat(position, 2)]).astype(np.int32),
        "right_children": (left + inner).astype(np.int32),
        "split_conditions": np.where(inner, _scatter(condition, inner), leaf[~np.minimum(node, -1)]),
        "split_indices": _scatter(tree.feature, inner).astype(np.int32),
        "split_type": _scatter(tree.categorical, inner).astype(np.uint8),
        "sum_hessian": zeros,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(width),
            "num_nodes": str(size),
            "size_leaf_vector": "1",
        },
    }


def _common_splits(
    condition: Floats32, categorical: Bools, default_left: Bools, left: Ints, right: Ints
) -> dict[str, NDArray[Any]]:
    """Translate XGBoost's splits to `Tree`: float32(x) < condition goes left, and members of a set go right."""
    below = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
    return {
        "threshold": np.where(categorical, np.cumsum(categorical) - 1, below),
        "categorical": categorical,
        "missing_left": default_left ^ categorical,
        "left": np.where(categorical, right, left),
        "right": np.where(categorical, left, right),
    }


def _library_splits(tree: Tree) -> tuple[Floats32, Bools, Ints, Ints]:
    """Translate the splits of a tree back: conditions, default sides, left and right children."""
    with np.errstate(over="ignore"):
        below = np.where(tree.categorical, 0.0, tree.threshold).astype(np.float32)
    above = np.nextafter(below, np.float32(np.inf)) + np.float32(0)  # -0.0 becomes 0.0
    condition = np.where(tree.categorical, np.float32(0), above)
    left = np.where(tree.categorical, tree.right, tree.left)
    right = np.where(tree.categorical, tree.left, tree.right)
    return condition, tree.missing_left ^ tree.categorical, left, right


def _scatter(values: NDArray[np.generic], inner: Bools) -> NDArray[np.generic]:
    """Put the values of inner nodes at their positions in the list of all nodes, with zeros for the leaves."""
    found = np.zeros(len(inner), values.dtype)
    found[inner] = values
    return found


_MAX_CATEGORIES = 2**24  # float32 represents all integers up to here
_MAX_COLUMNS, _MAX_OUTPUTS = 2**20, 2**16
_PARAMETER = re.compile(r"[\w.,\[\]+ -]{0,400}")
_FLOAT = re.compile(r"[-+0-9.eE]{1,40}")
_COMPLETE_NAMES_SINCE = (3, 4)
_JSON = re.compile(rb"\s*\{\s*[\"}]")
_BINARY = re.compile(rb"binf|[^{].{0,400}(gbtree|gblinear|dart)", re.DOTALL)
_CURRENT_NAMES = {"reg:linear": "reg:squarederror", "multi:softmax": "multi:softprob"}


def is_xgboost(content: bytes) -> bool:
    """Return whether bytes start like an XGBoost model in JSON, UBJSON or the old binary format."""
    start = content[:1000].lstrip()
    return (start.startswith(b"{") and b"learner" in start) or bool(_BINARY.match(start))


def read_xgboost(content: bytes) -> XgboostModel:
    """Read a model from bytes.

    Raises EngineError, which names the field, if the bytes are not a complete XGBoost model, or are in the old binary
    format.
    """
    if _BINARY.match(content):
        raise EngineError(
            "these bytes are an XGBoost model in the binary format, which XGBoost removed in 3.1",
            hint="xgboost.Booster(model_file='old.model').save_model('model.ubj'), with an XGBoost before 3.1",
        )
    try:
        return _read_model(DocumentSection(_decoded(content)))
    except ValueError as error:
        hint = "booster.save_model('model.ubj')"
        raise EngineError(f"these bytes are not an XGBoost model: {error}", hint=hint) from error


def _decoded(content: bytes) -> object:
    if not _JSON.match(content):
        return decode_ubjson(content)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _read_model(top: DocumentSection) -> XgboostModel:
    learner = top.section("learner")
    parameters, objective, attributes = (
        learner.section(key) for key in ("learner_model_param", "objective", "attributes")
    )
    width, outputs = _read_sizes(parameters)
    model = XgboostModel(
        width=width,
        outputs=outputs,
        objective=_read_objective(objective, outputs),
        parameters=_objective_parameters(objective),
        base=_read_base_score(parameters, outputs),
        version=tuple(top.ints("version", 3).tolist()),
        names=_read_columns(learner, "feature_names", width),
        types=_read_columns(learner, "feature_types", width),
        categories=_stored_categories(attributes, width) if attributes.has(CATEGORIES) else {},
        missing=_read_float(attributes, MISSING) if attributes.has(MISSING) else math.nan,
    )
    booster = learner.section("gradient_booster")
    if booster.string("name") == "gblinear":
        return _read_linear(model, booster.section("model"))
    return _read_boosted(model, booster, best_rounds=_best_rounds(attributes))


def _read_sizes(parameters: DocumentSection) -> tuple[int, int]:
    """Return the number of columns of a row and of an answer."""
    width = parameters.integer("num_feature", 1, _MAX_COLUMNS)
    classes = parameters.integer("num_class", 0, _MAX_OUTPUTS)
    targets = parameters.integer("num_target", 1, _MAX_OUTPUTS) if parameters.has("num_target") else 1
    if targets > 1:
        raise EngineError(
            f"the XGBoost model predicts {targets} targets, and headway evaluates one",
            where=parameters.where,
            hint="train a model for each target",
        )
    return width, max(classes, 1)


def _read_objective(objective: DocumentSection, outputs: int) -> str:
    """Return the current name of the objective; classes are answered by their probabilities, as an estimator does."""
    name = objective.string("name")
    name = _CURRENT_NAMES.get(name, name)
    objective.require(name in OBJECTIVES, f"unknown objective {name!r:.60}")
    objective.require((name == "multi:softprob") == (outputs > 1), f"{name!r} with {outputs} outputs")
    return name


def _objective_parameters(objective: DocumentSection) -> dict[str, dict[str, str]]:
    """Return the parameters of the objective that are strings; the others belong to training."""
    found = {key: section.strings() for key, section in objective.sections().items()}
    for key, values in found.items():
        for name, value in values.items():
            objective.require(bool(_PARAMETER.fullmatch(key + name + value)), f"{key}.{name} is {value!r:.60}")
    return found


def _read_base_score(parameters: DocumentSection, outputs: int) -> tuple[float, ...]:
    """Return one base score, or one per output: a number before XGBoost 3.1, a list since then."""
    scores = parameters.string("base_score").removeprefix("[").removesuffix("]").split(",")
    parameters.require(len(scores) in (1, outputs), f"{len(scores)} base scores for {outputs} outputs")
    parameters.require(all(_FLOAT.fullmatch(score) for score in scores), f"base_score is {','.join(scores)!r:.60}")
    numbers = np.array([float(score) for score in scores])
    parameters.require(bool(np.all(np.abs(numbers) < 1e38)), f"base_score is {','.join(scores)!r:.60}")
    return tuple(numbers.astype(np.float32).astype(np.float64).tolist())


def _read_columns(learner: DocumentSection, key: str, width: int) -> tuple[str, ...]:
    found = learner.list(key) if learner.has(key) else []
    texts = tuple(value for value in found if isinstance(value, str))
    learner.require(len(texts) == len(found) and len(texts) in (0, width), f"{key!r} does not name {width} columns")
    return texts


def _read_float(section: DocumentSection, key: str) -> float:
    text = section.string(key)
    section.require(_FLOAT.fullmatch(text) is not None or text in ("inf", "-inf"), f"{key} is {text!r:.60}")
    return float(text)


def _best_rounds(attributes: DocumentSection) -> int:
    """Return the rounds that an estimator predicts with, 0 for all; a plain Booster always predicts with all."""
    if not (attributes.has("scikit_learn") and attributes.has("best_iteration")):
        return 0
    return attributes.integer("best_iteration", 0, 2**31) + 1


def _read_linear(model: XgboostModel, section: DocumentSection) -> XgboostModel:
    weights = section.floats("weights", (model.width + 1) * model.outputs)
    section.require(bool(np.all(np.isfinite(weights))), "a weight that is not finite")
    return replace(model, weights=weights.astype(np.float32))


def _read_boosted(model: XgboostModel, booster: DocumentSection, *, best_rounds: int) -> XgboostModel:
    name = booster.string("name")
    booster.require(name in ("gbtree", "dart"), f"unknown booster {name!r:.60}")
    section = (booster.section("gbtree") if name == "dart" else booster).section("model")
    listed = section.list("trees")
    section.require(len(listed) > 0, "no trees")
    outputs, weights = section.ints("tree_info", len(listed)), _tree_weights(booster, section, len(listed))
    section.require(bool(np.all((outputs >= 0) & (outputs < model.outputs))), "a tree without an output")
    trees = tuple(
        _read_tree(DocumentSection(tree, f"tree {number}"), model.width, weights[number], int(outputs[number]))
        for number, tree in enumerate(listed)
    )
    bounds = _round_bounds(section, len(trees), int(outputs.max()) + 1)
    section.require(best_rounds < len(bounds), f"best iteration {best_rounds - 1} of {len(bounds) - 1}")
    categories = _read_categories(section.section("cats"), model) if section.has("cats") else model.categories
    return replace(model, trees=trees, bounds=bounds, categories=categories, best_rounds=best_rounds)


def _tree_weights(booster: DocumentSection, section: DocumentSection, size: int) -> Floats:
    """Return the factor of the leaves of each tree: DART's weights, which moved into the model section in 3.4."""
    holder = next((part for part in (booster, section) if part.has("weight_drop")), None)
    weights = holder.floats("weight_drop") if holder else np.ones(0)
    section.require(len(weights) <= size and bool(np.all(np.isfinite(weights))), "weights without trees")
    return np.concatenate([weights, np.ones(size - len(weights))])


def _round_bounds(section: DocumentSection, size: int, groups: int) -> tuple[int, ...]:
    """Return the number of trees before each round and after the last; before XGBoost 2.0 all rounds have one size."""
    if section.has("iteration_indptr"):
        bounds = section.ints("iteration_indptr")
    else:
        parallel = section.section("gbtree_model_param").integer("num_parallel_tree", 0, size)
        bounds = np.arange(0, size + 1, max(parallel, 1) * groups)
    valid = len(bounds) > 1 and bounds[0] == 0 and bounds[-1] == size and bool(np.all(np.diff(bounds) > 0))
    section.require(bool(valid), f"{size} trees cannot be divided into rounds")
    return tuple(bounds.tolist())


def _read_tree(section: DocumentSection, width: int, weight: float, output: int) -> Tree:
    param = section.section("tree_param")
    size = param.integer("num_nodes", 1, 2**30)
    param.require(param.integer("size_leaf_vector", 0, 2**30) < 2, "leaves with several outputs (multi_output_tree)")
    left, right, feature = (section.ints(key, size) for key in ("left_children", "right_children", "split_indices"))
    condition, default_left = section.floats("split_conditions", size), section.ints("default_left", size) != 0
    order = _breadth_first(section, left, right)
    inner, leaves = order[left[order] >= 0], order[left[order] < 0]
    section.require(bool(np.all((feature[inner] >= 0) & (feature[inner] < width))), f"a split outside {width} columns")
    sets = _read_sets(section, size) if section.has("split_type") else {}
    condition[list(sets)] = 0.0  # before 3.1 it is NaN there
    section.require(bool(np.all(np.isfinite(condition[order]))), "a split or a leaf that is not finite")
    number = np.zeros(size, np.int64)
    number[inner], number[leaves] = np.arange(len(inner)), ~np.arange(len(leaves))
    leaf = condition[leaves].astype(np.float32) * np.float32(weight)
    return Tree(
        feature=feature[inner],
        **_common_splits(
            condition[inner].astype(np.float32),
            np.isin(inner, list(sets)),
            default_left[inner],
            number[left[inner]],
            number[right[inner]],
        ),
        leaf=leaf.astype(np.float64)[:, None],
        outputs=(output,),
        sets=tuple(sets[node] for node in inner.tolist() if node in sets),
    )


def _breadth_first(section: DocumentSection, left: Ints, right: Ints) -> Ints:
    """Return the nodes that can be reached from the root, by depth, siblings together; pruned nodes cannot."""
    size = len(left)
    section.require(bool(np.all((left >= -1) & (left < size) & (right < size))), "a child that does not exist")
    reached = np.zeros(size, bool)
    levels = [np.zeros(1, np.int64)]
    while len(levels[-1]):
        section.require(
            not reached[levels[-1]].any() and len(np.unique(levels[-1])) == len(levels[-1]), "a node with two parents"
        )
        reached[levels[-1]] = True
        inner = levels[-1][left[levels[-1]] >= 0]
        section.require(bool(np.all(right[inner] >= 0)), "a node with one child")
        levels.append(np.column_stack([left[inner], right[inner]]).ravel())
    return np.concatenate(levels)


def _read_sets(section: DocumentSection, size: int) -> dict[int, Ints]:
    """Return, for each node that splits by categories, the categories that go right."""
    nodes, members = section.ints("categories_nodes"), section.ints("categories")
    starts, sizes = (section.ints(f"categories_{key}", len(nodes)) for key in ("segments", "sizes"))
    section.require(np.array_equal(nodes, np.flatnonzero(section.ints("split_type", size))), "sets of other nodes")
    section.require(bool(np.all((starts >= 0) & (sizes > 0) & (starts <= len(members) - sizes))), "a set out of bounds")
    section.require(bool(np.all((members >= 0) & (members < _MAX_CATEGORIES))), "a category out of range")
    return {int(n): np.unique(members[s : s + size]) for n, s, size in zip(nodes, starts, sizes, strict=True)}


def _read_categories(section: DocumentSection, model: XgboostModel) -> dict[int, tuple[str, ...]]:
    """Return the category names of each categorical column, in order; XGBoost stores them since 3.1."""
    columns = section.list("enc")
    section.require(len(columns) in (0, model.width), f"categories of {len(columns)} columns")
    complete = model.version >= _COMPLETE_NAMES_SINCE
    named = {
        number: _category_names(DocumentSection(column, f"cats.enc {number}"), complete)
        for number, column in enumerate(columns)
    }
    return {number: names for number, names in named.items() if names}


def _stored_categories(attributes: DocumentSection, width: int) -> dict[int, tuple[str, ...]]:
    """Return the category names that `XgboostModel.content` wrote."""
    try:
        found = msgspec.json.decode(attributes.string(CATEGORIES), type=dict[int, tuple[str, ...]])
    except msgspec.DecodeError as error:
        raise ValueError(f"{CATEGORIES}: {error}") from error
    attributes.require(all(0 <= column < width for column in found), f"{CATEGORIES} names a column that does not exist")
    return found


def _category_names(section: DocumentSection, complete: bool) -> tuple[str, ...]:
    """Return the names of a column's categories: strings in one buffer with offsets, or numbers.

    Unless `complete`, non-ASCII strings were cut at a count of characters in place of bytes, and are left out.
    """
    if not section.has("offsets"):
        return tuple(str(value) for value in section.ints("values").tolist())
    offsets, values = section.ints("offsets"), section.ints("values")
    section.require(bool(np.all(np.diff(offsets, prepend=0, append=len(values)) >= 0)), "offsets that do not divide")
    content = (values & 255).astype(np.uint8).tobytes()
    if not (complete or content.isascii()):
        return ()
    return tuple(content[start:stop].decode("utf-8") for start, stop in pairwise(offsets.tolist()))


def xgboost_forest(model: XgboostModel) -> Forest:
    """Convert a model to `Forest`; raise NotApplicable for a linear model."""
    if model.weights is not None:
        raise NotApplicable("it is a linear model, which has no trees")
    with np.errstate(over="ignore"):  # a value beyond float32 is infinite to the library
        missing = float(np.float32(model.missing))
    return Forest(
        width=model.width,
        trees=model.trees,
        base=_base_margin(model).astype(np.float64),
        link=OBJECTIVES[model.objective].link,
        input_dtype="float32",
        sum_dtype="float32",
        missing=missing,
        category_cast="floored",
    )


def _base_margin(model: XgboostModel) -> Floats32:
    """Return the base of each output before the link, [k], computed in float32 as the library does."""
    base = np.full(model.outputs, model.base, np.float32) if len(model.base) == 1 else np.array(model.base, np.float32)
    kind = OBJECTIVES[model.objective].base
    with np.errstate(divide="ignore", invalid="ignore"):  # the library rejects a base outside the range of the link
        logit = -np.log(np.float32(1) / base - np.float32(1))
        margin: Floats32 = {"identity": base, "log": np.log(base), "logit": logit}[kind]
    return margin
