"""Plain spelling of a text, in which personal data is searched, and the positions of its characters in the original."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

NOT_PLAIN = r"[^\t\n\r -~]"
"""What a text contains whose plain spelling may be another one."""
_search_other = re.compile(NOT_PLAIN).search
_DROPPED = frozenset(("Cf", "Cc", "Cs", "Mn", "Me"))
"""Categories without a glyph of their own: format and control characters, half surrogates and combining marks."""
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_MAX_PARTS = 6
"""Of a decomposed character; the few with more are Arabic phrases, which would make a text 18 times longer."""
_DOTS = frozenset("\u3002\u06d4")
_DASHES = frozenset("\u2212\u2043")


class PlainText:
    """A text in its plain spelling: compatibility forms, digits 0 to 9, no accents and no invisible characters.

    Each character is spelled on its own, so the work is linear in the length, and each has a place in the original.
    Case is kept: patterns that allow any case say so.

    >>> plain = PlainText("IBAN \uff24\uff25\u200b89")
    >>> plain.text, plain.original_span(5, 9)
    ('IBAN DE89', (5, 10))
    """

    __slots__ = ("_ends", "text")

    def __init__(self, original: str) -> None:
        self.text = original
        self._ends: list[int] | None = None
        if _search_other(original):
            spelled = [_plain_character(character) for character in original]
            self.text = "".join(spelled)
            self._ends = [index for index, letters in enumerate(spelled, 1) for _ in letters]

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Return where the characters from `start` to before `end` are in the original, which are at least one."""
        if self._ends is None:
            return start, end
        return self._ends[start] - 1, self._ends[end - 1]


@lru_cache(maxsize=4096)
def _plain_character(character: str) -> str:
    """Return the plain spelling of one character, "" for an invisible one."""
    decomposed = unicodedata.normalize("NFKD", character)
    if character in "\t\n\r" or len(decomposed) > _MAX_PARTS:
        return character
    return "".join(map(_plain_letter, decomposed))


def _plain_letter(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in _DROPPED or letter in _INVISIBLE_LETTERS:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category in ("Zs", "Zl", "Zp"):
        return " "
    if category == "Pd" or letter in _DASHES:
        return "-"
    return "." if letter in _DOTS else letter
