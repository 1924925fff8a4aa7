from __future__ import annotations

import json

from headway.reporting.console import print_result


def test_json_comes_out_as_it_went_in(capsys):
    value = {"text": "a :x: [red]é[/red] " + "long " * 100}
    print_result(value, "", json=True)
    assert json.loads(capsys.readouterr().out) == value


def test_a_text_is_not_taken_for_markup_or_for_a_picture(capsys):
    print_result({}, "column ':x:' [red]", json=False)
    assert capsys.readouterr().out == "column ':x:' [red]\n"
