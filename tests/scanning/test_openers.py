"""Files that their library opens in another way than their name or their first reader says."""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib

import joblib
import pytest

from headway.scanning.canonical import canonical_form
from headway.scanning.files import judge_bytes

HOSTILE = b"cos\nsystem\n(Vid\ntR."


def verdict(content: bytes, name: str) -> str:
    return judge_bytes(content, name=name).verdict


def zipped(members: dict[str, bytes], comment: bytes = b"", entry_comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.comment = entry_comment
            archive.writestr(info, content)
        archive.comment = comment
    return buffer.getvalue()


def second_directory() -> bytes:
    """An end of 64 bits and its locator, which miniz follows wherever they point and zipfile only next to the end."""
    record = b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 1, 1, 46, 0)
    return record + b" " * 8 + b"PK\6\7" + struct.pack("<LQL", 0, 30, 1)


def test_a_zip_whose_directory_readers_find_at_two_places_is_unsafe():
    harmless = pickle.dumps({"a": 1}, protocol=2)
    content = zipped({"archive/data.pkl": harmless}, entry_comment=second_directory())
    assert verdict(content, "model.pt") == "unsafe"


@pytest.mark.parametrize("comment", [b"PK\5\6" + b"\0" * 18, b"PK\1\2", b"PK\6\7" + b"\0" * 16])
def test_a_comment_that_holds_a_directory_is_unsafe(comment):
    assert verdict(zipped({"a.txt": b"text"}, comment=comment), "a.zip") == "unsafe"
    assert verdict(zipped({"a.txt": b"text"}, entry_comment=comment), "a.zip") == "unsafe"


def test_a_zip_with_comments_in_words_is_safe():
    assert verdict(zipped({"a.txt": b"text", "b/c.txt": b"text"}, b"made by hand", b"a text"), "a.zip") == "safe"


def test_a_zip_is_not_judged_unless_its_members_fill_it_side_by_side():
    content = zipped({"a.txt": b"first", "b.txt": b"second"})
    directory = content.index(b"PK\1\2")
    moved = content[:directory] + b"hidden" + content[directory:]
    assert verdict(moved, "a.zip") == "not judged"
    gap = zipped({"a.txt": b"first"})[:40] + b"hidden" + zipped({"a.txt": b"first"})[40:]
    assert verdict(gap, "a.zip") == "not judged"


def test_a_zip_whose_members_share_bytes_is_unsafe():
    content = bytearray(zipped({"a.txt": b"first", "a.tyt": b"first"}))
    second = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
    content[second + 42 : second + 46] = struct.pack("<L", 0)
    content[second + 46 : second + 51] = b"a.txt"
    assert verdict(bytes(content), "a.zip") == "unsafe"


def test_a_member_whose_two_headers_differ_is_not_judged():
    content = bytearray(zipped({"a.txt": b"first"}))
    content[8] = zipfile.ZIP_DEFLATED
    assert verdict(bytes(content), "a.zip") == "not judged"


def text_stream(inner: bytes) -> bytes:
    """A stream of zlib that is valid UTF-8: joblib opens each file that begins with an x as one."""
    content = b"x\x01" + b"\x01" + struct.pack("<HH", len(inner), 0xFFFF ^ len(inner)) + inner
    return content + struct.pack(">L", zlib.adler32(inner))


@pytest.mark.parametrize("name", ["model", "model.txt", "notes.md", "table.csv", "settings.toml", "model.json"])
def test_a_compressed_pickle_is_found_under_any_name(name):
    for content in (text_stream(HOSTILE), zlib.compress(HOSTILE)):
        assert verdict(content, name) == "unsafe"
    assert verdict(zlib.compress(HOSTILE)[:-4], name) != "safe"
    assert verdict(b"ZF0x12               " + zlib.compress(HOSTILE), name) != "safe"


def test_what_joblib_reads_from_a_text_is_what_is_judged(tmp_path):
    content = text_stream(pickle.dumps(["a list"], protocol=2))
    (tmp_path / "notes.md").write_bytes(content)
    assert joblib.load(tmp_path / "notes.md") == ["a list"]
    assert judge_bytes(content, name="notes.md").kind == "zlib"


def test_a_text_that_begins_with_an_x_is_a_text():
    assert verdict(b"x marks the spot\n", "notes.md") == "safe"


@pytest.mark.parametrize(
    "line",
    [
        b"a: !!python/object/apply:os.system [id]",
        b"a: !<tag:yaml.org,2002:python/object/apply:os.system> [id]",
        b"a: !!%70ython/object/apply:os.system [id]",
        b"[!!python/name:os.system ]",
    ],
)
@pytest.mark.parametrize("name", ["notes.txt", "model", "README.md", "a.yaml", "table.csv", "model.json"])
def test_a_tag_of_yaml_that_makes_objects_is_never_safe(line, name):
    assert verdict(b"# settings\n" + line + b"\n", name) != "safe"
    assert name.endswith(".json") or verdict(b"# settings\n" + line + b"\n", name) == "unsafe"


def test_a_directive_that_renames_tags_is_not_judged_and_plain_settings_are_safe():
    renamed = b"%TAG !p! tag:yaml.org,2002:pyth\n---\na: !p!on/object/apply:os.system [id]\n"
    assert {verdict(renamed, name) for name in ("a.txt", "a.yaml")} <= {"not judged", "unsafe"}
    assert verdict(b"a: !!str 1\nb: [1, 2]\n", "a.yaml") == "safe"
    assert verdict(b"Hello! ![picture](a.png) wow !important\n", "README.md") == "safe"


LAMBDA = {"class_name": "Lambda", "config": {"function": base64.b64encode(b"code").decode()}}


@pytest.mark.parametrize(
    "layer",
    [
        LAMBDA,
        {"module": "os", "class_name": "function", "config": "system"},
        {"module": "subprocess", "class_name": "Popen", "config": {}},
    ],
)
def test_a_model_of_keras_that_runs_python_is_unsafe_under_any_name(layer):
    model = json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}).encode()
    for name in ("model.json", "model", "model.txt", "config.json", "table.csv", "a.yaml", "a.j2", "a.toml"):
        assert verdict(model, name) == "unsafe"
        assert verdict(b" " * 1000 + model, name) == "unsafe"
        assert verdict(b"\xef\xbb\xbf" + model.replace(b'"config"', b'"a": NaN, "config"'), name) != "safe"
        assert verdict(model.replace(b"Lambda", b"L\\u0061mbda"), name) == "unsafe"
    assert verdict(zipped({"config.json": model, "metadata.json": b"{}"}), "model.keras") == "unsafe"


def test_a_model_of_keras_without_code_and_a_notebook_are_not_judged():
    assert verdict(json.dumps({"class_name": "Dense", "config": {"units": 1}}).encode(), "a.json") == "not judged"
    assert verdict(json.dumps({"cells": [], "nbformat": 4}).encode(), "a.ipynb") == "not judged"
    assert verdict(json.dumps({"class_name": "late"}).encode(), "a.json") == "safe"


def test_tables_and_documents_that_begin_with_a_bracket_and_are_no_json_stay_safe():
    assert verdict(b"[city],class_name,config\noslo,a,b\n", "a.csv") == "safe"
    assert verdict(b"{class_name: late, config: 1}\n", "a.yaml") == "safe"
    assert verdict(b"[class_name]\nconfig = 1\n", "a.toml") == "safe"
    assert verdict(b"{{ bos_token }}\n", "a.j2") == "safe"


PLAIN = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message.content | trim }}"
    "{% if loop.index0 > 0 and messages[0]['role'] in ['user', 'system'] %}{{ message['content'].strip() }}{% endif %}"
    "{% endfor %}{{ messages[loop.index0 - 1]['role'] }}"
)
OBFUSCATED = (
    "{% set a = '_' ~ '_class_' ~ '_' %}{{ messages[a] }}",
    "{{ messages | attr('\\x5f' * 2) }}",
    "{{ messages['_' + '_init_' + '_'] }}",
    "{{ messages | map(attribute=name) | list }}",
    "{{ ('a' | format)(messages) }}",
    "{{ lipsum }}",
    "{% import 'os' as x %}",
    "{{ messages.pop() }}",
)


def gguf(template: str, key: str = "tokenizer.chat_template") -> bytes:
    text, name = template.encode(), key.encode()
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(name)) + name
    return head + struct.pack("<IQ", 8, len(text)) + text


@pytest.mark.parametrize("template", OBFUSCATED)
def test_a_chat_template_that_is_not_plain_is_not_judged(template):
    documents = {
        "a.gguf": gguf(template),
        "tokenizer_config.json": json.dumps({"chat_template": template}).encode(),
        "chat_template.jinja": template.encode(),
        "template.txt": template.encode(),
    }
    for name, content in documents.items():
        if (name, template) != ("template.txt", "{{ lipsum }}"):
            assert verdict(content, name) in ("not judged", "unsafe"), name


def test_a_plain_chat_template_is_safe():
    assert verdict(gguf(PLAIN), "a.gguf") == "safe"
    assert verdict(json.dumps({"chat_template": PLAIN}).encode(), "tokenizer_config.json") == "safe"
    assert verdict(b"title = {{Attention Is All You Need}}\n", "README.md") == "safe"


def test_a_file_of_two_formats_is_not_judged():
    array = b"\x93NUMPY\1\0" + struct.pack("<H", 118)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }"
    archive = zipped({"data.pkl": HOSTILE})
    archive += b"\0" * (-len(archive) % 8)
    body = array + (header % (len(archive) // 8)).ljust(117) + b"\n" + archive
    assert verdict(body, "a.npy") != "safe"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\2}" + b")" + b"\x85" * 3_000_000 + b"K\1s.",
        b"\x80\2]r" + struct.pack("<L", 1 << 30) + b".",
        b"\x80\4\x95" + struct.pack("<Q", 1 << 40) + b"N.",
        b"\x80\2cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nJ\0\0\x80\0\x85X\1\0\0\0dtR.",
    ],
    ids=["nested tuples", "memo", "frame", "array"],
)
def test_a_pickle_that_exhausts_its_reader_is_never_safe(content):
    assert verdict(content, "model.pkl") != "safe"


def test_the_library_gets_an_archive_with_one_directory_and_no_comments():
    content = zipped({"a/data.pkl": b"first", "a/version": b"3"}, b"made by hand", b"a text")
    written = canonical_form(gzip.compress(content))
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a/data.pkl": b"first", "a/version": b"3"}
        assert not archive.comment and not any(info.comment for info in archive.infolist())
    assert canonical_form(zlib.compress(b"\x80\2N.")) == b"\x80\2N."


@pytest.mark.parametrize("content", [HOSTILE, b"cmy.package\nThing\n."])
def test_a_storage_of_torch_that_is_a_pickle_is_not_safe(content):
    members = {"m/data.pkl": b"\x80\2}.", "m/version": b"3", "m/data/0": content}
    assert verdict(zipped(members), "model.pt") != "safe"


MORE = gzip.compress(b"more", mtime=0)  # part of the test's name, which every worker must find the same


@pytest.mark.parametrize("rest", [bytes(40), MORE, bytes(32) + MORE, b"x"])
def test_what_follows_a_compressed_stream_is_not_judged(rest):
    content = gzip.compress(pickle.dumps([1, 2], 2))
    assert verdict(content, "model.joblib") == "safe"
    assert verdict(content + rest, "model.joblib") == "not judged"
