"""Record what the kernels of this machine answer, for a machine that runs no Python: a plugin of pytest.

    KERNEL_VECTORS=DIR pytest -p tests.engines.kernel_vectors FILES

writes a file per kernel: the models that the tests opened, the rows that they scored, and the bytes of the answers at
each level of this machine. `kernel_driver.c` reads such a file, and describes it.
"""

from __future__ import annotations

import importlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.engines.compiled.text import prepare_text

MODEL, FREE, ROWS, PAGE, DECIDE = range(5)
WRAPPER_FAULTS = (b"expected a tuple", b"array ")  # found before the kernel sees the arrays


class Recorded:
    """A model that the recorder opened at each level."""

    def __init__(
        self, number: int, arrays: list[bytes], levels: list[Any], asked: Any, on_free: Callable[[int], None]
    ) -> None:
        self.number, self.arrays, self.levels, self.asked, self._on_free = number, arrays, levels, asked, on_free
        self.seen: set[bytes] = set()

    def __del__(self) -> None:
        self._on_free(self.number)


class Recorder:
    """Stands for the functions `open`, `answer` and `decide` of a kernel, and writes their calls."""

    def __init__(self, kernel: str, folder: Path) -> None:
        self.module: Any = importlib.import_module(f"headway.engines._{kernel}")
        self.open_model, self.answer_rows = self.module.open, self.module.answer
        self.file = (folder / kernel).open("wb")
        self.n_models = 0
        self.pages: set[int] = set()
        self.module.open, self.module.answer = self.open, self.answer
        self.decide_rows: Any = getattr(self.module, "decide", None)
        if self.decide_rows:
            self.module.decide = self.decide
            self.answer_cells, self.scores = self.module.answer_cells, self.module.scores
            self.decisions, self.class_probabilities = self.module.decisions, self.module.class_probabilities
            self.module.scores = self.module.decisions = lambda *_: NotImplemented  # `answer` and `decide` are recorded
            self.module.class_probabilities = lambda model, rows: self.class_probabilities(model.asked, rows)
            self.module.answer_cells = lambda model, *args: self.answer_cells(
                model.asked, *args
            )  # only Python has cells

    def close(self) -> None:
        self.module.open, self.module.answer = self.open_model, self.answer_rows
        if self.decide_rows:
            self.module.decide, self.module.answer_cells = self.decide_rows, self.answer_cells
            self.module.scores, self.module.decisions = self.scores, self.decisions
            self.module.class_probabilities = self.class_probabilities
        self.file.close()

    def write(self, kind: int, number: int, *parts: bytes) -> None:
        if not self.file.closed:
            self.file.write(struct.pack("<qq", kind, number) + b"".join(parts))

    def free(self, number: int) -> None:
        self.write(FREE, number)

    def open(self, arrays: Any) -> Recorded:
        fault = b""
        try:
            asked = self.open_model(arrays)
        except ValueError as error:
            fault = str(error).encode()
            raise
        finally:
            if not fault.startswith(WRAPPER_FAULTS):
                content = [as_bytes(array) for array in arrays]
                self.write(MODEL, self.n_models, sized(fault), struct.pack("<q", len(content)), *map(sized, content))
                self.n_models += 1
        levels = [self.open_model(tuple(map(aligned, at_level(content, n)))) for n in range(self.module.level() + 1)]
        return Recorded(self.n_models - 1, content, levels, asked, self.free)

    def answer(self, model: Recorded, *args: Any) -> Any:
        found = self.answer_rows(model.asked, *args)
        rows, out, *others = args if len(args) == 2 else args[1:]
        read = sized(as_bytes(rows))
        if len(args) > 2:
            read = self._texts(model, tuple(map(tuple, args[0]))) + read

        def answer(opened: Any, scores: Any) -> Any:
            return self.answer_rows(opened, *((rows, scores) if len(args) == 2 else (args[0], rows, scores, *others)))

        self._record(ROWS, model, read, out, answer)
        return found

    def decide(self, model: Recorded, rows: Any, out: Any, threshold: float) -> Any:
        found = self.decide_rows(model.asked, rows, out, threshold)
        read = struct.pack("<d", threshold) + sized(as_bytes(rows))
        self._record(DECIDE, model, read, out, lambda opened, to: self.decide_rows(opened, rows, to, threshold))
        return found

    def _record(self, kind: int, model: Recorded, read: bytes, out: Any, answer: Callable[[Any, Any], Any]) -> None:
        """Write what the model answers at each level, unless it was asked before."""
        if read in model.seen or not len(as_bytes(out)):
            return
        model.seen.add(read)
        answers = []
        for opened in model.levels:
            scores = np.zeros_like(np.asarray(out))
            done = answer(opened, scores)
            answers.append(sized(b"" if done is False else scores.tobytes()))
        self.write(kind, model.number, read, struct.pack("<q", len(answers)), *answers)

    def _texts(self, model: Recorded, columns: tuple[tuple[str, ...], ...]) -> bytes:
        """Return the bytes of texts as each vectorizer reads them, and write the pages of their characters."""
        parts = [struct.pack("<q", len(columns[0]))]
        for vectorizer in np.frombuffer(model.arrays[1], np.int64).reshape(-1, VECTORIZER_NUMBERS):
            column, lowercase, accents = (int(vectorizer[i]) for i in (0, 4, 5))
            for text in columns[column]:
                ascii_text = text.isascii()
                read = text if ascii_text else prepare_text(text, lowercase, accents)
                self._write_pages(read)
                parts.append(sized(read.encode()) + struct.pack("<BB", lowercase and ascii_text, read.isascii()))
        return b"".join(parts)

    def _write_pages(self, text: str) -> None:
        for page in {0, *(ord(character) >> 8 for character in text)} - self.pages:
            self.pages.add(page)
            characters = [chr(page << 8 | low) for low in range(256)]
            sets = [[c.isalnum() or c == "_" for c in characters], [c.isspace() for c in characters]]
            self.write(PAGE, page, np.packbits(sets, axis=1, bitorder="little").tobytes())


VECTORIZER_NUMBERS = 22  # columns of a vectorizer in `text_kernel/program.h`


def as_bytes(array: Any) -> bytes:
    return memoryview(array).cast("B").tobytes() if memoryview(array).nbytes else b""


def aligned(content: bytes) -> Any:
    """Return the bytes at an address that is a multiple of 8."""
    array = np.empty(-(-len(content) // 8), np.int64).view(np.uint8)[: len(content)]
    array[:] = np.frombuffer(content, np.uint8)
    return array


def at_level(arrays: list[bytes], level: int) -> list[bytes]:
    """Return arrays with another level, the last number of the header."""
    return [arrays[0][:-8] + struct.pack("<q", level), *arrays[1:]]


def sized(content: bytes) -> bytes:
    return struct.pack("<q", len(content)) + content


@pytest.fixture(scope="session", autouse=True)
def recorded_kernels() -> Iterator[None]:
    folder = Path(os.environ["KERNEL_VECTORS"])
    recorders = [Recorder(kernel, folder) for kernel in ("trees", "dense", "text")]
    yield
    for recorder in recorders:
        recorder.close()
