from __future__ import annotations

import time
from collections import Counter

import pytest
from spellings import ordinary_messages, spelled_messages

from headway.data.personal.names import name_finder
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
    "de89 3704 0044 0532 0130 00": "iban",
    "GB82-WEST-1234-5698-7654-32": "iban",
    "4111.1111.1111.1111": "card",
    "378282246310005": "card",
    "ada(at)example(dot)org": "email",
    "ada%40example.org": "email",
    "ada@b\u00fccher.example": "email",
    "Hauptstra\u00dfe 12, 10115 Berlin": "postal_address",
    "742 Evergreen Terrace, Springfield, IL 62704": "postal_address",
    "12 rue de la Paix, 75002 Paris": "postal_address",
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
    "01/02/2026",
    "12.03.2026",
    "no 12 of those boxes were in the",
    "look at example.org",
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


def test_card_numbers_are_found_within_letters_and_next_to_other_numbers():
    assert replace_personal("card4111111111111111exp") == "card[card]exp"
    assert replace_personal("Nr 2026 4111 1111 1111 1111 12/29") == "Nr 2026 [card] 12/29"


def test_dates_are_those_of_birth_only_after_words_that_say_so():
    assert replace_personal("geboren am 12. M\u00e4rz 1980") == "geboren am [birth_date]"
    assert replace_personal("geliefert am 12. M\u00e4rz 2026") == "geliefert am 12. M\u00e4rz 2026"


def test_personal_data_in_every_spelling_is_replaced_and_ordinary_numbers_stay():
    """The shares are stated in docs/personal.md; the forms were written by those who wrote the patterns."""
    pieces, missed, left = Counter[str](), Counter[str](), 0
    for message in spelled_messages(10):
        replaced = replace_personal(message.text)
        pieces[message.kind] += 1
        missed[message.kind] += f"[{message.kind}]" not in replaced or message.piece in replaced
        left += any(letter.isdigit() for letter in replaced.removesuffix("12/29").replace(" 12/29", ""))
    ordinary = [(text, replace_personal(text)) for text in ordinary_messages(50)]
    changed = [text for text, replaced in ordinary if text != replaced]

    assert pieces == {"iban": 160, "card": 210, "email": 180, "birth_date": 190, "postal_address": 230}
    assert (missed.total(), left) == (0, 0)
    assert (len(ordinary), len(changed)) == (1_750, 3)  # numbers of 12 digits with the right check digit of a card


def test_bare_digits_stay_after_a_word_for_an_order_and_not_after_another():
    assert replace_personal("order 9434765919, my number 9434765919") == "order 9434765919, my number [national_id]"


def test_names_are_replaced_only_by_a_function_that_finds_them():
    text = "I am Jos\u00e9 Miller, mail ada@example.org"
    assert replace_personal(text) == "I am Jos\u00e9 Miller, mail [email]"
    assert replace_personal(text, name_finder()) == "I am [name], mail [email]"


HOSTILE = (
    *("a", "1", "1 ", "4.", "1.1.", "a.", "a@", "a@a.", "+11111", "(1", "a(at)a", "a at a dot ", "DE12 ", "no 12 a "),
    *("born ", "geb. 1.", "1 Aa ", "aastr", "str 1", "1 rue de la ", "calle a b c ", "Aa Aa, IL ", "::", "a::1", "%40"),
    *("\u00ad", "\u0301", "\ufdfa", "\u0661", "plz 12345 ", "( at )", "Mr ", "Aa ", "order ", "1111111111"),
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_the_work_on_a_hostile_text_grows_with_its_length(unit):
    """A text of 8 times the length takes about 8 times as long; a quadratic pattern would take 64 times."""
    find = name_finder()
    seconds = []
    for size in (2_048, 16_384):
        text = unit * (size // len(unit))
        began = time.process_time()
        replace_personal(text, find)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 24 * seconds[0] + 0.1
