"""The rows `personal.names_*` of bench/data.py: names of people in texts, by the lists of the extra `names`.

The truth of generated texts is what faker inserted, the first name and surname of ten locales; a third hold a company,
a city, a street or a job instead. Bodies of mails have no labels. Their truth is the names in a header field of any
mail next to an address that contains one of their words, so recall is that of people who write mails. A hit that is not
in the headers may still be a name, which only a reader can judge: its share is shown, and decision 0045 has a sample.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from email.message import Message
from email.utils import getaddresses

from harness import Row
from headway.data.personal.names import NameSpan, name_finder

WORD = r"[A-Z][a-zà-ÿ]+(?:['-][A-Z]?[a-z]+)*"
PERSON = re.compile(rf"({WORD})(?: [A-Z]\.?)?(?: {WORD})? ({WORD}|Mc[A-Z][a-z]+|O'[A-Z][a-z]+)")
FIELDS = ("From", "To", "Cc", "Reply-To")
SHORTEST, LONGEST = 200, 8_000


def rows(made: Sequence[dict], mails: Sequence[Message], by: str) -> list[Row]:
    """Measure precision and recall in generated texts, recall and unlisted names in bodies of mails, and the time."""
    find, bodies = name_finder(), _bodies(mails)
    truths = [[NameSpan(*hit[1:]) for hit in text["truth"]] for text in made]
    right, true, good, n_found = _counts([find(text["text"]) for text in made], truths)
    people = _people(mails)
    began = time.process_time()
    found = [find(body) for body in bodies]
    seconds = time.process_time() - began
    met, known, listed, hits = _counts(
        found, [[NameSpan(*match.span()) for match in people.finditer(body)] for body in bodies]
    )
    shown = {
        "recall": (right / true, "share", f"{true:,} names of ten locales in made texts"),
        "recall_mails": (met / known, "share", f"{known:,} names of writers in {len(bodies):,} bodies"),
        "unlisted": (1 - listed / hits, "share", f"of {hits:,} found in bodies: no writer's name, and mostly one"),
        "speed": (sum(map(len, bodies)) / seconds / 1e6, "MB", "a second of CPU, of the bodies"),
    }
    first = Row(
        name="personal.names_precision",
        measured=good / n_found,
        unit="share",
        target=">= 0.8",
        ok=good >= 0.8 * n_found,
        against=f"{n_found:,} found in {len(made):,} made texts; {by}",
    )
    rest = (
        Row(name=f"personal.names_{name}", measured=value, unit=unit, target="shown", ok=True, against=against)
        for name, (value, unit, against) in shown.items()
    )
    return [first, *rest]


def _bodies(mails: Sequence[Message]) -> list[str]:
    """Return the plain texts of mails, without duplicates."""
    parts = (part for mail in mails for part in mail.walk() if part.get_content_type() == "text/plain")
    texts = dict.fromkeys((part.get_payload(decode=True) or b"").decode("latin-1") for part in parts)
    return [text for text in texts if SHORTEST < len(text) < LONGEST]


def _people(mails: Sequence[Message]) -> re.Pattern[str]:
    """Return a pattern that matches the names of all senders and receivers."""
    values = [" ".join(str(value).split()) for mail in mails for name in FIELDS for value in mail.get_all(name, [])]
    names = set()
    for name, address in getaddresses(values, strict=False):
        person = PERSON.fullmatch(name.strip("'\" "))
        if person and any(word.lower() in address.partition("@")[0].lower() for word in person.groups()):
            names |= {person[0], f"{person[1]} {person[2]}"}
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})(?!\w)")


def _counts(found: Sequence[Sequence[NameSpan]], truths: Sequence[Sequence[NameSpan]]) -> tuple[int, int, int, int]:
    """Count found truths, truths, hits that overlap a truth, and hits."""
    pairs = list(zip(found, truths, strict=True))
    met = sum(any(_over(span, hit) for hit in hits) for hits, truth in pairs for span in truth)
    good = sum(any(_over(span, hit) for span in truth) for hits, truth in pairs for hit in hits)
    return met, sum(map(len, truths)), good, sum(map(len, found))


def _over(one: NameSpan, other: NameSpan) -> bool:
    return one.start < other.end and other.start < one.end
