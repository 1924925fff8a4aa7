"""A project for messages of customers is made from a table, or from requests that a package has the patterns of."""

from __future__ import annotations

import random

import polars as pl
import pytest

from headway.cli.commands.init import N_REQUESTS, write_project
from headway.cli.demo.requests import INTENTS, PACKAGE, sample_requests
from headway.core.config import load
from headway.core.errors import ConfigError, PluginError
from headway.data.settings.data import DataSection
from headway.evaluation.settings.answer import AnswerSection
from headway.monitoring.settings.support import SupportSection
from headway.support.replies import read_replies

pytestmark = pytest.mark.slow


def messages(n=300):
    draw = random.Random(0)
    words = {"account": ["login", "password"], "delivery": ["parcel", "late"], "refund": ["money", "back"]}
    intents = [sorted(words)[number % 3] for number in range(n)]
    texts = [
        f"please help {number} {' '.join(draw.choices(words[intent], k=4))}" for number, intent in enumerate(intents)
    ]
    return pl.DataFrame({"message": texts, "intent": intents})


def test_a_table_of_messages_becomes_a_project_with_a_limit_and_sending_off(tmp_path):
    messages().write_csv(tmp_path / "messages.csv")
    folder = tmp_path / "shop"
    written, _ = write_project(folder, tmp_path / "messages.csv", "intent", text=("message",), template="support")
    assert {*written} == {"headway.toml", "train.py", "replies.toml", "README.md"}
    config = load(folder)
    assert config[DataSection].text == ("message",)
    assert (config[AnswerSection].limit, config[AnswerSection].stages, config[SupportSection].send) == (
        0.05,
        ("people",),
        False,
    )
    readme = (folder / "README.md").read_text()
    assert "# shop: answers to messages" in readme and "samples" not in readme


def test_no_reply_is_approved_until_a_person_removes_the_marks(tmp_path):
    messages().write_csv(tmp_path / "messages.csv")
    write_project(tmp_path / "a", tmp_path / "messages.csv", "intent", text=("message",), template="support")
    file = tmp_path / "a/replies.toml"
    assert read_replies(file) == ()
    file.write_text(file.read_text().replace("# [[", "[[").replace("\n# ", "\n"))
    assert {reply.intent for reply in read_replies(file)} == {"account", "delivery", "refund"}


@pytest.mark.parametrize(
    ("intents", "expected"),
    [
        (["delivery", "refund"], {"delivery", "refund"}),
        (["no", "yes"], {"no", "yes"}),
        ([0, 1], {"0", "1"}),
        ([0, 1, 2], {"0", "1", "2"}),
    ],
)
def test_replies_are_proposed_for_the_names_that_the_server_answers_with(tmp_path, intents, expected):
    table = messages().with_columns(intent=pl.Series([intents[number % len(intents)] for number in range(300)]))
    table.write_csv(tmp_path / "messages.csv")
    write_project(tmp_path / "a", tmp_path / "messages.csv", "intent", text=("message",), template="support")
    file = tmp_path / "a/replies.toml"
    file.write_text(file.read_text().replace("# [[", "[[").replace("\n# ", "\n"))
    assert {reply.intent for reply in read_replies(file)} == expected
    data = load(tmp_path / "a")[DataSection]
    assert data.classes == (tuple(sorted(expected)) if isinstance(intents[0], str) else ())


def test_without_texts_or_classes_the_template_is_refused(tmp_path):
    pl.DataFrame({"size": range(300), "price": [0.5 * number for number in range(300)]}).write_csv(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match="need a column of texts"):
        write_project(tmp_path / "a", tmp_path / "t.csv", "price", template="support")
    assert not (tmp_path / "a").exists()


def test_without_a_table_the_requests_of_a_package_are_samples_and_said_to_be(tmp_path):
    write_project(tmp_path / "shop", None, "", template="support")
    table = pl.read_csv(tmp_path / "shop/requests.csv")
    assert len(table) == N_REQUESTS
    assert table.columns == ["asked_at", "message", "intent"]
    assert set(table["intent"]) == set(INTENTS.values())
    assert table["message"].n_unique() > 0.7 * N_REQUESTS
    assert not table["message"].str.contains(r"[\[\]<>{}|]").any()
    assert "They are not messages of customers" in (tmp_path / "shop/README.md").read_text()


def test_requests_are_the_same_for_a_seed(tmp_path):
    assert sample_requests(60, seed=3).equals(sample_requests(60, seed=3))
    assert not sample_requests(60, seed=3).equals(sample_requests(60, seed=4))


def test_an_absent_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("headway.cli.demo.requests.PACKAGE", "no-such-package")
    with pytest.raises(PluginError, match="no-such-package") as error:
        write_project(tmp_path / "shop", None, "", template="support")
    assert "--from messages.csv" in error.value.hint
    assert PACKAGE == "home-assistant-intents"
