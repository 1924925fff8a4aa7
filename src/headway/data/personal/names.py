"""Find names of people in a string by lists and form, without a library but the lists of the extra `names`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from headway.core.plugins import load_sibling

_WORD = r"[A-Z][a-zà-öø-ÿ]+(?:-[A-Z][a-zà-öø-ÿ]+)?"
_SURNAME = rf"(?:Mc|Mac|O')?{_WORD}"
_PAIR = re.compile(rf"(?<![\w'])({_WORD})(?: [A-Z]\.?)? (?:({_WORD}) )?({_SURNAME})(?![\w'])")
_TITLED = re.compile(rf"(?<!\w)(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir)\.? ((?:{_WORD} |[A-Z]\. )?{_SURNAME})(?![\w'])")
_NOT_ALONE = re.compile(r"^(?:Mc|Mac|O')(?=[A-Z])")
# Words that stand before or after names, and are in the lists of names.
NOT_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
    An And Any Are As At Be Best But By Can China Christian Day Do Else For Free From Good Great Had Has He Her His
    Hong How If In Is It Just King Lake Liberty Long Me More My New No Not Of Off On One Only Or Our Real Road San
    Santa See She So Some Street Than That The Their Then They This To Too Up Us Van Was Way We What When Where Who
    Will With You Your North South East West Saint Fort Mount Port Jan January Feb February Mar March Apr April May
    Jun June Jul July Aug August Sep September Oct October Nov November Dec December Mon Tue Wed Thu Fri Sat Sun
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday
    """,
    )
)


class NameSpan(NamedTuple):
    """Position of a name, from `start` to before `end`."""

    start: int
    end: int


NameFinder = Callable[[str], list[NameSpan]]


def name_finder() -> NameFinder:
    """Return a function that finds names: a given name followed by a surname, or a title followed by a name.

    Names that are also common words (Will, May) do not count on their own. Raises PluginError if the lists of the
    extra `names` are not installed.
    """
    lists = load_sibling(__name__, "names", reads="finding names of people in texts")
    given_names, surnames = lists.GIVEN - NOT_NAMES, lists.SURNAMES - NOT_NAMES

    def _is_surname(word: str) -> bool:
        """Return True for a surname, without its prefix (Mc), or for one part of a hyphenated one."""
        parts = (word.replace("'", "").capitalize(), _NOT_ALONE.sub("", word), *word.split("-"))
        return not surnames.isdisjoint(parts)

    def _find(text: str) -> list[NameSpan]:
        spans = [NameSpan(*match.span(1)) for match in _TITLED.finditer(text)]
        position = 0
        while match := _PAIR.search(text, position):
            first, middle, last = match.groups()
            position = match.end(1)
            if first not in given_names:
                continue
            end = match.end() if _is_surname(last) else match.end(2) if middle and _is_surname(middle) else 0
            if end:
                spans.append(NameSpan(match.start(), end))
                position = end
        return _without_overlap(spans)

    return _find


def _without_overlap(spans: list[NameSpan]) -> list[NameSpan]:
    """Return the spans in order; of two that overlap, the longer one."""
    separate: list[NameSpan] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if not separate or span.start >= separate[-1].end:
            separate.append(span)
    return separate
