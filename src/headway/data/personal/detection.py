"""Detect personal data by patterns and check digits, in strings and in columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

import numpy as np
import polars as pl

from headway.core.arrays import Bools
from headway.data.matrix import STRING_DTYPES
from headway.data.personal import checksums

PERSONAL = ("D050", "D051", "D052", "D054")
"""Codes of the findings on personal data in a column."""
KINDS = ("email", "iban", "card", "national_id", "ip", "phone")
"""In order of precedence: a digit belongs to the first kind that matches it."""
Valid = Callable[[str], bool]
BEFORE = "(?:^|[^0-9A-Za-z_@])"
"""What may precede most kinds, as a Rust pattern, which has no look-behind."""
_OCTETS = frozenset(map(str, range(256)))
_NETWORK = re.compile(r"4|5[0-8]|2[2-7]|3[0-9]|6[0-9]|9|18|21")


class Hit(NamedTuple):
    """A piece of personal data in a string, from `start` to before `end`."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PersonalPattern:
    """A way in which one kind is written. `needs` is a cheaper Rust pattern that every match also matches.

    A `bare` pattern is digits only, which match by chance one time in ten. It counts only if most values of a
    column match.
    """

    kind: str
    pattern: re.Pattern[str]
    valid: Valid
    needs: str
    bare: bool = False


def find_in_text(text: str, forms: Sequence[PersonalPattern]) -> list[Hit]:
    """Find all matches of these patterns in a string, without overlaps; earlier patterns win."""
    hits: list[Hit] = []
    for form in forms:
        for match in form.pattern.finditer(text):
            hit = Hit(form.kind, match.start(), match.end())
            if form.valid(match[0]) and not (hits and any(_overlap(hit, known) for known in hits)):
                hits.append(hit)
    return hits


def kind_of_value(text: str, forms: Sequence[PersonalPattern]) -> str:
    """Return the kind of a whole string; "" if it is none."""
    text = text.strip()
    return next((form.kind for form in forms if form.pattern.fullmatch(text) and form.valid(text)), "")


def mask_value(text: str) -> str:
    """Mask a value for display: letters become x and digits 9.

    >>> mask_value("ada@example.org, 0170 12")
    'xxx@xxxxxxx.xxx, 9999 99'
    """
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", text))


def _overlap(one: Hit, other: Hit) -> bool:
    return one.start < other.end and other.start < one.end


def _strip_punctuation(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", text).upper()


def _ignoring_punctuation(valid: Valid) -> Valid:
    """Wrap a check to ignore spaces and punctuation."""
    return lambda text: valid(_strip_punctuation(text))


def _always_valid(_: str) -> bool:
    return True


def _card(text: str) -> bool:
    """Check a number for an issuing network and the Luhn digit."""
    digits = _strip_punctuation(text)
    return bool(_NETWORK.match(digits)) and checksums.luhn(digits) and len(set(digits)) > 1


def _ip(text: str) -> bool:
    """Check an IP address; unspecified addresses and version numbers do not count."""
    if ":" not in text:
        return text != "0.0.0.0" and _OCTETS.issuperset(text.split("."))
    try:
        return not IPv6Address(text).is_unspecified
    except AddressValueError:
        return False


def _phone(text: str) -> bool:
    """Check the number of digits of a phone number; dates and repeated digits do not count."""
    digits = _strip_punctuation(re.split("[ex]", text.lower(), maxsplit=1)[0])
    dated = re.fullmatch(r"(19|20)\d\d[-./ ](0?[1-9]|1[0-2])[-./ ]([0-2]?\d|3[01])\D*", text)
    return 7 <= len(digits) <= 15 and not dated and len(set(digits)) > 2


def _bounded_pattern(kind: str, pattern: str, valid: Valid, needs: str, *, bare: bool = False) -> PersonalPattern:
    return PersonalPattern(kind, re.compile(rf"(?<![\w@])(?:{pattern})(?!\w)"), valid, needs, bare)


def _pattern_by_first(kind: str, first: str, rest: str, valid: Valid, needs: str) -> PersonalPattern:
    """Build a pattern with a known first character, which lets `re` skip ahead to it."""
    return PersonalPattern(kind, re.compile(rf"{first}(?<![\w@].){rest}(?!\w)"), valid, needs)


def _ascii_digits(form: PersonalPattern) -> PersonalPattern:
    """Restrict a pattern to the digits 0 to 9, which match several times faster than those of all scripts."""
    pattern, needs = (part.replace(r"\d", "[0-9]") for part in (form.pattern.pattern, form.needs))
    return replace(form, pattern=re.compile(pattern), needs=needs)


_MANY_DIGITS = r"\d(?:[^0-9A-Za-z]{0,3}\d){6}"
_WITH_COUNTRY = BEFORE + r"\+\d(?:[ .\-/()]{0,4}\d){6}"
_WITH_AREA = r"\(\+?\d{1,5}\)[ .\-/]{0,2}\d{2}"
_IN_THREE = BEFORE + r"\d{3}[ .-]\d{3}[ .-]\d{4}"
_WITH_ZERO = BEFORE + r"0\d{1,4}[ /-]{1,3}\d{2}"
_EXTENSION = r"(?:\s?(?:x|ext\.?)\s?\d{1,6})?"
_EMAIL = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w!#$%&'*+/=?^`{|}~-]++(?:\.[\w!#$%&'*+/=?^`{|}~-]++)*+"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24})(?![\w-])"
)
_PATTERNS = (
    PersonalPattern("email", _EMAIL, _always_valid, r"@[A-Za-z0-9][A-Za-z0-9-]*\.[A-Za-z0-9]"),
    _pattern_by_first(
        "iban",
        "[A-Z]",
        r"[A-Z]\d{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?",
        _ignoring_punctuation(checksums.mod97),
        BEFORE + r"[A-Z]{2}\d\d(?: ?[0-9A-Z]{4}){2}",
    ),
    _pattern_by_first("card", "[1-69]", r"\d{3}(?:[ -]?\d){8,15}", _card, BEFORE + r"[1-69]\d{3}(?:[ -]?\d){8}"),
    # Of the United States, where the areas 000, 666 and 9xx were never assigned.
    _bounded_pattern(
        "national_id",
        r"(?!000|666|9)\d{3}([- ])(?!00)\d\d\1(?!0000)\d{4}",
        _always_valid,
        BEFORE + r"\d{3}[- ]\d\d[- ]\d{4}",
    ),
    _bounded_pattern(
        "national_id",
        r"(?![DFIQUV])[A-Z](?![DFIQUVO])[A-Z] ?\d\d ?\d\d ?\d\d ?[A-D]",
        _always_valid,
        BEFORE + r"[A-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-D]",
    ),
    _bounded_pattern(
        "national_id", r"[XYZ]?\d{7,8}-?[A-Z]", _ignoring_punctuation(checksums.dni), BEFORE + r"[XYZ]?\d{7,8}-?[A-Z]"
    ),
    _bounded_pattern(
        "national_id",
        r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
        checksums.codice_fiscale,
        BEFORE + r"[A-Z]{6}[0-9LMNP-V]{2}",
    ),
    _bounded_pattern("national_id", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", checksums.hetu, BEFORE + r"\d{6}[-+A-FU-Y]\d{3}"),
    _pattern_by_first(
        "national_id",
        "[12]",
        r" ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d",
        _ignoring_punctuation(checksums.nir),
        BEFORE + r"[12] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d",
    ),
    _bounded_pattern(
        "national_id", r"756\.?\d{4}\.?\d{4}\.?\d\d", _ignoring_punctuation(checksums.ean), BEFORE + r"756\.?\d{4}"
    ),
    _bounded_pattern(
        "national_id", r"\d{3}\.\d{3}\.\d{3}-\d\d", _ignoring_punctuation(checksums.cpf), r"\d{3}\.\d{3}\.\d{3}-"
    ),
    _bounded_pattern(
        "national_id", r"\d{6}[-+]\d{4}", _ignoring_punctuation(checksums.personnummer), BEFORE + r"\d{6}[-+]\d{4}"
    ),
    _bounded_pattern(
        "national_id",
        r"[2-9]\d{3} \d{4} \d{4}",
        _ignoring_punctuation(checksums.verhoeff),
        BEFORE + r"[2-9]\d{3} \d{4} \d{4}",
    ),
    PersonalPattern(
        "ip",
        re.compile(
            r"[0-9A-Fa-f:](?<![\w:.].)(?:(?<=:)(?=\w*:)|(?<!:)(?=\w*:\w*:))"
            r"[0-9A-Fa-f:]{1,38}(?:\.\d{1,3}){0,3}(?![\w:])"
        ),
        _ip,
        r"::|(?:[0-9A-Fa-f]{1,4}:){6}",
    ),
    PersonalPattern(
        "ip", re.compile(r"\d(?<![\w.].)\d{0,2}\.(?:\d{1,3}\.){2}\d{1,3}(?!\.?\w)"), _ip, r"(?:\d{1,3}\.){3}\d"
    ),
    _bounded_pattern(
        "phone",
        rf"\+\d{{1,3}}(?:[ .\-/]{{0,2}}\(?\d{{1,5}}\)?){{2,6}}{_EXTENSION}",
        _phone,
        _WITH_COUNTRY,
    ),
    PersonalPattern(
        "phone",
        re.compile(
            rf"(?<![\w@])(?:\+?\d{{1,3}}[ .-]?)?\(\+?\d{{1,5}}\)(?:[ .\-/]{{0,2}}\d{{2,8}}){{1,4}}{_EXTENSION}(?!\w)"
        ),
        _phone,
        _WITH_AREA,
    ),
    _bounded_pattern("phone", rf"(?:(?:1|001)[ .-])?\d{{3}}([ .-])\d{{3}}\1\d{{4}}{_EXTENSION}", _phone, _IN_THREE),
    _bounded_pattern("phone", rf"0\d{{1,4}}(?:[ /-]{{1,3}}\d{{2,8}}){{1,4}}{_EXTENSION}", _phone, _WITH_ZERO),
    _bounded_pattern(
        "national_id", r"\d{3} ?\d{3} ?\d{4}", _ignoring_punctuation(checksums.nhs), _MANY_DIGITS, bare=True
    ),
    _bounded_pattern("national_id", r"\d{9}", checksums.bsn, _MANY_DIGITS, bare=True),
    _bounded_pattern("national_id", r"\d{11}", checksums.pesel, _MANY_DIGITS, bare=True),
    _bounded_pattern("national_id", r"\d{11}", checksums.cpf, _MANY_DIGITS, bare=True),
    _bounded_pattern(
        "national_id",
        r"\d{2} ?\d{3} ?\d{3} ?\d{3}",
        _ignoring_punctuation(checksums.steuer_id),
        _MANY_DIGITS,
        bare=True,
    ),
    _bounded_pattern("national_id", r"[2-9]\d{11}", checksums.verhoeff, _MANY_DIGITS, bare=True),
    _bounded_pattern("national_id", r"\d{10}", checksums.personnummer, _MANY_DIGITS, bare=True),
)
_ASCII_PATTERNS = tuple(map(_ascii_digits, _PATTERNS))
IN_TEXT = tuple(form for form in _ASCII_PATTERNS if not form.bare)
BARE = tuple(form for form in _ASCII_PATTERNS if form.bare)


MAX_VALUES = 100_000
MIN_BARE = 20
HALF = 0.5
_PREFILTERS = tuple(dict.fromkeys(form.needs for form in IN_TEXT))
_SHARES_PREFIX = tuple(pattern.startswith(BEFORE) for pattern in _PREFILTERS)
_ANY_WITH_PREFIX = (
    BEFORE
    + "(?:"
    + "|".join(pattern.removeprefix(BEFORE) for pattern in _PREFILTERS if pattern.startswith(BEFORE))
    + ")"
)
"""All prefilters with that prefix: one scan for all takes as long as for one, and most lines match none."""
_ANY = r"[0-9@]|:[0-9A-Fa-f]{0,4}:|[A-Z]{6}"
_DIGITS = r"^\s*\d(?: ?\d){8,18}\s*$"
_MIN_ID = 100_000_000


class PersonalData(NamedTuple):
    """One kind of personal data in a column: the number of unique values that contain it, of `searched` values.

    `whole_values` of them contain nothing else. `example` is one of them, masked.
    """

    column: str
    kind: str
    values: int
    whole_values: int
    searched: int
    example: str

    @property
    def is_the_column(self) -> bool:
        """True if most values are personal data and nothing else."""
        return self.whole_values >= HALF * self.searched


def find_personal_data(table: pl.DataFrame, *, exclude: Collection[str] = ()) -> list[PersonalData]:
    """Search every string or integer column that is not excluded, in at most 100,000 values each."""
    return [found for column in table.columns if column not in exclude for found in find_in_column(table[column])]


def find_in_column(column: pl.Series) -> list[PersonalData]:
    """Return every kind of personal data in a column."""
    if not _is_searched(column):
        return []
    values = unique_values(column)
    counts, whole_values, examples = Counter[str](), Counter[str](), dict[str, str]()
    for kind, text, is_whole in _hits(values):
        counts[kind] += 1
        whole_values[kind] += is_whole
        if kind not in examples:
            examples[kind] = mask_value(text)
    return [
        PersonalData(column.name, kind, counts[kind], whole_values[kind], len(values), examples[kind])
        for kind in sorted(counts)
    ]


def _is_searched(column: pl.Series) -> bool:
    """Return True for strings, and for integers as long as an ID."""
    if column.dtype.is_integer():
        return not column.is_empty() and bool((column.max() or 0) >= _MIN_ID)  # type: ignore[operator]
    return column.dtype in STRING_DTYPES


def unique_values(column: pl.Series) -> pl.Series:
    """Return the unique values of a column as strings, at most 100,000."""
    values = column.drop_nulls().unique(maintain_order=True).cast(pl.String)
    return values.gather_every(-(-len(values) // MAX_VALUES)) if len(values) > MAX_VALUES else values


def _hits(values: pl.Series) -> Iterator[tuple[str, str, bool]]:
    """Yield kind, match and whether it is the whole value, once per kind and value."""
    numbers = values.str.contains(_DIGITS)
    yield from _bare_number_hits(values.filter(numbers))
    of, seen = -1, set[str]()
    for number, text, length, forms in _candidate_lines(values.filter(~numbers)):
        if number != of:
            of, seen = number, set()
        elif seen.issuperset(form.kind for form in forms):
            continue
        for hit in find_in_text(text, forms):
            if hit.kind not in seen:
                seen.add(hit.kind)
                yield hit.kind, text[hit.start : hit.end], hit.end - hit.start == length


def _bare_number_hits(values: pl.Series) -> Iterator[tuple[str, str, bool]]:
    """Yield hits among values of digits alone if most have right check digits; one in ten has them by chance."""
    if len(values) < MIN_BARE:
        return
    kinds = [(kind_of_value(text, (*IN_TEXT, *BARE)), text) for text in values]
    for kind, count in Counter(kind for kind, _ in kinds if kind).items():
        if count >= HALF * len(values):
            yield from ((kind, text, True) for found_kind, text in kinds if found_kind == kind)


def _candidate_lines(values: pl.Series) -> Iterator[tuple[int, str, int, tuple[PersonalPattern, ...]]]:
    """Yield the lines that may contain something: value index, line, value length and the patterns to try.

    No pattern matches across lines.
    """
    if values.is_empty():
        return
    table = pl.DataFrame({"of": range(len(values)), "text": values, "length": values.str.strip_chars().str.len_chars()})
    if values.str.contains("\n", literal=True).any():
        table = table.with_columns(pl.col("text").str.split("\n")).explode("text")
    some = table.filter(pl.col("text").str.contains(_ANY))
    if some.is_empty():
        return
    may = _prefilter_matches(some["text"])
    worth = np.flatnonzero(may.any(axis=1))
    for (of, text, length), needs in zip(some[worth].iter_rows(), may[worth], strict=True):
        yield of, text, length, _patterns_for(needs.tobytes())


def _prefilter_matches(texts: pl.Series) -> Bools:
    """Return which prefilters each string matches, bool of shape (n, prefilters)."""
    may = np.zeros((len(texts), len(_PREFILTERS)), dtype=np.bool_)
    with_prefix = texts.str.contains(_ANY_WITH_PREFIX).to_numpy()
    some, rows = texts.filter(with_prefix), np.flatnonzero(with_prefix)
    for index, need in enumerate(_PREFILTERS):
        if _SHARES_PREFIX[index]:
            may[rows, index] = some.str.contains(need).to_numpy()
        else:
            may[:, index] = texts.str.contains(need).to_numpy()
    return may


@lru_cache(maxsize=4096)
def _patterns_for(needs: bytes) -> tuple[PersonalPattern, ...]:
    met = {need for need, is_met in zip(_PREFILTERS, needs, strict=True) if is_met}
    return tuple(form for form in IN_TEXT if form.needs in met)
