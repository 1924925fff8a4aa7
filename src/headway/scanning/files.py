"""Judge one file: recognise its format by its content, and read it with the reader of that format.

A name never makes a file safe: a pickle is a pickle whatever its suffix. What begins like no format that is known here
is searched for pickles, and is not judged.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from headway.core.arrays import Buffer
from headway.core.errors import HeadwayError, Refused
from headway.core.plugins import load_engine
from headway.core.record import digest_of
from headway.engines.formats.catboost import is_catboost, read_catboost
from headway.engines.formats.encoder import ENCODER_MAGIC, split_encoder
from headway.engines.formats.lightgbm import read_lightgbm
from headway.engines.formats.nested import NESTED_MAGIC, split_models
from headway.engines.formats.xgboost import is_xgboost, read_xgboost
from headway.scanning import archives, arrays, documents, graphs, pickles
from headway.scanning.archives import UnpackBudget, compression
from headway.scanning.arrays import unknown, unsafe
from headway.scanning.verdicts import FileVerdict, Problem

MAPPED = 8 << 20
"""Bytes from which a file is mapped instead of read."""

PICKLES = frozenset((".pkl", ".pickle", ".joblib", ".sav", ".p", ".dat", ".pt", ".pth", ".ckpt", ".bin"))
_TEXTS = frozenset((".txt", ".md", ".rst", ".license", ".cff", ""))
_TABLES = frozenset((".csv", ".tsv"))
_KERAS = re.compile(rb"\"class_name\"\s*:\s*\"Lambda\"|\bpy_function\b|\bPyFunc\b")
_TENSORFLOW = re.compile(rb"PyFunc|PyFuncStateless|EagerPyFunc|ReadFile|WriteFile|MergeV2Checkpoints|LoadLibrary")
# Closing a file of a database releases all POSIX locks of the process on it; an open connection would lose its own.
_DATABASE = re.compile(r"\.(sqlite3?|db3?)(-wal|-shm|-journal)?$")
_KERNELS = {b"headway forest 1\n": "trees", b"headway tape 1\n": "dense", b"headway text 1\n": "text"}
"""Engine that reads an artifact of headway's own kernels, by the first line of the artifact."""
_SUFFIXES = {"sklearn": ".skops", "onnxruntime": ".onnx", "openvino": ".zip", "xgboost": ".ubj"}
"""Suffix of the file that an engine opens, where the content alone does not give its format."""
_NO_MODELS = frozenset(("empty", "json", "toml", "csv", "text", "template"))
_READ_AS_TEXT = frozenset(("template-code", "yaml-directive", "yaml-tag"))
_JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*[\[{]")


def judge_file(path: Path, *, name: str = "") -> FileVerdict:
    """Judge a file; nothing in it is imported, run or written.

    Parameters
    ----------
    path
        File; a link is not followed.
    name
        Name in the verdict; the path by default.
    """
    shown = name or str(path)
    if path.is_symlink():
        return FileVerdict(name=shown, kind="link", size_bytes=0, problems=(unknown("link", "a link is not followed"),))
    try:
        size = path.stat().st_size
        if _DATABASE.search(path.name):
            reason = unknown("database", "a database is not read: programs that use it would lose their locks")
            return FileVerdict(name=shown, kind="database", size_bytes=size, problems=(reason,))
        if not path.is_file():
            return FileVerdict(
                name=shown, kind="device", size_bytes=0, problems=(unknown("device", "not a regular file"),)
            )
        if size < MAPPED:
            return judge_bytes(path.read_bytes(), name=shown)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return judge_bytes(content, name=shown)
    except OSError as error:
        reason = unknown("unreadable", f"the file cannot be read: {error.strerror}")
        return FileVerdict(name=shown, kind="unreadable", size_bytes=0, problems=(reason,))


def judge_bytes(content: Buffer, *, name: str) -> FileVerdict:
    """Judge the bytes of a file of this name."""
    size = len(memoryview(content))
    try:
        kind, problems = _scan(content, name, UnpackBudget.of(size))
    except Exception as error:  # noqa: BLE001 - a file that a reader cannot handle is not judged, and the scan goes on
        kind, problems = (
            "unknown",
            [unknown("reader-failed", f"its reader failed: {type(error).__name__}: {error}"[:300])],
        )
    known = {(problem.code, problem.message, problem.location): problem for problem in problems}
    ordered = sorted(known.values(), key=lambda problem: not problem.is_unsafe)
    return FileVerdict(name=name, kind=kind, size_bytes=size, problems=tuple(ordered[:20]))


def judge_artifact(content: bytes, *, engine: str) -> FileVerdict:
    """Judge the bytes of a model in the format of the engine that is to open it; safe only if it is a model."""
    verdict = judge_bytes(content, name=f"model{_SUFFIXES.get(engine, '.bin')}")
    if verdict.kind not in _NO_MODELS:
        return verdict
    return replace(verdict, problems=(*verdict.problems, _other_kind(engine)))


def _other_kind(engine: str) -> Problem:
    return unknown("headway-models-kind", f"not a model that the engine {engine!r} opens")


def refuse_unsafe(content: bytes, *, name: str, shown: str, digest: str = "") -> FileVerdict | None:
    """Return the verdict on a file, None for one named by its digest; raise Refused if opening it would do harm.

    Parameters
    ----------
    content
        Bytes of the file.
    name
        Name with the suffix that its reader goes by.
    shown
        Name in the message.
    digest
        Digest of the one file that is opened whatever is found in it; empty for none.
    """
    own = digest_of(content)
    if digest:
        if digest != own:
            raise Refused("the file is not the one whose digest was named", where=f"{shown} has the digest {own}")
        return None
    found = judge_bytes(content, name=name)
    if found.verdict != "unsafe":
        return found
    first = found.problems[0]
    raise Refused(
        f"the file is unsafe: {first.message}",
        where="; ".join(filter(None, [shown, first.location])),
        hint=f"headway scan {shown} shows every reason; --digest {own} opens exactly this file all the same, "
        "in Python trust='sha256:...'",
    )


@dataclass(frozen=True, slots=True)
class _FileBytes:
    """The bytes to be judged, their first ones, the suffix and the last part of their name, and the budget."""

    content: Buffer
    head: bytes
    suffix: str
    base: str
    budget: UnpackBudget


def _member(
    content: Buffer,
    name: str,
    budget: UnpackBudget,
    /,
    *,
    role: str = "",
    storages: archives.Storages | None = None,
) -> list[Problem]:
    if role == archives.TORCH_PICKLE:
        return pickles.scan_pickles(content, is_torch=True, storages=storages)
    if role == archives.TORCH_STORAGE:  # numbers, which torch opens as nothing else
        head = bytes(memoryview(content)[:512])
        found = pickles.scan_pickles(content) if pickles.looks_pickled(head) else []
        return [*(problem for problem in found if problem.is_unsafe), *pickles.find_leading(content)]
    return _scan(content, name, budget)[1]


def _scan(content: Buffer, name: str, budget: UnpackBudget) -> tuple[str, list[Problem]]:
    """Return the format and the problems of a file or of a member of an archive."""
    head = bytes(memoryview(content)[:512])
    if not head:
        return "empty", []
    path = PurePosixPath(name.lower())
    subject = _FileBytes(content, head, path.suffix, path.name, budget)
    for recognise in (_scan_binary, _scan_packed, _scan_model, _scan_text):
        found = recognise(subject)
        if found is None:
            continue
        kind, problems = found
        problems = [*problems, *_judge_other_openers(subject, kind)]
        # A pickle can begin with a few opcodes that make the file look like one of another format.
        return kind, problems if kind == "pickle" else [*pickles.find_leading(content), *problems]
    hidden = pickles.find_hidden(content)
    return "unknown", [*hidden, unknown("unknown-format", "its format is not one that headway knows")]


def _judge_other_openers(subject: _FileBytes, kind: str) -> list[Problem]:
    """Judge whether a file of one format is also one of another, which another reader opens."""
    problems: list[Problem] = []
    packed = compression(subject.head)
    if packed and kind != packed:
        problems.append(unknown("two-formats", f"it also begins as a file of {packed}"))
    data = memoryview(subject.content)
    if kind != "zip" and kind != packed and b"PK\5\6" in bytes(data[-66_000:]):
        members = archives.scan_zip(subject.content, subject.budget.inside(), _member)
        problems += [problem for problem in members if problem.is_unsafe]
        problems.append(unknown("two-formats", "it also ends as a zip archive"))
    if kind != "json" and _JSON_START.match(data):
        problems += documents.judge_as_json(subject.content)
    if kind not in ("tar", "zip", packed) and subject.head[257:262] == b"ustar":
        problems.append(unknown("two-formats", "it also begins as a tar archive"))
    return problems


def _scan_binary(subject: _FileBytes) -> tuple[str, list[Problem]] | None:
    """Judge formats that begin with a signature of their own."""
    content, head, suffix = subject.content, subject.head, subject.suffix
    data = memoryview(content)
    if head[:6] == b"\x93NUMPY":
        return "npy", arrays.scan_npy(content)
    if head[:4] == b"GGUF":
        return "gguf", arrays.scan_gguf(content)
    if head[:4] == b"PAR1":
        return "parquet", documents.scan_parquet(content)
    if head[:6] == b"ARROW1" or (
        head[:4] == b"\xff\xff\xff\xff" and suffix in (".arrow", ".arrows", ".feather", ".ipc")
    ):
        return "arrow", documents.scan_arrow_file(content)
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5", _search(
            data, _KERAS, "hdf5-code", "a layer that runs Python: Lambda or PyFunc", "an HDF5 file is not judged"
        )
    if head[:2] == b"MZ" or head[:4] == b"\x7fELF":
        return "program", [unsafe("program", "it is a program for this or another system")]
    if head[:6] == b"7z\xbc\xaf\x27\x1c" or head[:4] == b"Rar!":
        return "archive", [unknown("archive-format", "7z and rar archives are not unpacked")]
    if is_catboost(head):
        return "catboost", _read_model(read_catboost, content, "catboost")
    header = int.from_bytes(head[:8], "little")
    if len(head) > 9 and head[8:9] == b"{" and (header < len(data) or suffix == ".safetensors"):
        return "safetensors", arrays.scan_safetensors(content)
    if suffix == ".safetensors":
        reason = unknown("safetensors-header", "it does not begin as a safetensors file")
        return "safetensors", [*pickles.find_hidden(content), reason]
    return None


def _scan_packed(subject: _FileBytes) -> tuple[str, list[Problem]] | None:
    """Judge archives and compressed files."""
    content, head, suffix = subject.content, subject.head, subject.suffix
    data = memoryview(content)
    if head[:4] in (b"PK\3\4", b"PK\5\6") or b"PK\5\6" in bytes(data[-66_000:]):
        problems = archives.scan_zip(content, subject.budget, _member)
        if head[:4] != b"PK\3\4" and head[:4] != b"PK\5\6":  # something else comes first, which another reader opens
            problems = [
                *problems,
                *(pickles.scan_pickles(content) if pickles.looks_pickled(head) else pickles.find_hidden(content)),
            ]
        return "zip", problems
    if head[257:262] == b"ustar" or (suffix == ".tar" and len(data) >= 512):
        return "tar", archives.scan_tar(content, subject.budget, _member)
    packed = compression(head)
    if packed:
        return packed, archives.scan_compressed(
            content, packed, _inner_name(subject.base), subject.budget, scan=_member
        )
    return None


def _inner_name(base: str) -> str:
    return re.sub(r"\.(gz|bz2|xz|z|lzma)$", "", base) or base


def _scan_model(subject: _FileBytes) -> tuple[str, list[Problem]] | None:
    """Judge models: pickles, ONNX graphs, and the formats of LightGBM and XGBoost."""
    content, head, suffix = subject.content, subject.head, subject.suffix
    if head.startswith((NESTED_MAGIC, ENCODER_MAGIC)):
        read = _scan_nested if head.startswith(NESTED_MAGIC) else _scan_encoder
        try:
            return "headway models", read(bytes(memoryview(content)), subject.budget)
        except HeadwayError as error:
            return "headway models", [unknown("headway-models-damaged", error.what, error.where)]
    engine = _KERNELS.get(head[: head.find(b"\n") + 1])
    if engine:
        return f"headway {engine}", _read_model(partial(load_engine(engine), settings={}), content, f"headway-{engine}")
    if head[:5] in (b"tree\n", b"tree\r"):
        return "lightgbm", _read_model(read_lightgbm, content, "lightgbm")
    if suffix == ".onnx" or (graphs.looks_like_graph(head) and suffix not in PICKLES | _TEXTS | _TABLES):
        problems = graphs.scan_graph(memoryview(content))
        return "onnx", [*problems, *(pickles.find_hidden(content) if problems else [])]
    if suffix == ".pb":
        found = _search(
            memoryview(content),
            _TENSORFLOW,
            "tensorflow-code",
            "an operator that runs Python or opens files",
            "a graph of TensorFlow is not judged",
        )
        return "tensorflow", found
    named = suffix in (".ubj", ".xgb", ".model") or (suffix == ".json" and b'"learner"' in head)
    if named and is_xgboost(head):
        return "xgboost", _read_model(read_xgboost, content, "xgboost")
    if pickles.looks_pickled(head) or (suffix in PICKLES and suffix != ".bin" and head[:1] not in b"\0"):
        problems = pickles.scan_pickles(content)
        if problems and not any(problem.is_unsafe for problem in problems):
            problems = [*pickles.find_hidden(content), *problems]
        return "pickle", problems
    return None


def _scan_nested(content: bytes, budget: UnpackBudget) -> list[Problem]:
    """Judge each model in an artifact, by its bytes and in the format of its engine."""
    if budget.depth >= archives.MAX_NESTED:
        return [unknown("archive-depth", f"models nested deeper than {archives.MAX_NESTED}")]
    header, contents = split_models(content)
    problems: list[Problem] = []
    for number, (model, inside) in enumerate(zip(header.models, contents, strict=True), 1):
        kind, found = _scan(inside, f"model{_SUFFIXES.get(model.engine, '.bin')}", budget.inside())
        if kind in _NO_MODELS:
            found = [*found, _other_kind(model.engine)]
        problems += archives.members_in(f"model {number}", found)
    return problems


def _scan_encoder(content: bytes, _budget: UnpackBudget) -> list[Problem]:
    """Judge the graph of an encoder; its tokenizer is checked when the bytes are split."""
    return graphs.scan_graph(split_encoder(content)[2])


def _read_model(read: object, content: Buffer, kind: str) -> list[Problem]:
    """Read a model of trees with every index checked."""
    size = len(memoryview(content))
    if size > documents.MAX_TEXT:
        return [unknown(f"{kind}-size", f"more than {documents.MAX_TEXT >> 20} MB are not judged")]
    text = bytes(memoryview(content))
    is_json = re.match(rb'\{\s*["}]', text)  # in UBJSON a number can be a bracket by chance
    if is_json and documents.deepest(text) > 200:
        return [unsafe(f"{kind}-depth", "it is nested deeper than 200 levels")]
    try:
        read(text)  # type: ignore[operator]
    except HeadwayError as error:
        return [unknown(f"{kind}-damaged", error.what, error.where)]
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        return [unknown(f"{kind}-damaged", f"the model cannot be read: {error}")]
    return []


def _search(data: memoryview, pattern: re.Pattern[bytes], code: str, message: str, otherwise: str) -> list[Problem]:
    """Return an unsafe problem if bytes hold a name that runs code; otherwise the file is not judged."""
    for start in range(0, min(len(data), 64 << 20), 1 << 20):
        found = pattern.search(bytes(data[start : start + (1 << 20) + 64]))
        if found:
            return [unsafe(code, message, f"byte {start + found.start():,}")]
    return [unknown("unknown-format", otherwise)]


def _scan_text(subject: _FileBytes) -> tuple[str, list[Problem]] | None:
    """Judge tables and texts."""
    content, suffix = subject.content, subject.suffix
    if suffix == ".toml":
        return "toml", documents.scan_settings(content, subject.base)
    if suffix in _TABLES:
        return "csv", documents.scan_csv(content)
    if subject.base == "schema.json" and b'"__class__"' in bytes(memoryview(content)[:4096]):
        return "skops", documents.scan_skops(content)
    is_json = _JSON_START.match(memoryview(content))
    if suffix in (".json", ".ipynb") or (is_json and suffix in ("", ".schema")):
        return "json", documents.scan_json_text(content)
    if suffix in _TEXTS:
        if is_json:
            problems = documents.scan_json_text(content)
            if not any(problem.code == "json-damaged" for problem in problems):
                return "json", problems
        problems = documents.scan_prose(content)
        return (
            ("text", problems) if not problems or problems[0].is_unsafe or problems[0].code in _READ_AS_TEXT else None
        )
    if suffix in (".yaml", ".yml", ".j2", ".jinja", ".jinja2", ".template"):
        return "template", documents.scan_template_file(content)
    if suffix in (".py", ".sh", ".ps1", ".bat", ".js", ".ipy"):
        return "code", [unknown("code", "source code is not judged")]
    return None
