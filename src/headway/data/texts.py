"""Words of texts."""

from __future__ import annotations

import re

import numpy as np

from headway.core.arrays import Floats
from headway.core.texts import text_codes
from headway.core.variant import Signature

_WORD = re.compile(r"\w\w+")


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case: two or more letters, digits or underscores.

    >>> words_of("Where is my parcel no. 4?")
    ['where', 'is', 'my', 'parcel', 'no']
    """
    return _WORD.findall(text.lower())


def word_counts(codes: Floats) -> Floats:
    """Return the number of words of each text, float64 of shape (n,); NaN for a missing one."""
    return np.array([np.nan if text is None else len(words_of(text)) for text in text_codes.texts(codes)])


def text_columns(signature: Signature) -> tuple[int, ...]:
    """Return the positions of the columns that are texts."""
    return tuple(index for index, field in enumerate(signature.inputs) if field.is_text)
