"""Words of texts."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

import numpy as np

from headway.core.arrays import Floats
from headway.core.texts import text_codes
from headway.core.variant import Signature

_WORD = re.compile(r"\w\w+")
UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Ranges of letters of Thai, Lao, Khmer, Japanese and Chinese, which put no spaces between words."""
_UNSPACED = re.compile(f"[{UNSPACED}]+")


def words_of(text: str, *, keep_case: bool = False) -> list[str]:
    """Return the words of a text, in lower case unless `keep_case`: two or more letters, digits or underscores.

    In a script without spaces between words, each two neighboring letters count as a word.

    >>> words_of("Where is my parcel no. 4?")
    ['where', 'is', 'my', 'parcel', 'no']
    >>> words_of("包裹在哪")
    ['包裹', '裹在', '在哪']
    """
    words: list[str] = _WORD.findall(text if keep_case else text.lower())
    return words if text.isascii() or not _UNSPACED.search(text) else [part for word in words for part in _pairs(word)]


def _pairs(word: str) -> list[str]:
    return [word[at : at + 2] for at in range(len(word) - 1)] if _UNSPACED.search(word) else [word]


def word_counts(codes: Floats) -> Floats:
    """Return the number of words of each text, float64 of shape (n,); NaN for a missing one."""
    different, rows = np.unique(codes, return_inverse=True)
    counts = [np.nan if text is None else len(words_of(text)) for text in text_codes.texts(different)]
    return np.array(counts)[rows]


def script_of(text: str) -> str:
    """Return the script of most letters of a text in lower case, "" without letters.

    >>> script_of("Where is my parcel?"), script_of("где моя посылка"), script_of("包裹在哪"), script_of("42 !")
    ('latin', 'cyrillic', 'cjk', '')
    """
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else ""
    scripts = Counter(_script(letter) for letter in text if letter.isalpha())
    return scripts.most_common(1)[0][0] if scripts else ""


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """Return the script of a letter: the first word of its name in Unicode."""
    return unicodedata.name(letter, "other").split()[0].lower()


def text_columns(signature: Signature) -> tuple[int, ...]:
    """Return the positions of the columns that are texts."""
    return tuple(index for index, field in enumerate(signature.inputs) if field.is_text)
