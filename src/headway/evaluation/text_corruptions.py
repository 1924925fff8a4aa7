"""Corrupted texts: typos, case, truncation, white space, accents, and phrases that mean the same."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from headway.core.errors import DataError
from headway.core.texts import MAX_TEXT

ChangeText = Callable[[str], str]
Phrases = Sequence[tuple[str, str]]

TEXT_KINDS = ("typos", "case", "truncated", "spaces", "accents", "paraphrase")
LETTERS_A_TYPO = 10
PHRASES: Phrases = (
    ("can't", "cannot"),
    ("don't", "do not"),
    ("doesn't", "does not"),
    ("didn't", "did not"),
    ("won't", "will not"),
    ("i'm", "i am"),
    ("i've", "i have"),
    ("i'd like", "i want"),
    ("what's", "what is"),
    ("where's", "where is"),
    ("how's", "how is"),
    ("it's", "it is"),
    ("let me know", "inform me"),
    ("how do i", "how can i"),
    ("how can i", "what do i do to"),
    ("can you", "could you"),
    ("could you", "please"),
    ("i want to", "i would like to"),
    ("i need to", "i have to"),
    ("is there", "do you have"),
    ("please", "kindly"),
    ("thanks", "thank you"),
    ("hello", "hi"),
    ("hi", "good morning"),
    ("ich möchte", "ich will"),
    ("können sie", "könnten sie"),
    ("wie kann ich", "was muss ich tun, um"),
    ("danke", "vielen dank"),
    ("hallo", "guten tag"),
)
"""Phrases of messages in English and German, each with one that means the same."""
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SLIPS = 4


def text_changes(phrases: Mapping[str, Phrases]) -> dict[str, dict[str, ChangeText]]:
    """Return the changes of a text by kind of corruption, each with its name; `phrases` are tables by their name."""
    return {
        "typos": {"1 typo": partial(add_typos, count=1), f"1 typo in {LETTERS_A_TYPO} letters": add_typos},
        "case": {"upper case": str.upper, "lower case": str.lower},
        "truncated": {"first half of the words": _first_half, "first 5 words": _first_words},
        "spaces": {"doubled": _doubled_spaces, "one missing": _missing_space},
        "accents": {"without": remove_accents, "typographic quotes": _typographic},
        "paraphrase": {name: partial(paraphrase, table=_table(pairs)) for name, pairs in phrases.items()},
    }


def _neighbors() -> dict[str, str]:
    found = {}
    for row, keys in enumerate(_KEYS):
        for position, key in enumerate(keys):
            near = [(row, position - 1), (row, position + 1), (row - 1, position), (row - 1, position + 1)]
            near += [(row + 1, position - 1), (row + 1, position)]
            found[key] = "".join(_KEYS[r][c] for r, c in near if 0 <= r < len(_KEYS) and 0 <= c < len(_KEYS[r]))
    return found


NEIGHBORS = _neighbors()
"""The keys next to each key of a keyboard (QWERTY)."""


def add_typos(text: str, *, count: int | None = None) -> str:
    """Return a text with typos, always the same ones: `count`, or one in 10 letters.

    A letter is replaced by that of a neighboring key, left out, doubled, or swapped with the next character.
    """
    positions = [position for position, character in enumerate(text) if character.lower() in NEIGHBORS]
    if not positions:
        return text
    wanted = max(1, len(positions) // LETTERS_A_TYPO) if count is None else count
    draw = np.random.default_rng(crc32(text.encode("utf-8", "replace")))
    chosen = draw.choice(positions, min(wanted, len(positions)), replace=False).tolist()
    characters = list(text)
    for position, slip in zip(chosen, draw.integers(_SLIPS, size=len(chosen)).tolist(), strict=True):
        own = text[position]
        near = NEIGHBORS[own.lower()]
        other = near[int(draw.integers(len(near)))]
        swapped = text[position + 1] + own if position + 1 < len(text) else own + own
        characters[position] = (other.upper() if own.isupper() else other, "", own + own, swapped)[slip]
        if slip == _SLIPS - 1 and position + 1 < len(text):
            characters[position + 1] = ""
    return "".join(characters)


def remove_accents(text: str) -> str:
    """Return a text without accents: é is written as e.

    >>> remove_accents("Où est ma commande é à ñ?")
    'Ou est ma commande e a n?'
    """
    parts = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(part for part in parts if not unicodedata.combining(part)))


def paraphrase(text: str, *, table: tuple[re.Pattern[str], Mapping[str, str]]) -> str:
    """Replace every phrase of a table in a text, whatever its case."""
    pattern, pairs = table
    return pattern.sub(lambda match: pairs[match[0].lower()], text.replace("\u2019", "'"))


def read_paraphrases(path: Path) -> Phrases:
    """Read a csv file with the columns `phrase` and `paraphrase`.

    Raises
    ------
    DataError
        If the file cannot be read, has other columns or an empty phrase.
    """
    hint = "a csv file in UTF-8 with the columns phrase and paraphrase"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the paraphrases cannot be read: {error}", where=str(path), hint=hint) from error
    pairs = [((row.get("phrase") or "").strip(), (row.get("paraphrase") or "").strip()) for row in rows]
    wrong = next((number for number, pair in enumerate(pairs, 2) if not all(pair)), 2 if not pairs else None)
    if wrong is not None:
        raise DataError("a phrase or its paraphrase is missing", where=f"{path}, line {wrong}", hint=hint)
    return pairs


def _table(pairs: Phrases) -> tuple[re.Pattern[str], Mapping[str, str]]:
    phrases = sorted((phrase.lower().replace("\u2019", "'") for phrase, _ in pairs), key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, phrases))})(?!\w)", re.IGNORECASE)
    return pattern, {phrase.lower().replace("\u2019", "'"): other for phrase, other in pairs}


def _first_half(text: str) -> str:
    words = text.split()
    return " ".join(words[: (len(words) + 1) // 2])


def _first_words(text: str) -> str:
    return " ".join(text.split()[:5])


def _doubled_spaces(text: str) -> str:
    return f" {text.replace(' ', '  ')}\n"[:MAX_TEXT]


def _missing_space(text: str) -> str:
    positions = [position for position, character in enumerate(text) if character == " "]
    if not positions:
        return text
    position = positions[crc32(text.encode("utf-8", "replace")) % len(positions)]
    return text[:position] + text[position + 1 :]


def _typographic(text: str) -> str:
    return re.sub(r'"([^"]*)"', "\u201c\\1\u201d", text).replace("'", "\u2019").replace("...", "\u2026")
