"""Every layer of a network in int8 by NNCF, for the transform `openvino`: a file of its own, as its import takes seconds.

It is loaded after the engine, which keeps both libraries from telling their makers that they are used.
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

from headway.core.contracts import Workbench
from headway.core.errors import EngineError
from headway.core.plugins import load_engine
from headway.core.variant import Variant
from headway.variants.quantising.layers import net_of
from headway.variants.quantising.sample import rows_for

import nncf
import openvino

_ENGINE: Any = load_engine("openvino")
_ROWS = 300
_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, nncf.errors.InternalError)
