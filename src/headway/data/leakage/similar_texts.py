"""Find texts that are nearly equal: MinHash of character n-grams (Broder 1997), and a comparison of the candidates.

Texts are compared in their normal form, without case, white space and punctuation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Bools, Ints

N_GRAM, N_HASHES, N_BANDS = 4, 30, 10
MIN_JACCARD = 0.8
"""Smallest share of equal n-grams of two texts that are nearly equal."""
MAX_CHARACTERS = 2_000
"""Characters of a text that are compared."""
_CHUNK = 1_000
_LIKELY = MIN_JACCARD - 0.2
_NOT_WORDS = r"[\W_]+"
_DRAW = np.random.default_rng(0)
_FACTORS, _OFFSETS, _POWERS = (
    _DRAW.integers(1 << 63, size=size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    for size in (N_HASHES, N_HASHES, N_GRAM)
)
Signatures = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimilarTexts:
    """The index of a similar text of another sample for each text, -1 without one, and whether the normal forms equal.

    Both arrays have shape (n,).
    """

    source: Ints
    is_equal: Bools


def normal_form(texts: pl.Series) -> pl.Series:
    """Return texts in lower case with one space for white space and punctuation; null without a letter or digit."""
    found = texts.cast(pl.String).str.normalize("NFKC").str.to_lowercase()
    found = found.str.replace_all(_NOT_WORDS, " ").str.strip_chars().str.head(MAX_CHARACTERS)
    return pl.select(pl.when(found != "").then(found)).to_series().alias(texts.name)


def joined_texts(table: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """Return the texts of each row as one string, line by line."""
    return table.select(
        pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in names], separator="\n")
    ).to_series()


def find_similar(known: pl.Series, texts: pl.Series) -> SimilarTexts:
    """Return a nearly equal known text of each text; both in normal form.

    A pair is found if at least MIN_JACCARD of the n-grams of both are equal. Of such pairs about 1 in 100 is missed,
    and more where many known texts resemble each other: the count is a lower bound.
    """
    first = pl.DataFrame({"text": known, "source": np.arange(len(known))}).drop_nulls().unique("text", keep="first")
    joined = pl.DataFrame({"text": texts}).join(first, on="text", how="left", maintain_order="left")
    source = joined["source"].fill_null(-1).to_numpy().astype(np.int64)
    is_equal: Bools = source >= 0
    rest = np.flatnonzero(~is_equal & texts.is_not_null().to_numpy())
    if len(rest) and len(first):
        others, sources = texts.gather(rest).to_list(), first["source"].to_numpy()
        source[rest] = _find_near(first["text"].to_list(), others, sources)
    return SimilarTexts(source=source, is_equal=is_equal)


def _find_near(known: Sequence[str], texts: Sequence[str], sources: Ints) -> Ints:
    """Return the source of the known text that is most similar to each text; -1 if none is similar enough."""
    of_known, of_texts = _signatures(known), _signatures(texts)
    best, likely = np.full(len(texts), -1), np.zeros(len(texts))
    for candidates in _candidates(of_known, of_texts):
        rows = np.flatnonzero(candidates >= 0)
        equal = (of_known[candidates[rows]] == of_texts[rows]).mean(axis=1)
        better = equal > likely[rows]
        best[rows[better]], likely[rows[better]] = candidates[rows[better]], equal[better]
    for row in np.flatnonzero(likely >= _LIKELY).tolist():
        one, two = _grams(texts[row]), _grams(known[int(best[row])])
        if len(one & two) < MIN_JACCARD * len(one | two):
            best[row] = -1
    best[likely < _LIKELY] = -1
    return np.where(best >= 0, sources[best], -1)


def _candidates(known: Signatures, texts: Signatures) -> Iterator[Ints]:
    """Yield, for each band of hashes, the index of a known text with an equal band, -1 without one."""
    width = N_HASHES // N_BANDS
    for band in range(N_BANDS):
        keys = [_band_keys(signatures[:, band * width : (band + 1) * width]) for signatures in (known, texts)]
        first = pl.DataFrame({"key": keys[0], "known": np.arange(len(known))}).unique("key", keep="first")
        found = pl.DataFrame({"key": keys[1]}).join(first, on="key", how="left", maintain_order="left")["known"]
        yield found.fill_null(-1).to_numpy().astype(np.int64)


def _band_keys(band: Signatures) -> NDArray[np.uint64]:
    key = np.zeros(len(band), dtype=np.uint64)
    for column, factor in zip(band.T, _FACTORS, strict=False):
        key = (key ^ column) * factor
    return key


def _padded(text: str) -> str:
    return text if len(text) >= N_GRAM else text.ljust(N_GRAM)


def _grams(text: str) -> set[str]:
    text = _padded(text)
    return {text[at : at + N_GRAM] for at in range(len(text) - N_GRAM + 1)}


def _signatures(texts: Sequence[str]) -> Signatures:
    """Return the least hashes of the n-grams of each text, uint32 of shape (n, N_HASHES)."""
    found = np.empty((len(texts), N_HASHES), dtype=np.uint32)
    for start in range(0, len(texts), _CHUNK):
        chunk = [_padded(text) for text in texts[start : start + _CHUNK]]
        letters = np.frombuffer("".join(chunk).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        lengths = np.array([len(text) for text in chunk])
        inside = np.ones(len(letters), dtype=np.bool_)
        for behind in range(1, N_GRAM):
            inside[np.cumsum(lengths) - behind] = False
        width = len(letters) - N_GRAM + 1
        grams = np.zeros(width, dtype=np.uint64)
        for at, power in enumerate(_POWERS):
            grams += letters[at : at + width] * power
        grams = grams[inside[:width]]
        grams ^= grams >> np.uint64(29)
        starts = np.cumsum(lengths - N_GRAM + 1) - (lengths - N_GRAM + 1)
        for number, (factor, offset) in enumerate(zip(_FACTORS, _OFFSETS, strict=True)):
            hashes = ((grams * factor + offset) >> np.uint64(32)).astype(np.uint32)
            found[start : start + len(chunk), number] = np.minimum.reduceat(hashes, starts)
    return found
