"""Hostile files of our own: one for each trick that is known here, built from bytes, and never opened."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

CALL = b"cos\nsystem\n(Vid\ntR."
"""A call of os.system in protocol 0."""


def text(value: str) -> bytes:
    """Return the opcode of a short string."""
    content = value.encode()
    return b"\x8c" + bytes([len(content)]) + content


def _global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def _called(module: str, name: str, *arguments: str) -> bytes:
    parts = b"".join(text(argument) for argument in arguments)
    return b"\x80\x04" + _global(module, name) + b"(" + parts + b"tR."


def _pickles() -> dict[str, bytes]:
    calls = [
        *(("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("builtins", "eval")),
        *(("builtins", "exec"), ("builtins", "getattr"), ("builtins", "__import__"), ("importlib", "import_module")),
        *(
            ("runpy", "run_path"),
            ("pickle", "loads"),
            ("_pickle", "loads"),
            ("marshal", "loads"),
            ("types", "CodeType"),
        ),
        *(("socket", "create_connection"), ("webbrowser", "open"), ("shutil", "rmtree"), ("pathlib", "Path.unlink")),
        *(("pip", "main"), ("torch", "load"), ("torch.hub", "load"), ("numpy", "load"), ("joblib", "load")),
        *(("pandas", "read_pickle"), ("sklearn.datasets", "fetch_openml"), ("sklearn.externals.joblib", "load")),
        *(("ctypes", "CDLL"), ("multiprocessing.util", "spawnv_passfds"), ("logging.config", "dictConfig")),
        *(("functools", "reduce"), ("operator", "attrgetter"), ("cloudpickle.cloudpickle", "_make_function")),
        *(("copyreg", "add_extension"), ("unknown_package.module", "run"), ("scipy._lib._util", "getargspec")),
        *(("numpy", "core.os.system"), ("numpy", "__builtins__"), ("sklearn.utils", "os.system")),
    ]
    found = {f"call-{module}-{name}.pkl": _called(module, name, "x") for module, name in calls}
    inner = _called("os", "system", "id")
    svc = b"\x80\x02csklearn.svm\nSVC\n"
    return found | {
        "protocol-0.pkl": CALL,
        "protocol-1.pkl": b"(q\x00" + CALL,
        "inst.pkl": b"(Vid\nios\nsystem\n.",
        "obj.pkl": b"(cos\nsystem\nVid\no.",
        "reference.pkl": b"cos\nsystem\n.",
        "memo.pkl": b"\x80\x04"
        + text("os")
        + b"\x940"
        + text("system")
        + b"\x940h\x00h\x01\x93"
        + text("id")
        + b"\x85R.",
        "dup.pkl": b"\x80\x04" + text("os") + b"20" + text("system") + b"\x93" + text("id") + b"\x85R.",
        "computed-name.pkl": b"\x80\x04c_codecs\nencode\n"
        + text("os")
        + text("latin1")
        + b"\x86R"
        + text("system")
        + b"\x93.",
        "escaped-name.pkl": b"V\\u006fs\nVsyste\\u006d\n\x93.",
        "extension-1.pkl": b"\x80\x02\x82\x07)R.",
        "extension-2.pkl": b"\x80\x02\x83\x07\x01)R.",
        "extension-4.pkl": b"\x80\x02\x84\x07\x01\x01\x01)R.",
        "setstate.pkl": svc + b")\x81}X\x0c\x00\x00\x00__setstate__csklearn.svm\nSVC\nsbNb.",
        "build-class.pkl": svc + b"}b.",
        "set-on-class.pkl": svc + b"K\x01K\x02s.",
        "call-object.pkl": b"\x80\x02ccollections\nOrderedDict\n)R)R.",
        "nested-bytes.pkl": pickle.dumps({"weights": inner}),
        "nested-text.pkl": pickle.dumps({"weights": CALL.decode()}, 0),
        "nested-base64.pkl": pickle.dumps({"weights": base64.b64encode(inner).decode()}),
        "nested-hex.pkl": pickle.dumps({"weights": inner.hex()}),
        "nested-twice.pkl": pickle.dumps({"a": pickle.dumps({"b": inner})}),
        "second.pkl": pickle.dumps({"a": 1}) + inner,
        "truncated.pkl": inner[:-1],
        "damaged-end.pkl": inner[:-1] + b"\xff\xff",
        "imports-by-name.pkl": b"\x80\x02cnumpy.core\n_ufunc_reconstruct\n(Vos\nVsystem\ntR.",
        "codec.pkl": b"\x80\x02c_codecs\nencode\n(Vx\nVevil_codec\ntR.",
        "many-bytes.pkl": b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        "large-array.pkl": b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",
        "memo-size.pkl": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "slow-pattern.pkl": b"\x80\x02cre\n_compile\n(V(a+)+$\nK\x00tR.",
        "kept-import.pkl": _called("functools", "partial")[:-3] + _global("numpy.core", "_ufunc_reconstruct") + b"tR.",
        "lazy-generator.pkl": b"\x80\x04"
        + _global("numpy.random._pickle", "__generator_ctor")
        + text("id")
        + _global("functools", "partial")
        + b"\x86R.",
        "append-method.pkl": svc + b")\x81}X\x06\x00\x00\x00appendcbuiltins\nlist\nsbNa.",
        "number.pkl": b"\x80\x04"
        + _global("builtins", "int")
        + _global("decimal", "Decimal")
        + text("1e999999999")
        + b"\x85R\x85R.",
        "power.pkl": b"\x80\x02cnumpy\npower\n\x8a\x08" + b"\x7f" * 8 + b"\x8a\x08" + b"\x7f" * 8 + b"\x86R.",
        "booster-file.pkl": b"\x80\x04"
        + _global("lightgbm.basic", "Booster")
        + b"NN"
        + text("/etc/passwd")
        + b"\x87R.",
        "tuples.pkl": b")" + b"2\x86" * 60 + b".",
        "opcodes-first.txt": b"N0" * 300 + CALL,
        "opcodes-first.cbm": b"CBM1".ljust(68, b"x") + b"0" + CALL,
        "distribution.pkl": b"\x80\x02cscipy.stats._continuous_distns\nnorm_gen\n)\x81}b.",
        "persistent.pkl": b"Pos.system\n.",
        "hidden.onnx": inner,
        "hidden.csv": inner,
        "hidden.json": CALL,
        "hidden-after-gif.gif": b"GIF89a" + bytes(40) + inner,
        "hidden-after-text.txt": b"# model\n" + inner,
        "gzip.joblib": gzip.compress(inner),
        "bzip2.joblib": bz2.compress(inner),
        "xz.joblib": lzma.compress(inner),
        "zlib.joblib": zlib.compress(inner),
    }


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip file with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tarred(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _archives() -> dict[str, bytes]:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    plain = zipped({"safe.txt": b"text"}, zipfile.ZIP_STORED)
    torch = {"m/data.pkl": b"\x80\x02" + CALL, "m/version": b"3\n", "m/data/0": bytes(8)}
    return {
        "traversal.zip": zipped({"../../evil": b"x"}),
        "absolute.zip": zipped({"/etc/evil": b"x"}),
        "drive.zip": zipped({"C:\\evil": b"x"}),
        "link.zip": buffer.getvalue(),
        "member.zip": zipped({"deep/model.txt": CALL}),
        "nested.zip": zipped({"a.zip": zipped({"b.zip": zipped({"model.pkl": CALL})})}),
        "headers.zip": plain.replace(b"safe.txt", b"evil.pkl", 1),
        "prefix.pt": CALL + plain,
        "torch.pt": zipped(torch, zipfile.ZIP_STORED),
        "traversal.tar": _tarred("../evil", content=b"x"),
        "link.tar": _tarred("a", tarfile.SYMTYPE, target="/etc"),
        "hard-link.tar": _tarred("a", tarfile.LNKTYPE, target="../../etc/passwd"),
        "named-storage.zip": zipped({"torch:storage": CALL}),
        "storage.pt": zipped({"m/data.pkl": b"N.", "m/data/0": CALL}),
        "device.tar": _tarred("a", tarfile.CHRTYPE),
        "member.tar": _tarred("model.pkl", content=CALL),
        "member.tar.gz": gzip.compress(_tarred("model.pkl", content=CALL)),
        "skops.skops": zipped(
            {
                "schema.json": json.dumps(
                    {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}
                ).encode()
            }
        ),
    }


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes | int) -> bytes:
    """Return a field of a message of ONNX."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _graph(
    operator: str, *inputs: str, domain: str = "", attribute: bytes = b"", tensor: bytes = b"", more: bytes = b""
) -> bytes:
    node = b"".join(field(1, name.encode()) for name in inputs) + field(2, b"y") + field(4, operator.encode())
    node += field(7, domain.encode()) + (field(5, attribute) if attribute else b"")
    return field(1, 8) + field(7, field(1, node) + (field(5, tensor) if tensor else b"")) + more


def _graphs() -> dict[str, bytes]:
    body = field(11, field(1, b"i")) + field(11, field(1, b"more")) + field(12, field(1, b"more"))
    loop = field(1, b"body") + field(6, body)
    rounds = field(1, 1) + field(2, 7) + field(7, _varint(10**12)) + field(8, b"n")
    sizes = field(1, 2) + field(2, 7) + field(7, _varint(10**6) * 2) + field(8, b"n")
    outside = field(1, 1) + field(2, 1) + field(8, b"w") + field(14, 1)
    function = field(1, b"F") + field(7, field(1, b"x") + field(2, b"y") + field(4, b"F"))
    deep = field(1, field(4, b"Relu"))
    for _ in range(60):
        deep = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, deep)))
    return {
        "python.onnx": _graph("PyOp", "x", domain="com.microsoft"),
        "custom.onnx": _graph("Fast", "x", domain="my.company"),
        "traversal.onnx": _graph(
            "Relu", "x", tensor=outside + field(13, field(1, b"location") + field(2, b"../../etc/passwd"))
        ),
        "absolute.onnx": _graph(
            "Relu", "x", tensor=outside + field(13, field(1, b"location") + field(2, b"/etc/passwd"))
        ),
        "endless-loop.onnx": _graph("Loop", "", "", attribute=loop),
        "long-loop.onnx": _graph("Loop", "n", "", attribute=loop, tensor=rounds),
        "recursion.onnx": _graph("F", "x", more=field(25, function)),
        "size.onnx": _graph("ConstantOfShape", "n", tensor=sizes),
        "claimed.onnx": _graph("Relu", "x", tensor=field(1, 10**11) + field(2, 1) + field(8, b"w")),
        "deep.onnx": field(1, 8) + field(7, deep),
    }


def _headers() -> dict[str, bytes]:
    def safetensors(header: object, body: bytes = b"") -> bytes:
        content = json.dumps(header).encode()
        return struct.pack("<Q", len(content)) + content + body

    def gguf(template: str, count: int = 1) -> bytes:
        key, value = b"tokenizer.chat_template", template.encode()
        entry = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
        return b"GGUF" + struct.pack("<IQQ", 3, 0, count) + entry

    def npy(header: str, body: bytes) -> bytes:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body

    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    jinja = "{{ x.__class__.__mro__[1].__subclasses__() }}"
    return {
        "objects.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", CALL),
        "shape.npy": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }\n", bytes(8)),
        "code.npy": npy(
            "{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': (1,), }\n", bytes(8)
        ),
        "objects.npz": zipped({"a.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", CALL)}),
        "header.safetensors": struct.pack("<Q", 1 << 40) + b"{}",
        "overlap.safetensors": safetensors({"a": tensor, "b": tensor}, bytes(16)),
        "outside.safetensors": safetensors({"a": {**tensor, "data_offsets": [0, 1 << 40]}}, bytes(16)),
        "template.safetensors": safetensors({"__metadata__": {"chat_template": jinja}}),
        "template.gguf": gguf(jinja),
        "keys.gguf": gguf("x", count=1 << 50),
        "length.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 60),
        "depth.json": b'{"learner": ' + b"[" * 100_000,
        "template.json": json.dumps({"chat_template": jinja}).encode(),
        "object.yaml": b"a: !!python/object/apply:os.system [id]\n",
        "formula.csv": b"a,b\n1,=cmd|' /C calc'!A0\n",
        "footer.parquet": b"PAR1" + bytes(20) + struct.pack("<I", 1 << 30) + b"PAR1",
        "pickled-type.parquet": b"PAR1" + b"arrow.py_extension_type" + struct.pack("<I", 23) + b"PAR1",
        "path.toml": b'[data]\nsource = "../../etc/passwd"\n',
        "headway.toml": b'[model]\ntrain = "evil:train"\n',
        "contract.toml": b'[columns.a]\npattern = "(a+)+$"\n',
        "indices.txt": b"tree\nversion=v4\nnum_class=1\nTree=0\nnum_leaves=2\nsplit_feature=999999\n\nend of trees\n",
        "program.bin": b"\x7fELF" + bytes(60),
    }


def bombs(*, small: bool = False) -> dict[str, bytes]:
    """Return small files that ask for much time or memory; `small` ones unpack to the least that is refused."""
    size = 1 << 25 if small else 1 << 28
    twice = zipped({"a.zip": zipped({"b.csv": bytes(size >> 1)})})
    return {
        "zeros.joblib": gzip.compress(bytes(size)),
        "zeros.bz2": bz2.compress(bytes(size)),
        "zeros.zip": zipped({f"{number}.csv": bytes(size >> 2) for number in range(4)}),
        "nested.zip": twice,
        "members.zip": zipped({str(number): b"" for number in range(30_000)}, zipfile.ZIP_STORED),
        "marks.pkl": b"\x80\x02" + b"(" * (8 << 20),
        "numbers.pkl": b"\x80\x02(" + b"K\x01" * (4 << 20),
        "long-line.pkl": b"I" + b"9" * (8 << 20) + b"\n.",
        "memo.pkl": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "depth.json": b"[" * (8 << 20),
        "depth.toml": b"a = " + b"[" * (1 << 20),
        "keys.toml": b"a" + b".a" * (1 << 19) + b" = 1\n",
        "digits.json": b'{"a": ' + b"9" * (8 << 20) + b"}",
        "line.csv": b"a" * (20 << 20),
        "shape.npy": b"\x93NUMPY\x01\x00\x3c\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999,)}\n"
        + bytes(64),
        "keys.gguf": b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60),
        "hidden.bin": (b"\x80\x04\x95" + bytes(8)) * (1 << 17),
    }


def write(folder: Path) -> None:
    """Write every hostile file to a folder."""
    for name, content in (_pickles() | _archives() | _graphs() | _headers()).items():
        (folder / name).write_bytes(content)
