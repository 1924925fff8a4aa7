"""Check digits of payment cards, bank accounts and national IDs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

_VERHOEFF = (
    *("0123456789", "1234067895", "2340178956", "3401289567", "4012395678"),
    *("5987604321", "6598710432", "7659821043", "8765932104", "9876543210"),
)
_TURN = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")
_DOUBLED = dict(zip("0123456789", (0, 2, 4, 6, 8, 1, 3, 5, 7, 9), strict=True))
_OF_LETTERS = {ord(letter): str(number) for number, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)}
_SPANISH = "TRWAGMYFPDXBNJZSQVHLCKE"
_FINNISH = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_ITALIAN = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def luhn(digits: str) -> bool:
    """Check the Luhn digit of cards and the Swedish personnummer.

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    return (sum(map(int, digits[-1::-2])) + sum(map(_DOUBLED.__getitem__, digits[-2::-2]))) % 10 == 0


def mod97(account: str) -> bool:
    """Check the two check digits of an IBAN in capitals without spaces.

    >>> mod97("DE89370400440532013000"), mod97("DE88370400440532013000")
    (True, False)
    """
    return int((account[4:] + account[:4]).translate(_OF_LETTERS)) % 97 == 1


def verhoeff(digits: str) -> bool:
    """Check the Verhoeff digit of an Indian Aadhaar."""
    check = 0
    for position, digit in enumerate(reversed(digits)):
        check = int(_VERHOEFF[check][int(_TURN[position % 8][int(digit)])])
    return check == 0


def ean(digits: str) -> bool:
    """Check the EAN digit of a Swiss AHV number, with weights 1 and 3."""
    return _weighted_sum(digits, [1, 3] * 6 + [1]) % 10 == 0


def nhs(digits: str) -> bool:
    """Check a British NHS number of ten digits."""
    return _weighted_sum(digits[:9], range(10, 1, -1)) % 11 == (11 - int(digits[9])) % 11 and len(set(digits)) > 1


def bsn(digits: str) -> bool:
    """Check a Dutch BSN of nine digits."""
    return _weighted_sum(digits, [*range(9, 1, -1), -1]) % 11 == 0 and len(set(digits)) > 1


def pesel(digits: str) -> bool:
    """Check a Polish PESEL of eleven digits, including its birth date."""
    month = int(digits[2:4]) % 20
    return _weighted_sum(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0 and _is_day(digits[4:6], month)


def cpf(digits: str) -> bool:
    """Check a Brazilian CPF of eleven digits."""
    firsts = (_weighted_sum(digits[:length], range(length + 1, 1, -1)) * 10 % 11 % 10 for length in (9, 10))
    return "".join(map(str, firsts)) == digits[9:] and len(set(digits)) > 1


def steuer_id(digits: str) -> bool:
    """Check a German tax ID of eleven digits; one of the first ten occurs two or three times."""
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    repeats = max(map(digits[:10].count, set(digits[:10])))
    return digits[0] != "0" and repeats in (2, 3) and (11 - product) % 10 == int(digits[10])


def nir(number: str) -> bool:
    """Check a French NIR of fifteen characters; 2A and 2B are Corsica."""
    corsica = number.replace("2A", "19").replace("2B", "18")
    return corsica.isdigit() and 97 - int(corsica[:13]) % 97 == int(corsica[13:]) and number[0] in "12"


def dni(text: str) -> bool:
    """Check the letter of a Spanish DNI or NIE."""
    number = str("XYZ".find(text[0])) + text[1:-1] if text[0] in "XYZ" else text[:-1]
    return _SPANISH[int(number) % 23] == text[-1]


def codice_fiscale(text: str) -> bool:
    """Check an Italian codice fiscale of sixteen characters."""
    odd = sum(_ITALIAN[_letter_index(letter)] for letter in text[0:15:2])
    even = sum(map(_letter_index, text[1:15:2]))
    return (odd + even) % 26 == _letter_index(text[15])


def hetu(text: str) -> bool:
    """Check a Finnish personal identity code of eleven characters, including its birth date."""
    return _FINNISH[int(text[:6] + text[7:10]) % 31] == text[10] and _is_day(text[:2], int(text[2:4]))


def personnummer(digits: str) -> bool:
    """Check a Swedish personnummer of ten digits, including its birth date."""
    return luhn(digits) and _is_day(digits[4:6], int(digits[2:4]))


def _weighted_sum(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def _letter_index(character: str) -> int:
    return int(character) if character.isdigit() else ord(character) - ord("A")


def _is_day(day: str, month: int) -> bool:
    """Return True if the day exists in some year."""
    try:
        date(2000, month, int(day))
    except ValueError:
        return False
    return True
