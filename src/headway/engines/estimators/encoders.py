"""A sentence encoder as a step of a scikit-learn pipeline; its state is data, so a release can hold it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from headway.core.arrays import Floats
from headway.core.plugins import load_engine


class SentenceEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns texts into vectors. `headway.load_encoder` makes one from a folder.

    Parameters
    ----------
    content : bytes
        The encoder as `engines/formats/encoder.py` packs it.
    """

    def __init__(self, content: bytes = b"") -> None:
        self.content = content

    def fit(self, texts: Any, y: Any = None) -> Self:
        """Return self: an encoder learns nothing here."""
        return self

    def transform(self, texts: Any) -> Floats:
        """Return the vectors of texts, float64 (n, width): a sequence, or a table with one column of them."""
        values = texts.iloc[:, 0] if getattr(texts, "ndim", 1) == 2 and hasattr(texts, "iloc") else texts
        found = np.ravel(np.asarray(values, dtype=object)).tolist()
        vectors: Floats = _opened(self.content).encode(found).astype(np.float64)
        return vectors

    encode = transform

    def __sklearn_clone__(self) -> Self:
        """Return self, which no fit changes."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: it is always fitted."""
        return True

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        """Return a name without the bytes."""
        return f"SentenceEncoder({len(self.content):,} bytes)"


@lru_cache(maxsize=4)
def _opened(content: bytes) -> Any:
    return load_engine("encoder")(content, {})
