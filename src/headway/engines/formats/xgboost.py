"""X"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import EngineError, NotApplicable
from headway.engines.formats import trees, ubjson
from headway.engines.formats.trees import Link
from headway.engines.formats.ubjson import Section, Writable

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

MISSING, CATEGORIES = "headway_missing", "headway_categories"


class Objective(NamedTuple):
    """What an objective learns, how a sum of leaves becomes its answer, and how its base score became a sum."""

    task: str
    link: Link = "identity"
    base: Literal["identity", "log", "logit"] = "identity"


_REGRESSION, _COUNT = Objective("regression"), Objective("regression", "exp", "log")
_RANKING = Objective("ranking")
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
    "reg:expectileerror": _REGRESSION,
    "reg:gamma": _COUNT,
    "reg:logistic": Objective("regression", "sigmoid", "logit"),
    "reg:pseudohubererror": _REGRESSION,
    "reg:quantileerror": _REGRESSION,
    "reg:squarederror": _REGRESSION,
    "reg:squaredlogerror": _REGRESSION,
    "reg:tweedie": _COUNT,
    "survival:aft": _COUNT,
    "survival:cox": _COUNT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree: m inner nodes and m + 1 leaves; a child >= 0 is an inner node, a child < 0 is the leaf ~child.

    A number goes left where float32(x) < `condition`. Where `categorical`, members of the node's set go right; `sets`
    are in the order of these nodes. Nodes are numbered by depth. `output` is the column to which the leaves are added.
    """

    feature: Ints
    condition: Floats32
    categorical: Bools
    default_left: Bools
    left: Ints
    right: Ints
    leaf: Floats32
    sets: tuple[Ints, ...]
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class XgboostModel:
    """A model of XGBoost: trees, or the `weights` of a linear one, float32 [(d + 1) * k].

    `base` has one value, or one an output, before the objective's link. `categories` are the names of those of a
    column, in order, where the model knows them. `bounds` are the numbers of trees before each round and after the
    last. `kept` is how many of the rounds an estimator that stopped early predicts with, or 0.
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
    kept: int = 0
    missing: float = math.nan

    @property
    def rounds(self) -> int:
        """Boosting rounds."""
        return len(self.bounds) - 1

    def truncate(self, rounds: int) -> XgboostModel:
        """The model of its first rounds."""
        bounds = self.bounds[: rounds + 1]
        return replace(self, trees=self.trees[: bounds[-1]], bounds=bounds, kept=0)

    def content(self) -> bytes:
        """The model as UBJSON: what is safe to hand to the library, and what `read` reads again as it was."""
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
        return ubjson.encode_ubjson({"learner": learner, "version": self.version})

    def _attributes(self) -> dict[str, Writable]:
        """What the library does not look at, and `read` does."""
        names = msgspec.json.encode(self.categories).decode()
        found: dict[str, Writable] = {} if math.isnan(self.missing) else {MISSING: repr(self.missing)}
        return found | {CATEGORIES: names} if self.categories else found

    def _booster(self) -> dict[str, Writable]:
        if self.weights is not None:
            return {"model": {"boosted_rounds": 0, "weights": self.weights}, "name": "gblinear"}
        model: dict[str, Writable] = {
            "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(self.trees))},
            "iteration_indptr": self.bounds,
            "tree_info": [tree.output for tree in self.trees],
            "trees": [_tree_document(tree, number, self.width) for number, tree in enumerate(self.trees)],
        }
        return {"model": model, "name": "gbtree"}


def _tree_document(tree: Tree, number: int, width: int) -> dict[str, Writable]:
    """A tree in the library's form: inner nodes and leaves in one list, pair by pair.

    The library finds a right child behind the left one, wherever the file says that it is.
    """
    pairs = np.column_stack([tree.left, tree.right]).ravel()
    node = np.concatenate([[0 if len(pairs) else -1], pairs])  # of each place: an inner node, or a leaf as ~leaf
    inner, size = node >= 0, len(node)
    place = np.flatnonzero(inner)
    left = np.where(inner, 2 * node + 1, -1)
    nothing, members = np.zeros(size, np.float32), [np.zeros(0, np.int64), *tree.sets]
    sizes = np.array([len(each) for each in tree.sets], np.int64)
    return {
        "base_weights": nothing,
        "categories": np.concatenate(members).astype(np.int32),
        "categories_nodes": place[tree.categorical].astype(np.int32),
        "categories_segments": np.cumsum([0, *sizes[:-1]])[: len(sizes)].astype(np.int64),
        "categories_sizes": sizes,
        "default_left": _scatter(tree.default_left, inner).astype(np.uint8),
        "id": number,
        "left_children": left.astype(np.int32),
        "loss_changes": nothing,
        "parents": np.concatenate([[2**31 - 1], np.repeat(place, 2)]).astype(np.int32),
        "right_children": (left + inner).astype(np.int32),
        "split_conditions": np.where(inner, _scatter(tree.condition, inner), tree.leaf[~np.minimum(node, -1)]),
        "split_indices": _scatter(tree.feature, inner).astype(np.int32),
        "split_type": _scatter(tree.categorical, inner).astype(np.uint8),
        "sum_hessian": nothing,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(width),
            "num_nodes": str(size),
            "size_leaf_vector": "1",
        },
    }


def _scatter(values: NDArray[np.generic], inner: Bools) -> NDArray[np.generic]:
    """The values of inner nodes at their places in the list of all nodes, which has zeros for the leaves."""
    found = np.zeros(len(inner), values.dtype)
    found[inner] = values
    return found


Floats = NDArray[np.float64]

_MAX_CATEGORIES = 2**24  # what float32 counts without a gap
_MAX_COLUMNS, _MAX_OUTPUTS = 2**20, 2**16
_PARAMETER = re.compile(r"[\w.,\[\]+ -]{0,400}")
_FLOAT = re.compile(r"[-+0-9.eE]{1,40}")
_COMPLETE_NAMES_SINCE = (3, 4)
_JSON = re.compile(rb"\s*\{\s*[\"}]")
_BINARY = re.compile(rb"binf|[^{].{0,400}(gbtree|gblinear|dart)", re.DOTALL)
_CURRENT_NAMES = {"reg:linear": "reg:squarederror", "multi:softmax": "multi:softprob"}


def is_xgboost(content: bytes) -> bool:
    """Whether bytes begin as a model of XGBoost does: in JSON, in UBJSON, or in the binary form of old."""
    start = content[:1000].lstrip()
    return (start.startswith(b"{") and b"learner" in start) or bool(_BINARY.match(start))


def read_xgboost(content: bytes) -> XgboostModel:
    """The model in these bytes.

    Raises EngineError that names the field where the bytes are not a whole XGBoost model, or are of the binary form.
    """
    if _BINARY.match(content):
        raise EngineError(
            "these bytes are an XGBoost model in the binary form, which XGBoost gave up in 3.1",
            hint="xgboost.Booster(model_file='old.model').save_model('model.ubj'), with an XGBoost before 3.1",
        )
    try:
        return _read_model(Section(_decoded(content)))
    except ValueError as error:
        hint = "booster.save_model('model.ubj')"
        raise EngineError(f"these bytes are not an XGBoost model: {error}", hint=hint) from error


def _decoded(content: bytes) -> object:
    if not _JSON.match(content):
        return ubjson.decode_ubjson(content)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _read_model(top: Section) -> XgboostModel:
    learner = top.part("learner")
    given, objective, attributes = (learner.part(key) for key in ("learner_model_param", "objective", "attributes"))
    width, outputs = _read_sizes(given)
    model = XgboostModel(
        width=width,
        outputs=outputs,
        objective=_objective_name(objective, outputs),
        parameters=_objective_parameters(objective),
        base=_read_base_score(given, outputs),
        version=tuple(top.ints("version", 3).tolist()),
        names=_read_columns(learner, "feature_names", width),
        types=_read_columns(learner, "feature_types", width),
        categories=_stored_categories(attributes, width) if attributes.has(CATEGORIES) else {},
        missing=_read_float(attributes, MISSING) if attributes.has(MISSING) else math.nan,
    )
    booster = learner.part("gradient_booster")
    if booster.text("name") == "gblinear":
        return _read_linear(model, booster.part("model"))
    return _read_boosted(model, booster, kept=_best_rounds(attributes))


def _read_sizes(given: Section) -> tuple[int, int]:
    """Columns of a row, and of an answer."""
    width = given.count("num_feature", 1, _MAX_COLUMNS)
    classes = given.count("num_class", 0, _MAX_OUTPUTS)
    targets = given.count("num_target", 1, _MAX_OUTPUTS) if given.has("num_target") else 1
    if targets > 1:
        raise EngineError(
            f"the XGBoost model answers {targets} targets at once, and headway judges one",
            where=given.where,
            hint="train a model for each target",
        )
    return width, max(classes, 1)


def _objective_name(objective: Section, outputs: int) -> str:
    """The objective by the name of today; classes are answered by their probabilities, as an estimator does."""
    name = objective.text("name")
    name = _CURRENT_NAMES.get(name, name)
    objective.need(name in OBJECTIVES, f"no objective is called {name!r:.60}")
    objective.need((name == "multi:softprob") == (outputs > 1), f"{name!r} with {outputs} outputs")
    return name


def _objective_parameters(objective: Section) -> dict[str, dict[str, str]]:
    """The texts that the objective was given; what else it keeps is of its training."""
    found = {key: part.texts() for key, part in objective.parts().items()}
    for key, values in found.items():
        for name, value in values.items():
            objective.need(bool(_PARAMETER.fullmatch(key + name + value)), f"{key}.{name} is {value!r:.60}")
    return found


def _read_base_score(given: Section, outputs: int) -> tuple[float, ...]:
    """One base score, or one for each output: before XGBoost 3.1 a number, since then a list."""
    texts = given.text("base_score").removeprefix("[").removesuffix("]").split(",")
    given.need(len(texts) in (1, outputs), f"{len(texts)} base scores for {outputs} outputs")
    given.need(all(_FLOAT.fullmatch(each) for each in texts), f"base_score is {','.join(texts)!r:.60}")
    numbers = np.array([float(each) for each in texts])
    given.need(bool(np.all(np.abs(numbers) < 1e38)), f"base_score is {','.join(texts)!r:.60}")
    return tuple(numbers.astype(np.float32).astype(np.float64).tolist())


def _read_columns(learner: Section, key: str, width: int) -> tuple[str, ...]:
    found = learner.list(key) if learner.has(key) else []
    texts = tuple(each for each in found if isinstance(each, str))
    learner.need(len(texts) == len(found) and len(texts) in (0, width), f"{key!r} does not name {width} columns")
    return texts


def _read_float(part: Section, key: str) -> float:
    text = part.text(key)
    part.need(_FLOAT.fullmatch(text) is not None or text in ("inf", "-inf"), f"{key} is {text!r:.60}")
    return float(text)


def _best_rounds(attributes: Section) -> int:
    """Rounds that an estimator predicts with; a plain Booster predicts with all, wherever it was best."""
    if not (attributes.has("scikit_learn") and attributes.has("best_iteration")):
        return 0
    return attributes.count("best_iteration", 0, 2**31) + 1


def _read_linear(model: XgboostModel, part: Section) -> XgboostModel:
    weights = part.floats("weights", (model.width + 1) * model.outputs)
    part.need(bool(np.all(np.isfinite(weights))), "a weight that is no number")
    return replace(model, weights=weights.astype(np.float32))


def _read_boosted(model: XgboostModel, booster: Section, *, kept: int) -> XgboostModel:
    name = booster.text("name")
    booster.need(name in ("gbtree", "dart"), f"no booster is called {name!r:.60}")
    part = (booster.part("gbtree") if name == "dart" else booster).part("model")
    listed = part.list("trees")
    part.need(len(listed) > 0, "no trees")
    outputs, weights = part.ints("tree_info", len(listed)), _tree_weights(booster, part, len(listed))
    part.need(bool(np.all((outputs >= 0) & (outputs < model.outputs))), "a tree of no output")
    trees = tuple(
        replace(_read_tree(Section(tree, f"tree {number}"), model.width, weights[number]), output=int(outputs[number]))
        for number, tree in enumerate(listed)
    )
    bounds = _round_bounds(part, len(trees), int(outputs.max()) + 1)
    part.need(kept < len(bounds), f"best at iteration {kept - 1} of {len(bounds) - 1}")
    categories = _read_categories(part.part("cats"), model) if part.has("cats") else model.categories
    return replace(model, trees=trees, bounds=bounds, categories=categories, kept=kept)


def _tree_weights(booster: Section, part: Section, size: int) -> Floats:
    """What the leaves of each tree are multiplied by: DART's weights, beside the trees or (since 3.4) among them."""
    holder = next((each for each in (booster, part) if each.has("weight_drop")), None)
    given = holder.floats("weight_drop") if holder else np.ones(0)
    part.need(len(given) <= size and bool(np.all(np.isfinite(given))), "weights of no trees")
    return np.concatenate([given, np.ones(size - len(given))])


def _round_bounds(part: Section, size: int, groups: int) -> tuple[int, ...]:
    """Trees before each round, and after the last; before XGBoost 2.0 every round is of one size."""
    if part.has("iteration_indptr"):
        bounds = part.ints("iteration_indptr")
    else:
        parallel = part.part("gbtree_model_param").count("num_parallel_tree", 0, size)
        bounds = np.arange(0, size + 1, max(parallel, 1) * groups)
    whole = len(bounds) > 1 and bounds[0] == 0 and bounds[-1] == size and bool(np.all(np.diff(bounds) > 0))
    part.need(bool(whole), f"{size} trees do not share out among rounds")
    return tuple(bounds.tolist())


def _read_tree(part: Section, width: int, weight: float) -> Tree:
    param = part.part("tree_param")
    size = param.count("num_nodes", 1, 2**30)
    param.need(param.count("size_leaf_vector", 0, 2**30) < 2, "leaves of several outputs (multi_output_tree)")
    left, right, feature = (part.ints(key, size) for key in ("left_children", "right_children", "split_indices"))
    condition, default_left = part.floats("split_conditions", size), part.ints("default_left", size) != 0
    order = _breadth_first(part, left, right)
    inner, leaves = order[left[order] >= 0], order[left[order] < 0]
    part.need(bool(np.all((feature[inner] >= 0) & (feature[inner] < width))), f"a split outside the {width} columns")
    sets = _read_sets(part, size) if part.has("split_type") else {}
    condition[list(sets)] = 0.0  # before 3.1 there stands what is no number
    part.need(bool(np.all(np.isfinite(condition[order]))), "a split or a leaf that is no number")
    number = np.zeros(size, np.int64)
    number[inner], number[leaves] = np.arange(len(inner)), ~np.arange(len(leaves))
    return Tree(
        feature=feature[inner],
        condition=condition[inner].astype(np.float32),
        categorical=np.isin(inner, list(sets)),
        default_left=default_left[inner],
        left=number[left[inner]],
        right=number[right[inner]],
        leaf=condition[leaves].astype(np.float32) * np.float32(weight),
        sets=tuple(sets[node] for node in inner.tolist() if node in sets),
        output=0,
    )


def _breadth_first(part: Section, left: Ints, right: Ints) -> Ints:
    """The nodes that the root leads to, by depth and pair by pair; to those that were pruned none leads."""
    size = len(left)
    part.need(bool(np.all((left >= -1) & (left < size) & (right < size))), "a child that is not there")
    reached = np.zeros(size, bool)
    levels = [np.zeros(1, np.int64)]
    while len(levels[-1]):
        part.need(
            not reached[levels[-1]].any() and len(np.unique(levels[-1])) == len(levels[-1]), "a node of two parents"
        )
        reached[levels[-1]] = True
        inner = levels[-1][left[levels[-1]] >= 0]
        part.need(bool(np.all(right[inner] >= 0)), "a node with one child")
        levels.append(np.column_stack([left[inner], right[inner]]).ravel())
    return np.concatenate(levels)


def _read_sets(part: Section, size: int) -> dict[int, Ints]:
    """Of each node that splits by categories, those that go right."""
    nodes, members = part.ints("categories_nodes"), part.ints("categories")
    starts, sizes = (part.ints(f"categories_{key}", len(nodes)) for key in ("segments", "sizes"))
    part.need(np.array_equal(nodes, np.flatnonzero(part.ints("split_type", size))), "sets of other nodes")
    part.need(bool(np.all((starts >= 0) & (sizes > 0) & (starts <= len(members) - sizes))), "a set beyond its bounds")
    part.need(bool(np.all((members >= 0) & (members < _MAX_CATEGORIES))), "a category out of range")
    return {int(n): np.unique(members[s : s + size]) for n, s, size in zip(nodes, starts, sizes, strict=True)}


def _read_categories(part: Section, model: XgboostModel) -> dict[int, tuple[str, ...]]:
    """The names of the categories of each column that has them, in order; XGBoost stores them since 3.1."""
    columns = part.list("enc")
    part.need(len(columns) in (0, model.width), f"categories of {len(columns)} columns")
    whole = model.version >= _COMPLETE_NAMES_SINCE
    named = {
        number: _category_names(Section(column, f"cats.enc {number}"), whole) for number, column in enumerate(columns)
    }
    return {number: names for number, names in named.items() if names}


def _stored_categories(attributes: Section, width: int) -> dict[int, tuple[str, ...]]:
    """The names of categories, where they were read before and written anew."""
    try:
        found = msgspec.json.decode(attributes.text(CATEGORIES), type=dict[int, tuple[str, ...]])
    except msgspec.DecodeError as error:
        raise ValueError(f"{CATEGORIES}: {error}") from error
    attributes.need(all(0 <= place < width for place in found), f"{CATEGORIES} of no column")
    return found


def _category_names(part: Section, whole: bool) -> tuple[str, ...]:
    """Texts lie in one piece, divided by offsets; numbers stand for themselves.

    Where they are not `whole`, texts beyond ASCII were cut by a count of letters in place of bytes, and are left out.
    """
    if not part.has("offsets"):
        return tuple(str(value) for value in part.ints("values").tolist())
    offsets, values = part.ints("offsets"), part.ints("values")
    part.need(bool(np.all(np.diff(offsets, prepend=0, append=len(values)) >= 0)), "offsets that do not divide")
    content = (values & 255).astype(np.uint8).tobytes()
    if not (whole or content.isascii()):
        return ()
    return tuple(content[start:stop].decode("utf-8") for start, stop in pairwise(offsets.tolist()))


def xgboost_forest(model: XgboostModel) -> trees.Forest:
    """The trees of a model; raises NotApplicable where it is linear."""
    if model.weights is not None:
        raise NotApplicable("it is a linear model, which has no trees")
    link = OBJECTIVES[model.objective].link
    with np.errstate(over="ignore"):  # a value beyond float32 is infinite to the library
        missing = float(np.float32(model.missing))
    return trees.Forest(
        width=model.width,
        trees=tuple(_tree(tree) for tree in model.trees),
        base=_base_margin(model).astype(np.float64),
        link=link,
        input_dtype="float32",
        sum_dtype="float32",
        missing=missing,
        category_cast="floored",
    )


def _tree(tree: Tree) -> trees.Tree:
    """Members of a set go right in XGBoost, and left here: the sides of such a node change places."""
    below = np.nextafter(tree.condition, np.float32(-np.inf)).astype(np.float64)
    threshold = np.where(tree.categorical, np.cumsum(tree.categorical) - 1, below)
    return trees.Tree(
        feature=tree.feature,
        threshold=threshold,
        categorical=tree.categorical,
        missing_left=tree.default_left ^ tree.categorical,
        left=np.where(tree.categorical, tree.right, tree.left),
        right=np.where(tree.categorical, tree.left, tree.right),
        leaf=tree.leaf.astype(np.float64)[:, None],
        outputs=(tree.output,),
        sets=tree.sets,
    )


def _base_margin(model: XgboostModel) -> Floats32:
    """The base of each output before the link, [k], computed in float32 as the library does."""
    base = np.full(model.outputs, model.base, np.float32) if len(model.base) == 1 else np.array(model.base, np.float32)
    kind = OBJECTIVES[model.objective].base
    with np.errstate(divide="ignore", invalid="ignore"):  # a base outside the range of the link: the library says so
        logit = -np.log(np.float32(1) / base - np.float32(1))
        margin: Floats32 = {"identity": base, "log": np.log(base), "logit": logit}[kind]
    return margin
