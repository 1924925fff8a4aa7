"""Messages in several languages with personal data in many spellings, and messages that only resemble them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from headway.data.personal import checksums

SENTENCES = (
    "please note {} and answer soon",
    "Guten Tag, hier ist {}, vielen Dank",
    "bonjour, voici {} pour la commande",
    "hola, tengo {} y espero",
    "buongiorno, ecco {} per il rimborso",
    "hallo, dit is {} voor de levering",
    "dzie\u0144 dobry, to jest {}, prosz\u0119",
    "{}",
)
IBANS = (("DE", 18), ("AT", 16), ("BE", 12), ("ES", 20), ("NL", 14), ("PL", 24), ("GB", 18), ("FR", 23), ("NO", 11))
BORN = (
    "date of birth: {}",
    "I was born on {}",
    "DOB {}",
    "my birthday is {}",
    "geboren am {}",
    "Geburtsdatum: {}",
    "geb. {}",
    "date de naissance : {}",
    "n\u00e9e le {}",
    "fecha de nacimiento: {}",
    "nac\u00ed el {}",
    "nato il {}",
    "data di nascita {}",
    "geboortedatum {}",
    "data de nascimento: {}",
    "data urodzenia: {}",
    "f\u00f6dd den {}",
    "f\u00f8dselsdato: {}",
    "syntynyt {}",
)
STREETS = (
    "Hauptstra\u00dfe {n}",
    "Berliner Str. {n}",
    "hauptstrasse {n}a, 10115 Berlin",
    "Am Marktplatz {n}, 8001 Z\u00fcrich",
    "{n} Baker Street",
    "{n} high street, London NW1 6XE",
    "{n} Evergreen Terrace, Springfield, IL 62704",
    "{n} rue de la Paix, 75002 Paris",
    "{n} bis avenue Victor Hugo",
    "Calle de Alcal\u00e1 {n}, 28014 Madrid",
    "Via Roma {n}, 00184 Roma",
    "Keizersgracht {n}, 1015 CJ Amsterdam",
    "ul. Marsza\u0142kowska {n}, 00-590 Warszawa",
    "Rua Augusta {n}",
    "Storgatan {n}, 111 22 Stockholm",
    "Mannerheimkatu {n}",
    "PLZ {z} K\u00f6ln",
    "D-{z} Berlin",
    "code postal {z} Lyon",
    "zip code {z} Denver",
    "I live in {z} Hamburg",
    "LS{d} 4DY",
    "EC{d}A 1BB",
)


class Spelled(NamedTuple):
    """A message, and the piece of personal data in it."""

    kind: str
    text: str
    piece: str


def iban(draw: random.Random) -> str:
    country, length = draw.choice(IBANS)
    bank = "".join(draw.choices("BCDFGHJKLM", k=4)) if country in ("GB", "NL") else ""
    account = bank + "".join(draw.choices("0123456789", k=length - len(bank)))
    digits = next(f"{check:02}" for check in range(2, 99) if checksums.mod97(f"{country}{check:02}{account}"))
    return f"{country}{digits}{account}"


def card(draw: random.Random) -> str:
    body = draw.choice(("4", "51", "55", "60")) + "".join(draw.choices("0123456789", k=14))
    return next(f"{body[:15]}{digit}" for digit in range(10) if checksums.luhn(f"{body[:15]}{digit}"))


def _groups(text: str, separator: str) -> str:
    return separator.join(text[index : index + 4] for index in range(0, len(text), 4))


def _fullwidth(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


def _digits_of(zero: str) -> Callable[[str], str]:
    return lambda text: "".join(chr(ord(zero) + int(letter)) if letter in "0123456789" else letter for letter in text)


NUMBERS: tuple[Callable[[str], str], ...] = (
    str,
    str.lower,
    lambda text: _groups(text, " "),
    lambda text: _groups(text, "-"),
    lambda text: _groups(text.lower(), " "),
    lambda text: _groups(text.lower(), "-"),
    lambda text: _groups(text, "."),
    lambda text: _groups(text, "\u00a0"),
    lambda text: _groups(text, "\u2011"),
    lambda text: _groups(text, "\u200b"),
    lambda text: "\u00ad".join(text),
    lambda text: "\u2060".join(text),
    lambda text: _groups(text, " - "),
    _fullwidth,
    _digits_of("\u0660"),
    _digits_of("\u0966"),
)
CARDS: tuple[Callable[[str], str], ...] = (
    *NUMBERS,
    " ".join,
    ".".join,
    lambda text: f"card{text}",
    lambda text: f"{text}exp",
    lambda text: f"{_groups(text, ' ')} 12/29",
)
EMAILS: tuple[Callable[[str, str], str], ...] = (
    lambda name, host: f"{name}@{host}",
    lambda name, host: f"{name}(at){host}",
    lambda name, host: f"{name} at {host}",
    lambda name, host: f"{name}[at]{host}",
    lambda name, host: f"{name} [at] {host.replace('.', ' [dot] ')}",
    lambda name, host: f"{name}%40{host}",
    lambda name, host: f"{name}(at){host.replace('.', '(dot)')}",
    lambda name, host: f"{name} AT {host.replace('.', ' DOT ')}",
    lambda name, host: f"{name} (\u00e4t) {host.replace('.', ' (Punkt) ')}",
    lambda name, host: f"{name}(arroba){host}",
    lambda name, host: f"{name}&#64;{host}",
    lambda name, host: f"{name} @ {host}",
    lambda name, host: f"{name}\u200b@{host}",
    lambda name, host: _fullwidth(f"{name}@{host}"),
    lambda name, host: f"{name}@b\u00fccher.{host}",
    lambda name, host: f"{name}@xn--bcher-kva.{host}",
    lambda name, host: f"{name}@\u4f8b\u3048.jp",
    lambda name, host: f"{name}@\u043f\u043e\u0447\u0442\u0430.\u0440\u0444",
)
NAMES = ("ada.lovelace", "ada", "john_doe", "marie-claire", "j.garc\u00eda", "kunde7", "anna+shop")
HOSTS = ("example.org", "mail.example.com", "shop.example.co.uk", "web.de")
DATES = (
    "12.03.1980",
    "3/12/1975",
    "1980-03-12",
    "12 March 1980",
    "12. M\u00e4rz 1980",
    "12 de marzo de 1980",
    "12.3.80",
    "19800312",
)


def spelled_messages(n: int, seed: int = 0) -> Iterator[Spelled]:
    """Yield `n` messages of each spelling, each with one piece."""
    draw = random.Random(seed)
    for _ in range(n):
        pieces = [("iban", spell(iban(draw))) for spell in NUMBERS]
        pieces += [("card", spell(card(draw))) for spell in CARDS]
        pieces += [("email", spell(draw.choice(NAMES), draw.choice(HOSTS))) for spell in EMAILS]
        pieces += [("birth_date", form.format(draw.choice(DATES))) for form in BORN]
        digits = {"n": draw.randint(1, 299), "z": draw.randint(10_000, 99_999), "d": draw.randint(1, 9)}
        pieces += [("postal_address", form.format(**digits)) for form in STREETS]
        for kind, piece in pieces:
            yield Spelled(kind, draw.choice(SENTENCES).format(piece), piece)


ORDERS = (
    "order {o} has not arrived",
    "my order number is {o}",
    "Bestellung {o} fehlt",
    "Rechnung Nr. {i} vom {date}",
    "invoice {i} of {date}",
    "delivery on {date} please",
    "Lieferung am {date} bitte",
    "livraison le {date}",
    "commande n\u00b0 {o}",
    "pedido {o} del {date}",
    "ordine {o} del {date}",
    "I paid {p} EUR on {date}",
    "{q} items at {p} each",
    "die Summe ist {p} \u20ac statt {p} \u20ac",
    "{q} St\u00fcck zu {p} Euro",
    "parcel {t} is late",
    "tracking {t}",
    "Artikel {o}, Gr\u00f6\u00dfe {q}",
    "the code is {o}",
    "see you at {h}:30 on {date}",
    "{q} weeks on the road",
    "version {q}.{h}.1",
    "look at example.org",
    "I was at home at {h} o'clock",
    "my account at shop.example.com is blocked",
    "ich bin weg {q} Tage",
    "auf Platz {q} der Liste",
    "born in Berlin, order {o}",
    "SKU B{q}-{o}",
    "order {l}",
    "Bestellnummer {l}",
    "commande {l}",
    "my parcel {l} is late",
    "between {date} and {date}",
    "zwischen {p} und {p}",
)


def ordinary_messages(n: int, seed: int = 1) -> Iterator[str]:
    """Yield `n` messages of each form without personal data: order and invoice numbers, dates, prices, parcels."""
    draw = random.Random(seed)
    dates = ("12.03.2026", "03/12/2026", "2026-03-12", "12 March 2026", "12. M\u00e4rz 2026", "1.2.26")
    for _ in range(n):
        for form in ORDERS:
            yield form.format(
                o=draw.randint(10_000, 9_999_999),
                l=draw.randint(10**8, 10**12),
                i=f"{draw.choice(('RE', 'INV', ''))}-2026-{draw.randint(100, 99_999)}",
                p=f"{draw.randint(1, 2_999)}{draw.choice(',.')}{draw.randint(0, 99):02}",
                q=draw.randint(2, 60),
                h=draw.randint(1, 12),
                t=f"JD0{draw.randint(10**14, 10**15 - 1)}",
                date=draw.choice(dates),
            )
