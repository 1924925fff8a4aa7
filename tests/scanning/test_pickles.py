"""Pickles are read without running them, and one listed name too few is enough to refuse a file."""

from __future__ import annotations

import base64
import collections
import io
import os
import pickle
import pickletools
import struct

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.scanning.files import judge_bytes
from headway.scanning.pickles import find_hidden, scan_pickles


class _Call:
    """Pickled as a call of os.getcwd, which no test runs."""

    def __reduce__(self):
        return os.getcwd, ()


def text(value: str) -> bytes:
    """Return the opcode of a short string."""
    content = value.encode()
    return b"\x8c" + bytes([len(content)]) + content


ATTACK = pickle.dumps(_Call(), 4)
HOSTILE = {
    "a call, protocol 0": pickle.dumps(_Call(), 0),
    "a call, protocol 2": pickle.dumps(_Call(), 2),
    "a call, protocol 5": pickle.dumps(_Call(), 5),
    "a reference without a call": b"cos\nsystem\n.",
    "a name from the memo": b"\x80\x04" + text("os") + b"\x94" + text("system") + b"\x940" + b"0h\x00h\x01\x93.",
    "a name from the memo by number": b"Vos\np5\n0Vsystem\np9\n0g5\ng9\n\x93.",
    "a name that a call makes": b"\x80\x04c_codecs\nencode\n"
    + text("os")
    + text("latin1")
    + b"\x86R"
    + text("x")
    + b"\x93.",
    "getattr": b"c__builtin__\ngetattr\n.",
    "attributes by dots": b"\x80\x04" + text("numpy") + text("core.os.system") + b"\x93.",
    "builtins through numpy": b"\x80\x04" + text("numpy") + text("__builtins__") + b"\x93.",
    "a module of tests": b"cnumpy.testing._private.utils\nrunstring\n(VX\ntR.",
    "an entry of the registry": b"\x80\x02\x82\x01.",
    "a large entry of the registry": b"\x80\x02\x84\x01\x02\x03\x04.",
    "INST": b"(Vid\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nVid\no.",
    "a state with __setstate__": b"\x80\x02csklearn.svm\nSVC\n)\x81}"
    b"X\x0c\x00\x00\x00__setstate__csklearn.svm\nSVC\nsb.",
    "a state for a class": b"\x80\x02csklearn.svm\nSVC\n}b.",
    "an object is called": b"\x80\x02ccollections\nOrderedDict\n)R)R.",
    "a list of a class": b"\x80\x02csklearn.svm\nSVC\n]a.",
    "a pickle in bytes": pickle.dumps({"weights": ATTACK}, 4),
    "a pickle in a string": pickle.dumps({"weights": pickle.dumps(_Call(), 0).decode("latin-1")}, 0),
    "a pickle in base64": pickle.dumps({"weights": base64.b64encode(ATTACK).decode()}),
    "a pickle in hexadecimal digits": pickle.dumps({"weights": ATTACK.hex()}),
    "a second pickle": pickle.dumps(1) + ATTACK,
    "a damaged end": ATTACK[:-1],
    "a damaged end far away": pickle.dumps([1, _Call()], 4)[:-1] + b"\xff\xff",
    "an escaped name, protocol 0": b"V\\u006fs\nVsyste\\u006d\n\x93.",
    "a function that imports by name": b"\x80\x02cnumpy.core\n_ufunc_reconstruct\n(Vos\nVsystem\ntR.",
    "a codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x04\x00\x00\x00evil\x86R.",
    "bytes without end": b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "a large array": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    b"J\xff\xff\xff\x7f\x85C\x01b\x87R.",
    "a large array of one size": b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",
    "a memo without measure": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a slow pattern": b"\x80\x02cre\n_compile\nX\x05\x00\x00\x00(a+)+K\x00\x86R.",
    "the name is bytes": b"\x80\x04C\x02osC\x06system\x93.",
    "attrgetter": b"coperator\nattrgetter\nVsystem\n\x85R.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_unsafe(name):
    problems = scan_pickles(HOSTILE[name])
    assert [problem for problem in problems if problem.is_unsafe], problems


@pytest.mark.parametrize("suffix", [".pkl", ".joblib", ".bin", ".json", ".csv", ".onnx", ".txt", ""])
@pytest.mark.parametrize("name", ["a call, protocol 0", "a call, protocol 2", "a call, protocol 5"])
def test_a_pickle_is_found_under_any_suffix(name, suffix):
    assert judge_bytes(HOSTILE[name], name=f"model{suffix}").verdict != "safe"


def test_a_pickle_after_a_prefix_is_found():
    assert find_hidden(b"GIF89a" + bytes(40) + ATTACK)
    assert judge_bytes(b"GIF89a" + bytes(40) + ATTACK, name="picture.gif").verdict == "unsafe"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x04N", "it ends early"),
        (b"\x80\x09N.", "protocol 9"),
        (b"\x80\x04R.", "nothing on the stack"),
        (b"\x80\x04\xff.", "not an opcode"),
        (b"\x80\x02cmy.package\nModel\n)\x81.", "my.package.Model"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "leaves an object to the program"),
        (b"\x80\x05\x97.", "outside of the file"),
        (pickle.dumps(1) + b"<html>", "follow the pickle"),
        (b"I12", "it ends early"),
        (b"S12\n.", "without quotes"),
        (b"h\x07.", "damaged argument"),
        (b"t.", "no mark"),
        (b"(" * 5000 + b".", "too large a stack"),
        (b"\x80\x02(" + b"K\x01" * 300_000, "too large a stack"),
    ],
)
def test_what_cannot_be_judged_is_not_safe(content, reason):
    problems = scan_pickles(content)
    assert problems and not any(problem.is_unsafe for problem in problems)
    assert any(reason in problem.message for problem in problems), problems


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_arrays_are_safe(protocol):
    values = {
        "numbers": [1, -2, 3.5, 2**70, True, None, (1, 2, 3, 4), {1, 2}, frozenset("a"), b"bytes" * 100, "é" * 300],
        "dictionary": collections.OrderedDict(a=1),
        "array": np.arange(12.0).reshape(3, 4),
        "strings": np.array(["a", None], dtype=object),
        "generator": np.random.RandomState(3),
        "new generator": np.random.default_rng(3),
        "number": np.float32(3),
        "bytearray": bytearray(b"abc"),
    }
    assert scan_pickles(pickle.dumps(values, protocol)) == []


def test_arrays_of_joblib_are_skipped_and_what_follows_is_read():
    buffer = io.BytesIO()
    joblib.dump([np.arange(1000.0), np.array(["a", {}], dtype=object), "end"], buffer)
    assert scan_pickles(buffer.getvalue()) == []
    buffer = io.BytesIO()
    joblib.dump([np.arange(1000.0), _Call()], buffer)
    assert scan_pickles(buffer.getvalue())[0].is_unsafe


def test_a_problem_has_the_offset_of_its_opcode():
    problem = scan_pickles(b"\x80\x02]cos\nsystem\na.")[0]
    assert (problem.location, problem.code) == ("byte 3", "pickle-global")
    assert "os.system" in problem.message


def test_a_file_of_many_beginnings_is_searched_in_little_time():
    assert find_hidden((b"\x80\x04\x95" + bytes(8)) * (1 << 17)) == []


def test_many_problems_are_shortened():
    content = b"\x80\x02(" + b"".join(b"cmy.package\nModel%d\n" % number for number in range(3000)) + b"t."
    assert len(scan_pickles(content)) <= 20


OPCODES = [code.code.encode("latin-1") for code in pickletools.opcodes]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(OPCODES),
            st.binary(max_size=6),
            st.sampled_from([b"os\nsystem\n", text("os"), text("numpy"), b"K\x01", b"N", struct.pack("<I", 2**31)]),
        ),
        max_size=60,
    )
)
def test_random_opcodes_never_crash_the_reader(parts):
    content = b"\x80\x04" + b"".join(parts)
    for problem in scan_pickles(content):
        assert problem.message
    assert all(problem.code != "reader-failed" for problem in judge_bytes(content, name="a.pkl").problems)


@given(st.binary(max_size=400))
def test_random_bytes_never_crash_the_reader(content):
    assert all(problem.code != "reader-failed" for problem in judge_bytes(content, name="a.pkl").problems)
    find_hidden(content)


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.floats()), lambda inner: st.lists(inner)
    )
)
def test_every_plain_value_is_safe(value):
    for protocol in range(6):
        assert scan_pickles(pickle.dumps(value, protocol)) == []


def test_random_bytes_that_begin_like_a_pickle_hide_none():
    assert find_hidden(b"\x80\x02\x84\x14\x00\x00\x00R" + bytes(40)) == []
    assert find_hidden(np.random.default_rng(0).bytes(1 << 22)) == []


def test_a_hidden_pickle_that_ends_early_but_names_a_danger_is_unsafe():
    assert find_hidden(b"GIF89a" + b"\x80\x02" + ATTACK[:-1])
