"""The log of a server: one line an event, as text or as JSON."""

from __future__ import annotations

import json
import logging

import pytest

from headway.core.errors import StoreError
from headway.serving.telemetry.logs import Throttle, log_to_stderr

LOG = logging.getLogger("headway.serving.test")


def test_a_text_line_has_time_level_message_and_fields(capsys):
    with log_to_stderr("text"):
        LOG.warning("%s was loaded", "flights@live", extra={"fields": {"us": 12, "key": ""}})
    (line,) = capsys.readouterr().err.splitlines()
    assert line[:2] == "20" and line[23:] == "Z WARNING headway.serving.test: flights@live was loaded us=12"


def test_a_json_line_can_be_decoded(capsys):
    with log_to_stderr("json"):
        LOG.info('said "so"', extra={"fields": {"us": 12, "key": "billing"}})
    output = json.loads(capsys.readouterr().err)
    at = output.pop("at")
    assert at.endswith("Z") and "T" in at
    assert output == {
        "level": "INFO",
        "from": "headway.serving.test",
        "message": 'said "so"',
        "us": 12,
        "key": "billing",
    }


@pytest.mark.parametrize(("form", "lines"), [("json", 1), ("text", 5)])
def test_a_traceback_is_logged(form, lines, capsys):
    with log_to_stderr(form):
        try:
            1 / 0  # noqa: B018 - it is to fail
        except ZeroDivisionError:
            LOG.exception("it failed")
    output = capsys.readouterr().err
    assert "ZeroDivisionError" in output and len(output.splitlines()) in (lines, lines + 1)


def test_a_text_of_a_caller_can_neither_begin_a_line_nor_add_a_field(capsys):
    forged = "x\n2026-01-01T00:00:00.000Z INFO headway: forged\r\x1b[2J\u2028"
    with log_to_stderr("text"):
        LOG.warning("no answer to %s", forged, extra={"fields": {"model": forged, "id": "a status=200", "key": 'b"'}})
    (line,) = capsys.readouterr().err.splitlines()
    escaped = "x\\n2026-01-01T00:00:00.000Z INFO headway: forged\\r\\x1b[2J\\u2028"
    assert f"no answer to {escaped} model=" in line and line.isprintable()
    assert line.endswith(' id="a status=200" key="b\\""')


def test_lines_of_a_traceback_are_indented_so_that_none_looks_like_an_event(capsys):
    with log_to_stderr("text"):
        try:
            raise ValueError("wrong\n2026-01-01T00:00:00.000Z INFO headway: forged")
        except ValueError:
            LOG.exception("it failed")
    _, *others = capsys.readouterr().err.splitlines()
    assert any("forged" in line for line in others) and all(line.startswith("  ") for line in others)


def test_an_error_in_three_parts_is_one_line(capsys):
    with log_to_stderr("text"):
        LOG.error("not loaded: %s", StoreError("no store", where="/srv", hint="headway doctor"))
    assert capsys.readouterr().err.endswith("not loaded: no store; at: /srv; try: headway doctor\n")


def test_an_event_of_a_kind_is_let_through_once_a_minute_with_the_number_of_those_since():
    now = 0.0
    throttle = Throttle(now=lambda: now)
    assert [throttle.count("disk") for _ in range(3)] == [1, 0, 0]
    assert throttle.count("other") == 1
    now = 59.9
    assert throttle.count("disk") == 0
    now = 60.0
    assert [throttle.count("disk") for _ in range(2)] == [4, 0]


def test_nothing_is_written_once_the_server_has_ended(capsys):
    before = list(logging.getLogger().handlers)
    with log_to_stderr("text"):
        pass
    LOG.info("afterwards")
    assert capsys.readouterr().err == "" and logging.getLogger().handlers == before
