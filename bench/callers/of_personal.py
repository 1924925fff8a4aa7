"""Generate texts with personal data by faker, and find personal data in texts with Presidio's recognisers.

usage: of_personal.py INPUT.json OUTPUT.json
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

from faker import Faker
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    UsSsnRecognizer,
)

KINDS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "US_SSN": "national_id",
    "IP_ADDRESS": "ip",
}
LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "it_IT", "es_ES", "nl_NL", "pl_PL", "sv_SE", "pt_BR")
EACH = 200


def made() -> list[dict[str, object]]:
    """Generate texts of two sentences around a piece of personal data, or around a decoy."""
    found = []
    for number, locale in enumerate(LOCALES):
        faker, chance = Faker(locale), random.Random(number)
        faker.seed_instance(number)
        # Faker's default formats of a phone number are the locale's own; social security numbers are American alone.
        kinds = {
            "email": faker.email,
            "phone": faker.phone_number,
            "card": faker.credit_card_number,
            "iban": faker.iban,
            "ip": lambda faker=faker, chance=chance: faker.ipv6() if chance.random() < 0.3 else faker.ipv4(),
            **({"national_id": faker.ssn} if locale == "en_US" else {}),
        }
        for kind, give in kinds.items():
            found += [_text(faker, kind, give()) for _ in range(EACH)]
        found += [_text(faker, "", _decoy(faker, chance)) for _ in range(2 * EACH)]
    return found


def named() -> list[dict[str, object]]:
    """Generate sentences around the name of a person, and half as many around a company, city, street or job."""
    found = []
    for number, locale in enumerate(LOCALES):
        faker, chance = Faker(locale), random.Random(number)
        faker.seed_instance(number)
        decoys = (faker.company, faker.city, faker.street_name, lambda faker=faker: faker.job().title())
        found += [_text(faker, "person_name", f"{faker.first_name()} {faker.last_name()}") for _ in range(EACH)]
        found += [_text(faker, "", chance.choice(decoys)()) for _ in range(EACH // 2)]
    return found


def _text(faker: Faker, kind: str, value: str) -> dict[str, object]:
    before, after = faker.sentence(8).rstrip("."), faker.sentence(5)
    text = f"{before} {value} {after}"
    return {"text": text, "truth": [[kind, len(before) + 1, len(before) + 1 + len(value)]] if kind else []}


def _decoy(faker: Faker, chance: random.Random) -> str:
    """Return a string with digits or marks like personal data that is none."""
    digits: Callable[[int], str] = lambda n: "".join(chance.choice("0123456789") for _ in range(n))  # noqa: E731
    return chance.choice(
        [
            lambda: faker.date("%Y-%m-%d"),
            lambda: faker.date("%d.%m.%Y"),
            lambda: f"{faker.date('%Y-%m-%d')} {faker.time('%H:%M:%S')}",
            lambda: f"{chance.randrange(1, 9_999_999):,}.{digits(2)}",
            lambda: f"v{chance.randrange(20)}.{chance.randrange(20)}.{chance.randrange(20)}",
            lambda: faker.isbn13(),
            lambda: faker.uuid4(),
            lambda: f"@{faker.user_name()}",
            lambda: faker.url(),
            lambda: f"{chance.uniform(-90, 90):.6f}, {chance.uniform(-180, 180):.6f}",
            lambda: f"{chance.choice('ABCDEF')}{chance.choice('GHKLM')}-{digits(6)}",
            lambda: f"{digits(3)}.{chance.randrange(300, 999)}.{digits(2)}.{digits(2)}",
            lambda: f"666-{digits(2)}-{digits(4)}",
            lambda: _broken(faker.credit_card_number(), digits),
            lambda: _broken(faker.iban(), digits),
            lambda: faker.mac_address(),
            lambda: f"1{digits(9)}",
            lambda: f"{digits(4)}:{digits(4)}",
        ]
    )()


def _broken(number: str, digits: Callable[[int], str]) -> str:
    """Return a number with a wrong check digit."""
    last = number[-1]
    return number[:-1] + next(digit for digit in iter(lambda: digits(1), None) if digit != last)


def recognisers() -> list[object]:
    """Return the six recognisers with their default settings."""
    kinds = (EmailRecognizer, PhoneRecognizer, CreditCardRecognizer, IbanRecognizer, UsSsnRecognizer, IpRecognizer)
    return [kind() for kind in kinds]


def main() -> None:
    """Find personal data in the given and in generated texts; write the findings and the times."""
    texts_by_set = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    texts, analyzers = made(), recognisers()
    found = {}
    for name, values in {**texts_by_set, "made": [record["text"] for record in texts]}.items():
        began = time.process_time()
        hits = [_hits(analyzers, value) for value in values]
        found[name] = {"hits": hits, "seconds": time.process_time() - began}
    versions = f"presidio-analyzer {version('presidio-analyzer')}, faker {version('faker')}"
    Path(sys.argv[2]).write_text(
        json.dumps({"made": texts, "named": named(), "found": found, "versions": versions}), "utf-8"
    )


def _hits(analyzers: list[object], text: str) -> list[tuple[str, int, int, float]]:
    results = [result for analyzer in analyzers for result in analyzer.analyze(text, analyzer.supported_entities, None)]
    return [(KINDS[result.entity_type], result.start, result.end, result.score) for result in results]


if __name__ == "__main__":
    main()
