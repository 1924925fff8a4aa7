from __future__ import annotations

import json

from headway.reporting.console import print_result


def test_printed_json_parses_back_to_the_value(capsys):
    value = {"text": "a :x: [red]é[/red] " + "long " * 100}
    print_result(value, "", json=True)
    assert json.loads(capsys.readouterr().out) == value


def test_text_is_not_parsed_as_markup_or_emoji(capsys):
    print_result({}, "column ':x:' [red]", json=False)
    assert capsys.readouterr().out == "column ':x:' [red]\n"
