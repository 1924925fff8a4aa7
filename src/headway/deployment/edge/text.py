"""C of a program of engine `text`: characters, vocabulary, weights and steps, in front of the code of `text.c`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.deployment.edge.c_source import expect_size, structures, table, template
from headway.deployment.edge.dense import MAX_BUFFER
from headway.engines.formats.nested import NESTED_MAGIC
from headway.engines.formats.text import ANALYZERS, OPERATIONS, read_text_program

MAX_TEXT = 4096
"""Most bytes of a text, unless the package is compiled with another number."""
_WORD, _SPACE, _CASED, _IGNORABLE = 1, 2, 4, 8
_DOTTED_I, _SURROGATES = 0x130, range(0xD800, 0xE000)
_COLUMNS = (
    *("column", "analyzer", "min_n", "max_n", "lowercase", "accents", "not_space", "min_length", "hashed"),
    *("alternate_sign", "first_string", "n_strings", "first_stop", "n_stop", "first_op", "n_ops", "weights", "stride"),
    *("out", "width", "rows", "n_features"),
)
"""Numbers of a vectorizer, in the order of `engines/text_kernel/program.h`."""
_FIELDS = (
    *("column", "analyzer", "min_n", "max_n", "lowercase", "not_space", "min_length", "hashed", "alternate_sign"),
    *(
        "first_string",
        "slots",
        "mask",
        "stop_slots",
        "stop_mask",
        "first_op",
        "n_ops",
        "weights",
        "out",
        "width",
        "rows",
    ),
)
_CASES = {
    "add": "EACH(x + y)",
    "sub": "EACH(x - y)",
    "mul": "EACH(x * y)",
    "div": "EACH(x / y)",
    "min": "EACH(x < y || x != x ? x : y)",
    "max": "EACH(x > y || x != x ? x : y)",
    "pow": "EACH(pow(x, y))",
    "mod": "EACH(fmod(x, y))",
    "equal": "EACH(x == y)",
    "greater": "EACH(x > y)",
    "greater_equal": "EACH(x >= y)",
    "where": "{ const double *c = (fc & IN_POOL ? pool : file) + s->c; EACH(x != 0 ? y : AT(c, fc)) }",
    "neg": "EACH(-x)",
    "abs": "EACH(fabs(x))",
    "sqrt": "EACH(sqrt(x))",
    "log": "EACH(log(x))",
    "exp": "EACH(exp(x))",
    "sigmoid": "EACH(sigmoid(x))",
    "tanh": "EACH(tanh(x))",
    "relu": "EACH(x > 0 ? x : 0)",
    "trunc": "EACH(trunc(x))",
    "is_nan": "EACH(x != x)",
    "copy": "EACH(x)",
    "sum": "for (i = 0; i < n; i++) { double total = 0; "
    "for (j = 0; j < k; j++) total += a[i * k + j]; out[i] = total; } break;",
    "softmax": "softmax(a, out, n); break;",
    "dense": "for (j = 0; j < n; j++) out[j] = 0; for (i = 0; i < k; i++) if (a[i] != 0) "
    "for (j = 0; j < n; j++) out[j] += a[i] * pool[s->b + i * n + j]; break;",
    "take": "for (i = 0; i < n; i++) out[i] = file[indices[s->b + i]]; break;",
    "lookup": "{ const double x = a[0]; const int row = x >= 0 && x < k ? (int)x : -1; "
    "for (i = 0; i < n; i++) out[i] = row < 0 ? NAN : pool[s->b + row * n + i]; } break;",
}


def text_source(content: bytes, texts: Sequence[int]) -> str:
    """Return the C of a program whose row has texts in these columns.

    Scores have the bits of engine `text` at level `portable`, compiled without contraction. Raises NotApplicable, which
    names what the package cannot express.
    """
    if content.startswith(NESTED_MAGIC):
        raise NotApplicable("trees read its texts")
    columns, (numbers, vectorizers, value_ops, blob, offsets, row_of, weights, pool, steps, indices) = (
        read_text_program(content)
    )
    _, width, _, output, size, _, sums = numbers.tolist()
    read = [dict(zip(_COLUMNS, row, strict=True)) for row in vectorizers.reshape(-1, len(_COLUMNS)).tolist()]
    _expect_expressible(read, size=size)
    expect_size(21 * int(np.count_nonzero(weights)) + 2 * len(blob))  # without the zeros that pad rows
    strings = [blob[start:end].tobytes() for start, end in itertools.pairwise(offsets.tolist())]
    slots: list[int] = []
    rows, parts = [], []
    for made in read:
        made["column"] = list(texts).index(columns[made["column"]])
        made["slots"], made["mask"] = _add_slots(slots, strings, made["first_string"], made["n_strings"])
        made["stop_slots"], made["stop_mask"] = _add_slots(slots, strings, made["first_stop"], made["n_stop"])
        rows.append([made[name] for name in _FIELDS])
        parts.append(_unpadded(made, weights, row_of))
    starts = np.cumsum([0, *map(len, parts)])
    for row, start in zip(rows, starts.tolist(), strict=False):
        row[_FIELDS.index("weights")] = start
    used = {OPERATIONS[code] for code in steps.reshape(-1, 8)[:, 0].tolist()}
    lowercase = any(made["lowercase"] for made in read)
    grams, share = _grams(read)
    settings = {
        "WIDTH": width,
        "OUTPUT": output,
        "BUFFER": size,
        "SUMS": sums,
        "STEPS": len(steps) // 8,
        "VECTORIZERS": len(read),
        "FEATURES": max((made["n_features"] for made in read), default=1) or 1,
        "GRAMS_OF_POINTS": grams,
        "GRAMS_SHARE": share,
        "USES_LOWER": int(lowercase),
        "USES_SIGMOID": int("sigmoid" in used),
        "USES_SOFTMAX": int("softmax" in used),
        "USES_EXP_BELOW": int(bool({"sigmoid", "softmax"} & used)),
        "LAST_PAIR": OPERATIONS.index("where"),
        "LAST_EACH": OPERATIONS.index("copy"),
    }
    cases = "".join(f"    case {code}: {_CASES[name]}\n" for code, name in enumerate(OPERATIONS) if name in used)
    joined = np.concatenate([*parts, np.empty(0)])
    weight = "float" if np.array_equal(joined.astype(np.float32).astype(np.float64), joined) else "double"
    return "".join(
        [
            *(f"#define {name} {value}\n" for name, value in settings.items()),
            "enum { WORDS, CHARACTERS, PADDED };\n",
            "enum { PRESENT, SUBLINEAR, SCALE, NORM_L1, NORM_L2, NORM_MAX, ABOVE };\n",
            "enum { IN_POOL = 1, REPEATED = 2 };\n",
            f"enum {{ IS_WORD = {_WORD}, IS_SPACE = {_SPACE}, IS_CASED = {_CASED}, IS_IGNORABLE = {_IGNORABLE} }};\n",
            f"typedef struct {{ int32_t {', '.join(_FIELDS)}; }} vectorizer;\n",
            "typedef struct { int32_t code, at; } value_op;\n",
            "typedef struct { int32_t op, out, n, a, b, c, m, k; } step;\n",
            "typedef struct { int32_t first, last, step, by; } run;\n",
            f"typedef {weight} weight;\n",
            structures("vectorizer", "vectorizers", np.array(rows, np.int64).reshape(-1, len(_FIELDS))),
            structures("value_op", "value_ops", value_ops.reshape(-1, 2)),
            structures("step", "steps", steps.reshape(-1, 8)),
            _characters(lowercase=lowercase),
            table("uint8_t", "blob", blob),
            table("uint32_t", "offsets", offsets),
            table("uint16_t" if len(strings) < 0xFFFF else "uint32_t", "slots", slots),
            table("int32_t", "rows", row_of),
            table(weight, "weights", joined),
            table("double", "pool", pool),
            *([table("int32_t", "indices", indices)] if "take" in used else []),
            template("text.c").replace("@cases@", cases),
        ]
    )


def _expect_expressible(vectorizers: Sequence[dict[str, int]], *, size: int) -> None:
    if any(made["accents"] for made in vectorizers):
        raise NotApplicable("a vectorizer strips accents, which needs tables of decompositions (strip_accents=None)")
    if any(not made["stride"] for made in vectorizers):
        raise NotApplicable("trees read its texts")
    if size > MAX_BUFFER:
        raise NotApplicable(f"a row needs {size:,} numbers on the stack, more than {MAX_BUFFER:,}")


def _grams(vectorizers: Sequence[dict[str, int]]) -> tuple[int, int]:
    """Return the n-grams of a text of n characters as a share of n + 1: at most a numerator over a denominator."""
    found = [(1, 1)]
    for made in vectorizers:
        sizes = made["max_n"] - made["min_n"] + 1
        kind = ANALYZERS[made["analyzer"]]
        found.append({"word": (sizes, made["min_length"] + 1), "char": (sizes, 1), "char_wb": (2 * sizes, 1)}[kind])
    return max(found, key=lambda share: share[0] / share[1])


def _unpadded(made: dict[str, int], weights: NDArray[Any], row_of: NDArray[Any]) -> NDArray[np.float64]:
    count = made["n_features"]
    if made["rows"] >= 0:
        count = int(row_of[made["rows"] : made["rows"] + count].max(initial=-1)) + 1
    part = weights[made["weights"] : made["weights"] + count * made["stride"]].reshape(count, made["stride"])
    return np.ravel(part[:, : made["width"]])


def _add_slots(slots: list[int], strings: Sequence[bytes], first: int, count: int) -> tuple[int, int]:
    """Append the hash table of strings, 1 + the number of each; return where it begins, and its mask, 0 if empty."""
    at = len(slots)
    if not count:
        slots.append(0)
        return at, 0
    numbers = {text: number for number, text in enumerate(strings[first : first + count], first)}  # the last one counts
    size = 2
    while size * 3 < len(numbers) * 4:
        size *= 2
    made = [0] * size
    for text, number in numbers.items():
        index = murmur3(text) & (size - 1)
        while made[index]:
            index = (index + 1) & (size - 1)
        made[index] = number + 1
    slots += made
    return at, size - 1


def murmur3(text: bytes) -> int:
    """Return MurmurHash3_x86_32 with seed 0, unsigned.

    >>> hex(murmur3(b"test"))
    '0xba6bd213'
    """
    hashed, full = 0, len(text) // 4 * 4
    for start in range(0, full, 4):
        hashed ^= _mixed(int.from_bytes(text[start : start + 4], "little"))
        hashed = (_rotated(hashed, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    hashed ^= _mixed(int.from_bytes(text[full:], "little")) ^ len(text)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return hashed ^ hashed >> 16


def _mixed(block: int) -> int:
    return _rotated(block * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 32 - by) & 0xFFFFFFFF


def _characters(*, lowercase: bool) -> str:
    """Return the classes of characters, and the lower case of those that have one."""
    classes = np.frombuffer(_classes(), np.uint8).astype(np.int64) & (15 if lowercase else _WORD | _SPACE)
    starts = np.flatnonzero(np.diff(classes, prepend=-1))
    runs = starts << 4 | classes[starts]
    text = f"#define CLASS_RUNS {len(runs)}\n" + table("uint8_t", "ascii_classes", classes[:128])
    text += table("uint32_t", "class_runs", runs)
    if lowercase:
        lower = _lower_runs()
        text += f"#define LOWER_RUNS {len(lower)}\n" + structures("run", "lower_runs", np.array(lower))
    return text


@functools.cache
def _classes() -> bytes:
    """Return the classes of every code point as Python has them: of words, white space, cased, ignored by case rules.

    The last two are seen in the small letter of a capital sigma, which depends on the characters before it.
    """
    found = bytearray(0x110000)
    for code in range(0x110000):
        one = chr(code)
        kind = _WORD * (one.isalnum() or one == "_") | _SPACE * one.isspace()
        if code not in _SURROGATES:
            if f"{one}Σ".lower()[-1] == "ς":
                kind |= _CASED
            elif f"A{one}Σ".lower()[-1] == "ς":
                kind |= _IGNORABLE
        found[code] = kind
    return bytes(found)


@functools.cache
def _lower_runs() -> tuple[tuple[int, int, int, int], ...]:
    """Return the code points that have a lower case: first and last of a run, the step in it, and what is added."""
    runs: list[list[int]] = []
    for code in range(128, 0x110000):
        lower = chr(code).lower()
        if lower == chr(code) or code == _DOTTED_I:
            continue
        if len(lower) > 1 or 2 * len(lower.encode()) > 3 * len(chr(code).encode()):
            raise NotApplicable(f"the lower case of U+{code:04X} is longer than the package holds")
        by = ord(lower) - code
        last = runs[-1] if runs else [0, 0, 0, 0]
        gap = code - last[1]
        if last[3] == by and (gap == last[2] or (last[0] == last[1] and gap <= 2)):
            last[1:3] = code, gap
        else:
            runs.append([code, code, 1, by])
    return tuple((first, last, step, by) for first, last, step, by in runs)
