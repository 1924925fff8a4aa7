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
def test_a_number_from_its_country_s_own_example_is_right(name):
    assert getattr(checksums, name)(RIGHT[name])


@pytest.mark.parametrize("name", RIGHT)
def test_hardly_a_change_of_one_character_passes(name):
    text = RIGHT[name]
    changed = [
        text[:place] + other + text[place + 1 :]
        for place, each in enumerate(text)
        if each.isdigit()
        for other in "0123456789"
        if other != each
    ]
    passed = sum(getattr(checksums, name)(each) for each in changed)
    assert passed <= 0.1 * len(changed)


def test_the_letter_of_a_foreigner_in_spain_is_right():
    assert checksums.dni("X1234567L")


def test_a_frenchman_of_corsica_is_right():
    number = "2550820168025"
    check = 97 - int(number.replace("2A", "19")) % 97
    assert checksums.nir(f"{number}{check:02}")


def test_a_day_that_no_month_has_is_refused():
    assert not checksums.hetu("311152-308T")
