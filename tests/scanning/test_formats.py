"""Archives, arrays, graphs, models of trees and tables: bounded, and judged by their content."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import sqlite3
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from contextlib import closing

import numpy as np
import polars as pl
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.made_forests import Shape, made

from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.encoder import EncoderHeader, pack_encoder
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.scanning.files import judge_artifact, judge_bytes, judge_file
from headway.scanning.graphs import leaves_folder

HOSTILE = b"cos\nsystem\n(Vid\ntR."


def verdict(content: bytes, name: str) -> str:
    return judge_bytes(content, name=name).verdict


def reasons(content: bytes, name: str) -> str:
    return "; ".join(problem.message for problem in judge_bytes(content, name=name).problems)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../evil.pkl", "/etc/evil", "a/../../b", "C:\\evil", "..\\evil", "~/evil"])
def test_a_member_whose_name_leaves_the_folder_is_unsafe(name):
    assert leaves_folder(name)
    assert verdict(zipped({name: b"text"}), "a.zip") == "unsafe"
    assert verdict(tarred((member(name), b"text")), "a.tar") == "unsafe"


def test_members_of_archives_are_judged_by_their_content():
    inner = zipped({"notes.txt": b"text", "weights/model.txt": HOSTILE})
    assert verdict(zipped({"notes.txt": b"text"}), "a.zip") == "safe"
    assert verdict(inner, "a.zip") == "unsafe"
    assert verdict(zipped({"inner.zip": inner}), "a.zip") == "unsafe"
    assert verdict(tarred((member("inner.zip"), inner)), "a.tar") == "unsafe"
    assert judge_bytes(inner, name="a.zip").problems[0].location.startswith("weights/model.txt: byte")


def test_archives_in_archives_end_at_a_depth():
    content = zipped({"a.txt": b"text"})
    for _ in range(8):
        content = zipped({"a.zip": content})
    assert verdict(content, "a.zip") == "not judged"
    assert "nested deeper" in reasons(content, "a.zip")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zlib.compress])
def test_compressed_files_are_judged_by_what_they_hold(compress):
    assert verdict(compress(pickle.dumps({"a": 1})), "a.joblib") == "safe"
    assert verdict(compress(HOSTILE), "a.joblib") == "unsafe"
    assert verdict(compress(HOSTILE)[:-5], "a.joblib") == "not judged"


def test_a_bomb_is_found_before_it_is_unpacked():
    for content in (gzip.compress(bytes(1 << 26)), bz2.compress(bytes(1 << 26)), zipped({"a.csv": bytes(1 << 26)})):
        assert verdict(content, "a.bin") == "unsafe"
        assert "unpacks to more than" in reasons(content, "a.bin")


def test_a_large_member_is_unpacked_to_a_temporary_file():
    content = zipped({"a.csv": b"1,2,3\n" * 2_000_000})
    assert verdict(content, "a.zip") == "safe"


def test_links_devices_and_repeated_members_are_unsafe():
    assert verdict(tarred((member("a", tarfile.SYMTYPE, "/etc"), b"")), "a.tar") == "unsafe"
    assert verdict(tarred((member("a", tarfile.CHRTYPE), b"")), "a.tar") == "unsafe"
    assert verdict(tarred((member("a"), b"1"), (member("a"), b"2")), "a.tar") == "unsafe"
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    assert {problem.code for problem in judge_bytes(buffer.getvalue(), name="a.zip").problems} >= {
        "archive-link",
        "archive-repeated",
    }


def test_a_zip_whose_headers_differ_is_unsafe():
    content = zipped({"safe.txt": b"text"}, zipfile.ZIP_STORED).replace(b"safe.txt", b"evil.pkl", 1)
    assert "different files" in reasons(content, "a.zip")


def test_a_member_with_a_wrong_checksum_is_still_read():
    content = zipped({"data.pkl": HOSTILE}, zipfile.ZIP_STORED)
    damaged = content.replace(struct.pack("<I", zlib.crc32(HOSTILE)), b"\1\2\3\4")
    assert verdict(damaged, "a.zip") == "unsafe"


def test_a_pickle_before_a_zip_is_found():
    assert verdict(HOSTILE + zipped({"a.txt": b"text"}), "model.pt") == "unsafe"


def test_a_torch_archive_may_leave_its_storages_to_the_reader():
    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQ."
    members = {"m/data.pkl": b"\x80\x02" + storage, "m/version": b"3\n", "m/data/0": bytes(16)}
    assert verdict(zipped(members, zipfile.ZIP_STORED), "a.pt") == "safe"
    assert verdict(b"\x80\x02" + storage, "a.pkl") == "not judged"


@pytest.mark.parametrize("name", ["torch:storage", "torch:data.pkl", "m/data/0", "m/data/evil.pkl", "m/version"])
def test_a_name_never_makes_a_pickle_a_storage(name):
    assert verdict(HOSTILE, name) == "unsafe"
    assert verdict(zipped({name: HOSTILE}), "a.zip") == "unsafe"
    assert verdict(zipped({"m/data.pkl": b"N.", name: HOSTILE}), "a.pt") == "unsafe"


def test_many_members_take_no_longer_than_their_number():
    assert verdict(zipped({f"{number}.txt": b"" for number in range(25_000)}), "a.zip") == "not judged"


def test_npy_files_are_compared_with_their_header():
    content = npy(np.arange(100.0))
    assert verdict(content, "a.npy") == "safe"
    assert verdict(npy(np.array([{}, None], dtype=object)), "a.npy") == "safe"
    assert verdict(content[:-8], "a.npy") == "not judged"
    assert verdict(content.replace(b"(100,)", b"(10**9,)"), "a.npy") == "not judged"
    assert verdict(content.replace(b"(100,), }", b"(99999999999,),}"), "a.npy") == "unsafe"
    hostile = npy(np.array([None], dtype=object))
    assert verdict(hostile[:128] + HOSTILE, "a.npy") == "unsafe"


def test_records_of_an_npy_file_are_read_by_their_types():
    table = np.zeros(3, dtype=[("Object", "<f8"), ("b", "<U3"), ("c", "i4", (2, 2))])
    assert verdict(npy(table), "a.npy") == "safe"
    assert verdict(npy(table) + b"x", "a.npy") == "not judged"
    mixed = npy(np.zeros(3, dtype=[("a", "<f8"), ("b", "O")]))
    assert verdict(mixed, "a.npy") == "safe"
    assert verdict(mixed[: mixed.index(b"\n") + 1] + HOSTILE, "a.npy") == "unsafe"
    for alias in (b"'O,f8'", b"'object'", b"[('a', 'object'), ('b', '<f8')]", b"[('a', [('b', 'O')])]"):
        header = b"{'descr': %s, 'fortran_order': False, 'shape': (1,), }\n" % alias
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + HOSTILE
        assert verdict(content, "a.npy") == "not judged"


def nested(*models: tuple[str, bytes]) -> bytes:
    inside = tuple(NestedModel(engine=engine, size_bytes=len(content)) for engine, content in models)
    return pack_models(NestedHeader(models=inside), *(content for _, content in models))


def test_each_model_in_an_artifact_is_judged():
    forest = ("trees", compile_forest(made(Shape(), seed=0)))
    graph, loop = model(node("Relu", "x")), model(node("Loop", "", "true", attribute=LOOP))
    assert verdict(nested(forest, ("onnxruntime", graph)), "a.bin") == "safe"
    assert verdict(nested(forest, ("cascade", nested(forest, ("onnxruntime", loop)))), "a.bin") == "unsafe"
    assert judge_bytes(nested(forest, ("sklearn", HOSTILE)), name="a.bin").problems[0].location.startswith("model 2")
    assert verdict(nested(("sklearn", b"a text")), "a.bin") == "not judged"
    assert verdict(nested(("lightgbm", b"a,b\n")), "a.bin") == "not judged"
    assert verdict(nested(forest)[:-1], "a.bin") == "not judged"
    assert "not a model that" in reasons(nested(("xgboost", b"")), "a.bin")
    deep = nested(forest)
    for _ in range(4):
        deep = nested(("cascade", deep))
    assert verdict(deep, "a.bin") == "not judged"


def test_the_tokenizer_and_the_graph_of_an_encoder_are_judged():
    def encoder(tokenizer: str, graph: bytes) -> bytes:
        return pack_encoder(
            EncoderHeader(tokenizer_bytes=len(tokenizer), width=2, max_tokens=8), tokenizer.encode(), graph
        )

    graph = model(node("Relu", "x"))
    plain = '{"model": {"vocab": {"a": 0}}}'
    assert verdict(encoder(plain, graph), "a.bin") == "safe"
    assert verdict(nested(("encoder", encoder(plain, graph))), "a.bin") == "safe"
    assert verdict(encoder(plain, model(node("Loop", "", "true", attribute=LOOP))), "a.bin") == "unsafe"
    assert verdict(encoder(plain, b"text"), "a.bin") == "not judged"
    assert "regular expression" in reasons(encoder('{"a": {"Regex": "(a+)+"}}', graph), "a.bin")
    assert verdict(encoder(plain, graph)[:20], "a.bin") == "not judged"


def safetensors(header: dict[str, object], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_tensors_fill_a_safetensors_file():
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    assert verdict(safetensors({"a": tensor}, bytes(16)), "a.safetensors") == "safe"
    assert verdict(safetensors({"a": {**tensor, "shape": [2, 3]}}, bytes(16)), "a.safetensors") == "unsafe"
    assert verdict(safetensors({"a": tensor, "b": tensor}, bytes(16)), "a.safetensors") == "unsafe"
    assert verdict(safetensors({"a": tensor}, bytes(20)), "a.safetensors") == "not judged"
    assert verdict(struct.pack("<Q", 1 << 40) + b"{}", "a.safetensors") == "unsafe"
    template = {"__metadata__": {"chat": "{{ x.__class__.__mro__ }}"}}
    assert verdict(safetensors(template, b""), "a.safetensors") == "unsafe"


def gguf(template: str = "{{ messages }}", *, count: int = 1) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    key = text("tokenizer.chat_template") + struct.pack("<I", 8) + text(template)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, count) + key


def test_a_gguf_header_is_read_within_its_file():
    assert verdict(gguf(), "a.gguf") == "safe"
    assert verdict(gguf("{{ cycler.__init__.__globals__.os.popen('id') }}"), "a.gguf") == "unsafe"
    assert verdict(gguf(count=1 << 40), "a.gguf") == "unsafe"
    assert verdict(gguf()[:-4], "a.gguf") == "unsafe"


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return bytes([number << 3]) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def node(operator: str, *inputs: str, domain: str = "", attribute: bytes = b"") -> bytes:
    parts = [field(1, name.encode()) for name in inputs]
    parts += [field(2, b"out"), field(4, operator.encode()), field(7, domain.encode())]
    return b"".join(parts) + (field(5, attribute) if attribute else b"")


def model(*nodes: bytes, tensors: tuple[bytes, ...] = (), functions: tuple[bytes, ...] = ()) -> bytes:
    graph = b"".join(field(1, part) for part in nodes) + field(2, b"g") + b"".join(field(5, part) for part in tensors)
    return field(1, 8) + field(2, b"test") + field(7, graph) + b"".join(field(25, part) for part in functions)


def constant(name: str, *values: int) -> bytes:
    packed = b"".join(_varint(value) for value in values)
    return field(1, len(values)) + field(2, 7) + field(7, packed) + field(8, name.encode())


def external(path: str) -> bytes:
    entry = field(1, b"location") + field(2, path.encode())
    return field(1, 4) + field(2, 1) + field(8, b"w") + field(13, entry) + field(14, 1)


BODY = field(11, field(1, b"i")) + field(11, field(1, b"more")) + field(12, field(1, b"more"))
LOOP = field(1, b"body") + field(6, BODY)
GRAPHS = {
    "plain": (model(node("Relu", "x")), "safe"),
    "an operator of another domain": (model(node("Fast", "x", domain="my.company")), "not judged"),
    "an operator that runs Python": (model(node("PyOp", "x", domain="com.microsoft")), "unsafe"),
    "weights outside of the folder": (model(node("Relu", "x"), tensors=(external("../../etc/passwd"),)), "unsafe"),
    "weights at the root": (model(node("Relu", "x"), tensors=(external("/etc/passwd"),)), "unsafe"),
    "weights next to it": (model(node("Relu", "x"), tensors=(external("weights.bin"),)), "not judged"),
    "a loop without an end": (model(node("Loop", "", "true", attribute=LOOP)), "unsafe"),
    "a long loop": (model(node("Loop", "n", "", attribute=LOOP), tensors=(constant("n", 10**12),)), "unsafe"),
    "a short loop": (model(node("Loop", "n", "", attribute=LOOP), tensors=(constant("n", 10),)), "safe"),
    "a size without measure": (
        model(node("ConstantOfShape", "n"), tensors=(constant("n", 10**6, 10**6),)),
        "unsafe",
    ),
    "a function that calls itself": (
        model(node("F", "x"), functions=(field(1, b"F") + field(7, node("F", "x")),)),
        "unsafe",
    ),
    "a tensor without numbers": (
        model(node("Relu", "x"), tensors=(field(1, 10**10) + field(2, 1) + field(8, b"w"),)),
        "unsafe",
    ),
    "cut short": (model(node("Relu", "x"))[:-3], "not judged"),
    "no operator": (field(1, 8) + field(2, b"test"), "not judged"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_judged_by_its_structure(name):
    content, expected = GRAPHS[name]
    assert verdict(content, "a.onnx") == expected, reasons(content, "a.onnx")


def test_subgraphs_are_nested_to_a_depth():
    inner = field(1, node("Relu", "x"))
    for _ in range(60):
        inner = field(1, node("If", "x", attribute=field(1, b"then_branch") + field(6, inner)))
    assert verdict(field(1, 8) + field(7, inner), "a.onnx") == "not judged"


def test_tables_and_texts(tmp_path):
    table = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    for name, write in (("a.parquet", table.write_parquet), ("a.arrow", table.write_ipc), ("a.csv", table.write_csv)):
        write(tmp_path / name)
        assert judge_file(tmp_path / name).problems == ()
    parquet = (tmp_path / "a.parquet").read_bytes()
    assert verdict(parquet[:-9] + b"\xff" + parquet[-8:], "a.parquet") == "unsafe"
    assert verdict(parquet[:-5], "a.parquet") == "not judged"
    arrow = (tmp_path / "a.arrow").read_bytes()
    assert verdict(arrow[:-10] + b"\xff\xff\xff\x7f" + arrow[-6:], "a.arrow") == "not judged"
    assert verdict(b"a,b\n1,=cmd|' /C calc'!A0\n", "a.csv") == "unsafe"
    assert verdict(b"a,b\n1,-2\n", "a.csv") == "safe"
    assert verdict(b"a\0b", "a.csv") == "not judged"
    assert verdict(b"\xff\xfe", "a.csv") == "not judged"


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (b'[data]\nsource = "flights.csv"\n', "headway.toml", "safe"),
        (b'[data]\nsource = "train:rows"\n', "headway.toml", "not judged"),
        (b'[data]\nsource = "../../etc/passwd"\n', "headway.toml", "unsafe"),
        (b'[trust]\ntrusted_keys = "/etc/keys.txt"\n', "headway.toml", "unsafe"),
        (b'[columns.a]\npattern = "(a+)+$"\n', "contract.toml", "unsafe"),
        (b"a = " + b"[" * 3000, "headway.toml", "unsafe"),
        (b"a = " + b"9" * 5000, "headway.toml", "unsafe"),
        (b"a = = 1", "headway.toml", "not judged"),
        (b'{"a": [1, 2]}', "config.json", "safe"),
        (b"[" * 5000, "config.json", "unsafe"),
        (b'{"a": ', "config.json", "not judged"),
        (b'{"chat_template": "{{ x.__class__ }}"}', "tokenizer_config.json", "unsafe"),
        (b"a: !!python/object/apply:os.system [id]", "a.yaml", "unsafe"),
        (b"a: 1\n", "a.yaml", "safe"),
        (b"# Model\n", "README.md", "safe"),
        (b"import os\n", "model.py", "not judged"),
        (b"\x7fELF....", "model.bin", "unsafe"),
        (b"", "empty.pkl", "safe"),
    ],
)
def test_settings_and_texts(text, name, expected):
    assert verdict(text, name) == expected, reasons(text, name)


def test_a_link_and_a_pipe_are_not_judged(tmp_path):
    (tmp_path / "link.pkl").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    assert judge_file(tmp_path / "link.pkl").verdict == "not judged"
    assert judge_file(tmp_path / "pipe").verdict == "not judged"
    assert judge_file(tmp_path / "absent").verdict == "not judged"


def test_a_large_file_is_mapped(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": bytes(9 << 20)}) + HOSTILE)
    assert judge_file(path).verdict == "unsafe"
    path.write_bytes(zipped({"a.npy": npy(np.zeros(1_500_000))}, zipfile.ZIP_STORED))
    assert judge_file(path).verdict == "safe"


SUFFIXES = (
    ".npy",
    ".onnx",
    ".safetensors",
    ".gguf",
    ".parquet",
    ".arrow",
    ".zip",
    ".tar",
    ".json",
    ".toml",
    ".ubj",
    ".csv",
)
STARTS = (
    b"",
    npy(np.arange(3.0))[:100],
    model(node("Relu", "x")),
    safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    gguf(),
    zipped({"a.pkl": HOSTILE}),
    b"PAR1",
    b"ARROW1\0\0\xff\xff\xff\xff",
    b"tree\nversion=v4\n",
    b"CBM1",
    b"{L",
    gzip.compress(b"abc", mtime=0),
)


@given(st.sampled_from(STARTS), st.binary(max_size=200), st.sampled_from(SUFFIXES), st.integers(0, 400))
def test_damaged_files_never_crash_a_reader(start, rest, suffix, cut):
    for content in (start[:cut] + rest, start + rest, start[:cut] + rest[:1] + start[cut + 1 :], rest):
        problems = judge_bytes(content, name=f"a{suffix}").problems
        assert all(problem.code != "reader-failed" for problem in problems)


def test_a_database_is_not_read_because_an_open_connection_would_lose_its_locks(tmp_path):
    database = tmp_path / "state.sqlite"
    try_to_write = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE rows (n)")
        connection.execute("BEGIN IMMEDIATE")
        found = judge_file(database)
        other = subprocess.run([sys.executable, "-c", try_to_write, database], capture_output=True, text=True)
    assert (found.verdict, found.problems[0].code) == ("not judged", "database")
    assert "database is locked" in other.stderr


def test_an_artifact_of_a_kernel_is_safe_and_a_damaged_one_is_not_judged():
    forest = compile_forest(made(Shape(), seed=1))
    assert verdict(forest, "model.forest") == "safe"
    assert verdict(forest[:-200], "model.forest") == "not judged"
    assert verdict(forest[:40] + HOSTILE, "model.forest") == "not judged"


def test_an_artifact_is_safe_only_if_it_is_a_model_of_its_engine() -> None:
    text = b"tree\nversion=v4\n"
    assert judge_artifact(compile_forest(made(Shape(), seed=0)), engine="trees").verdict == "safe"
    assert judge_artifact(HOSTILE, engine="sklearn").verdict == "unsafe"
    for content, engine in ((b"", "trees"), (b"{}", "xgboost"), (b"a,b\n1,2\n", "trees"), (text, "lightgbm")):
        assert judge_artifact(content, engine=engine).verdict == "not judged"


@pytest.mark.parametrize("text", ["[" * 300, "{" * 300])
def test_brackets_by_chance_in_a_binary_model_of_xgboost_are_not_levels(text):
    booster = xgboost.train({}, xgboost.DMatrix(np.arange(8.0).reshape(4, 2), np.arange(4.0)), 1)
    booster.set_attr(note=text)
    assert judge_bytes(bytes(booster.save_raw("ubj")), name="model.ubj").verdict == "safe"
    deep = b'{ "learner": ' + text.encode()
    assert "nested deeper than 200" in reasons(deep, "model.json")
