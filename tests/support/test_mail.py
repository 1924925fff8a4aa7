"""Mail is read within limits in any charset, mail that must not be answered is recognized, and replies are safe."""

from __future__ import annotations

import email
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.shop import CUSTOMER, NOW, OWN, mail

from headway.core.errors import DataError
from headway.support.mail import (
    MAX_HEADER,
    MAX_MAIL_BYTES,
    MAX_TEXT,
    compose_reply,
    html_to_text,
    read_mail,
)


def read(content: bytes):
    return read_mail(content, source="imap", own=OWN, at=NOW)


def test_a_mail_is_read_with_its_sender_subject_and_text():
    found = read(mail("Where is it?\n> Your order was sent.\nThanks", Content_Language="de-CH"))
    assert (found.sender, found.subject, found.state, found.language) == (CUSTOMER, "Parcel", "received", "de-CH")
    assert found.text == "Where is it?\nThanks"
    assert found.received_at == "2026-11-28T12:00:00+00:00"
    assert found.message_id == "<1@home.example>"


def test_an_answer_goes_to_the_one_address_that_the_customer_asks_for():
    assert read(mail(Reply_To="Ann <other@home.example>")).sender == "other@home.example"
    assert read(mail(sender="a@b.example, c@d.example")).sender == ""
    assert read(mail(sender="no address")).sender == ""


def test_a_mail_that_is_delivered_twice_has_one_key_and_another_with_its_id_does_not():
    first = read(mail(Received="from a"))
    assert read(mail(Received="from b")).key == first.key
    assert read(mail("Another question")).key != first.key
    assert read(mail(Message_ID="", Received="a")).key != read(mail(Message_ID="", Received="b")).key


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Auto_Submitted": "auto-replied"}, "automatic"),
        ({"Auto_Submitted": "Auto-Generated; x=y"}, "automatic"),
        ({"Precedence": "Bulk"}, "automatic"),
        ({"X_Auto_Response_Suppress": "All"}, "automatic"),
        ({"sender": "MAILER-DAEMON@home.example"}, "automatic"),
        ({"List_Id": "<news.example>"}, "mailing_list"),
        ({"List_Unsubscribe": "<mailto:x@y.example>"}, "mailing_list"),
        ({"Return_Path": "<>"}, "bounce"),
        ({"Content_Type": "multipart/report; boundary=x"}, "bounce"),
        ({"sender": OWN.upper()}, "own"),
    ],
)
def test_mail_that_could_start_a_loop_is_ignored(headers, reason):
    found = read(mail(**headers))
    assert (found.state, found.reason) == ("ignored", reason)


def test_a_person_who_declares_it_is_answered():
    assert read(mail(Auto_Submitted="no")).state == "received"


def test_an_own_reply_that_comes_back_is_ignored():
    draft = replace(read(mail()), reply="It is on its way.")
    assert read(compose_reply(draft, sender="other@shop.example", at=NOW).as_bytes()).state == "ignored"


@pytest.mark.parametrize(
    ("charset", "content", "text"),
    [
        ("iso-8859-1", "grüße".encode("latin-1"), "grüße"),
        ("utf-8", "grüße".encode("cp1252"), "grüße"),  # it is declared wrong
        ("no-such-charset", "grüße".encode(), "grüße"),
        ("shift_jis", "荷物".encode("shift_jis"), "荷物"),
        ("utf-16", b"\x41", "A"),
    ],
)
def test_a_wrong_charset_loses_no_mail(charset, content, text):
    head = mail("", Content_Type=f"text/plain; charset={charset}", Content_Transfer_Encoding="8bit")
    assert read(head + content).text == text


def test_encoded_headers_are_decoded_to_one_line():
    assert read(mail(Subject="=?utf-8?B?cGFrZXQKQmNjOiB4QHkuZXhhbXBsZQ==?=")).subject == "paket Bcc: x@y.example"
    assert read(mail(Subject="=?nope?Q?gr=FC=DFe?=")).subject == "grüße"
    assert read(mail(Subject="=?utf-8?B?a?=")).state == "received"
    assert len(read(mail(Subject="a" * 5000)).subject) == MAX_HEADER


def test_html_is_read_without_scripts_if_no_text_is_plain():
    html = "<head><title>T</title></head><p>Where is <b>my parcel</b>?</p><script>alert(1)</script><style>p{}</style>"
    assert read(mail(html, Content_Type="text/html")).text == "Where is my parcel?"
    both = EmailMessage()
    both["From"], both["Message-ID"] = CUSTOMER, "<2@home.example>"
    both.set_content("plain\n")
    both.add_alternative("<p>html</p>", subtype="html")
    both.add_attachment(b"secret", maintype="text", subtype="plain", filename="a.txt")
    assert read(both.as_bytes()).text == "plain"
    assert (html_to_text("<![if IE]>a<b"), html_to_text("<![if IE]>a<b>c")) == ("a", "ac")


def test_texts_parts_and_mails_are_bounded():
    assert len(read(mail("a" * 3 * MAX_TEXT)).text) == MAX_TEXT
    large = read(mail("a" * MAX_MAIL_BYTES))
    assert (large.text, large.sender) == ("", CUSTOMER)
    parts = b"--x\r\nContent-Type: text/plain\r\n\r\na\r\n" * 5000 + b"--x--\r\n"
    assert len(read(mail("", Content_Type="multipart/mixed; boundary=x") + parts).text) < 300
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth) for depth in range(3000)
    )
    assert read(b"From: ann@home.example\r\n" + nested).key.startswith("mail-")


@given(
    st.binary(max_size=400),
    st.sampled_from(["", "Subject: ", "From: ", "Content-Type: ", "Content-Type: text/html\n\n"]),
)
def test_no_bytes_break_the_reader(content, head):
    found = read(head.encode() + content)
    assert found.key.startswith("mail-")
    assert found.subject.isprintable() and found.sender.isprintable()


def test_a_reply_names_the_mail_and_says_that_a_program_sent_it():
    draft = replace(read(mail()), reply="It is on its way.")
    sent = email.message_from_bytes(compose_reply(draft, sender=OWN, at=NOW).as_bytes(), policy=default)
    assert (sent["To"], sent["From"], sent["Subject"]) == (CUSTOMER, OWN, "Re: Parcel")
    assert sent["In-Reply-To"] == sent["References"] == "<1@home.example>"
    assert sent["Auto-Submitted"] == "auto-replied"
    assert sent["Message-ID"] == compose_reply(draft, sender=OWN, at=NOW)["Message-ID"]
    assert sent.get_content() == "It is on its way.\n"


def test_a_hostile_id_or_subject_adds_no_header():
    hostile = replace(read(mail()), reply="x", message_id="<a@b> \nBcc: x@y", subject="a\r\nBcc: x@y.example")
    sent = compose_reply(hostile, sender=OWN, at=NOW)
    assert sent["Bcc"] is None and sent["In-Reply-To"] is None
    with pytest.raises(DataError):
        compose_reply(replace(hostile, sender=""), sender=OWN, at=NOW)
