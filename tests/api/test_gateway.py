"""A classifier in front of a large model: the tutorial runs against a stand-in, and what is not sure is handed on."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from tests.house.pages import code_blocks
from tests.pipeline.serve_command import served
from tests.serving.chat_server import chat_server

import headway
from headway.api import gateway
from headway.api.gateway import last_user_text
from headway.core.errors import ConfigError, HeadwayError
from headway.core.evidence import Measurement
from headway.core.selective import CertificateWithdrawal
from headway.registry.model_registry import UpdateReason
from headway.registry.project import open_project

pytestmark = pytest.mark.slow
(CONFIG,) = code_blocks("docs/tutorials/gateway.md", "yaml")
TRAIN, ASK, PROGRAM, PLUGIN, SERVED = code_blocks("docs/tutorials/gateway.md", "python")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the first steps of the tutorial were done."""
    place = tmp_path_factory.mktemp("gateway")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("HEADWAY_TRUST_PUBLISHER_KEY", str(place / "publisher.pem"))
        exec(TRAIN, {})
        yield place


@pytest.fixture
def names(folder: Path) -> dict[str, Any]:
    """The names that the tutorial defines, but its training."""
    known: dict[str, Any] = {"headway": headway, "WORDS": {"delivery": "", "refund": "", "account": ""}}
    exec(ASK, known)
    return known


def context(*messages: dict[str, object]) -> SimpleNamespace:
    return SimpleNamespace(structured_messages=list(messages), raw_messages=[], metadata={}, candidate_models=[])


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def test_the_program_of_the_tutorial_asks_the_large_model_only_for_the_rest(names, monkeypatch):
    with chat_server() as large:
        monkeypatch.setenv("LARGE_MODEL_URL", large.url)
        monkeypatch.setenv("LARGE_MODEL_KEY", "secret")
        large.says("account")
        exec(PROGRAM, names)
        assert names["intent"]("where is my parcel 7") == ("delivery", "local")
        assert large.requests.empty()
        assert names["intent"]("hello") == ("account", "large model")
        assert large.requests.qsize() == 1


def test_a_plugin_returns_tiers_and_declines_what_has_none(names):
    exec(PLUGIN, names)

    def tier(*messages: dict[str, object]) -> str | None:
        return asyncio.run(names["local"].classify(context(*messages)))

    assert tier({"role": "assistant", "content": "hi"}, user("where is my parcel 7")) == "SIMPLE"
    assert tier(user([{"type": "text", "text": "my password is gone 3"}])) == "SIMPLE"
    assert tier(user("i want my money back 2")) is None, "no tier"
    assert tier(user("hello")) is None
    assert tier(user("where is my parcel"), {"role": "assistant", "content": "where is my parcel"}) is None
    assert tier() is None
    assert copy.deepcopy({"classifier_plugin": names["local"]})["classifier_plugin"] is names["local"]
    assert tier(user("x" * 100_000)) is None, "longer than the model reads"


def test_the_configuration_of_the_gateway_names_the_plugin_and_its_tiers():
    plugin = re.search(r"classifier_plugin: classifiers\.(\w+)$", CONFIG, re.MULTILINE)
    assert plugin is not None and PLUGIN.startswith(f"{plugin[1]} = ")
    tiers = re.search(r"tiers: \{(.*)\}", CONFIG)
    assert tiers is not None
    assert set(re.findall(r": \"([A-Z]+)\"", PLUGIN)) <= set(re.findall(r"([A-Z]+):", tiers[1]))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a", "a"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}], None),
        ([], None),
        (["a"], None),
        ([{"type": "text"}], None),
        (None, None),
    ],
)
def test_a_message_is_read_if_it_is_text_alone(content, expected):
    assert last_user_text([user(content)]) == expected


def test_a_withdrawn_certificate_is_seen(folder, monkeypatch):
    monkeypatch.setattr(gateway, "REFRESH_S", 0.0)
    project = open_project(folder / "intents")
    classifier = headway.GatewayClassifier("intents@live", project=folder / "intents")
    assert classifier.answer("where is my parcel 7") == "delivery"
    digest = project.registry.resolve("intents@live").digest
    risk = Measurement(name="answer.risk", value=1.0, low=0.9, high=1.0, method="a test", n_rows=9)
    withdrawal = CertificateWithdrawal(
        name="intents", release=digest, classes=("delivery",), risk=risk, limit=0.05, why="a test", at="2026-11-29"
    )
    project.save(withdrawal)
    assert classifier.answer("where is my parcel 7") is None
    assert classifier.answer("i want my money back 2") == "refund"


def test_two_classes_are_decided_at_the_threshold_of_the_release(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HEADWAY_TRUST_PUBLISHER_KEY", raising=False)
    monkeypatch.setattr(gateway, "REFRESH_S", 0.0)
    known: dict[str, Any] = {}
    exec(TRAIN.partition("pipeline =")[0], known)
    rows = zip(known["texts"], known["labels"], strict=True)
    texts, labels = zip(*[(text, label) for text, label in rows if label != "account"], strict=True)
    model = known["make_pipeline"](known["TfidfVectorizer"](), known["LogisticRegression"]()).fit(
        texts[:600], labels[:600]
    )
    best = headway.optimize(
        model, texts[600:], labels[600:], answer_limit=0.05, name="two", budget="5s", folder=tmp_path / "two"
    )
    best.release(who="ann")
    classifier = headway.GatewayClassifier("two@live", project=tmp_path / "two")
    assert (classifier.answer("i want my money back 2"), classifier.answer("where is my parcel 7")) == (
        "refund",
        "delivery",
    )
    registry = open_project(tmp_path / "two").registry
    live = registry.resolve("two@live")
    never_refund = replace(live.release, threshold=1.0)
    registry.point(
        "two@live",
        registry.publish(never_refund, live.files),
        UpdateReason(who="ann", why="a test", verdict=never_refund.verdict),
    )
    assert (classifier.answer("i want my money back 2"), classifier.answer("where is my parcel 7")) == (
        None,
        "delivery",
    )


def test_a_digest_is_opened_once(folder, monkeypatch):
    monkeypatch.setattr(gateway, "REFRESH_S", 0.0)
    digest = open_project(folder / "intents").registry.resolve("intents@live").digest
    classifier = headway.GatewayClassifier(f"intents@{digest}", project=folder / "intents")
    monkeypatch.setattr(gateway.pipeline, "load", None)
    assert classifier.answer("i want my money back 2") == "refund"


def test_a_server_is_asked_and_one_that_is_gone_declines(folder, caplog):
    with served("intents@live", "--port", "0", folder=folder / "intents") as line:
        address = re.search(r"http://[\d.:]+", line)
        assert address is not None
        known = {"headway": headway}
        exec(SERVED.replace("http://127.0.0.1:8080", address[0]), known)
        classifier: Any = known["served"]
        assert classifier.answer("i want my money back 2") == "refund"
        assert asyncio.run(classifier.classify(context(user("i want my money back 3")))) == "refund"
        assert asyncio.run(classifier.classify(context(user("hello")))) is None
    assert asyncio.run(classifier.classify(context(user("i want my money back 3")))) is None
    assert "handed on" in caplog.text
    with pytest.raises(HeadwayError, match="does not answer"):
        classifier.answer("hello")


def test_a_release_without_a_limit_is_refused(folder, tmp_path):
    known: dict[str, Any] = {}
    exec(TRAIN.partition("best =")[0], known)
    best = headway.optimize(
        known["pipeline"], known["texts"][1_000:], known["labels"][1_000:], budget="5s", folder=tmp_path / "plain"
    )
    best.release(who="ann")
    with pytest.raises(ConfigError, match="a limit on wrong answers"):
        headway.GatewayClassifier(f"{best.search.name}@live", project=tmp_path / "plain")
