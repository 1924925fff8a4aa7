"""Mutants of well-formed and hostile files, by the structure of their format; the same seed gives the same mutants."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from headway.scanning.allowed import _EXACT
from security_rows import hostile, techniques, zips
from security_rows.hostile import text

Mutant = tuple[str, bytes]
"""The suffix and the bytes of a mutant."""

HOSTILE = (
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("subprocess", "Popen"),
    (techniques.ABSENT, "Thing"),
    (techniques.ABSENT, "run"),
    ("numpy", "load"),
    ("numpy.core", "_ufunc_reconstruct"),
    ("copyreg", "_reconstructor"),
    ("operator", "attrgetter"),
    ("zoneinfo", "ZoneInfo._unpickle"),
    ("os\r", "system"),
)
SUFFIXES = (".pkl", ".pt", ".bin", ".joblib", ".txt", ".md", ".csv", ".json", ".yaml", ".npy", ".onnx", ".model", "")
PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda content: gzip.compress(content, mtime=0),
    bz2.compress,
    lzma.compress,
    zlib.compress,
    lambda content: zlib.compress(content, 0),
    lambda content: zlib.compress(content, 9),
    lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE),
)
NUMBERS = (0, 1, 2, 3, 8, 255, 256, 4096, 65535, 1 << 20, 1 << 24, (1 << 24) + 1, 1 << 31, 1 << 40, -1, -(1 << 31))


@cache
def models() -> tuple[bytes, ...]:
    """Return pickles of fitted models and of plain values, by every protocol."""
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    values = (
        {"a": [1, 2.5, "x", None, True], "b": (1, (2, 3)), "c": {1, 2}, "d": b"bytes", "e": 1 << 70},
        {"weights": np.arange(6.0).reshape(2, 3), "names": np.array(["a", None], dtype=object)},
        LogisticRegression().fit(rows, labels),
        DecisionTreeClassifier(max_depth=2).fit(rows, labels),
    )
    return tuple(pickle.dumps(value, protocol) for value in values for protocol in range(6))


@cache
def joblib_files() -> tuple[bytes, ...]:
    """Return files of joblib without compression."""
    values = ({"weights": np.arange(40.0)}, [np.zeros((3, 3), np.float32), np.array(["a", None], dtype=object), "x"])
    found = []
    for value in values:
        buffer = io.BytesIO()
        joblib.dump(value, buffer)
        found.append(buffer.getvalue())
    return tuple(found)


# Pickles
def _split(content: bytes) -> list[bytes]:
    """Return the opcodes of a pickle with their arguments, as far as it can be read."""
    offsets = []
    try:
        offsets = [position for _, _, position in pickletools.genops(content) if position is not None]
    except Exception:  # noqa: BLE001 - a damaged pickle is split where it is still read
        offsets = offsets or [0]
    return [content[first:last] for first, last in zip(offsets, [*offsets[1:], len(content)], strict=True)]


def value(rng: random.Random, depth: int = 0) -> bytes:
    """Return opcodes that push one value: a number, a text, a container, a global or what one makes."""
    kind = rng.randrange(6 if depth > 3 else 13)
    if kind == 0:
        return b"N"
    if kind == 1:
        return b"\x8a\x08" + struct.pack("<q", rng.choice(NUMBERS))
    if kind in (2, 3):
        words = (
            "O",
            "O8",
            "<f8",
            "V8",
            "|S1",
            "U4",
            "V16777216",
            "b",
            "d",
            "x",
            "__setstate__",
            "shape",
            "latin1",
            "1e9",
        )
        return text(rng.choice(words))
    if kind == 4:
        content = rng.choice((b"", bytes(8), hostile.CALL, b"\xff" * 64))
        return b"C" + bytes([len(content)]) + content
    if kind == 5:
        return listed(rng)
    items = b"".join(value(rng, depth + 1) for _ in range(rng.randrange(4)))
    if kind == 6:
        return b"(" + items + b"t"
    if kind == 7:
        return b"](" + items + b"e"
    if kind == 8:
        return b"}(" + b"".join(value(rng, 4) + value(rng, depth + 1) for _ in range(rng.randrange(3))) + b"u"
    if kind == 9:
        return listed(rng) + b"(" + items + b"t\x81"
    if kind == 10:
        return listed(rng) + b"(" + items + b"t\x81" + value(rng, depth + 1) + b"b"
    return listed(rng) + b"(" + items + b"tR"


@cache
def _all_listed() -> tuple[tuple[str, str], ...]:
    exact = [(module, name) for module, names in _EXACT.items() for name in names if "externals" not in module]
    return tuple(sorted([pair for pair in exact if "pyx" not in pair[1]]))


def listed(rng: random.Random) -> bytes:
    """Return the opcodes of a global of the allow-list, spelt in one of the ways."""
    module, name = rng.choice(_all_listed())
    return spelt(rng, module, name)


def spelt(rng: random.Random, module: str, name: str) -> bytes:
    """Return the opcodes of a global in one of the ways of the protocols."""
    way = rng.randrange(4)
    if way == 0:
        return f"c{module}\n{name}\n".encode()
    if way == 1:
        return f"V{module}\nV{name}\n".encode() + b"\x93"
    if way == 2:
        return text(module) + b"\x94" + text(name) + b"\x93"
    return text(module) + text(name) + b"\x93"


def pickled(rng: random.Random) -> bytes:
    """Return a mutant of a pickle, or one that is put together from opcodes."""
    if rng.randrange(3) == 0:
        return b"\x80" + bytes([rng.choice((2, 4, 4, 5))]) + value(rng) + b"."
    parts = _split(rng.choice(models() + joblib_files()))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        parts = parts or [b"."]
        place = rng.randrange(len(parts))
        kind = rng.randrange(9)
        if kind == 0:
            parts.insert(place, spelt(rng, *rng.choice(HOSTILE)) + b"0")
        elif kind == 1:
            parts.insert(place, spelt(rng, *rng.choice(HOSTILE)) + b"(" + text("true") + b"tR0")
        elif kind == 2:
            parts.insert(place, value(rng) + b"0")
        elif kind == 3:
            del parts[place]
        elif kind == 4:
            parts[place], parts[-1] = parts[-1], parts[place]
        elif kind == 5:
            parts.insert(place, rng.choice(parts))
        elif kind == 6 and parts[place]:
            flipped = bytearray(parts[place])
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            parts[place] = bytes(flipped)
        elif kind == 7:
            parts[place] = value(rng)
        else:
            other = _split(rng.choice(models()))
            parts[place:place] = other[rng.randrange(len(other)) :][: rng.randrange(1, 6)]
    content = b"".join(parts)
    if rng.randrange(4) == 0:
        content = content.removeprefix(content[:2]) if content[:1] == b"\x80" else content
    if rng.randrange(6) == 0:
        content = rng.choice((b"K\x010", b"N0", *techniques.LEGACY)) + content
    if rng.randrange(6) == 0:
        content = b"".join(techniques.LEGACY) + content
    return content


# Streams
def compressed(rng: random.Random) -> bytes:
    """Return a compressed pickle, with a damaged or repeated stream now and then."""
    content = rng.choice(PACKERS)(rng.choice((pickled(rng), techniques.STEALTH, hostile.CALL, models()[0])))
    kind = rng.randrange(8)
    if kind == 0:
        return content + bytes(rng.randrange(40)) + rng.choice(PACKERS)(hostile.CALL)
    if kind == 1:
        return flipped(rng, content)
    if kind == 2:
        return _utf8(rng)
    return content


@cache
def _texts() -> tuple[bytes, ...]:
    imported = f"c{techniques.ABSENT}\nThing\n.".encode()
    return tuple(techniques.utf8_zlib(content) for content in (hostile.CALL, imported, pickle.dumps([1, "a"], 0)))


def _utf8(rng: random.Random) -> bytes:
    return rng.choice(_texts())


def flipped(rng: random.Random, content: bytes, limit: int = 4) -> bytes:
    """Return bytes with a few of them changed, left out or repeated, mostly near the ends."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, limit)):
        if not changed:
            break
        near = min(len(changed), 200)
        place = rng.randrange(near) if rng.random() < 0.5 else len(changed) - 1 - rng.randrange(near)
        kind = rng.randrange(4)
        if kind == 0:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del changed[place : place + rng.randint(1, 4)]
        else:
            changed[place:place] = changed[place : place + rng.randint(1, 8)]
    return bytes(changed)


# Archives
def zipped(rng: random.Random) -> bytes:
    """Return a zip file whose headers contradict each other in one or two ways."""
    harmless = rng.choice((b"\x80\x02}.", models()[2], models()[9]))
    bad = rng.choice(
        (hostile.CALL, b"\x80\x02" + hostile.CALL, techniques.STEALTH, f"c{techniques.ABSENT}\nT\n.".encode())
    )
    shown = techniques.entries(techniques.torch_members(harmless, {"m/data/0": bytes(8)}))
    hidden = techniques.entries(techniques.torch_members(bad))
    kind = rng.randrange(12)
    if kind < 3:
        content = zips.two_directories(shown, hidden, where=("entry comment", "archive comment", "before")[kind])
    elif kind == 3:
        content = zips.two_records_64(shown, hidden)
    else:
        entries = list(shown)
        for _ in range(rng.choice((1, 1, 2))):
            entries = _contradict(rng, entries, bad)
        prefix = rng.choice((b"", b"", b"", techniques.STEALTH, b"PK\3\4", bytes(7)))
        comment = rng.choice((b"", b"", b"c", zips.archive(hidden), zips.end(0, 0, 0)))
        content = zips.archive(
            entries, prefix=prefix, comment=comment, shift=rng.choice((0, 0, 0, -len(prefix), 30, -30))
        )
    return flipped(rng, content) if rng.randrange(4) == 0 else content


def _contradict(rng: random.Random, entries: list[zips.Entry], bad: bytes) -> list[zips.Entry]:
    place = rng.randrange(len(entries))
    entry = entries[place]
    kind = rng.randrange(13)
    names = (
        b"m/data.pkl",
        b"m/data/0",
        b"m/version",
        b"m/DATA.pkl",
        b"n/data.pkl",
        b"m/./data.pkl",
        b"m//data.pkl",
        b"data.pkl",
    )
    if kind == 0:
        entries[place] = replace(entry, local_name=rng.choice(names))
    elif kind == 1:
        entries.insert(rng.randrange(len(entries) + 1), replace(entry, name=rng.choice(names), content=bad))
    elif kind == 2:
        unicode_name = rng.choice(names)
        path = struct.pack("<BI", 1, zlib.crc32(entry.name)) + unicode_name
        entries[place] = replace(entry, content=bad, extra=struct.pack("<HH", 0x7075, len(path)) + path)
    elif kind == 3:
        entries[place] = replace(
            entry, content=entry.content + bad, size=len(entry.content), packed_size=len(entry.content)
        )
    elif kind == 4:
        entries[place] = replace(entry, method=zips.DEFLATED, content=bad)
    elif kind == 5:
        entries[place] = replace(entry, flags=rng.choice((1, 8, 0x800, 0x2000, 0x41)))
    elif kind == 6:
        entries[place] = replace(entry, crc=rng.choice((0, 1)), content=bad)
    elif kind == 7:
        entries[place] = replace(entry, local_size=rng.choice((0, 1, 1 << 20)))
    elif kind == 8:
        entries[place] = replace(entry, local_extra=b"\x99\x99\x04\x00abcd" + rng.choice((b"", bad)))
    elif kind == 9:
        sizes = struct.pack("<HHQQQ", 1, 24, len(entry.content), len(entry.content), rng.choice((0, 40, 1 << 40)))
        entries[place] = replace(entry, extra=sizes, size=0xFFFFFFFF, packed_size=0xFFFFFFFF, offset=0xFFFFFFFF)
    elif kind == 10:
        entries.insert(0, zips.Entry(name=rng.choice((b"d/", b"m/", b"data.pkl/")), offset=0, content=bad))
    elif kind == 11:
        entries[place] = replace(entry, content=bad, name=rng.choice(names))
    else:
        entries.reverse()
    return entries


# Texts
def yaml_document(rng: random.Random) -> bytes:
    """Return a YAML document with a tag that makes an object, spelt in one of the ways."""
    spellings = [content for name, content in techniques.files_of_yaml().items()]
    content = rng.choice(spellings)
    kind = rng.randrange(6)
    if kind == 0:
        return b"# comment\nb: [1, 2]\n" * rng.randrange(1, 4) + content if b"%TAG" not in content else content
    if kind == 1:
        return content.replace(b"python", rng.choice((b"p%79thon", b"pytho%6E", b"%70ython", b"python")))
    if kind == 2:
        return content.replace(
            b"os.system", rng.choice((b"os.%73ystem", b"posix.system", techniques.ABSENT.encode() + b".x"))
        )
    if kind == 3:
        return flipped(rng, content, 2)
    if kind == 4:
        return content.decode("latin-1").encode(rng.choice(("utf-16", "utf-8-sig", "utf-8")))
    return content


def keras_document(rng: random.Random) -> bytes:
    """Return a configuration of Keras, spelt with escapes now and then."""
    content = rng.choice(tuple(techniques.files_of_keras().values()))
    if content[:2] == b"PK":
        return content
    for _ in range(rng.randrange(3)):
        letter = rng.choice(b"Lambdfuctionl_")
        content = content.replace(bytes([letter]), f"\\u{letter:04x}".encode(), rng.randint(1, 40))
    return content


def template(rng: random.Random) -> Mutant:
    """Return a template with an access to Python objects, put together from pieces, in one of the formats."""

    def word(letters: str) -> str:
        cut = rng.randrange(1, len(letters))
        ways = (
            f"'{letters}'",
            f"'{letters[:cut]}'~'{letters[cut:]}'",
            f"'{letters[::-1]}'|reverse",
            f"'{letters.upper()}'|lower",
            f"['{letters[:cut]}','{letters[cut:]}']|join",
            "'" + letters.replace("_", "\\x5f") + "'",
            f"'{letters.replace('_', '@')}'|replace('@','_')",
            f"'%s{letters[cut:]}'|format('{letters[:cut]}')",
        )
        return rng.choice(ways)

    start = rng.choice(("cycler", "lipsum", "joiner", "namespace"))
    init = "" if start == "lipsum" else f"[{word('__init__')}]"
    call = f"{{{{ {start}{init}[{word('__globals__')}][{word('os')}][{word('system')}]('true') }}}}"
    if rng.randrange(6) == 0:
        call = " " * rng.choice((100, 1 << 20)) + call
    kind = rng.randrange(5)
    if kind == 0:
        return ".gguf", techniques.gguf(call, key=rng.choice(("tokenizer.chat_template", "tokenizer.chat_template.x")))
    if kind == 1:
        header = json.dumps({"__metadata__": {"chat_template": call}}).encode()
        return ".safetensors", struct.pack("<Q", len(header)) + header
    if kind == 2:
        content = json.dumps({"chat_template": call})
        return ".json", (content.replace("{{", "\\u007b{") if rng.randrange(2) else content).encode()
    return rng.choice((".j2", ".txt", ".yaml", ".jinja")), call.encode()


# Arrays
def safetensors(rng: random.Random) -> bytes:
    """Return a safetensors file with one or two changes to its header."""
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    header: dict[str, object] = {"a": entry, "b": {"dtype": "I64", "shape": [2], "data_offsets": [16, 32]}}
    written = json.dumps(header)
    kind = rng.randrange(8)
    if kind == 0:
        written = written.replace('"b"', '"a"')
    elif kind == 1:
        written = written.replace("[0, 16]", '[0, 16], "data_offsets": [16, 32]')
    elif kind == 2:
        written = written.replace('"a"', '"\\u0061"').replace('"b"', '"a"')
    elif kind == 3:
        written = written.replace("[2, 2]", rng.choice(("[4]", "[2, 2, 1]", "[0]", "[-2, -2]", "[1e0, 4]", "[2.0, 2]")))
    elif kind == 4:
        written = written.replace("F32", rng.choice(("BF16", "F8_E4M3", "C64", "f32", "F4", "U32")))
    elif kind == 5:
        written += " " * rng.randrange(20)
    content = written.encode()
    body = bytes(range(32)) + (b"x" if rng.randrange(8) == 0 else b"")
    whole = struct.pack("<Q", len(content)) + content + body
    return flipped(rng, whole, 2) if rng.randrange(3) == 0 else whole


def npy(rng: random.Random) -> bytes:
    """Return an npy file with one or two changes, or an npz of some."""
    arrays = (
        np.arange(6.0),
        np.array(["a", None], dtype=object),
        np.zeros(2, [("a", "f8"), ("b", "O")]),
        np.array("x"),
    )
    if rng.randrange(3) == 0:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in ("a.npy", "b.npy"):
                archive.writestr(name, npy(rng))
        return buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, rng.choice(arrays))
    content = buffer.getvalue()
    kind = rng.randrange(6)
    if kind == 0:
        place = content.find(b"\n") + 1
        return content[:place] + rng.choice((techniques.STEALTH, pickled(rng), hostile.CALL))
    if kind == 1:
        return content.replace(
            rng.choice((b"f8", b"O", b"False", b"(2,)")), rng.choice((b"O8", b"V8", b"True ", b"(1, )"))
        )
    return flipped(rng, content) if kind == 2 else content


def gguf(rng: random.Random) -> bytes:
    """Return a GGUF file with a few changed bytes."""
    return flipped(rng, techniques.gguf("{{ messages[0].content }}"))


def mutant(rng: random.Random) -> tuple[str, Mutant]:
    """Return the family of a mutant, and the mutant."""
    family = rng.choice((*FAMILIES, "pickle", "pickle", "compressed", "zip"))
    made = FAMILIES[family](rng)
    if isinstance(made, tuple):
        return family, made
    return family, (rng.choice(USUAL[family]) if rng.randrange(2) else rng.choice(SUFFIXES), made)


FAMILIES: dict[str, Callable[[random.Random], bytes | Mutant]] = {
    "pickle": pickled,
    "compressed": compressed,
    "zip": zipped,
    "yaml": yaml_document,
    "keras": keras_document,
    "template": template,
    "safetensors": safetensors,
    "npy": npy,
    "gguf": gguf,
}
USUAL: dict[str, Sequence[str]] = {
    "pickle": (".pkl", ".joblib", ".pt"),
    "compressed": (".joblib", ".pkl.gz", ".txt"),
    "zip": (".pt", ".zip", ".npz"),
    "yaml": (".yaml", ".yml"),
    "keras": (".json", ".keras"),
    "safetensors": (".safetensors",),
    "npy": (".npy", ".npz"),
    "gguf": (".gguf",),
    "template": (".j2",),
}
