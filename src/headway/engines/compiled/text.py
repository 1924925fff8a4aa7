"""Open a text program in headway's kernel, and score texts with it: in C, without the GIL, for one text or a batch."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.errors import EngineError
from headway.core.record import Settings
from headway.engines.compiled.artifact import instruction_level, load_kernels
from headway.engines.formats.text import read_text_program

_CACHE_LINE = 64


class TextModel:
    """A text program, ready to score.

    `texts` are the columns of a row that are texts, of `width`. Setting `level` is "avx512", "avx2", on ARM "neon",
    or "portable"; by default the best of the machine.

    Raises EngineError for damaged bytes, PluginError if the kernel was not built.
    """

    def __init__(self, content: bytes, settings: Settings) -> None:
        kernels = load_kernels("text")
        level = instruction_level(settings, engine="text", best=int(kernels.level()))
        self.texts, (numbers, *arrays) = read_text_program(content)
        try:
            self._program = kernels.open((np.append(numbers, level), *map(_aligned, arrays)))
        except ValueError as error:
            raise EngineError(f"the text program is invalid: {error}", hint="headway optimize") from error
        self._answer = kernels.answer
        self.width, self.outputs = int(numbers[1]), int(numbers[2])

    def score(self, *columns: Sequence[str | None], rows: Floats | None = None) -> Floats:
        """Compute scores float64 [n, k] for columns of n texts each, and rows float64 [n, width] of other columns.

        Raises EngineError for a missing text and for lone surrogates.
        """
        table = np.zeros((len(columns[0]), self.width)) if rows is None else np.ascontiguousarray(rows, np.float64)
        scores = np.empty((len(columns[0]), self.outputs))
        try:
            self._answer(self._program, columns, table, scores, prepare_text)
        except (TypeError, ValueError) as error:
            raise EngineError(
                f"the model cannot read these texts: {error}", hint="pass str, with whole characters"
            ) from (error)
        return scores


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Copy an array of an artifact to the beginning of a cache line, where the bytes that were read do not begin.

    A vector of weights is then in one line and not in two, and numpy asks for huge pages. The artifact can be freed.
    """
    buffer = np.empty(array.nbytes + _CACHE_LINE, np.uint8)
    start = -buffer.ctypes.data % _CACHE_LINE
    copy = buffer[start : start + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def prepare_text(text: str, lowercase: int, accents: int) -> str:
    """Lowercase a text and strip accents as scikit-learn does; `accents` is 0, or 1 to ASCII, or 2 by Unicode."""
    if lowercase:
        text = text.lower()
    if not accents or text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    if accents == 1:
        return decomposed.encode("ascii", "ignore").decode()
    return "".join(character for character in decomposed if not unicodedata.combining(character))
