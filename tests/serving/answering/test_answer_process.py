"""A process of `headway serve`: the model answers, then a remote model within its deadline and cap, then people."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from chat_server import chat_server, response
from plain_client import post
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from tests.monitoring.alerts.places import until
from tests.pipeline.serve_command import served
from tests.storage.small_s3 import small_s3

import headway
from headway.core.config import load
from headway.storage import traffic
from headway.storage._shared_logs import SharedLogs

pytestmark = pytest.mark.slow
WORDS = {"delivery": "parcel", "refund": "money", "invoice": "bill"}
DEADLINE_S = 3.0
SETTINGS = """
[project]
name = "shop"
[policy]
floor = "none"
[answer]
limit = 0.1
stages = ["remote", "people"]
[answer.remote]
url = "{url}"
model = "small"
deadline_s = {deadline}
cost_per_call = 0.1
spend_cap_per_day = 0.5
"""


def release_shop(folder: Path, url: str) -> None:
    """Release a model that knows a message by one word, and one message in three has none."""
    folder.mkdir()
    (folder / "headway.toml").write_text(SETTINGS.format(url=url, deadline=DEADLINE_S))
    random = np.random.default_rng(1)
    labels = [str(label) for label in random.choice(list(WORDS), 1_200)]
    texts = [f"please {WORDS[label] if random.random() < 0.7 else ''} {n % 50}" for n, label in enumerate(labels)]
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(list(WORDS.values()), list(WORDS))
    best = headway.optimize(model, texts, labels, budget="20s", transforms=["text"], folder=folder)
    assert best.answers is not None and best.answers.certificate.is_certified
    best.release(who="ann")


def test_a_message_goes_from_the_model_to_the_remote_stage_and_to_people_over_the_wire(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_ANSWER_REMOTE_KEY", "secret")
    with chat_server() as chat:
        release_shop(tmp_path / "shop", chat.url)
        chat.says("refund")
        with served("shop@live", "--port", "0", folder=tmp_path / "shop") as line:
            port = int(re.search(r":(\d+)", line)[1])

            def answer(text: str, key: str) -> dict[str, object]:
                found = post(port, "/v2/models/shop/answer", {"text": text, "key": key})
                assert found.status == 200
                return found.json

            def outcome(text: str, key: str) -> tuple[object, ...]:
                found = answer(text, key)
                return found["answer"], found["answered_by"], found["status"], found.get("remote", "")

            assert outcome("please parcel", "m-1") == ("delivery", "model", "answered", "")
            assert chat.requests.empty()

            assert outcome("please, I am ada@example.org", "m-2") == ("refund", "remote", "uncertified", "")
            head, body = chat.requests.get(timeout=10)
            assert "Authorization: Bearer secret\r\n" in head
            assert body["messages"][1]["content"] == "please, I am [email]"

            chat.content = None  # it hangs: the caller is answered at the deadline, and others do not wait
            began = time.monotonic()
            assert outcome("please", "m-3") == ("", "people", "held", "timeout")
            assert time.monotonic() - began >= DEADLINE_S
            chat.content = response(500, b"{}")
            assert outcome("please", "m-4") == ("", "people", "held", "status")
            chat.says("something else")
            assert outcome("please", "m-5") == ("", "people", "held", "not_a_class")
            chat.says("invoice")
            assert outcome("please", "m-6") == ("invoice", "remote", "uncertified", "")
            while not chat.requests.empty():
                chat.requests.get()

            assert outcome("please", "m-7") == ("", "people", "held", "spend_cap")
            assert chat.requests.empty()
            assert outcome("please money", "m-8") == ("refund", "model", "answered", "")

            def later(key: str) -> dict[str, object]:
                path = f"http://127.0.0.1:{port}/v2/models/shop/answers/{key}"
                with suppress(urllib.error.HTTPError), urllib.request.urlopen(path, timeout=60) as response:
                    return json.load(response)
                return {}

            state = load(tmp_path / "shop").state
            until(lambda: later("m-8") != {})
            assert (later("m-7")["status"], later("m-8")["answered_by"]) == ("held", "model")
            assert (later("m-6")["answered_by"], later("m-6")["status"]) == ("remote", "uncertified")
            assert later("unknown") == {}
            traffic.save_labels(state, "shop", [traffic.Label("m-7", 0.0)], who="ann")
            assert (later("m-7")["answer"], later("m-7")["answered_by"]) == ("delivery", "people")
            erase = [sys.executable, "-m", "headway.cli", "erase", "m-7", "--why", "asked"]
            subprocess.run(erase, cwd=tmp_path / "shop", check=True, capture_output=True)
            assert later("m-7") == {}
            metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()

        assert 'headway_remote_calls_total{result="answered"} 2' in metrics
        assert 'headway_remote_calls_total{result="spend_cap"} 1' in metrics
        assert re.search(r"headway_remote_spend 0\.5\b", metrics)
        labels = {key: traffic.labels_of(state, "shop", key) for key in ("m-1", "m-2", "m-6")}
        assert {key: [(one.label, one.who) for one in found] for key, found in labels.items()} == {
            "m-1": [],
            "m-2": [(2.0, "remote")],
            "m-6": [(1.0, "remote")],
        }
        # A server that starts again has not forgotten what was spent.
        # From now on it shares its log with other machines, one of which answers.
        with small_s3() as store:
            for name, value in store.environment.items():
                monkeypatch.setenv(name, value)
            with (tmp_path / "shop" / "headway.toml").open("a") as toml:
                toml.write('[store]\nlogs = "s3://bucket/team"\n')
            with served("shop@live", "--port", "0", folder=tmp_path / "shop") as line:
                port = int(re.search(r":(\d+)", line)[1])
                again = post(port, "/v2/models/shop/answer", {"text": "please", "key": "m-9"})
                assert again.json["remote"] == "spend_cap" and chat.requests.empty()
                until(lambda: later("m-9").get("status") == "held" and not [*traffic.all_segments(state)])
                traffic.save_labels(tmp_path / "other", "shop", [traffic.Label("m-9", 0.0)], who="bob")
                assert SharedLogs("s3://bucket/team", tmp_path / "other").ship() == 1
                assert (later("m-9")["answer"], later("m-9")["answered_by"]) == ("delivery", "people")
                assert (later("m-8")["answered_by"], later("m-7")) == ("model", {}), "earlier segments are shipped"
