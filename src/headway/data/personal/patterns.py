"""Patterns and check digits of personal data in a string, without a library, so that a server has them too."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from headway.data.personal import checksums

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


def replace_personal(text: str) -> str:
    """Replace personal data in a string by its kind, and digits that may be an ID by chance as well.

    >>> replace_personal("write to ada@example.org")
    'write to [email]'
    """
    for hit in sorted(find_in_text(text, (*IN_TEXT, *BARE)), key=lambda hit: hit.start, reverse=True):
        text = f"{text[: hit.start]}[{hit.kind}]{text[hit.end :]}"
    return text


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
