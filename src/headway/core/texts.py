"""Texts as numbers: a row holds the number of a text in a table of this process, next to the numbers of its columns.

Queues, batches, slices and shuffles of rows need not know that a column is a text. The numbers mean nothing in another
process: whatever leaves this one has the texts themselves.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from headway.core.errors import DataError

if TYPE_CHECKING:
    from headway.core.contracts import Floats

MAX_ENTITY = 1_024
"""Most characters of an entity of a feature view."""
MAX_TEXT = 65_536
"""Most characters of a text that a model reads."""
_MAX_TEXTS, _MAX_CHARACTERS = 1 << 17, 1 << 24
_EXACT = 2**53


class BeyondExact(DataError):
    """A number of an INT64 or UINT64 input is at the end of the range: by its double it may fit or not."""


class TextForgotten(DataError):
    """The text of a number was forgotten, because far too many texts were read since."""


class TextCodes(dict[object, float]):
    """Numbers that stand for texts while these are in rows.

    A text gets a number the first time, and keeps it while it is used. Texts are forgotten once many others have come
    since, long after the requests that brought them were answered; those of a dataset are kept (`keep`).

    Parameters
    ----------
    max_length : int
        Most characters of a text.
    max_texts : int
        Number of texts after which older ones are forgotten.
    integers : bool
        Whether an integer is read as the text of its digits.
    """

    def __init__(self, *, max_length: int = MAX_TEXT, max_texts: int = _MAX_TEXTS, integers: bool = False) -> None:
        super().__init__()
        self.integers, self.grows = integers, True  # as the reader in C asks
        self._max_length, self._max_texts = max_length, max_texts
        self._lock = threading.Lock()
        self._texts: dict[float, str] = {}
        self._former: tuple[dict[object, float], dict[float, str]] = ({}, {})
        self._kept: tuple[dict[object, float], dict[float, str]] = ({}, {})
        # A number of another process is not found here, rather than found as another text.
        self._next, self._characters = float(1 + secrets.randbelow(1 << 20) << 32), 0

    def __missing__(self, value: object) -> float:
        if isinstance(value, str):
            if len(value) > self._max_length:
                raise DataError(
                    f"a text has {len(value):,} characters, at most {self._max_length:,} are allowed",
                    hint="shorten it",
                )
            with self._lock:
                return self._add(value)
        if value is None or value != value:
            return float("nan")
        if not self.integers:
            raise TypeError(value)
        return self[_digits(value)]

    def keep(self, texts: Iterable[str | None]) -> list[float]:
        """Return the numbers of the texts of a dataset, which are kept until the process ends.

        Raises
        ------
        DataError
            If a text is too long.
        """
        codes, texts_of = self._kept
        found: list[float] = []
        for text in texts:
            code = float("nan") if text is None else codes.get(text)
            if code is None:
                code = codes[text] = self[text]
                texts_of[code] = str(text)
            found.append(code)
        return found

    def texts(self, codes: Floats) -> list[str | None]:
        """Return the texts of numbers, float64 of shape (n,); None for a missing one.

        Raises
        ------
        TextForgotten
            If a text was forgotten.
        """
        known = self._texts
        try:
            return [known[code] if code == code else None for code in codes.tolist()]
        except KeyError:
            return [self._former_text(code) if code == code else None for code in codes.tolist()]

    def _former_text(self, code: float) -> str:
        for texts in (self._texts, self._former[1], self._kept[1]):
            text = texts.get(code)
            if text is not None:
                return text
        raise TextForgotten("too many different texts are read at once", hint="read fewer rows at a time")

    def _add(self, text: str) -> float:
        if len(self) >= self._max_texts or self._characters >= _MAX_CHARACTERS:
            self._former = dict(self), self._texts
            self._texts, self._characters = {}, 0
            self.clear()
        code = self._former[0].get(text) or self._kept[0].get(text)
        if code is None:
            code = self._next
            self._next += 1.0
        self._texts[code] = text  # before the number can be found
        self[text] = code
        self._characters += len(text)
        return code


entity_codes = TextCodes(max_length=MAX_ENTITY, integers=True)
"""Entities and other strings of requests that feature views read."""
text_codes = TextCodes()
"""Texts that models read. A request that two models read has the same numbers for both."""


def _digits(value: object) -> str:
    """Return the digits of an integer, in JSON perhaps a float; raise TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError(value)
    if isinstance(value, float) and abs(value) >= _EXACT:
        raise BeyondExact(f"the integer {value:g} has more digits than a double")
    return str(int(value))
