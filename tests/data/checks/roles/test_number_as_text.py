from __future__ import annotations

from tests.data.tables import small, with_column

from headway.core.evidence import Finding
from headway.data.checks.roles.number_as_text import plugin
from headway.data.context import CheckContext


def found(values: list[str | None], **roles: object) -> list[Finding]:
    return plugin(CheckContext(dataset=with_column(small(**roles), wind=values)))


def test_a_column_of_numbers_with_one_word_in_it_is_named_with_its_row():
    [finding] = found(["12.5"] * 299 + ["n/a"] + [" 3 "] * 100)

    assert finding.message == "'wind' is read as strings: 1 of its values are not numbers, 99.8% are"
    assert finding.where == "'n/a' in row 300 of column wind"
    assert finding.hint == '[data] missing = ["n/a"], or correct those values in the source'
    assert (finding.severity, finding.code) == ("warn", "D008")


def test_strings_numeric_codes_and_empty_columns_have_no_finding():
    assert found(["low", "high"] * 200) == []
    assert found(["007", "12"] * 200) == []
    assert found([None] * 400) == []


def test_a_column_that_is_not_a_feature_has_no_finding():
    assert found(["1"] * 399 + ["n/a"], ignore=("wind",)) == []
