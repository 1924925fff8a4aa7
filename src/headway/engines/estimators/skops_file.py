"""Read and write fitted scikit-learn estimators as skops files, which hold data and run no code of their own.

A file names the classes that it needs; all allowed ones are listed here or by skops. `columns.json` next to the model
holds the columns of a row with the categories of those that are strings.
"""

from __future__ import annotations

import io
import json
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.exceptions import InconsistentVersionWarning
from skops import io as skops
from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

from headway.core.errors import EngineError
from headway.core.record import Record
from headway.core.variant import Field
from headway.engines.estimators.objects import SAFE_FUNCTIONS, walk_objects

_COLUMNS = "columns.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FAILURES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,  # RecursionError is one
    SyntaxError,
    TypeError,
    ValueError,  # errors of JSON and Unicode are some
    tokenize.TokenError,  # numpy reads the head of an array as Python
    zipfile.BadZipFile,
    zlib.error,
)
# Classes that fitted estimators hold and skops does not list; `_faults` checks those that index memory.
SAFE_CLASSES = frozenset(
    {
        "functools.partial",
        "headway.engines.estimators.encoders.SentenceEncoder",
        "headway.engines.estimators.inner.InnerClassifier",
        "headway.engines.estimators.inner.InnerMargins",
        "headway.engines.estimators.inner.InnerRegressor",
        "numpy.dtype",
        "scipy.interpolate._bsplines.BSpline",
        "scipy.sparse._csc.csc_array",
        "scipy.sparse._csc.csc_matrix",
        "scipy.sparse._csr.csr_array",
        "scipy.sparse._csr.csr_matrix",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)


class ModelColumns(Record, frozen=True, kw_only=True):
    """The columns of a row as the model receives them; a missing string is None in `none_columns`, else NaN."""

    inputs: tuple[Field, ...]
    none_columns: frozenset[int] = msgspec.field(default=frozenset(), name="none")


class SkopsModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was read, its columns if stored, and the scikit-learn version that wrote it, if another."""

    model: Any
    columns: ModelColumns | None
    made_by: str


def write_skops(model: object) -> bytes:
    """Return the bytes of a fitted estimator; the same object always gives the same bytes.

    Raises EngineError, which names the types, if a part of it cannot be stored as data.
    """
    try:
        content = skops.dumps(model)
        unknown = sorted(set(skops.get_untrusted_types(data=content)) - SAFE_CLASSES - SAFE_FUNCTIONS)
    except (UnsupportedTypeException, *_FAILURES) as error:
        raise EngineError(f"a {type(model).__name__} cannot be stored as data: {error}") from error
    if unknown:
        raise _untrusted(unknown)
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return _canonical({name: file.read(name) for name in file.namelist()})


def with_columns(content: bytes, columns: ModelColumns) -> bytes:
    """Return the bytes of a model together with the columns of a row."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        entries = {name: file.read(name) for name in file.namelist() if name != _COLUMNS}
    return _zipped({**entries, _COLUMNS: msgspec.json.encode(columns)})


def read_skops(content: bytes) -> SkopsModel:
    """Read a skops file; raise EngineError, with a hint, for a file that is damaged or not allowed."""
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            model = skops.loads(content, trusted=sorted(SAFE_CLASSES | SAFE_FUNCTIONS))
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            stored = file.read(_COLUMNS) if _COLUMNS in file.namelist() else None
        columns = msgspec.json.decode(stored, type=ModelColumns) if stored else None
        for fault in _faults(model):
            raise ValueError(fault)
    except UntrustedTypesFoundException as error:
        raise _untrusted(str(error).partition("[")[2].partition("]")[0].replace("'", "").split(", ")) from error
    except (msgspec.MsgspecError, *_FAILURES) as error:
        raise EngineError(
            f"these bytes are not a valid skops file: {error}", hint="skops.io.dump(model, 'model.skops')"
        ) from error
    return SkopsModel(model=model, columns=columns, made_by=sklearn_version(warned))


def read_trusted(content: bytes) -> object:
    """Return the model of a skops file with whatever types it names, which can run their code."""
    try:
        model: object = skops.loads(content, trusted=skops.get_untrusted_types(data=content))
    except (UntrustedTypesFoundException, *_FAILURES) as error:
        raise EngineError(f"these bytes are not a valid skops file: {error}") from error
    return model


def sklearn_version(warned: Iterable[warnings.WarningMessage]) -> str:
    """Return the scikit-learn version that wrote a model, from the warnings of opening it.

    Empty if it is the installed one.
    """
    messages = (warning.message for warning in warned if isinstance(warning.message, InconsistentVersionWarning))
    return next((str(message.original_sklearn_version) for message in messages), "")


def _untrusted(types: list[str]) -> EngineError:
    return EngineError(
        f"the model holds {', '.join(types)}, which a data-only file cannot hold",
        hint="leave that part out: import the estimator after it, with the rows that the part returns",
    )


def _canonical(entries: dict[str, bytes]) -> bytes:
    """Rewrite a skops file with counted ids and array names, which were memory addresses and differed at every run."""
    schema = json.loads(entries["schema.json"])
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}
    waiting = [schema]
    while waiting:
        here = waiting.pop()
        if isinstance(here, list):
            waiting += here
        elif isinstance(here, dict):
            if isinstance(here.get("__id__"), int):
                here["__id__"] = numbers.setdefault(here["__id__"], len(numbers) + 1)
            if isinstance(here.get("file"), str):
                here["file"] = names.setdefault(here["file"], f"{len(names)}{Path(here['file']).suffix}")
            waiting += here.values()
    arrays = {new: entries[old] for old, new in names.items()}
    return _zipped({**arrays, "schema.json": json.dumps(schema, separators=(",", ":")).encode()})


def _zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return buffer.getvalue()


def _faults(model: object) -> Iterator[str]:
    """Yield trees and sparse matrices whose indices point outside their arrays or columns.

    scikit-learn follows such indices unchecked, which crashes the process.
    """
    for path, value in walk_objects(model):
        inner = vars(value) if hasattr(value, "__dict__") else {}
        if type(inner.get("tree_")).__name__ == "Tree":
            yield from _tree_faults(inner["tree_"], inner.get("n_features_in_"), path)
        if isinstance(value, BaseForest | BaseGradientBoosting):
            for tree in np.ravel(np.array(inner.get("estimators_", []), dtype=object)):
                yield from _tree_faults(getattr(tree, "tree_", None), inner.get("n_features_in_"), path)
        if "_predictors" in inner:
            for predictor in np.ravel(np.array(inner["_predictors"], dtype=object)):
                yield from _predictor_faults(predictor, inner.get("_n_features"), path)
        if type(value).__name__ in ("KDTree", "BallTree"):
            yield from _neighbour_faults(value, path)
        if type(value).__name__ in ("csc_array", "csc_matrix", "csr_array", "csr_matrix"):
            yield from _sparse_faults(value, path)


def _tree_faults(tree: Any, width: object, path: str) -> Iterator[str]:
    if tree is None:
        return
    if tree.node_count > tree.capacity or tree.n_features != width:
        yield f"{path}: a tree of {tree.node_count} nodes and {tree.n_features} columns does not fit its model"
        return
    inner = tree.children_left != -1
    ends = np.column_stack([tree.children_left, tree.children_right])[inner]
    yield from _node_faults(np.flatnonzero(inner), ends, tree.feature[inner], (tree.node_count, tree.n_features), path)


def _predictor_faults(predictor: Any, width: object, path: str) -> Iterator[str]:
    nodes = predictor.nodes
    at = np.flatnonzero(~nodes["is_leaf"].astype(bool))
    inner = nodes[at]
    ends = np.column_stack([inner["left"], inner["right"]]).astype(np.int64)
    sets = inner["bitset_idx"][inner["is_categorical"].astype(bool)].astype(np.int64)
    known = min(len(predictor.raw_left_cat_bitsets), len(predictor.binned_left_cat_bitsets))
    if len(sets) and sets.max() >= known:
        yield f"{path}: a tree reads a category set that does not exist"
    yield from _node_faults(at, ends, inner["feature_idx"].astype(np.int64), (len(nodes), int(str(width))), path)


def _node_faults(at: Any, ends: Any, feature: Any, limits: tuple[int, int], path: str) -> Iterator[str]:
    """Check that children come after their parent, so that every path ends.

    `limits` are the counts of nodes and columns.
    """
    if not limits[0] or np.any(ends <= at[:, None]) or np.any(ends >= limits[0]):
        yield f"{path}: a tree with a node that does not exist"
    if np.any(feature < 0) or np.any(feature >= limits[1]):
        yield f"{path}: a tree that reads a column which does not exist"


def _sparse_faults(matrix: Any, path: str) -> Iterator[str]:
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        yield f"{path}: a sparse matrix that points outside its data ({error})"


def _neighbour_faults(tree: Any, path: str) -> Iterator[str]:
    data, order, nodes, _ = tree.get_arrays()
    inside = (order >= 0) & (order < len(data))
    spans = (nodes["idx_start"] >= 0) & (nodes["idx_start"] <= nodes["idx_end"]) & (nodes["idx_end"] <= len(order))
    if not inside.all() or not spans.all():
        yield f"{path}: a neighbour tree that points outside its data"
