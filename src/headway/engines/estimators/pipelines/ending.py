"""The model of trees at the end of a pipeline, of scikit-learn or of a library that has an engine of its own."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble._forest import ForestClassifier, ForestRegressor
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.pipeline import Pipeline
from sklearn.tree import BaseDecisionTree

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.engines.estimators import trees
from headway.engines.estimators.inner import InnerModel
from headway.engines.formats.trees import Forest, OfTrees

_TREES = (BaseDecisionTree, BaseGradientBoosting, BaseHistGradientBoosting, ForestClassifier, ForestRegressor)


def steps_of(model: Pipeline) -> list[Any]:
    """The steps of a pipeline, those of pipelines in it one by one."""
    return [each for _, step in model.steps for each in (steps_of(step) if isinstance(step, Pipeline) else [step])]


def ending(model: Any) -> Any:
    """The last step of a pipeline, or the model itself."""
    return steps_of(model)[-1] if isinstance(model, Pipeline) else model


def is_of_trees(model: Any) -> bool:
    """Whether a model is trees whose leaves are added up, of this library or another."""
    return isinstance(model, (InnerModel, *_TREES))


def inner_forest(model: Any) -> Forest:
    """The trees of a model over what it is given; raises NotApplicable, with why, where it has none."""
    return _engine(model).forest(model.content) if isinstance(model, InnerModel) else trees.forest(model, None)


def rounds(model: Any) -> int:
    """Boosting rounds of the model at the end, or trees of a forest; raises NotApplicable where it has none."""
    last = ending(model)
    return _engine(last).rounds(last.content) if isinstance(last, InnerModel) else trees.rounds(last)


def cut(model: Any, count: int) -> None:
    """Leave the model at the end no more than its first rounds, or trees."""
    last = ending(model)
    if isinstance(last, InnerModel):
        last.__setstate__({**last.__getstate__(), "content": _engine(last).first(last.content, count), "_opened": {}})
    else:
        trees.cut(last, count)


def _engine(model: InnerModel) -> type[OfTrees]:
    engine = load_engine(model.engine)
    if not isinstance(engine, OfTrees):
        raise NotApplicable(f"a model of {model.engine} does not say what its trees are")
    return engine
