"""Headers of array files: npy, safetensors and GGUF, compared with the bytes that follow."""

from __future__ import annotations

import math
import re

import msgspec

from headway.core.arrays import Buffer
from headway.scanning.pickles import scan_pickles
from headway.scanning.templates import judge_template
from headway.scanning.verdicts import Problem

MAX_HEADER = 1 << 24
_FIELD = re.compile(
    rb"\s*\{\s*'descr'\s*:\s*(.{1,60000}?)\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    rb"\s*'shape'\s*:\s*\(([\d, L]*)\)\s*,?\s*\}\s*",
    re.DOTALL,
)
_TYPE = re.compile(rb"'([<>|=]?)([?bhilqefdgFDGOSUVMmuBHILQc])(\d*)(?:\[[\w]+\])?'")
_ENTRY = re.compile(rb"\(\s*'[^'\\]{0,200}'\s*,\s*" + _TYPE.pattern + rb"\s*(?:,\s*\(([\d, ]{1,100})\)\s*)?\)\s*,?\s*")
_ITEMS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
}


def unsafe(code: str, message: str, location: str = "") -> Problem:
    """Return a problem that makes a file unsafe."""
    return Problem(code=code, message=message, location=location)


def unknown(code: str, message: str, location: str = "") -> Problem:
    """Return a problem by which a file is not judged."""
    return Problem(code=code, message=message, location=location, is_unsafe=False)


def scan_npy(content: Buffer) -> list[Problem]:
    """Judge an npy file; an array of objects is a pickle."""
    data = memoryview(content)
    wide = data[6] > 1 if len(data) > 12 else False
    start = 12 if wide else 10
    length = int.from_bytes(data[8:start], "little")
    if len(data) < 12 or length > len(data) - start or length > MAX_HEADER:
        return [unsafe("npy-header", f"the header claims {length:,} bytes, and {len(data):,} are there", "byte 8")]
    header = bytes(data[start : start + length])
    match = _FIELD.fullmatch(header)
    if not match:
        return [unknown("npy-header", "the header is not one that numpy writes", f"byte {start}")]
    body = start + length
    shape = [int(part.strip(b" L")) for part in match[3].split(b",") if part.strip()]
    if any(len(part) > 19 for part in match[3].split(b",")):
        return [unsafe("npy-shape", "the shape overflows", f"byte {start}")]
    types = _types(match[1])
    if not types:
        return [unknown("npy-header", "the type of its elements is not known", f"byte {start}")]
    if any(letter == b"O" for letter, _ in types):
        return scan_pickles(content, start=body)
    size = math.prod(shape) * sum(size for _, size in types)
    if size != len(data) - body:
        found = f"the header claims {size:,} bytes of numbers, and {len(data) - body:,} are there"
        return [unsafe("npy-shape", found, f"byte {start}") if size > len(data) else unknown("npy-shape", found)]
    return []


def _types(description: bytes) -> list[tuple[bytes, int]]:
    """Return the letter and the bytes of each field of an element; empty if one of them is not known."""
    if single := _TYPE.fullmatch(description):
        return [_letter(single, b"")]
    types, position = [], 1
    while entry := _ENTRY.match(description, position):
        types.append(_letter(entry, entry[4] or b""))
        position = entry.end()
    return types if description[:1] == b"[" and description[position:] == b"]" else []


def _letter(found: re.Match[bytes], shape: bytes) -> tuple[bytes, int]:
    count = math.prod(int(part) for part in shape.split(b",") if part.strip())
    return found[2], count * int(found[3] or 1) * (4 if found[2] == b"U" else 1)


class _TensorEntry(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def scan_safetensors(content: Buffer) -> list[Problem]:
    """Judge a safetensors file: its tensors must fill the file, one after another."""
    data = memoryview(content)
    length = int.from_bytes(data[:8], "little")
    if length > min(len(data) - 8, 100_000_000):
        return [unsafe("safetensors-header", f"the header claims {length:,} bytes", "byte 0")]
    try:
        entries = msgspec.json.decode(bytes(data[8 : 8 + length]), type=dict[str, msgspec.Raw])
        metadata = entries.pop("__metadata__", None)
        if metadata is not None:
            texts = msgspec.json.decode(metadata, type=dict[str, str])
            if problems := [found for key, text in texts.items() for found in judge_template(text, key)]:
                return problems
        tensors = {name: msgspec.json.decode(raw, type=_TensorEntry) for name, raw in entries.items()}
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return [unknown("safetensors-header", f"the header cannot be read: {error}", "byte 8")]
    position, size = 0, len(data) - 8 - length
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        first, last = tensor.data_offsets
        item = _ITEMS.get(tensor.dtype)
        if first != position or last < first or last > size or any(n < 0 for n in tensor.shape):
            return [unsafe("safetensors-offsets", "overlaps another tensor or leaves the file", f"tensor {name[:80]}")]
        if item is None:
            return [unknown("safetensors-dtype", f"has the type {tensor.dtype[:40]!r}", f"tensor {name[:80]}")]
        if math.prod(tensor.shape) * item != last - first:
            return [unsafe("safetensors-offsets", "its shape and its bytes differ", f"tensor {name[:80]}")]
        position = last
    if position != size:
        return [unknown("safetensors-trailing", f"{size - position:,} bytes follow the last tensor")]
    return []


_KINDS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9


def scan_gguf(content: Buffer) -> list[Problem]:
    """Judge the header of a GGUF file: counts, lengths, offsets and the chat template."""
    data = memoryview(content)
    try:
        return _read_gguf(data)
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        return [unsafe("gguf-header", f"a length leaves the file: {error}", "header")]


class _Cursor:
    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 4

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def take(self, count: int) -> memoryview:
        start = self.position
        if count > len(self.data) - start:
            raise ValueError(f"{count:,} bytes at byte {start:,}")
        self.position = start + count
        return self.data[start : self.position]

    def text(self) -> str:
        return bytes(self.take(self.number(8))).decode("utf-8", "replace")


def _read_gguf(data: memoryview) -> list[Problem]:
    cursor = _Cursor(data)
    version = cursor.number(4)
    if version not in (2, 3):
        return [unknown("gguf-version", f"version {version} is not known", "byte 4")]
    n_tensors, n_keys = cursor.number(8), cursor.number(8)
    if n_tensors * 24 > len(data) or n_keys * 12 > len(data):
        return [unsafe("gguf-header", f"it claims {n_tensors:,} tensors and {n_keys:,} keys", "byte 8")]
    problems: list[Problem] = []
    alignment = 32
    for _ in range(n_keys):
        key = cursor.text()
        kind = cursor.number(4)
        if kind == _STRING:
            problems += judge_template(cursor.text(), key)
        elif kind == _ARRAY:
            texts = _skip_array(cursor, 0)
            problems += [found for text in texts if "template" in key for found in judge_template(text, key)]
        else:
            value = cursor.number(_KINDS[kind]) if kind in _KINDS else _raise(f"the type {kind}")
            alignment = value if key == "general.alignment" else alignment
    offsets: list[int] = []
    for _ in range(n_tensors):
        cursor.text()
        n_dimensions = cursor.number(4)
        if n_dimensions > 8:
            raise ValueError(f"{n_dimensions:,} dimensions")
        sizes = [cursor.number(8) for _ in range(n_dimensions)]
        if math.prod(sizes) >= 1 << 62:
            raise ValueError("a shape that overflows")
        cursor.number(4)
        offsets.append(cursor.number(8))
    if not 0 < alignment <= 1 << 20:
        raise ValueError(f"an alignment of {alignment:,}")
    body = -(-cursor.position // alignment) * alignment
    if offsets and max(offsets) >= max(len(data) - body, 1):
        raise ValueError("a tensor that begins after the end")
    return problems


def _raise(what: str) -> int:
    raise ValueError(what)


def _skip_array(cursor: _Cursor, depth: int) -> list[str]:
    """Skip an array, and return its texts that hold marks of a template."""
    kind, count = cursor.number(4), cursor.number(8)
    if depth > 4 or count > len(cursor.data):
        raise ValueError(f"an array of {count:,} elements")
    if kind in _KINDS:
        cursor.take(count * _KINDS[kind])
        return []
    texts: list[str] = []
    for _ in range(count):
        if kind == _STRING:
            content = bytes(cursor.take(cursor.number(8)))
            if b"{{" in content or b"{%" in content:
                texts.append(content.decode("utf-8", "replace"))
        elif kind == _ARRAY:
            texts += _skip_array(cursor, depth + 1)
        else:
            raise ValueError(f"the type {kind}")
    return texts
