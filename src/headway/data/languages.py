"""Languages of texts, and slices by them: `[data] slices = ["message.language"]` for a column `message` of texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from headway.core.arrays import Bools
from headway.core.dataset import Roles
from headway.core.plugins import load_sibling
from headway.data.roles import text_of_language

UNCERTAIN = "uncertain"
"""Slice of texts whose language is not known, most of them very short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedLanguages:
    """The language of each of n texts as a code of ISO 639, null if it is uncertain, and those it may have then."""

    codes: pl.Series
    possible: list[frozenset[str]]

    def may_be(self, language: str) -> Bools:
        """Return which texts are, or may be, in a language, bool (n,)."""
        return np.array([not codes or language in codes for codes in self.possible], dtype=np.bool_)


def detect_languages(texts: pl.Series) -> DetectedLanguages:
    """Detect the language of each text; a missing text may have any.

    Raises
    ------
    PluginError
        If the library of the extra `languages` is absent.
    """
    guess = load_sibling(__name__, "languages", reads="the language of a text").guess_language
    guesses = [guess(text or "") for text in texts.cast(pl.String).to_list()]
    codes = pl.Series(texts.name, [one.language for one in guesses], dtype=pl.String)
    return DetectedLanguages(codes=codes, possible=[one.possible for one in guesses])


def slice_values(table: pl.DataFrame, roles: Roles, name: str) -> pl.Series:
    """Return the values of a slice: a column, or the languages of a column of texts.

    Raises
    ------
    PluginError
        If a slice is by language, and the library of the extra `languages` is absent.
    """
    text = text_of_language(name, roles.text)
    if not text or name in table.columns:
        return table[name]
    codes = detect_languages(table[text]).codes.fill_null(UNCERTAIN)
    return pl.select(pl.when(table[text].is_not_null()).then(codes)).to_series().alias(name)
