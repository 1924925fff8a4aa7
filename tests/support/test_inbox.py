"""Messages are answered with approved replies as drafts, sent only if a person enabled it, and never lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from tests.support.shop import CUSTOMER, NOW, OWN, mail, shop

from headway.core.config import load
from headway.core.errors import ConfigError
from headway.monitoring.erasure.erase import ErasureRequest, erase
from headway.registry.project import project_of
from headway.registry.sign import init_keys
from headway.storage.messages import find_message, messages_folder, read_messages
from headway.support.inbox import AnswerOfServer, Inbox, answer_by_person
from headway.support.mail import read_mail
from headway.support.transports import NotReached

SENDING = 'send = true\nsmtp = { server = "127.0.0.1" }\n'


def message(text="Where is my parcel?", **headers):
    return read_mail(mail(text, **headers), source="imap", own=OWN, at=NOW)


def by_first_word(message):
    intent = {"Where": "delivery", "Money": "refund", "Great": "praise"}.get(message.text.split()[0], "")
    if not intent:
        return AnswerOfServer(answer="", answered_by="people", reason="low_confidence", confidence=0.4)
    return AnswerOfServer(answer=intent, answered_by="model", confidence=0.99)


def inbox(config, *texts, ask=by_first_word, send=None):
    opened = Inbox(config, ask=ask, send=send)
    for number, text in enumerate(texts):
        assert opened.take(message(text, Message_ID=f"<{number}@home.example>"))
    return opened


def by_text(config):
    return {found.text: found for found in read_messages(config.state, "shop")}


def test_a_message_gets_the_approved_reply_of_its_intent_as_a_draft(tmp_path):
    config, sent = shop(tmp_path), []
    inbox(config, "Where is it?", send=sent.append).process(now=NOW)
    (found,) = read_messages(config.state, "shop")
    assert (found.state, found.intent, found.confidence) == ("draft", "delivery", 0.99)
    assert found.reply == "Your parcel is on its way."
    assert sent == []


def test_what_no_valid_reply_fits_waits_for_a_person_with_the_reason(tmp_path):
    config = shop(tmp_path)
    inbox(config, "Money back", "Great shop", "Hm").process(now=NOW)
    found = by_text(config)
    assert {text: (one.state, one.reason) for text, one in found.items()} == {
        "Money back": ("people", "expired_reply"),
        "Great shop": ("people", "no_reply"),
        "Hm": ("people", "low_confidence"),
    }


def test_an_empty_message_and_one_without_an_address_wait_for_a_person(tmp_path):
    config, asked = shop(tmp_path), []
    opened = Inbox(config, ask=lambda one: asked.append(one) or by_first_word(one))
    opened.take(message("", Subject=""))
    opened.take(message("Where is it", sender="no address"))
    opened.process(now=NOW)
    assert {found.reason for found in read_messages(config.state, "shop")} == {"unreadable", "no_address"}
    assert len(asked) == 1


def test_automatic_mail_is_kept_and_not_asked_about(tmp_path):
    config = shop(tmp_path)
    opened = Inbox(config, ask=lambda _: pytest.fail("it was asked"))
    opened.take(message(Auto_Submitted="auto-replied"))
    assert opened.process(now=NOW) == []
    assert read_messages(config.state, "shop")[0].state == "ignored"


def test_a_duplicate_is_taken_once(tmp_path):
    opened = inbox(shop(tmp_path), "Where is it?")
    assert not opened.take(message("Where is it?", Message_ID="<0@home.example>", Received="from b"))


def test_an_enabled_inbox_sends_each_reply_once(tmp_path):
    config, sent = shop(tmp_path, SENDING), []
    opened = inbox(config, "Where is it?", send=sent.append)
    opened.process(now=NOW)
    opened.process(now=NOW)
    (reply,) = sent
    assert (reply["To"], reply["From"]) == (CUSTOMER, OWN)
    (found,) = read_messages(config.state, "shop")
    assert (found.state, found.sent_at) == ("sent", "2026-11-28T12:00:00+00:00")


def test_sending_needs_a_sender_and_a_server(tmp_path):
    with pytest.raises(ConfigError, match="without a sender and a server"):
        inbox(shop(tmp_path, "send = true\n"))


def test_a_server_that_does_not_answer_loses_nothing(tmp_path):
    config, sent = shop(tmp_path, SENDING), []

    def fail(_):
        raise NotReached("the server is away")

    inbox(config, "Where is it?", ask=fail).process(now=NOW)
    (found,) = read_messages(config.state, "shop")
    assert (found.state, found.problem) == ("received", "the server is away")
    Inbox(config, ask=by_first_word, send=fail).process(now=NOW)
    (found,) = read_messages(config.state, "shop")
    assert (found.state, found.problem) == ("draft", "the server is away")
    Inbox(config, ask=by_first_word, send=sent.append).process(now=NOW)
    (found,) = read_messages(config.state, "shop")
    assert (found.state, found.problem, len(sent)) == ("sent", "", 1)


class Killed(BaseException):
    """The process is killed."""


@pytest.mark.parametrize("at", ["ask", "send"])
def test_a_process_that_is_killed_loses_nothing(tmp_path, at):
    config, sent = shop(tmp_path, SENDING), []

    def kill(_):
        raise Killed

    working = {"ask": by_first_word, "send": sent.append}
    with pytest.raises(Killed):
        inbox(config, "Where is it?", **(working | {at: kill})).process(now=NOW)
    Inbox(config, **working).process(now=NOW)
    assert len(sent) == 1
    assert read_messages(config.state, "shop")[0].state == "sent"


def test_one_address_gets_a_limited_number_of_replies_a_day(tmp_path):
    config = shop(tmp_path, "replies_per_day = 2\n")
    opened = inbox(config, "Where 1", "Where 2", "Where 3")
    opened.process(now=NOW)
    states = [found.state for found in read_messages(config.state, "shop")]
    assert sorted(states) == ["draft", "draft", "people"]
    assert opened.take(message("Where 4", Message_ID="<4@home.example>"))
    opened.process(now=NOW + timedelta(days=1, seconds=1))
    assert by_text(config)["Where 4"].state == "draft"


def test_the_intent_that_a_person_gives_makes_the_draft(tmp_path):
    config = shop(tmp_path)
    inbox(config, "Hm").process(now=NOW)
    key = read_messages(config.state, "shop")[0].key
    found = answer_by_person(config, key, "praise", who="ann", now=NOW)
    assert found is not None and (found.state, found.reason) == ("people", "no_reply")
    found = answer_by_person(config, key, "delivery", who="ann", now=NOW)
    assert found is not None and (found.state, found.answered_by, found.intent) == ("draft", "ann", "delivery")
    assert find_message(config.state, "shop", key) == found
    assert answer_by_person(config, "mail-0", "delivery", who="ann", now=NOW) is None


def test_an_erased_message_is_gone_and_its_answer_is_not_written(tmp_path):
    shop(tmp_path)
    trust = f'\n[trust]\ntrusted_keys = "{tmp_path}/trusted.txt"\npublisher_key = "{tmp_path}/publisher.pem"\n'
    personal = f'\n[personal]\nkey = "{tmp_path.parent}/{tmp_path.name}.key"\n'
    with (tmp_path / "headway.toml").open("a") as file:
        file.write(trust + personal)
    config = load(tmp_path)
    inbox(config, "Where 1", "Where 2")
    first, second = read_messages(config.state, "shop")
    project = project_of(config)
    init_keys(project.registry.publisher_key, project.registry.trusted_keys, comment="a test")

    def erase_and_answer(found):
        if found.key == first.key:
            erase(project, ErasureRequest(key=first.key, who="ann", why="asked"), wait=lambda _: None)
        return by_first_word(found)

    Inbox(config, ask=erase_and_answer).process(now=NOW)
    assert [found.key for found in read_messages(config.state, "shop")] == [second.key]
    old = replace(second, received_at="2020-01-01T00:00:00+00:00")
    Inbox(config, ask=by_first_word).take(replace(old, key="mail-old"))
    erasure = erase(project, ErasureRequest(older="90d", who="ann", why="old"), wait=lambda _: None)
    assert erasure.rows == 1
    assert [found.key for found in read_messages(config.state, "shop")] == [second.key]
    project.state.close()


def test_only_the_owner_can_read_the_file_of_a_message(tmp_path):
    config = shop(tmp_path)
    inbox(config, "Where is it?")
    (file,) = messages_folder(config.state, "shop").glob("*.json")
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("by", ["model", "remote"])
def test_an_answer_that_no_certificate_covers_waits_for_a_person(tmp_path, by):
    config = shop(tmp_path)
    inbox(
        config,
        "Where is it?",
        ask=lambda _: AnswerOfServer(answer="delivery", answered_by=by, status="uncertified"),
    ).process(now=NOW)
    (found,) = read_messages(config.state, "shop")
    assert (found.state, found.reason, found.intent) == ("people", "uncertified", "delivery")
