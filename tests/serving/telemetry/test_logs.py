"""The log of a server: one line an event, as text or as JSON."""

from __future__ import annotations

import json
import logging

import pytest

from headway.serving.telemetry.logs import log_to_stderr

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


def test_nothing_is_written_once_the_server_has_ended(capsys):
    before = list(logging.getLogger().handlers)
    with log_to_stderr("text"):
        pass
    LOG.info("afterwards")
    assert capsys.readouterr().err == "" and logging.getLogger().handlers == before
