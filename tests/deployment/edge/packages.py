"""Releases of made models, their edge packages, and libraries that a C compiler makes of them."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats, Ints
from headway.core.record import digest_of, write
from headway.core.release import Release, SelfTest
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.deployment.edge import package_files
from headway.engines.compiled.forest import compile_forest
from headway.engines.compiled.text import TextModel
from headway.engines.formats.trees import Forest
from headway.engines.trees import Trees
from headway.registry.bundle import Bundle

FLAGS = ("-std=c99", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Werror")


def stored(values: Floats) -> tuple[tuple[float | None, ...], ...]:
    """Numbers as a release records them, None for NaN."""
    return tuple(tuple(None if np.isnan(value) else value for value in row) for row in values.tolist())


def made_release(
    content: bytes, rows: Floats, recorded: Floats, *, engine: str = "trees", name: str = "flights", **changed: object
) -> Bundle:
    """A release of an artifact whose self-test has these rows and answers, with fields of the release changed."""
    inputs = tuple(Field(name=f"column {index}") for index in range(rows.shape[1]))
    task = changed.pop("task", "binary" if recorded.shape[1] == 1 else "multiclass")
    artifact = Artifact(format={"trees": "forest"}.get(engine, engine), digest=digest_of(content), size_bytes=1)
    signature = changed.pop("signature", Signature(inputs=inputs))
    variant = Variant(artifact=artifact, engine=engine, signature=signature, task=task)
    release = Release(
        name=name,
        variant=variant,
        evidence=(),
        verdict=Verdict(answer="pass", subject=variant.digest),
        files={"model": artifact.digest},
        self_test=SelfTest(rows=stored(rows), answers=stored(recorded)),
    )
    release = replace(release, **changed)
    return Bundle(release, {"model": content}, digest_of(write(release)), "ed25519:a-test")


def forest_release(forest: Forest, rows: Floats, **changed: object) -> Bundle:
    """A release of the compiled forest, with the first rows as its self-test."""
    content = compile_forest(forest)
    return made_release(content, rows[:8], Trees(content, {"level": "portable"}).predict(rows[:8]), **changed)


def text_release(content: bytes, texts: Sequence[str], **changed: object) -> Bundle:
    """A release of a program of engine `text` that reads messages alone, with these as its self-test."""
    rows, answers = np.arange(len(texts), dtype=np.float64)[:, None], TextModel(content, {}).score(list(texts))
    made = {
        "signature": Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),)),
        "self_test": SelfTest(rows=stored(rows), answers=stored(answers), texts={"message": tuple(texts)}),
    }
    return made_release(content, rows, answers, engine="text", name="intents", **{**made, **changed})


@dataclass(frozen=True, kw_only=True)
class Library:
    """A compiled package; its functions are called as C calls them."""

    functions: ctypes.CDLL
    release: Release
    name: str

    def scores(self, row: Floats, texts: Sequence[bytes | None] = ()) -> Floats | None:
        """The scores of a row; None if it is rejected."""
        row, found = np.ascontiguousarray(row, np.float64), np.full(self.outputs, 7.0)
        code = self.function("scores")(_pointer(row), *_strings(texts), _pointer(found))
        return None if code else found

    def predict(self, row: Floats, texts: Sequence[bytes | None] = ()) -> tuple[Floats, int] | None:
        """The calibrated scores of a row and its decision; None if it is rejected."""
        row, found, decision = np.ascontiguousarray(row, np.float64), np.full(self.outputs, 7.0), ctypes.c_int(9)
        code = self.function("predict")(_pointer(row), *_strings(texts), _pointer(found), ctypes.byref(decision))
        return None if code else (found, decision.value)

    def category(self, index: int, text: str) -> float | None:
        """The number of a category; None if it is refused."""
        value = ctypes.c_double()
        code = self.function("category")(index, text.encode(), ctypes.byref(value))
        return None if code else value.value

    @property
    def outputs(self) -> int:
        """Number of scores of a row."""
        return len(self.release.self_test.answers[0])

    def function(self, name: str) -> ctypes._NamedFuncPointer:
        """A function of the package."""
        return getattr(self.functions, f"{self.name}_{name}")


def _strings(texts: Sequence[bytes | None]) -> list[object]:
    return [(ctypes.c_char_p * len(texts))(*texts)] if texts else []


def bits(values: Floats) -> list[int]:
    """The bits of numbers, those of any NaN alike."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64).tolist()


def _pointer(values: Floats | Ints) -> ctypes.c_void_p:
    return values.ctypes.data_as(ctypes.c_void_p)


def write_sources(bundle: Bundle, folder: Path) -> Path:
    """Write the files of the package; return the C file."""
    folder.mkdir(parents=True, exist_ok=True)
    files = package_files(bundle)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / next(name for name in files if name.removesuffix(".c") + ".h" in files)


def compiled(bundle: Bundle, folder: Path, *flags: str) -> Library:
    """Compile the package of a release, with every warning an error, and load it."""
    source = write_sources(bundle, folder)
    library = folder / "library.so"
    subprocess.run(["cc", *FLAGS, *flags, "-shared", "-fPIC", str(source), "-o", str(library), "-lm"], check=True)
    return Library(functions=ctypes.CDLL(str(library)), release=bundle.release, name=source.stem)
