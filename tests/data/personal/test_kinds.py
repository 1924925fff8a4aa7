from __future__ import annotations

import pytest

from headway.data.personal.patterns import BARE, IN_TEXT, find_in_text, kind_of_value, mask_value, replace_personal

SOME = {
    "ada@example.org": "email",
    "GB82 WEST 1234 5698 7654 32": "iban",
    "4111 1111 1111 1111": "card",
    "078-05-1120": "national_id",
    "QQ123456C".replace("QQ", "AB"): "national_id",
    "12345678Z": "national_id",
    "RSSMRA85T10A562S": "national_id",
    "131052-308T": "national_id",
    "2 55 08 14 168 025 38": "national_id",
    "756.9217.0769.85": "national_id",
    "529.982.247-25": "national_id",
    "811218-9876": "national_id",
    "2341 2341 2346": "national_id",
    "192.168.17.4": "ip",
    "2001:db8::8a2e:370:7334": "ip",
    "::ffff:192.0.2.128": "ip",
    "+44 20 7946 0958": "phone",
    "(212) 555-0187": "phone",
    "001-581-896-0013x3890": "phone",
    "030 / 901820": "phone",
}
NONE = (
    "2024-03-31 17:05:12",
    "978-0-306-40615-7",
    "4111 1111 1111 1112",
    "GB83 WEST 1234 5698 7654 32",
    "666-05-1120",
    "256.1.1.1",
    "version 1.2.3",
    "00:1B:44:11:3A:B7",
    "0.0.0.0",
    "someone@localhost",
    "6f1ed002-ab5f-4d0e-9d2c-0a4c4b5f4e3b",
)


@pytest.mark.parametrize("text", SOME)
def test_it_is_found_in_a_sentence_and_on_its_own(text):
    sentence = f"please note {text}, and answer."
    (hit,) = find_in_text(sentence, IN_TEXT)

    assert (hit.kind, sentence[hit.start : hit.end]) == (SOME[text], text)
    assert kind_of_value(text, IN_TEXT) == SOME[text]


@pytest.mark.parametrize("text", NONE)
def test_text_that_resembles_it_is_not_found(text):
    assert find_in_text(f"please note {text}, and answer.", IN_TEXT) == []


def test_matches_do_not_overlap():
    text = "card 4111-1111-1111-1111, iban DE89370400440532013000, mail +4930901820@example.org"
    assert [hit.kind for hit in sorted(find_in_text(text, IN_TEXT), key=lambda hit: hit.start)] == [
        "card",
        "iban",
        "email",
    ]


def test_bare_digits_are_matched_as_a_whole_value():
    assert [kind_of_value(text, BARE) for text in ("9434765919", "111222333", "86095742719", "1234567890")] == [
        *("national_id",) * 3,
        "",
    ]


def test_a_masked_value_has_no_letter_or_digit():
    assert mask_value("Zoë_7@example.org") == "xxx_9@xxxxxxx.xxx"


def test_personal_data_in_a_sentence_is_replaced_by_its_kind():
    text = "I am ada@example.org, card 4111 1111 1111 1111, call +49 170 1234567. Order 17."
    assert replace_personal(text) == "I am [email], card [card], call [phone]. Order 17."
