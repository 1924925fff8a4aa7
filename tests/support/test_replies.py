"""Approved replies are read with their errors named, and an expired one is never chosen."""

from __future__ import annotations

from datetime import date

import pytest
from tests.support.shop import REPLIES, shop

from headway.core.errors import ConfigError
from headway.support.replies import choose_reply, read_replies

TODAY = date(2026, 11, 28)


def read(folder, text=REPLIES):
    shop(folder, replies=text)
    return read_replies(folder / "replies.toml")


def test_a_reply_is_chosen_by_intent_and_by_the_first_language_that_has_one(tmp_path):
    replies = read(tmp_path)
    for languages, text in ((["de", "en"], "Ihr Paket"), (["de-CH", "en"], "Ihr Paket"), (["fr", "en"], "Your parcel")):
        found = choose_reply(replies, "delivery", languages=languages, on=TODAY).reply
        assert found is not None and found.text.startswith(text)


def test_an_expired_reply_is_refused_with_its_reason(tmp_path):
    replies = read(tmp_path)
    assert choose_reply(replies, "refund", languages=["en"], on=date(2026, 1, 31)).reply is not None
    assert choose_reply(replies, "refund", languages=["en"], on=date(2026, 2, 1)) == (None, "expired_reply")
    assert choose_reply(replies, "praise", languages=["en"], on=TODAY) == (None, "no_reply")
    assert choose_reply(replies, "delivery", languages=["fr"], on=TODAY) == (None, "no_reply")


def test_a_project_may_have_no_replies_yet(tmp_path):
    assert read_replies(tmp_path / "replies.toml") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[reply", "not TOML"),
        ('[[reply]]\nintent = "a"\ntext = "b"\n', "valid_until"),
        ('[[reply]]\nintent = "a"\ntext = "b"\nvalid_until = "2026-02-30"\n', "2026-02-30 is not a day"),
        ('[[reply]]\nintent = "a"\ntext = ""\nvalid_until = 2026-02-20\n', "length >= 1"),
        ('[[reply]]\nintent = "a"\ntext = "b"\nvalid_until = 2026-02-20\n' * 2, "two replies for 'a' in language en"),
        ('[[reply]]\nintent = "a"\ntext = "b"\nvalid_until = 2026-02-20\nsend = true\n', "unknown field `send`"),
    ],
)
def test_a_wrong_reply_is_named_with_its_place(tmp_path, text, said):
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert said in str(error.value) and "replies.toml" in error.value.where


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "replies.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_replies(tmp_path / "replies.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_replies(tmp_path)
