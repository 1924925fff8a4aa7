"""Every layer of a network in int8 by NNCF, for the transform `nncf`; a file of its own, as its import is heavy.

The engine comes first: it keeps the libraries from telling their makers that they are used.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core.errors import EngineError
from headway.core.plugins import load_engine
from headway.core.variant import Variant
from headway.optimization.context import TransformContext
from headway.optimization.quantization.networks import calibration_rows, load_network, rows_with_answers

ENGINE: Any = load_engine("openvino")

import nncf  # noqa: E402
import openvino  # noqa: E402

Floats = NDArray[np.float64]

_MOST_ROWS = 1_000
# What is looked up in tables costs nothing to speak of, and NNCF 3.4 breaks (KeyError) on the positions of a BERT.
_LOOK_UPS = nncf.IgnoredScope(types=["Gather"], validate=False)
_FAILURES: tuple[type[Exception], ...] = (
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    *(kind for kind in vars(nncf.errors).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)  # the library's exceptions have no base of their own


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """The variant with an artifact for engine `openvino` in int8, calibrated on at most 1,000 rows of the sample.

    Raises EngineError where the library cannot quantise it.
    """
    content = context.read(variant)
    asked = load_engine("onnxruntime")(content, {})
    rows, _ = rows_with_answers(asked, calibration_rows(context.sample, load_network(content).work))
    try:
        with _silence():
            model = openvino.Core().read_model(content)
            fed = [list(feed.values()) for row in _some(rows) for feed, _ in ENGINE.feeds(model).batches(row)]
            small = nncf.quantize(model, nncf.Dataset(fed), subset_size=len(fed), ignored_scope=_LOOK_UPS)
            packed = ENGINE.packed(small)
    except _FAILURES as error:
        message = str(error).strip().partition("\n")[0]
        raise EngineError(
            f"NNCF cannot quantise the graph: {message}", hint='[optimize] transforms, without "nncf"'
        ) from error
    return [replace(variant, artifact=context.save(packed, "openvino"))]


def _some(rows: Floats) -> list[Floats]:
    """Rows one by one, spread over all of them."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(np.int64))
    return [rows[place : place + 1] for place in places]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The library draws its progress and logs its work."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
