"""XGBoost's UBJSON and JSON, of versions 1.6 to 3.4, read strictly: its own loader trusts the indices of a tree.

What is read has every index in range and every tree whole, so that it can be handed to the library, cut or compiled.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import EngineError
from headway.engines.formats import ubjson
from headway.engines.formats.parts import Part
from headway.engines.formats.xgboost_model import CATEGORIES, MISSING, OBJECTIVES, Tree, XgboostModel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_CATEGORIES = 2**24  # what float32 counts without a gap
_MOST_COLUMNS, _MOST_OUTPUTS = 2**20, 2**16
_PARAMETER = re.compile(r"[\w.,\[\]+ -]{0,400}")
_FLOAT = re.compile(r"[-+0-9.eE]{1,40}")
_WHOLE_NAMES = (3, 4)
_JSON = re.compile(rb"\s*\{\s*[\"}]")
_BINARY = re.compile(rb"binf|[^{].{0,400}(gbtree|gblinear|dart)", re.DOTALL)
_TODAY = {"reg:linear": "reg:squarederror", "multi:softmax": "multi:softprob"}


def looks_like(content: bytes) -> bool:
    """Whether bytes begin as a model of XGBoost does: in JSON, in UBJSON, or in the binary form of old."""
    start = content[:1000].lstrip()
    return (start.startswith(b"{") and b"learner" in start) or bool(_BINARY.match(start))


def read(content: bytes) -> XgboostModel:
    """The model in these bytes.

    Raises EngineError that names the field where the bytes are not a whole XGBoost model, or are of the binary form.
    """
    if _BINARY.match(content):
        raise EngineError(
            "these bytes are an XGBoost model in the binary form, which XGBoost gave up in 3.1",
            hint="xgboost.Booster(model_file='old.model').save_model('model.ubj'), with an XGBoost before 3.1",
        )
    try:
        return _model(Part(_decoded(content)))
    except ValueError as error:
        hint = "booster.save_model('model.ubj')"
        raise EngineError(f"these bytes are not an XGBoost model: {error}", hint=hint) from error


def _decoded(content: bytes) -> object:
    if not _JSON.match(content):
        return ubjson.decode(content)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _model(top: Part) -> XgboostModel:
    learner = top.part("learner")
    given, objective, attributes = (learner.part(key) for key in ("learner_model_param", "objective", "attributes"))
    width, outputs = _sizes(given)
    model = XgboostModel(
        width=width,
        outputs=outputs,
        objective=_objective(objective, outputs),
        parameters=_parameters(objective),
        base=_base(given, outputs),
        version=tuple(top.ints("version", 3).tolist()),
        names=_columns(learner, "feature_names", width),
        types=_columns(learner, "feature_types", width),
        categories=_kept_categories(attributes, width) if attributes.has(CATEGORIES) else {},
        missing=_float(attributes, MISSING) if attributes.has(MISSING) else math.nan,
    )
    booster = learner.part("gradient_booster")
    if booster.text("name") == "gblinear":
        return _linear(model, booster.part("model"))
    return _boosted(model, booster, kept=_kept(attributes))


def _sizes(given: Part) -> tuple[int, int]:
    """Columns of a row, and of an answer."""
    width = given.count("num_feature", 1, _MOST_COLUMNS)
    classes = given.count("num_class", 0, _MOST_OUTPUTS)
    targets = given.count("num_target", 1, _MOST_OUTPUTS) if given.has("num_target") else 1
    if targets > 1:
        raise EngineError(
            f"the XGBoost model answers {targets} targets at once, and headway judges one",
            where=given.where,
            hint="train a model for each target",
        )
    return width, max(classes, 1)


def _objective(objective: Part, outputs: int) -> str:
    """The objective by the name of today; classes are answered by their probabilities, as an estimator does."""
    name = objective.text("name")
    name = _TODAY.get(name, name)
    objective.need(name in OBJECTIVES, f"no objective is called {name!r:.60}")
    objective.need((name == "multi:softprob") == (outputs > 1), f"{name!r} with {outputs} outputs")
    return name


def _parameters(objective: Part) -> dict[str, dict[str, str]]:
    """The texts that the objective was given; what else it keeps is of its training."""
    found = {key: part.texts() for key, part in objective.parts().items()}
    for key, values in found.items():
        for name, value in values.items():
            objective.need(bool(_PARAMETER.fullmatch(key + name + value)), f"{key}.{name} is {value!r:.60}")
    return found


def _base(given: Part, outputs: int) -> tuple[float, ...]:
    """One base score, or one for each output: before XGBoost 3.1 a number, since then a list."""
    texts = given.text("base_score").removeprefix("[").removesuffix("]").split(",")
    given.need(len(texts) in (1, outputs), f"{len(texts)} base scores for {outputs} outputs")
    given.need(all(_FLOAT.fullmatch(each) for each in texts), f"base_score is {','.join(texts)!r:.60}")
    numbers = np.array([float(each) for each in texts])
    given.need(bool(np.all(np.abs(numbers) < 1e38)), f"base_score is {','.join(texts)!r:.60}")
    return tuple(numbers.astype(np.float32).astype(np.float64).tolist())


def _columns(learner: Part, key: str, width: int) -> tuple[str, ...]:
    found = learner.list(key) if learner.has(key) else []
    texts = tuple(each for each in found if isinstance(each, str))
    learner.need(len(texts) == len(found) and len(texts) in (0, width), f"{key!r} does not name {width} columns")
    return texts


def _float(part: Part, key: str) -> float:
    text = part.text(key)
    part.need(_FLOAT.fullmatch(text) is not None or text in ("inf", "-inf"), f"{key} is {text!r:.60}")
    return float(text)


def _kept(attributes: Part) -> int:
    """Rounds that an estimator predicts with; a plain Booster predicts with all, wherever it was best."""
    if not (attributes.has("scikit_learn") and attributes.has("best_iteration")):
        return 0
    return attributes.count("best_iteration", 0, 2**31) + 1


def _linear(model: XgboostModel, part: Part) -> XgboostModel:
    weights = part.floats("weights", (model.width + 1) * model.outputs)
    part.need(bool(np.all(np.isfinite(weights))), "a weight that is no number")
    return replace(model, weights=weights.astype(np.float32))


def _boosted(model: XgboostModel, booster: Part, *, kept: int) -> XgboostModel:
    name = booster.text("name")
    booster.need(name in ("gbtree", "dart"), f"no booster is called {name!r:.60}")
    part = (booster.part("gbtree") if name == "dart" else booster).part("model")
    listed = part.list("trees")
    part.need(len(listed) > 0, "no trees")
    outputs, weights = part.ints("tree_info", len(listed)), _weights(booster, part, len(listed))
    part.need(bool(np.all((outputs >= 0) & (outputs < model.outputs))), "a tree of no output")
    trees = tuple(
        replace(_tree(Part(tree, f"tree {number}"), model.width, weights[number]), output=int(outputs[number]))
        for number, tree in enumerate(listed)
    )
    bounds = _bounds(part, len(trees), int(outputs.max()) + 1)
    part.need(kept < len(bounds), f"best at iteration {kept - 1} of {len(bounds) - 1}")
    categories = _categories(part.part("cats"), model) if part.has("cats") else model.categories
    return replace(model, trees=trees, bounds=bounds, categories=categories, kept=kept)


def _weights(booster: Part, part: Part, size: int) -> Floats:
    """What the leaves of each tree are multiplied by: DART's weights, beside the trees or (since 3.4) among them."""
    holder = next((each for each in (booster, part) if each.has("weight_drop")), None)
    given = holder.floats("weight_drop") if holder else np.ones(0)
    part.need(len(given) <= size and bool(np.all(np.isfinite(given))), "weights of no trees")
    return np.concatenate([given, np.ones(size - len(given))])


def _bounds(part: Part, size: int, groups: int) -> tuple[int, ...]:
    """Trees before each round, and after the last; before XGBoost 2.0 every round is of one size."""
    if part.has("iteration_indptr"):
        bounds = part.ints("iteration_indptr")
    else:
        parallel = part.part("gbtree_model_param").count("num_parallel_tree", 0, size)
        bounds = np.arange(0, size + 1, max(parallel, 1) * groups)
    whole = len(bounds) > 1 and bounds[0] == 0 and bounds[-1] == size and bool(np.all(np.diff(bounds) > 0))
    part.need(bool(whole), f"{size} trees do not share out among rounds")
    return tuple(bounds.tolist())


def _tree(part: Part, width: int, weight: float) -> Tree:
    param = part.part("tree_param")
    size = param.count("num_nodes", 1, 2**30)
    param.need(param.count("size_leaf_vector", 0, 2**30) < 2, "leaves of several outputs (multi_output_tree)")
    left, right, feature = (part.ints(key, size) for key in ("left_children", "right_children", "split_indices"))
    condition, default_left = part.floats("split_conditions", size), part.ints("default_left", size) != 0
    order = _order(part, left, right)
    inner, leaves = order[left[order] >= 0], order[left[order] < 0]
    part.need(bool(np.all((feature[inner] >= 0) & (feature[inner] < width))), f"a split outside the {width} columns")
    sets = _sets(part, size) if part.has("split_type") else {}
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


def _order(part: Part, left: Ints, right: Ints) -> Ints:
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


def _sets(part: Part, size: int) -> dict[int, Ints]:
    """Of each node that splits by categories, those that go right."""
    nodes, members = part.ints("categories_nodes"), part.ints("categories")
    starts, sizes = (part.ints(f"categories_{key}", len(nodes)) for key in ("segments", "sizes"))
    part.need(np.array_equal(nodes, np.flatnonzero(part.ints("split_type", size))), "sets of other nodes")
    part.need(bool(np.all((starts >= 0) & (sizes > 0) & (starts <= len(members) - sizes))), "a set beyond its bounds")
    part.need(bool(np.all((members >= 0) & (members < _CATEGORIES))), "a category out of range")
    return {int(n): np.unique(members[s : s + size]) for n, s, size in zip(nodes, starts, sizes, strict=True)}


def _categories(part: Part, model: XgboostModel) -> dict[int, tuple[str, ...]]:
    """The names of the categories of each column that has them, in order; XGBoost stores them since 3.1."""
    columns = part.list("enc")
    part.need(len(columns) in (0, model.width), f"categories of {len(columns)} columns")
    whole = model.version >= _WHOLE_NAMES
    named = {number: _names(Part(column, f"cats.enc {number}"), whole) for number, column in enumerate(columns)}
    return {number: names for number, names in named.items() if names}


def _kept_categories(attributes: Part, width: int) -> dict[int, tuple[str, ...]]:
    """The names of categories, where they were read before and written anew."""
    try:
        found = msgspec.json.decode(attributes.text(CATEGORIES), type=dict[int, tuple[str, ...]])
    except msgspec.DecodeError as error:
        raise ValueError(f"{CATEGORIES}: {error}") from error
    attributes.need(all(0 <= place < width for place in found), f"{CATEGORIES} of no column")
    return found


def _names(part: Part, whole: bool) -> tuple[str, ...]:
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
