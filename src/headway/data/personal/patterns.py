"""Patterns and check digits of personal data in a string, without a library, so that a server has them too."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from headway.data.personal import checksums
from headway.data.personal.names import NameFinder
from headway.data.personal.normalization import PlainText
from headway.data.personal.places_and_dates import (
    ADDRESSES,
    ADDRESSES_NEED,
    BIRTH_DATE,
    BIRTH_DATE_NEEDS,
    POSTCODE_AFTER_WORDS,
)

KINDS = ("email", "iban", "card", "national_id", "ip", "birth_date", "postal_address", "phone")
"""In order of precedence: a digit belongs to the first kind that matches it."""
Valid = Callable[[str], bool]
BEFORE = "(?:^|[^0-9A-Za-z_@])"
"""What may precede most kinds, as a Rust pattern, which has no look-behind."""
_LAST_GROUP = re.compile(r"[^0-9A-Za-z]+[0-9A-Za-z]{2,}$")
_OCTETS = frozenset(map(str, range(256)))
_NETWORK = re.compile(
    r"(?=\d{16,19}$)(?:4|5[0-8]|2[2-7]|3[0-9]|6[0-9]|9|18|21)|(?=\d{12,15}$)(?:5[06-8]|6[0-9])"
    r"|4\d{12}$|3[0689]\d{12}$|(?:3[47]\d\d|1800|2131)\d{11}$"
)
"""Networks of cards by their first digits; numbers of fewer than 16 digits are of some of them."""


class Hit(NamedTuple):
    """A piece of personal data in a string, from `start` to before `end`."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PersonalPattern:
    """A way in which one kind is written. `needs` is a cheaper Rust pattern that every match also matches.

    Patterns match plain text. `group` of a match is the personal data, by default the whole match. `valid_length`
    returns how much of its beginning is valid, 0 for nothing. A `bare` pattern is digits only, which match by chance
    one time in ten. It counts only if most values of a column match.
    """

    kind: str
    pattern: str
    valid_length: Callable[[str], int]
    needs: str
    bare: bool = False
    group: int | str = 0


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern when it is first needed: all of them take a tenth of the start of a command."""
    return re.compile(pattern)


def find_in_text(text: str, forms: Sequence[PersonalPattern]) -> list[Hit]:
    """Find all matches of these patterns in a string, without overlaps; earlier patterns win.

    The plain spelling of the string is searched, and the hits are where they are in the string itself. Bare digits
    after a word for an order do not count.
    """
    plain, hits = PlainText(text), list[Hit]()
    searched, covered = plain.text, bytearray(len(plain.text))
    for form in forms:
        pattern = _compiled(form.pattern)
        match = pattern.search(searched)
        while match:
            start, position = match.start(form.group), match.start() + 1
            end = start + form.valid_length(match[form.group])
            if end > start and covered.find(1, start, end) < 0 and not (form.bare and _is_order(searched, start)):
                position = end
                covered[start:end] = b"\x01" * (end - start)
                hits.append(Hit(form.kind, *plain.original_span(start, end)))
            match = pattern.search(searched, position)
    return hits


def kind_of_value(text: str, forms: Sequence[PersonalPattern]) -> str:
    """Return the kind of a whole string; "" if it is none."""
    text = PlainText(text).text.strip()
    for form in forms:
        match = _compiled(form.pattern).fullmatch(text)
        if match and form.valid_length(match[form.group]) == len(match[form.group]):
            return form.kind
    return ""


def replace_hits(text: str, hits: Iterable[Hit], replacement: Callable[[Hit], str]) -> str:
    """Replace what was found in a string; hits do not overlap."""
    pieces, position = list[str](), 0
    for hit in sorted(hits, key=lambda hit: hit.start):
        pieces += text[position : hit.start], replacement(hit)
        position = hit.end
    return "".join((*pieces, text[position:]))


def replace_personal(text: str, find_names: NameFinder | None = None) -> str:
    """Replace personal data in a string by its kind, and digits that may be an ID by chance as well.

    Such digits stay after a word for an order. Names of people are replaced too if there is a function that finds them.

    >>> replace_personal("write to ada@example.org")
    'write to [email]'
    """
    text = replace_hits(text, find_in_text(text, (*IN_TEXT, *BARE)), lambda hit: f"[{hit.kind}]")
    if find_names is None:
        return text
    plain = PlainText(text)
    names = (Hit("name", *plain.original_span(*span)) for span in find_names(plain.text))
    return replace_hits(text, names, lambda hit: f"[{hit.kind}]")


def mask_value(text: str) -> str:
    """Mask a value for display: letters become x and digits 9.

    >>> mask_value("ada@example.org, 0170 12")
    'xxx@xxxxxxx.xxx, 9999 99'
    """
    return re.sub(r"[^\W0-9_]", "x", re.sub(r"\d", "9", text))


def _strip_punctuation(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", text).upper()


def _ignoring_punctuation(valid: Valid) -> Valid:
    """Wrap a check to ignore spaces and punctuation."""
    return lambda text: valid(_strip_punctuation(text))


def _length_if(valid: Valid) -> Callable[[str], int]:
    """Return a function that gives the length of a valid string, and 0 for another."""
    return lambda text: len(text) if valid(text) else 0


def _is_order(text: str, start: int) -> bool:
    """Return True if words before a position say that what follows is not an ID of a person."""
    return bool(_ORDER.search(text, max(start - _ORDER_REACH, 0), start))


def _card(text: str) -> bool:
    """Check a number for an issuing network and the Luhn digit."""
    digits = _strip_punctuation(text)
    return bool(_NETWORK.match(digits)) and checksums.luhn(digits) and len(set(digits)) > 1


def _card_length(text: str) -> int:
    """Return the length of the card number that a string begins with; its last groups may be another number."""
    while text and not _card(text):
        last_group = _LAST_GROUP.search(text)
        text = text[: last_group.start()] if last_group else ""
    return len(text)


def _iban_length(text: str) -> int:
    """Return the length of the IBAN that a string begins with: as long as those of its country, and with check digits.

    At least half of its account number are digits, in many countries all; words that follow are not.
    """
    positions = [index for index, letter in enumerate(text, 1) if letter.isalnum()]
    length = _IBAN_LENGTHS.get(text[:2].upper(), 0)
    if not 0 < length <= len(positions) or text[positions[length - 1] :][:1].isalnum():
        return 0
    account = _strip_punctuation(text[: positions[length - 1]])
    n_digits = sum(map(str.isdigit, account[4:]))
    needed = length - 4 if account[:2] in _ALL_DIGITS else (length - 4) / 2
    return positions[length - 1] if n_digits >= needed and checksums.mod97(account) else 0


def _spelled_email(text: str) -> bool:
    """Check an address with the word `at`: it follows a name and not a verb, and the domain is one of the usual."""
    name, separator, domain = text.lower().partition(" at ")
    if not separator:
        return True
    return (
        name not in _BEFORE_AT
        and " . " not in domain
        and (not _ENDS_DOTTED.search(domain) or bool(_USUAL_DOMAIN.search(domain)))
    )


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
    return 7 <= len(digits) <= 15 and not _DATE.fullmatch(text) and len(set(digits)) > 2


def _bounded_pattern(kind: str, pattern: str, valid: Valid, needs: str, *, bare: bool = False) -> PersonalPattern:
    return PersonalPattern(kind, rf"(?<![\w@])(?:{pattern})(?!\w)", _length_if(valid), needs, bare)


def _pattern_by_first(kind: str, first: str, rest: str, valid: Valid, needs: str) -> PersonalPattern:
    """Build a pattern with a known first character, which lets `re` skip ahead to it."""
    return PersonalPattern(kind, rf"{first}(?<![\w@].){rest}(?!\w)", _length_if(valid), needs)


def _ascii_digits(form: PersonalPattern) -> PersonalPattern:
    """Restrict a pattern to the digits 0 to 9, which match several times faster than those of all scripts."""
    pattern, needs = (part.replace(r"\d", "[0-9]") for part in (form.pattern, form.needs))
    return replace(form, pattern=pattern, needs=needs)


_MANY_DIGITS = r"\d(?:[^0-9A-Za-z]{0,3}\d){6}"
_WITH_COUNTRY = BEFORE + r"\+\d(?:[ .\-/()]{0,4}\d){6}"
_WITH_AREA = r"\(\+?\d{1,5}\)[ .\-/]{0,2}\d{2}"
_IN_THREE = BEFORE + r"\d{3}[ .-]\d{3}[ .-]\d{4}"
_WITH_ZERO = BEFORE + r"0\d{1,4}[ /-]{1,3}\d{2}"
_EXTENSION = r"(?:\s?(?:x|ext\.?)\s?\d{1,6})?"
_DATE = re.compile(r"(?:19|20)\d\d[-./ ]\d{1,2}[-./ ][0-3]?\d\D*|[0-3]?\d[-./ ]{1,2}[0-3]?\d[-./ ]{1,2}(?:19|20)\d\d")
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL = (
    r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w!#$%&'*+/=?^`{|}~-]++(?:\.[\w!#$%&'*+/=?^`{|}~-]++)*+"
    rf"@(?:{_LABEL}\.)+(?:xn--[A-Za-z0-9-]{{2,59}}|[^\W0-9_]{{2,24}}+)"
)
_AT = (
    r"(?: ?[(\[{<] ?(?:at|a|@|arroba|arobase|chiocciola) ?[)\]}>] ?| @ ?|@ "
    r"| ?(?:%(?:25)*40|&#0*64;|&#x0*40;|&commat;) ?)"
)
_DOT = r"(?:\.| ?[(\[{<] ?(?:dot|punkt|point|punto?|ponto|kropka|\.) ?[)\]}>] ?| (?:dot|punkt|punto|ponto) | \. )"
EMAIL_IN_WORDS = rf"(?i:{_AT}| at )[\w-]+(?i:{_DOT})"
"""Rust pattern of all addresses with other signs than `@` and dots."""
_SPELLED_EMAIL = (
    rf"(?i)(?<![\w.+-])[\w.+-]++(?:{_AT}| at ){_LABEL}(?:{_DOT}{_LABEL})*"
    rf"{_DOT}(?:xn--[a-z0-9-]{{2,59}}|[^\W0-9_]{{2,24}}+)"
)
_ENDS_DOTTED = re.compile(r"\.[^\W_]+$")
_USUAL_DOMAIN = re.compile(
    r"\.(?:[a-z]{2}|com|org|net|edu|gov|info|biz|name|pro|app|dev|shop|store|online|mail|email|example|test|xn--[a-z0-9-]+)$"
)
# Words that stand before `at` in prose, where the name of an address would be.
_BEFORE_AT = frozenset(
    re.findall(
        r"\w+",
        """
        a about account again all am and anything are around arrived arriving available back be been best
        bought but buy by can cheaper click customer customers delivered directly do early else everything
        except find for found get good got had has have here hosted in is it item items just know later listed
        live located log login look looked looking me member meet money more most much myself new not now
        number of off on online only open or order ordered orders out page paid people place placed price
        prices product products purchase purchased read register registered see seen shop shopping sign site
        sold something staff stay store support team that the them there these they this those to today up us
        visit was we website well were what which who work worked working works you your yesterday
        """,
    )
)
_ORDER_REACH = 40
_ORDER = re.compile(
    r"(?i)(?<!\w)(?:order|invoice|tracking|parcel|shipment|article|item|ticket|customer|bestell|auftrag|rechnung|sendung|paket"
    r"|artikel|kunden|commande|facture|colis|pedido|factura|paquete|ordine|fattura|pacco|bestelling|factuur|zamow|encomenda"
    r")[^0-9\n]{0,24}$"
)
"""Words before digits that are not an ID of a person."""
_COUNTRIES = {
    15: "NO", 16: "BE", 18: "DK|FI|FK|FO|GL|NL|SD", 19: "MK|SI", 20: "AT|BA|EE|KZ|LT|LU|MN|XK",
    21: "CH|HR|LI|LV", 22: "BG|BH|DE|GB|GE|IE|ME|RS|VA", 23: "AE|GI|IL|IQ|OM|SO|TL",
    24: "AD|CZ|ES|MD|PK|RO|SA|SE|SK|TN|VG", 25: "AO|CV|GW|LY|MZ|PT|ST", 26: "DZ|IR|IS|TR",
    27: "BI|CF|CG|CM|DJ|FR|GA|GQ|GR|IT|KM|MC|MG|MR|SM|TD",
    28: "AL|AZ|BF|BJ|BY|CI|CY|DO|GT|HN|HU|LB|MA|ML|NE|NI|PL|SN|SV|TG",
    29: "BR|EG|PS|QA|UA", 30: "JO|KW|MU|YE", 31: "MT|SC", 32: "LC", 33: "RU",
}  # fmt: skip
_IBAN_LENGTHS = {country: length for length, countries in _COUNTRIES.items() for country in countries.split("|")}
_ALL_DIGITS = frozenset(
    re.findall(r"\w+", "AE AT BA BE CZ DE DK EE ES FI FO GL HR HU IL IS LT ME NO PL PT RS SE SI SK TN XK")
)
"""Countries whose account numbers have no letters."""
_IBAN = r"(?:[ ./_-]{0,3}\d){2}(?:[ ./_-]{0,3}[A-Z]){0,4}[ ./_-]{0,3}\d(?:[ ./_-]{0,3}[0-9A-Z]){6,28}"
"""Of an IBAN without its country: a check of two digits, a bank of letters, if any, and the rest, of any length."""
_CARD = (
    r"\d{3}(?:[ -]?\d){8,15}"
    r"|\d{3}(?P<four>[./_]|[ .\-]{2,3})\d{4}(?P=four)\d{4}(?P=four)\d{1,4}(?:(?P=four)\d{1,3})?"
    r"|(?<=3)\d{3}(?P<six>[./_]|[ .\-]{2,3})\d{6}(?P=six)\d{4,5}"
    r"|(?P<each>[ ./_-])(?:\d(?P=each)){11,17}\d"
)
"""A card number without its first digit, in any groups; it may be joined to letters, but not to hexadecimal ones."""
_PATTERNS = (
    PersonalPattern("email", _EMAIL, len, r"@[^@\s.]+\.[^@\s.]"),
    PersonalPattern("email", _SPELLED_EMAIL, _length_if(_spelled_email), EMAIL_IN_WORDS),
    PersonalPattern(
        "iban",
        rf"(?i)[A-Z](?<![\w@].)[A-Z]{_IBAN}",
        _iban_length,
        rf"(?i){BEFORE}(?:{'|'.join(_COUNTRIES.values())}){_IBAN}",
    ),
    PersonalPattern(
        "card",
        rf"[1-69](?<![0-9@].)(?<!\d[A-Fa-f].)(?<!\d[A-Fa-f]{{2}}.)(?:{_CARD})(?![A-Fa-f]{{0,2}}\d)",
        _card_length,
        r"[1-69](?:[ ./_-]{0,3}\d){11}",
    ),
    # Of the United States, where the areas 000, 666 and 9xx were never assigned.
    _bounded_pattern(
        "national_id",
        r"(?!000|666|9)\d{3}([- ])(?!00)\d\d\1(?!0000)\d{4}",
        bool,
        BEFORE + r"\d{3}[- ]\d\d[- ]\d{4}",
    ),
    _bounded_pattern(
        "national_id",
        r"(?![DFIQUV])[A-Z](?![DFIQUVO])[A-Z] ?\d\d ?\d\d ?\d\d ?[A-D]",
        bool,
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
        (
            r"[0-9A-Fa-f:](?<![\w:.].)(?:(?<=:)(?=\w*:)|(?<!:)(?=\w*:\w*:))"
            r"[0-9A-Fa-f:]{1,38}(?:\.\d{1,3}){0,3}(?![\w:])"
        ),
        _length_if(_ip),
        r"::|(?:[0-9A-Fa-f]{1,4}:){6}",
    ),
    PersonalPattern(
        "ip",
        r"\d(?<![\w.].)\d{0,2}\.(?:\d{1,3}\.){2}\d{1,3}(?!\.?\w)",
        _length_if(_ip),
        r"(?:\d{1,3}\.){3}\d",
    ),
    PersonalPattern("birth_date", BIRTH_DATE, len, BIRTH_DATE_NEEDS, group="value"),
    PersonalPattern("postal_address", POSTCODE_AFTER_WORDS, len, ADDRESSES_NEED, group="value"),
    *(PersonalPattern("postal_address", address, len, ADDRESSES_NEED) for address in ADDRESSES),
    _bounded_pattern(
        "phone",
        rf"\+\d{{1,3}}(?:[ .\-/]{{0,2}}\(?\d{{1,5}}\)?){{2,6}}{_EXTENSION}",
        _phone,
        _WITH_COUNTRY,
    ),
    PersonalPattern(
        "phone",
        (rf"(?<![\w@])(?:\+?\d{{1,3}}[ .-]?)?\(\+?\d{{1,5}}\)(?:[ .\-/]{{0,2}}\d{{2,8}}){{1,4}}{_EXTENSION}(?!\w)"),
        _length_if(_phone),
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
