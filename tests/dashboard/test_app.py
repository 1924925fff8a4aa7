"""Requests to the dashboard: who may, what is refused, and what an error looks like."""

from __future__ import annotations

import re
import subprocess
import sys
from urllib.parse import urlencode

import pytest

from headway.dashboard.app import MAX_FORM_BYTES, link, parse_form
from headway.dashboard.page import MAX_REASON, BadInput
from headway.dashboard.pages.messages import MAX_TEXT
from headway.dashboard.security import CONTENT_SECURITY_POLICY

HEAVY = ("polars", "altair", "vl_convert", "onnxruntime", "sklearn", "lightgbm")


def test_a_page_sends_a_visitor_to_sign_in_and_back(served):
    found = served.visitor().get("/?x=1")
    assert (found.status, found.headers["location"]) == (303, "/sign-in?next=%2F%3Fx%3D1")


def test_the_overview_names_every_model(served):
    found = served.visitor("viewer").get("/")
    assert found.status == 200
    assert "flights ? cannot be judged No release is live." in found.words
    assert "ada, viewer" in found.words


def test_every_response_carries_the_security_headers(served):
    for path in ("/", "/sign-in", "/theme.css", "/static/dashboard.css", "/nowhere"):
        headers = served.visitor("viewer").get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"


def test_another_host_or_no_host_is_refused(served):
    person = served.visitor("admin")
    assert person.get("/", Host="evil.example").status == 421
    assert person.get("/", Host=f"localhost:{served.port}").status == 200


@pytest.mark.parametrize("origin", ["", "null", "https://evil.example", "http://127.0.0.1:1"])
def test_a_form_from_another_site_is_refused(served, origin):
    person = served.visitor("admin")
    found = person.send("POST", "/sign-out", f"token={person.session.token}", headers={"Origin": origin})
    assert found.status == 403
    assert person.get("/").status == 200


def test_a_form_without_the_token_of_its_session_is_refused(served):
    person, other = served.visitor("admin"), served.visitor("admin")
    for token in ("", other.session.token):
        assert person.send("POST", "/sign-out", f"token={token}").status == 403
    assert person.get("/").status == 200


def test_each_form_carries_the_token_under_another_mask(served):
    person = served.visitor("admin")
    sent = [re.findall(r'name="token" value="([^"]+)"', person.get("/").text)[0] for _ in range(2)]
    assert len({person.session.token, *sent}) == 3
    assert person.send("POST", "/sign-out", f"token={sent[0][:-4]}AAA=").status == 403
    assert person.send("POST", "/sign-out", f"token={sent[0]}").status == 303


def test_a_page_is_compressed_for_a_browser_that_asks(served):
    person = served.visitor("viewer")
    plain, small = (person.get("/", **{"Accept-Encoding": name}) for name in ("", "gzip"))
    assert small.headers["content-encoding"] == "gzip" and small.words == plain.words
    assert small.sent_bytes < plain.sent_bytes


def test_a_browser_keeps_the_stylesheet_and_no_page(served):
    person = served.visitor("viewer")
    assert person.get("/").headers["cache-control"] == "no-store"
    first = person.get("/static/dashboard.css")
    assert first.headers["cache-control"] == "no-cache"
    again = person.get("/static/dashboard.css", **{"If-None-Match": first.headers["etag"]})
    assert (again.status, again.sent_bytes) == (304, 0)


def test_after_sign_out_the_cookie_is_worth_nothing(served):
    person = served.visitor("admin")
    assert person.post("/sign-out").headers["location"] == "/sign-in"
    assert person.get("/").status == 303
    assert person.post("/sign-out").status == 401


def test_a_page_that_does_not_exist_says_what_to_do(served):
    found = served.visitor("viewer").get("/nowhere")
    assert found.status == 404
    assert "Not Found" in found.words


def test_a_large_form_is_refused(served):
    person = served.visitor("admin")
    found = person.send("POST", "/sign-out", f"token={person.session.token}&x={'a' * MAX_FORM_BYTES}")
    assert found.status == 413
    assert "limit" in found.words or "bytes" in found.words


def test_the_longest_text_of_a_page_is_within_the_limit_of_a_form():
    fields = {"token": "t" * 100, "text": "\u20ac" * MAX_TEXT, "reason": "\u20ac" * MAX_REASON}
    assert parse_form(urlencode(fields).encode())["text"] == [fields["text"]]
    assert len(urlencode(fields)) <= MAX_FORM_BYTES


@pytest.mark.parametrize("body", [b"\xff=1", b"a=%ff", b"a;b", b"a=1&" * 3000 + b"a=1"])
def test_a_form_that_cannot_be_read_is_an_error(body):
    with pytest.raises(BadInput):
        parse_form(body)


def test_a_form_keeps_empty_and_repeated_fields():
    assert parse_form(b"a=&b=1&b=%C3%A4") == {"a": [""], "b": ["1", "\u00e4"]}
    assert parse_form(b"") == {}


def test_an_address_quotes_what_it_is_made_of():
    assert link("/models/{model}/data", model="a/b", column='"&') == "/models/a%2Fb/data?column=%22%26"


def test_the_process_imports_no_heavy_library():
    code = (
        "import sys; from headway.core import plugins; from headway.dashboard import app;"
        "[app.load_page(name) for name in plugins.names('page')];"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
