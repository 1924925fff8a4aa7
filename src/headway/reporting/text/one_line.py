"""Any text as one line that can be printed: what no XML, no terminal and no reviewer can take is shown as such."""

from __future__ import annotations

import re

UNPRINTABLE = re.compile("[^\u0020-\u007e\u00a0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Control characters, marks that reverse the direction of writing, and what XML 1.0 cannot hold."""


def one_line(text: str) -> str:
    r"""The text with each run of white space as one space, and each character that is not printable as U+FFFD.

    >>> one_line("a\n  b\x1b[2J")
    'a b\ufffd[2J'
    """
    return UNPRINTABLE.sub("\ufffd", " ".join(text.split()))
