"""A person tries a message, answers those that wait, and reads what became of the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.dashboard.message_project import DAY_US, START_US, lived_in_shop, log_messages, make_live, share, summarized
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.support.shop import mail

from headway.core.action import PersonAction
from headway.core.selective import CertificateWithdrawal
from headway.core.support import CustomerMessage
from headway.storage.messages import add_message, find_message
from headway.storage.traffic import labels_of, log_version
from headway.support.mail import read_mail

pytestmark = pytest.mark.slow
PAGE, QUEUE = "/models/shop/messages", "/models/shop/messages/queue"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[RunningDashboard]:
    """A dashboard of a shop; the oldest message that waits came by mail."""
    project = lived_in_shop(tmp_path)
    came = read_mail(mail("Where is my parcel?"), source="imap", at=datetime.now(UTC))
    add_message(project.config.state, "shop", replace(came, key="m3", state="people", reason="low_confidence"))
    project.state.close()
    with running_dashboard(tmp_path) as running:
        yield running


def shown_key(answer) -> str:
    found = re.search(r'name="key" value="([^"]*)"', answer.text)
    return found[1] if found else ""


def test_a_message_is_tried_with_its_confidence_and_who_answers(shop):
    person = shop.visitor("labeller")
    found = person.post(PAGE, text="where is my parcel, it is late, the courier was not at the door")
    assert found.status == 200
    assert "The model answers: delivery" in found.words
    assert "Needed for this answer 0.600" in found.words
    assert "Your parcel is on its way." in found.words
    found = person.post(PAGE, text="xyzzy")
    assert "Handed on to people" in found.words and "The model is not sure enough." in found.words
    assert person.post(PAGE, text=" ").status == 400


def test_an_expired_reply_is_marked(shop):
    found = shop.visitor("labeller").post(PAGE, text="money back refund return paid twice charge card")
    assert "expired on 2026-01-31, not used" in found.words


def test_the_page_shows_shares_times_and_hours_with_intervals(shop):
    found = summarized(shop.visitor("labeller"))
    assert "Share answered by the model 0.75 [0.64, 0.84] of 120" in found
    assert "Waiting for a person 42" in found
    assert "no answer was checked yet" in found
    assert "Replies are drafts." in found


def test_the_summary_follows_the_log(shop):
    person, project = shop.visitor("labeller"), shop.dashboard.project("shop")
    assert "Messages in the log 120" in summarized(person)
    unchanged = log_version(project.config.state, "shop")
    log_messages(project, ["where is my parcel"], answered=[True], audited=[False], start_us=START_US, first=900)
    assert log_version(project.config.state, "shop") != unchanged
    while "Messages in the log 121" not in (words := person.get(PAGE).words):
        assert "Messages in the log 120" in words


def test_an_answer_becomes_a_label_and_drafts_the_approved_reply(shop):
    person, project = shop.visitor("labeller", name="ann"), shop.dashboard.project("shop")
    person.post(QUEUE, key="m0", do="skip", label="")
    page = person.get(QUEUE)
    assert shown_key(page) == "m3"
    assert "ann@home.example" in page.words and "where is my parcel 3" in page.words
    assert person.post(QUEUE, key="m3", do="answer", label="").status == 400
    assert person.post(QUEUE, key="m3", do="answer", label="delivery").status == 303
    following = person.get(QUEUE)
    assert "Saved as delivery. The approved reply is a draft." in following.words
    assert shown_key(following) == "m7"
    classes = project.registry.resolve("shop@live").release.variant.signature.classes
    assert [(one.label, one.who) for one in labels_of(project.config.state, "shop", "m3")] == [
        (float(classes.index("delivery")), "ann")
    ]
    draft = find_message(project.config.state, "shop", "m3")
    assert draft is not None and (draft.state, draft.answered_by) == ("draft", "ann")
    (action,) = project.records(PersonAction)
    assert (action.action, action.subject, action.outcome) == ("label.given", "m3", "labeled delivery")
    assert person.post(QUEUE, key="m7", do="answer", label="account").status == 303
    assert "it came by no mailbox" in person.get(QUEUE).words
    ben = shop.visitor("labeller", name="ben")
    ben.post(QUEUE, key="m7", do="answer", label="refund")
    assert "Not saved: ann answered this message before you." in ben.get(QUEUE).words


def test_a_person_who_answers_what_was_sent_changes_the_label_alone(shop):
    project, person = shop.dashboard.project("shop"), shop.visitor("labeller")
    state = project.config.state
    (state / "messages/shop/m3.json").unlink()
    came = read_mail(mail(), source="imap", at=datetime.now(UTC))
    add_message(state, "shop", replace(came, key="m3", state="sent", reply="x"))
    person.post(QUEUE, key="m3", do="answer", label="delivery")
    assert "The customer was answered before." in person.get(QUEUE).words
    (state / "messages/shop/m3.json").unlink()
    add_message(state, "shop", replace(came, key="m11"))
    person.post(QUEUE, key="m11", do="answer", label="refund")
    assert "No approved reply is valid for it" in person.get(QUEUE).words


def test_what_a_customer_writes_is_shown_as_text(shop):
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    project = shop.dashboard.project("shop")
    log_messages(project, [hostile], answered=[False], audited=[False], start_us=START_US - DAY_US, first=500)
    add_message(
        project.config.state,
        "shop",
        CustomerMessage(
            key="m500", source="webhook", received_at="2026-11-28T00:00:00+00:00", sender=hostile, subject=hostile
        ),
    )
    person = shop.visitor("labeller")
    queue = person.get(QUEUE)
    assert shown_key(queue) == "m500" and queue.text.count("&lt;script&gt;alert(1)") == 3
    tried = person.post(PAGE, text=hostile)
    assert "&lt;script&gt;alert(1)" in tried.text
    assert not any(tag in page.text for page in (queue, tried) for tag in ("<script>alert", "<img src=x"))


def test_viewers_see_no_message(shop):
    for path in (PAGE, QUEUE):
        found = shop.visitor("viewer").get(path)
        assert found.status == 403 and "parcel" not in found.text


def test_without_messages_the_page_says_what_to_do(served):
    person = served.visitor("labeller")
    for path in ("/models/flights/messages", "/models/flights/messages/queue"):
        assert person.get(path).status == 200
    assert "Nothing waits" in person.get("/models/flights/messages/queue").words


def test_a_release_without_a_certificate_answers_every_message(shop):
    project = shop.dashboard.project("shop")
    make_live(project, replace(project.registry.resolve("shop@live").release, answers=None))
    found = shop.visitor("labeller").post(PAGE, text="xyzzy")
    assert "This release has no certificate" in found.words


def test_a_withdrawn_certificate_is_the_reason(shop):
    project = shop.dashboard.project("shop")
    digest = project.registry.resolve("shop@live").digest
    risk = share("answer.audited_risk", 0.2)
    withdrawal = CertificateWithdrawal(
        name="shop",
        release=digest,
        classes=("delivery",),
        risk=risk,
        limit=0.05,
        why="a test",
        at="2026-11-28T12:00:00+00:00",
    )
    project.save(withdrawal)
    found = shop.visitor("labeller").post(PAGE, text="where is my parcel, it is late, the courier was not at the door")
    assert "The certificate of this kind was withdrawn" in found.words
