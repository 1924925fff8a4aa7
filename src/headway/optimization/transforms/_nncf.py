"""Quantize every layer of a network to int8 with NNCF, for the transform `nncf`; apart, as its import is heavy.

The engine is imported first: it disables the telemetry of the libraries.
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

from headway.core.arrays import Floats
from headway.core.errors import EngineError
from headway.core.plugins import load_engine
from headway.core.variant import Variant
from headway.optimization.context import TransformContext
from headway.optimization.quantization.networks import calibration_rows, load_network, rows_with_answers

ENGINE: Any = load_engine("openvino")

import nncf  # noqa: E402
import openvino  # noqa: E402

_MAX_ROWS = 1_000
# Look-ups cost next to nothing, and NNCF 3.4 raises KeyError for the positions of a BERT.
_LOOK_UPS = nncf.IgnoredScope(types=["Gather"], validate=False)
# The library's exceptions have no common base class.
_FAILURES: tuple[type[Exception], ...] = (
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    *(kind for kind in vars(nncf.errors).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant as an int8 artifact of engine `openvino`, calibrated on at most 1,000 rows of the sample.

    Raises EngineError if NNCF cannot quantize the graph.
    """
    content = context.read(variant)
    engine = load_engine("onnxruntime")(content, {})
    rows, _ = rows_with_answers(engine, calibration_rows(context.sample, load_network(content).work))
    try:
        with _silence():
            model = openvino.Core().read_model(content)
            batches = [
                list(feed.values()) for row in _single_rows(rows) for feed, _ in ENGINE.feeds(model).batches(row)
            ]
            small = nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches), ignored_scope=_LOOK_UPS)
            packed = ENGINE.packed(small)
    except _FAILURES as error:
        message = str(error).strip().partition("\n")[0]
        raise EngineError(
            f"NNCF cannot quantize the graph: {message}", hint='[optimize] transforms, without "nncf"'
        ) from error
    return [replace(variant, artifact=context.save(packed, "openvino"))]


def _single_rows(rows: Floats) -> list[Floats]:
    """Return single rows, evenly spaced."""
    indices = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MAX_ROWS)).astype(np.int64))
    return [rows[index : index + 1] for index in indices]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence the progress bars and logs of the library."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
