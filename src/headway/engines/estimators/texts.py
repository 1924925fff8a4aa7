"""Compile fitted scikit-learn pipelines over texts to programs of headway's text kernel.

A vectorizer, and all steps that change its sparse rows value by value, become one record; the first matrix that the
rows are multiplied by (a linear model, a projection, a hidden layer) becomes its weights. What follows is small and
dense: it is emitted as the graph of any other pipeline, and lowered to steps over one buffer.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import Binarizer, FunctionTransformer, MaxAbsScaler, Normalizer, RobustScaler, StandardScaler

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.engines.compiled.forest import compile_forest
from headway.engines.estimators import trees
from headway.engines.estimators.inner import InnerModel
from headway.engines.estimators.pipelines import fold
from headway.engines.estimators.pipelines.features import Feature, affine_feature, input_features
from headway.engines.estimators.pipelines.graph import emit_scores
from headway.engines.estimators.pipelines.graph_builder import GraphArray, GraphBuilder, add_all
from headway.engines.estimators.pipelines.steps import project_features, times, transform_features
from headway.engines.estimators.skops_file import ModelColumns
from headway.engines.estimators.text_steps import lower_operations
from headway.engines.formats.graph import SCORES
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.engines.formats.text import MAX_NGRAM, Analyzer, TextProgram, TextVectorizer, ValueOp, write_text_program
from headway.engines.formats.trees import Forest

_VECTORIZERS = (CountVectorizer, HashingVectorizer)
_TOKENS = re.compile(r"(?:\(\?u\))?(\\b)?(?:((?:\\w)*)\\w\+|\\w\{(\d{1,2}),\}|(\\S)\+)(\\b)?")
_NORMS = ("l1", "l2", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """The features of a vectorizer after some operations; each record becomes one vectorizer of the program."""

    analyzer: Analyzer
    operations: tuple[ValueOp, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Selected features of a vectorizer, with a factor `scale` for each."""

    counted: _Counted
    selected: Ints
    scale: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTexts:
    """A column of texts before it meets a vectorizer."""

    index: int


class TextFeatures(Sequence[Feature]):
    """The output of a step that reads texts: n-grams, which are too many to be single features, and dense features."""

    def __init__(self, parts: Sequence[TextPart | RawTexts | list[Feature]]) -> None:
        self.parts = list(parts)

    def __len__(self) -> int:
        return sum(map(_part_width, self.parts))

    def __getitem__(self, index: Any) -> Any:
        raise NotApplicable("a step that reads single n-grams cannot be compiled to a text program")

    def __iter__(self) -> Iterator[Feature]:
        raise NotApplicable("a step that reads single n-grams cannot be compiled to a text program")


def _part_width(part: TextPart | RawTexts | list[Feature]) -> int:
    return len(part.selected) if isinstance(part, TextPart) else 1 if isinstance(part, RawTexts) else len(part)


def text_program(model: Any, *, columns: ModelColumns | None, width: int, texts: Sequence[int]) -> bytes:
    """Compile a fitted estimator to an artifact of engine `text`.

    Parameters
    ----------
    model : estimator
        Its first step reads a list of texts, or a table with `width` columns.
    columns : ModelColumns or None
        Columns of the table; None if the columns without texts are numbers.
    width : int
        Number of columns.
    texts : sequence of int
        Columns that are texts, in order.

    Raises
    ------
    NotApplicable
        With the name of the step that a program cannot express.
    """
    builder, others = TextBuilder(width), input_features(width, columns)
    features: list[Any] = [
        RawTexts(index=list(texts).index(index)) if index in texts else others[index] for index in range(width)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # steps are called with single values, without column names
        if trees.is_tree_model(trees.final_step(model)):
            return _with_forest(trees.flat_steps(model), _as_features(features), builder, texts)
        scores = emit_scores(model, _as_features(features), builder)
        return write_text_program(builder.program(scores, texts=texts))


def _with_forest(steps: Sequence[Any], features: Any, builder: TextBuilder, texts: Sequence[int]) -> bytes:
    """Return a program whose answers are the columns that the trees of the last step read, and these trees."""
    *before, last = steps
    for step in before:
        features = transform_features(step, features, builder)
    forest = trees.model_forest(last)
    if len(features) != forest.width or forest.zero_as_missing or not np.isnan(forest.missing):
        raise NotApplicable("its trees treat another value than NaN as missing, and texts precede them")
    used = np.unique(np.concatenate([[0], *(tree.feature for tree in forest.trees)])).astype(np.int64)
    values = builder.values(features, used)
    if isinstance(last, InnerModel) and np.isnan(last.absent) and fold.is_sparse(before):
        if builder.may_cancel:
            raise NotApplicable(f"signed hashes before a model of {last.engine}, to which a sum of 0 is not missing")
        emitter = builder.emitter
        absent = emitter.emit("Equal", values.name, emitter.constant(0.0))
        values = GraphArray(emitter.emit("Where", absent, emitter.constant(np.nan), values.name), values.width)
    program = write_text_program(builder.program(values, texts=texts))
    compiled = compile_forest(_over_columns(forest, used))
    inner = [NestedModel(engine=name, size_bytes=len(c)) for name, c in (("text", program), ("trees", compiled))]
    return pack_models(NestedHeader(models=tuple(inner)), program, compiled)


def _over_columns(forest: Forest, used: Ints) -> Forest:
    """Return a forest over only these columns."""
    index = {int(column): number for number, column in enumerate(used)}
    return replace(
        forest,
        width=len(used),
        trees=tuple(replace(tree, feature=np.searchsorted(used, tree.feature)) for tree in forest.trees),
        finite_columns=tuple(index[column] for column in forest.finite_columns if column in index),
        required_columns=tuple(index[column] for column in forest.required_columns if column in index),
    )


def _as_features(columns: Sequence[Any]) -> Any:
    """Return columns as features: a plain list, unless some are texts."""
    if not any(isinstance(column, RawTexts) for column in columns):
        return list(columns)
    return TextFeatures([column if isinstance(column, RawTexts) else [column] for column in columns])


@dataclass(slots=True)
class _Request:
    """Rows of weights that one vectorizer adds to sums from `start` on."""

    start: int
    features: Ints
    weights: Floats


@dataclass(slots=True)
class _Requests:
    """All requests of one vectorizer."""

    counted: _Counted
    requests: list[_Request] = field(default_factory=list)

    def vectorizer(self) -> TextVectorizer:
        """Return the vectorizer, with its weights of all requests side by side."""
        start = min(request.start for request in self.requests)
        end = max(request.start + request.weights.shape[1] for request in self.requests)
        used = np.unique(np.concatenate([request.features for request in self.requests]))
        weights = np.zeros((len(used), end - start))
        for request in self.requests:
            rows = np.searchsorted(used, request.features)
            weights[rows, request.start - start : request.start - start + request.weights.shape[1]] += request.weights
        features = self.counted.analyzer.features
        row_of = None
        if len(used) < features:
            row_of = np.full(features, -1, np.int32)
            row_of[used] = np.arange(len(used))
        return TextVectorizer(
            analyzer=self.counted.analyzer,
            operations=self.counted.operations,
            weights=weights,
            row_of=row_of,
            out=start,
            width=end - start,
        )


@dataclass(slots=True)
class _Values:
    """Features of a vectorizer that are copied to sums from `start` on."""

    counted: _Counted
    selected: Ints
    start: int

    def vectorizer(self) -> TextVectorizer:
        """Return the vectorizer, which has no weights."""
        row_of = np.full(self.counted.analyzer.features, -1, np.int32)
        row_of[self.selected] = np.arange(len(self.selected))
        return TextVectorizer(
            analyzer=self.counted.analyzer,
            operations=self.counted.operations,
            weights=None,
            row_of=row_of,
            out=self.start,
            width=len(self.selected),
        )


class TextBuilder(GraphBuilder):
    """A builder of graphs whose first arrays are sums over the n-grams of texts."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self._by_vectorizer: dict[int, _Requests] = {}
        self._values: list[_Values] = []
        self._sums: list[Floats] = []

    def linear(self, features: Any, weights: Floats, bias: Floats) -> GraphArray:
        """Emit features @ weights + bias; weights [features, k], bias [k]."""
        if not isinstance(features, TextFeatures):
            return super().linear(features, weights, bias)
        weights = np.asarray(weights, np.float64).reshape(len(features), -1)
        names, at, start = [self._sum_name(len(self._sums))], 0, sum(map(len, self._sums))
        self._sums.append(np.broadcast_to(np.asarray(bias, np.float64), weights.shape[1:]).copy())
        for part in features.parts:
            own = weights[at : at + _part_width(part)]
            at += len(own)
            if isinstance(part, TextPart):
                self._add_request(start, part, own)
            elif isinstance(part, list):
                names.append(super().linear(part, own, np.zeros(own.shape[1])).name)
            else:
                raise NotApplicable("a model that reads texts without a vectorizer cannot be compiled to a program")
        return GraphArray(add_all(self.emitter, names), weights.shape[1])

    def _add_request(self, start: int, part: TextPart, weights: Floats) -> None:
        used = np.flatnonzero(weights.any(axis=1) & (part.scale != 0))
        request = _Request(start=start, features=part.selected[used], weights=weights[used] * part.scale[used, None])
        known = self._by_vectorizer.setdefault(id(part.counted), _Requests(counted=part.counted))
        known.requests.append(request)

    @staticmethod
    def _sum_name(number: int) -> str:
        return f"text{number}"

    @property
    def may_cancel(self) -> bool:
        """Return whether counts of a text may have the sum 0, since hashes have signs."""
        analyzers = [values.counted.analyzer for values in self._values]
        return any(analyzer.hashed and analyzer.alternate_sign for analyzer in analyzers)

    def values(self, features: Any, indices: Ints) -> GraphArray:
        """Emit the values of features by index [n, indices]."""
        picked = self.pick(features, indices)
        if not isinstance(picked, TextFeatures):
            return self.dense(picked)
        arrays = [
            self._part_values(part) if isinstance(part, TextPart) else self.dense(part)  # type: ignore[arg-type]
            for part in picked.parts
            if _part_width(part)
        ]
        return self.emitter.concat(arrays)

    def _part_values(self, part: TextPart) -> GraphArray:
        operations, features = part.counted.operations, part.counted.analyzer.features
        if (part.scale != 1).any():
            operations = (*operations, ValueOp(name="scale", values=_factors(part, features)))
        counted = replace(part.counted, operations=operations)
        self._values.append(_Values(counted=counted, selected=part.selected, start=sum(map(len, self._sums))))
        self._sums.append(np.zeros(len(part.selected)))
        return GraphArray(self._sum_name(len(self._sums) - 1), len(part.selected))

    def program(self, scores: GraphArray, *, texts: Sequence[int]) -> TextProgram:
        """Return the program whose answer is `scores`."""
        requests: list[_Requests | _Values] = [*self._by_vectorizer.values(), *self._values]
        if not requests:
            raise NotApplicable("the model reads no texts")
        name, operations = scores.name, tuple(self.emitter.operations)
        if self._requests.bias:
            graph = self.finish(scores)
            name, operations = SCORES, graph.operations
        if self.emitter.forests:
            raise NotApplicable("a forest over a table inside a model of texts cannot be compiled to a program")
        sums = {self._sum_name(number): len(bias) for number, bias in enumerate(self._sums)}
        lowered = lower_operations(
            operations, self.emitter.constants, width=self.width, sums=sums, answer=name, outputs=scores.width
        )
        bias = np.concatenate(self._sums)
        return TextProgram(
            texts=tuple(texts),
            width=self.width,
            outputs=scores.width,
            output_offset=lowered.answer,
            size=lowered.size,
            sums=len(bias),
            vectorizers=tuple(request.vectorizer() for request in requests),
            steps=np.array(lowered.steps, np.int32).reshape(-1, 8),
            pool=np.concatenate([bias, *lowered.pool]),
            indices=np.array(lowered.indices, np.int32),
        )

    def pick(self, features: Any, indices: Any) -> Any:
        """Return features by index."""
        if not isinstance(features, TextFeatures):
            return super().pick(features, indices)
        if (np.diff(indices) <= 0).any():
            raise NotApplicable("n-grams that a step repeats or reorders cannot be compiled to a text program")
        return TextFeatures(list(_selected(features, indices)))

    def above(self, features: Any, threshold: float) -> Any:
        """Return 1 for each feature above a threshold, else 0."""
        if not isinstance(features, TextFeatures):
            return super().above(features, threshold)
        return TextFeatures([self._above(part, threshold) for part in features.parts])

    def _above(self, part: Any, threshold: float) -> Any:
        if isinstance(part, list):
            return super().above(part, threshold)
        if threshold < 0:
            raise NotApplicable("a threshold below 0 over n-grams cannot be compiled to a text program")
        return _changed(part, ValueOp(name="above", values=np.array([threshold], np.float64)))

    def read_step(self, step: Any, features: Any) -> Any:
        """Return the features that a step makes of texts; None for a step over a table."""
        if not isinstance(features, TextFeatures):
            return None
        if isinstance(step, Pipeline):
            for _, inner in step.steps:
                features = transform_features(inner, features, self)  # type: ignore[arg-type]
            return features
        if isinstance(step, FeatureUnion):
            return _merge(self._union(step, features))
        if isinstance(step, ColumnTransformer):
            return _merge(self._columns(step, features))
        if isinstance(step, _VECTORIZERS):
            return _vectorized(step, features)
        return _sparse_step(step, features, self)

    def _union(self, step: Any, features: TextFeatures) -> Iterator[Any]:
        weights = step.transformer_weights or {}
        for name, transformer in step.transformer_list:
            if not (isinstance(transformer, str) and transformer == "drop"):
                yield _weighted(transform_features(transformer, features, self), float(weights.get(name, 1.0)))  # type: ignore[arg-type]

    def _columns(self, step: Any, features: TextFeatures) -> Iterator[Any]:
        inputs, weights = step._transformer_to_input_indices, step.transformer_weights or {}
        columns = [part[0] if isinstance(part, list) else part for part in features.parts]
        for name, transformer, _ in step.transformers_:
            indices = inputs.get(name, ())
            if len(indices) == 0 or (isinstance(transformer, str) and transformer == "drop"):
                continue
            made = transform_features(transformer, _as_features([columns[int(index)] for index in indices]), self)
            yield _weighted(made, float(weights.get(name, 1.0)))


def _merge(found: Iterator[Any]) -> Any:
    """Concatenate the features of several transformers."""
    parts: list[Any] = [part for made in found for part in (made.parts if isinstance(made, TextFeatures) else [made])]
    if all(isinstance(part, list) for part in parts):
        return [feature for part in parts for feature in part]
    return TextFeatures(parts)


def _weighted(made: Any, weight: float) -> Any:
    if weight == 1:
        return made
    parts = made.parts if isinstance(made, TextFeatures) else [made]
    return TextFeatures([_scaled(part, np.full(_part_width(part), weight)) for part in parts])


def _vectorized(step: Any, features: TextFeatures) -> TextFeatures:
    """Return the features of a vectorizer over one column of texts."""
    if len(features.parts) != 1 or not isinstance(features.parts[0], RawTexts):
        raise NotApplicable(f"{type(step).__name__} over more than one column of texts cannot be compiled to a program")
    analyzer = read_analyzer(step, features.parts[0].index)
    operations = [ValueOp(name="present")] if step.binary else []
    if isinstance(step, HashingVectorizer) and step.norm is not None:
        operations.append(ValueOp(name=step.norm))
    counted = _Counted(analyzer=analyzer, operations=tuple(operations))
    part = TextPart(counted=counted, selected=np.arange(analyzer.features), scale=np.ones(analyzer.features))
    return _tfidf(step._tfidf, part) if isinstance(step, TfidfVectorizer) else TextFeatures([part])


def _tfidf(step: Any, part: TextPart) -> TextFeatures:
    if step.sublinear_tf:
        if part.counted.analyzer.hashed and part.counted.analyzer.alternate_sign:
            raise NotApplicable("TfidfTransformer with sublinear_tf over signed hashes cannot be compiled to a program")
        part = _changed(part, ValueOp(name="sublinear"))
    if hasattr(step, "idf_"):
        part = _scaled(part, np.asarray(step.idf_, np.float64))
    if step.norm is not None:
        part = _changed(part, ValueOp(name=step.norm))
    return TextFeatures([part])


def _scaled(part: Any, factors: Floats) -> Any:
    if isinstance(part, list):
        return [affine_feature(one, by, 0.0, times(by)) for one, by in zip(part, factors.tolist(), strict=True)]
    if not isinstance(part, TextPart):
        raise NotApplicable("a factor for texts without a vectorizer cannot be compiled to a text program")
    return replace(part, scale=part.scale * factors)


def _changed(part: Any, operation: ValueOp) -> TextPart:
    """Return a part after an operation that reads all values of a text: factors and selection come before it."""
    if not isinstance(part, TextPart):
        raise NotApplicable(f"{operation.name!r} over texts without a vectorizer cannot be compiled to a text program")
    operations, features = part.counted.operations, part.counted.analyzer.features
    if len(part.selected) < features or (part.scale != 1).any():
        operations = (*operations, ValueOp(name="scale", values=_factors(part, features)))
    counted = replace(part.counted, operations=(*operations, operation))
    return replace(part, counted=counted, scale=np.ones(len(part.selected)))


def _factors(part: TextPart, features: int) -> Floats:
    """Return the factor of each feature of a vectorizer, 0 for one that is not selected."""
    factors = np.zeros(features)
    factors[part.selected] = part.scale
    return factors


def _sparse_step(step: Any, features: TextFeatures, builder: TextBuilder) -> Any:
    """Return the output of a step over sparse rows."""
    name, only = type(step).__name__, features.parts[0] if len(features.parts) == 1 else None
    if isinstance(step, FunctionTransformer) and step.func is None:
        return features
    if isinstance(step, SelectorMixin):
        return builder.pick(features, step.get_support(indices=True))
    if type(step) in (MaxAbsScaler, RobustScaler, StandardScaler):
        return _rescaled(features, step)
    if type(step) in (TfidfTransformer, Normalizer):
        if not isinstance(only, TextPart):
            raise NotApplicable(f"{name} over several vectorizers together cannot be compiled to a text program")
        return _tfidf(step, only) if isinstance(step, TfidfTransformer) else TextFeatures([_normalized(only, step)])
    if type(step) is Binarizer:
        return builder.above(features, step.threshold)
    if type(step) is TruncatedSVD:
        return project_features(step, features, builder)  # type: ignore[arg-type]
    raise NotApplicable(f"{name} over texts cannot be compiled to a text program")


def _normalized(part: TextPart, step: Any) -> TextPart:
    return _changed(part, ValueOp(name=step.norm))


def _selected(features: TextFeatures, indices: Ints) -> Iterator[Any]:
    at = 0
    for part in features.parts:
        own = indices[(indices >= at) & (indices < at + _part_width(part))] - at
        at += _part_width(part)
        if isinstance(part, TextPart):
            yield replace(part, selected=part.selected[own], scale=part.scale[own])
        elif isinstance(part, list):
            yield [part[int(index)] for index in own]
        else:
            raise NotApplicable("a selector over texts without a vectorizer cannot be compiled to a text program")


def _rescaled(features: TextFeatures, step: Any) -> TextFeatures:
    if getattr(step, "with_mean", False) or getattr(step, "with_centering", False):
        raise NotApplicable(f"{type(step).__name__} that centers n-grams cannot be compiled to a text program")
    found, at = [], 0
    factors = np.ones(len(features)) if step.scale_ is None else 1 / np.asarray(step.scale_, np.float64)
    for part in features.parts:
        found.append(_scaled(part, factors[at : at + _part_width(part)]))
        at += _part_width(part)
    return TextFeatures(found)


def read_analyzer(step: Any, column: int) -> Analyzer:
    """Return the analyzer of a fitted vectorizer; raise NotApplicable, with the parameter, for one with own code."""
    name = type(step).__name__
    for parameter in ("tokenizer", "preprocessor"):
        if getattr(step, parameter) is not None:
            raise NotApplicable(f"{name} with its own {parameter} cannot be compiled to a text program")
    if step.analyzer not in ("word", "char", "char_wb"):
        raise NotApplicable(f"{name} with its own analyzer cannot be compiled to a text program")
    if step.strip_accents not in (None, "ascii", "unicode"):
        raise NotApplicable(f"{name} with its own strip_accents cannot be compiled to a text program")
    if step.input != "content":
        raise NotApplicable(f"{name} that reads files (input={step.input!r}) cannot be compiled to a text program")
    low, high = (int(size) for size in step.ngram_range)
    if not 1 <= low <= high <= MAX_NGRAM:
        raise NotApplicable(f"{name} with ngram_range={step.ngram_range} cannot be compiled to a text program")
    token, min_length = read_token_pattern(step) if step.analyzer == "word" else ("word", 1)
    hashed = int(step.n_features) if isinstance(step, HashingVectorizer) else 0
    return Analyzer(
        column=column,
        kind=step.analyzer,
        ngram_range=(low, high),
        lowercase=bool(step.lowercase),
        strip_accents=step.strip_accents,
        token=token,
        min_length=min_length,
        stop_words=_encodable(sorted(step.get_stop_words() or ()), name) if step.analyzer == "word" else (),
        vocabulary=() if hashed else _vocabulary(step),
        hashed=hashed,
        alternate_sign=bool(getattr(step, "alternate_sign", True)),
    )


def read_token_pattern(step: Any) -> tuple[str, int]:
    """Return the characters of a token and its shortest length, for patterns of `\\w` and `\\S` alone."""
    found = _TOKENS.fullmatch(step.token_pattern)
    if found is None or bool(found[1]) != bool(found[5]) or (found[4] and found[1]):
        raise NotApplicable(
            f"{type(step).__name__} with token_pattern={step.token_pattern!r} cannot be compiled to a text program"
        )
    if found[4]:
        return "visible", 1
    length = int(found[3]) if found[3] else len(found[2] or "") // 2 + 1
    if length < 1:
        raise NotApplicable(f"{type(step).__name__} with empty tokens cannot be compiled to a text program")
    return "word", length


def _vocabulary(step: Any) -> tuple[str, ...]:
    terms: list[str] = [""] * len(step.vocabulary_)
    for term, index in step.vocabulary_.items():
        terms[int(index)] = term
    return _encodable(terms, type(step).__name__)


def _encodable(terms: Sequence[str], name: str) -> tuple[str, ...]:
    try:
        "".join(terms).encode()
    except UnicodeEncodeError as error:
        raise NotApplicable(f"{name} with lone surrogates in its words cannot be compiled to a program") from error
    return tuple(terms)
