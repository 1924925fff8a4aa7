from __future__ import annotations

import pytest

from headway.data.personal import checksums

RIGHT = {
    "luhn": "4111111111111111",
    "mod97": "GB82WEST12345698765432",
    "verhoeff": "234123412346",
    "ean": "7569217076985",
    "nhs": "9434765919",
    "bsn": "111222333",
    "pesel": "44051401359",
    "cpf": "52998224725",
    "steuer_id": "86095742719",
    "nir": "255081416802538",
    "dni": "12345678Z",
    "codice_fiscale": "RSSMRA85T10A562S",
    "hetu": "131052-308T",
    "personnummer": "8112189876",
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_official_example_is_valid(name):
    assert getattr(checksums, name)(RIGHT[name])


@pytest.mark.parametrize("name", RIGHT)
def test_few_changes_of_one_character_are_valid(name):
    text = RIGHT[name]
    changed = [
        text[:index] + other + text[index + 1 :]
        for index, digit in enumerate(text)
        if digit.isdigit()
        for other in "0123456789"
        if other != digit
    ]
    passed = sum(getattr(checksums, name)(number) for number in changed)
    assert passed <= 0.1 * len(changed)


def test_a_spanish_nie_is_valid():
    assert checksums.dni("X1234567L")


def test_a_number_from_corsica_is_valid():
    number = "2550820168025"
    check = 97 - int(number.replace("2A", "19")) % 97
    assert checksums.nir(f"{number}{check:02}")


def test_an_impossible_birth_date_is_refused():
    assert not checksums.hetu("311152-308T")
