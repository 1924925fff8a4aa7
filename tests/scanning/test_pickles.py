"""Pickles are read without running them, and one listed name too few is enough to refuse a file."""

from __future__ import annotations

import base64
import collections
import datetime
import functools
import io
import os
import pickle
import pickletools
import struct
import zoneinfo

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, make_scorer

from headway.scanning import pickles
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


def named(module: str, name: str) -> bytes:
    """Return the opcodes that refer to a global."""
    return text(module) + text(name) + b"\x93"


def called(module: str, name: str, *args: bytes) -> bytes:
    """Return the opcodes of a call with arguments that other opcodes make."""
    return named(module, name) + b"(" + b"".join(args) + b"tR"


def made(module: str, name: str, *state: bytes) -> bytes:
    """Return the opcodes of an object with attributes: names and values in turn."""
    return named(module, name) + b")\x81}(" + b"".join(state) + b"ub"


PARTIAL = called("functools", "partial", named("numpy.core", "_ufunc_reconstruct"))
OTHER = made("sklearn.svm._classes", "SVC", text("C"), b"K\x01")
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
    "getattr of another class": called("builtins", "getattr", named("numpy", "dtype"), text("mro")) + b".",
    "getattr of a zone, and another one": called(
        "builtins", "getattr", named("zoneinfo", "ZoneInfo"), text("_unpickle")
    )
    + b"0"
    + named("builtins", "getattr")
    + b".",
    "a zone of a path": called("builtins", "getattr", named("zoneinfo", "ZoneInfo"), text("_unpickle"))
    + text("../../etc/passwd")
    + b"\x88\x86R.",
    "arguments that a call makes": named("numpy.core", "_ufunc_reconstruct") + called("builtins", "tuple") + b"R.",
    "arguments of an object that a call makes": named("sklearn.svm", "SVC") + called("builtins", "tuple") + b"\x81.",
    "a function that pickles only refer to": called("numpy", "power", b"K\x63", b"K\x63") + b".",
    "a metric that is called": called("sklearn.metrics", "f1_score", b"N", b"N") + b".",
    "many small lengths": b"".join(called("builtins", "bytearray", b"J\0\0\x80\0") for _ in range(3)) + b".",
    "a list of a range": called("builtins", "list", called("builtins", "range", b"J\0\0\x80\0")) + b".",
    "a number of a number": called("builtins", "int", called("decimal", "Decimal", text("1e999999999"))) + b".",
    "a fraction of an exponent": called("fractions", "Fraction", text("1e999999999")) + b".",
    "attributes by a namespace": called("types", "SimpleNamespace", b"}" + text("__setstate__") + b"Ns") + b".",
    "an array of joblib by a partial": called("functools", "partial", named("joblib.numpy_pickle", "NumpyArrayWrapper"))
    + b".",
    "a base that is an object": called("copyreg", "_reconstructor", named("sklearn.svm", "SVC"), OTHER, b"N") + b".",
    "a generator that calls": called(
        "numpy.random._pickle", "__generator_ctor", text("x"), named("functools", "partial")
    )
    + b".",
    "a tensor's type that calls": called("torch._tensor", "_rebuild_from_type_v2", PARTIAL, b"N", b")", b"N") + b".",
    "a tensor's type whose function is called": called(
        "torch._tensor",
        "_rebuild_from_type_v2",
        named("torch._utils", "_rebuild_tensor_v2"),
        b"N",
        OTHER + b"\x85",
        b"N",
    )
    + b".",
    "a parameter of an object": called("torch._utils", "_rebuild_parameter", OTHER, b"\x88", b"N") + b".",
    "a tensor of an object": called("torch._utils", "_rebuild_tensor_v2", OTHER, b"K\0", b")", b")") + b".",
    "an index of an object": called(
        "pandas.core.indexes.base",
        "_new_Index",
        named("pandas.core.indexes.base", "Index"),
        b"}" + text("data") + OTHER + b"s",
    )
    + b".",
    "an index with a key that is given twice": called(
        "pandas.core.indexes.base",
        "_new_Index",
        named("pandas.core.indexes.base", "Index"),
        b"}(" + (text("data") + b"N") * 2 + b"u",
    )
    + b".",
    "a partial of a function that imports": PARTIAL + b".",
    "a function that imports in a list": b"]" + named("numpy.core", "_ufunc_reconstruct") + b"a.",
    "a function that imports in a tuple": named("re", "_compile") + b"\x85.",
    "a function that imports in a dictionary": b"}K\x01" + named("_codecs", "encode") + b"s.",
    "a function that imports as a state": named("sklearn.svm", "SVC") + b")\x81" + named("re", "_compile") + b"b.",
    "a function that imports for OBJ": b"(" + named("functools", "partial") + named("re", "_compile") + b"o.",
    "tuples in tuples": b")" + b"2\x86" * 60 + b".",
    "tuples in tuples from the memo": b"K\x01\x85\x94"
    + b"".join(b"(" + b"h%c" % number * 20 + b"t\x94" for number in range(12))
    + b".",
    "an object as a state": named("sklearn.svm", "SVC") + b")\x81" + OTHER + b"b.",
    "a special method": made("sklearn.svm", "SVC", text("__reduce_ex__"), named("builtins", "list")) + b".",
    "a special method by a subclass of str": named("sklearn.svm", "SVC")
    + b")\x81}"
    + called("builtins", "str", b"C\x08__call__", text("ascii"))
    + b"Nsb.",
    "an append that is an attribute": OTHER + b"Na.",
    "appends that are an attribute": OTHER + b"(NNe.",
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
        (called("lightgbm.basic", "Booster", b"N", b"N", text("/etc/passwd")) + b".", "fitted models do not have"),
        (called("torch.nn.modules.linear", "Linear", b"K\x01", b"K\x01") + b".", "fitted models do not have"),
        (called("sklearn.svm", "SVC", text("rbf")) + b".", "fitted models do not have"),
        (named("sklearn.svm", "SVC") + b")}" + text("C") + b"K\x01s\x92.", "with keywords"),
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


@pytest.mark.parametrize("protocol", range(6))
def test_time_zones_scorers_and_partial_functions_are_safe(protocol):
    values = [
        zoneinfo.ZoneInfo("UTC"),
        datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
        make_scorer(f1_score),
        functools.partial(np.clip, a_min=0),
    ]
    assert scan_pickles(pickle.dumps(values, protocol)) == []


def test_zones_of_pytz_are_safe():
    berlin = called("pytz", "_p", text("Europe/Berlin"), b"M\x10\x0e", b"K\0", text("CET"))
    assert scan_pickles(berlin + b".") == scan_pickles(called("pytz", "_UTC") + b".") == []
    assert scan_pickles(called("pytz", "_p", text("../zone")) + b".")[0].is_unsafe


def wrapped(dtype: bytes, length: int, *more: bytes) -> bytes:
    """Return the opcodes of an array of joblib, whose numbers follow."""
    state = text("shape") + b"K" + bytes([length]) + b"\x85" + text("dtype") + dtype + b"".join(more)
    return made("joblib.numpy_pickle", "NumpyArrayWrapper", state)


FLOATS = called("numpy", "dtype", text("f8"), b"\x89", b"\x88")
OBJECTS = b"(K\x03" + text("|") + b"N" + text("a") + b"\x85}" + text("a") + b"cnumpy\ndtype\n"
OBJECTS = called("numpy", "dtype", text("V8"), b"\x89", b"\x88") + OBJECTS + text("O8")
OBJECTS += b"\x89\x88\x87RK\0\x86sK\x08K\x08K\x3ftb"


def test_a_pickle_in_the_numbers_of_an_array_is_found():
    as_plain = b"0" + ATTACK[2:]  # the numbers are opcodes for a reader of plain pickles
    content = wrapped(FLOATS, 8) + as_plain.ljust(64) + b"."
    assert scan_pickles(content)[0].is_unsafe
    twice = text("shape") + b"K\0\x85"
    assert scan_pickles(wrapped(FLOATS, 1, twice) + ATTACK.ljust(64))
    assert scan_pickles(wrapped(OBJECTS, 1) + ATTACK + b".")[0].is_unsafe
    assert scan_pickles(wrapped(OBJECTS, 1) + pickle.dumps(["a"]) + b".") == []


def test_arrays_of_joblib_after_the_first_pickle_are_not_judged():
    content = pickle.dumps(1) + wrapped(FLOATS, 8) + bytes(64) + b"."
    assert [problem.is_unsafe for problem in scan_pickles(content)] == [False]


def test_a_pickle_that_looks_like_another_format_is_found():
    attack = b"0" + pickle.dumps(_Call(), 2)[2:]
    hidden = b"N0" * 300 + b"N" + attack
    for name in ("model", "model.txt", "model.csv", "model.yaml"):
        assert judge_bytes(hidden, name=name).verdict == "unsafe"
    assert judge_bytes(b"CBM1".ljust(68, b"x") + attack, name="model.cbm").verdict == "unsafe"
    # The length of the header is an opcode that skips to its text, whose opcodes skip to the tensors.
    size = ord("C") + (30 << 8)
    end = b'"},"b":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (len(attack), len(attack))
    skips = b"0U~".ljust(129, b"x") * 59 + b"0Um" + b"x" * (ord("m") - len(end))
    header = b'{"__metadata__":{"a":"xx' + skips + end
    content = size.to_bytes(8, "little") + header + attack
    assert judge_bytes(content, name="model.safetensors").verdict == "unsafe"


def test_more_texts_than_a_scan_keeps_are_not_judged(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_STRINGS", 3)
    assert scan_pickles(pickle.dumps(["a", "b", "c"])) == []
    assert "more than 3 texts" in scan_pickles(pickle.dumps(["a", "b", "c", "d"]))[0].message


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


def repeated(module: str, name: str, count: int, args: bytes = b")") -> bytes:
    """Return the opcodes of a list of so many results of one call, each written in a few bytes."""
    return b"\x80\x04" + named(module, name) + b"\x94" + args + b"\x94](" + b"h\0h\1R" * count + b"e."


def nested(module: str, name: str, *, before: bytes = b"", after: bytes = b"\x85R", levels: int = 100_000) -> bytes:
    """Return the opcodes of calls whose argument is the result of the last one; the stack stays small."""
    step = b"q\x010h\x00" + before + b"h\x01" + after
    return named(module, name) + b"q\x00" + step * levels + b"."


MEGABYTE = b"B" + struct.pack("<I", 1 << 20) + bytes(1 << 20)
ARRAY = named("numpy", "ndarray")
EXHAUSTING = {
    "nested slices": (nested("builtins", "slice", before=b"NN", after=b"\x87R"), "more than 1,000 levels deep"),
    "nested getters": (nested("operator", "itemgetter"), "more than 1,000 levels deep"),
    "nested tuples": (b"})" + b"\x85" * 100_000 + b"Ns.", "more than 1,000 levels deep"),
    "nested lists": (b"]q\1" + b"0]h\1aq\1" * 100_000 + b".", "more than 1,000 levels deep"),
    "nested dictionaries": (b"}q\1" + b"0}K\1h\1sq\1" * 100_000 + b".", "more than 1,000 levels deep"),
    "nested queues, the outer one first": (
        named("collections", "deque") + b"q\0)Rq\1" + b"h\1h\0)Rq\1a0" * 2_000 + b".",
        "more than 1,000 levels deep",
    ),
    "memo entries": (b"N" + b"\x94" * 1_200_000 + b".", "64 MB and 20 times its size"),
    "sets": ((b"(" + b"\x8f" * 100_000 + b"l") * 4 + b".", "64 MB and 20 times its size"),
    "copies of the same bytes": (
        MEGABYTE + b"\x94\x85\x94" + named("builtins", "bytearray") + b"\x94](" + b"h\2h\1R" * 100 + b"e.",
        "64 MB and 20 times its size",
    ),
    "generators": (repeated("numpy.random._mt19937", "MT19937", 20_000), "64 MB and 20 times its size"),
    "arrays": (
        ARRAY + b"](" + (ARRAY + b"J\0\0\x80\0\x85" + text("f8") + b"\x86\x81") * 9 + b"e.",
        "64 MB and 20 times",
    ),
    "elements of many bytes": (
        ARRAY + b"J\0\0\x10\0\x85" + called("numpy", "dtype", text("V16777216")) + b"\x86\x81.",
        "64 MB and 20 times its size",
    ),
    "elements of an unknown type": (ARRAY + b"J\0\0\x10\0\x85}\x86\x81.", "a type that is not known"),
    "numbers of a storage": (
        pickle.dumps(pickles._TORCH_MAGIC, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps({}, 2)
        + b"\x80\x02("
        + text("storage")
        + named("torch", "FloatStorage")
        + text("0")
        + text("cpu")
        + b"J\0\0\0\x40NtQ.",
        "64 MB and 20 times its size",
    ),
}


@pytest.mark.parametrize("name", EXHAUSTING)
def test_a_pickle_that_needs_more_than_its_budget_is_not_judged(name):
    content, reason = EXHAUSTING[name]
    problems = scan_pickles(content)
    assert any(reason in problem.message and problem.location for problem in problems), problems
    assert not any(problem.is_unsafe for problem in problems)


@pytest.mark.parametrize(
    "call",
    [
        called("numpy.ma", "_mareconstruct", named("numpy.ma", "MaskedArray"), ARRAY, b"J\0\0\x80\0\x85", text("b")),
        ARRAY + b"]J\0\0\0\x40a\x85\x81",
        called("builtins", "str", b"](NNe"),
    ],
    ids=["a masked array", "a shape in a list", "the text of a list"],
)
def test_a_call_that_asks_for_what_no_model_needs_is_unsafe(call):
    assert scan_pickles(call + b".")[0].is_unsafe


ARRAYS = [
    np.arange(3.0),
    np.arange(6, dtype=np.int16).reshape(2, 3),
    np.zeros((0, 3)),
    np.array([1, None, "a"], dtype=object),
    np.array(["a", "bc"]),
    np.array([b"a", b"bc"]),
    np.array(["2020-01-01"], dtype="M8[s]"),
    np.zeros(2, dtype=[("a", "<f8"), ("b", "O"), ("c", "U3")]),
    np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", ">f8", (2,))], align=True)),
    np.zeros(2, dtype=[(f"column {number}", "f4") for number in range(40)]),
    np.array([True, False]),
    np.ma.array([1.0, 2.0], mask=[False, True]),
    np.float64(1.0),
]


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("number", range(len(ARRAYS)))
def test_arrays_as_numpy_pickles_them_are_safe(number, protocol):
    assert scan_pickles(pickle.dumps(ARRAYS[number], protocol)) == []


def dtype_of(letter: str, state: bytes) -> bytes:
    return called("numpy", "dtype", text(letter), b"\x89", b"\x88") + state + b"b"


def array_of(dtype: bytes, values: bytes) -> bytes:
    start = called("numpy._core.multiarray", "_reconstruct", ARRAY, b"K\0\x85", b"C\1b")
    return start + b"(K\1K\1\x85" + dtype + b"\x89" + values + b"tb."


PLAIN_STATE = b"(K\3" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK%ct"
EIGHT = b"C\x08" + b"A" * 8


@pytest.mark.parametrize(
    "content",
    [
        array_of(dtype_of("O8", PLAIN_STATE % b"\0"), EIGHT),
        array_of(dtype_of("f8", PLAIN_STATE % b"\x3f"), b"](Ne"),
        array_of(dtype_of("O8", PLAIN_STATE % b"\x3f"), b"]"),
        array_of(dtype_of("O8", PLAIN_STATE % b"\x3f"), EIGHT),
        array_of(b"N", EIGHT),
        array_of(OBJECTS.replace(b"K\x3f", b"K\0"), EIGHT),
        dtype_of(
            "V8", b"(K\3" + text("|") + b"N" + text("a") + b"\x85}" + text("a") + EIGHT + b"K\0\x86sK\x08K\1K\x10t"
        )
        + b".",
        dtype_of(
            "V8", b"(K\3" + text("|") + b"N" + text("a") + b"\x85}" + text("a") + FLOATS + b"K\1\x86sK\x08K\1K\x10t"
        )
        + b".",
        dtype_of("V8", b"N") + b".",
        dtype_of("f8", PLAIN_STATE % b"\0") + PLAIN_STATE % b"\0" + b"b.",
        called("numpy", "dtype", text("V8")) + b"\x94\x85h\0" + PLAIN_STATE % b"\0" + b"b.",
        called("numpy.dtypes", "Float64DType") + PLAIN_STATE % b"\x3f" + b"b.",
    ],
    ids=[
        *("objects whose flags say numbers", "numbers whose flags say objects", "a list that is too short"),
        *("bytes for objects", "no type", "fields of objects whose flags say numbers", "a field of no type"),
        *("a field beyond the end", "no state", "a second state", "a state after use", "a state of a class"),
    ],
)
def test_a_state_that_numpy_does_not_write_is_not_judged(content):
    problems = scan_pickles(content)
    assert [problem for problem in problems if problem.code == "pickle-array"]


def tensor(offset: int, length: int) -> bytes:
    storage = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\4tQ"
    size = b"K%c\x85K\1\x85" % length
    return (
        b"\x80\x02"
        + named("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + storage
        + b"K%c" % offset
        + size
        + b"\x89}tR."
    )


def test_a_tensor_reaches_no_further_than_its_storage():
    assert scan_pickles(tensor(0, 4), is_torch=True, storages={"0": 16}) == []
    assert scan_pickles(tensor(3, 4), is_torch=True, storages={"0": 16})[0].is_unsafe
    assert "has 8" in scan_pickles(tensor(0, 4), is_torch=True, storages={"0": 8})[0].message
    assert "which has 0" in scan_pickles(tensor(0, 4), is_torch=True, storages={})[0].message


def test_the_numbers_after_a_legacy_torch_file_are_those_of_its_storages():
    start = b"".join(pickle.dumps(value, 2) for value in (pickles._TORCH_MAGIC, 1001, {}))
    content = start + tensor(0, 4) + pickle.dumps(["0"], 2)
    numbers = struct.pack("<q", 4) + bytes(16)
    assert scan_pickles(content + numbers) == []
    assert "have 24 bytes, and 23 follow" in scan_pickles(content + numbers[1:])[0].message
    assert scan_pickles(content + b"N0" + ATTACK[2:])[0].is_unsafe


@pytest.mark.parametrize("name", ["notes.txt", "notes.md", "table.csv", "a.yaml", "notes"])
def test_a_text_that_begins_with_pickles_is_not_safe(name):
    harmless = b"K\x010I1001\n."
    assert judge_bytes(harmless + b"cmy.package\nThing\n.", name=name).verdict == "not judged"
    assert judge_bytes(harmless + b"(dp0\n." + pickle.dumps(_Call(), 0), name=name).verdict == "unsafe"


def test_the_numbers_of_an_array_call_no_listed_function_that_imports():
    call = b"0" + called("numpy.core", "_ufunc_reconstruct", text("os"), text("system")) + b"\xff"
    assert scan_pickles(wrapped(FLOATS, 8) + call.ljust(64) + b".")[0].is_unsafe
