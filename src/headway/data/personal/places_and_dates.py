"""Patterns of dates of birth and postal addresses, over plain text: without accents, and with digits 0 to 9.

A date is one of birth if words before it say so. An address is a street with a number, or a postcode with a place. Of a
pattern with a group `value`, that group is the personal data. Each NEEDS is a cheaper pattern that its matches contain.
"""

from __future__ import annotations

_WORD = r"[^\W0-9_][\w'-]{1,30}"
_CAPITALIZED = r"[A-Z][\w'-]{1,30}"
_START = r"(?<![\w@/.,-])"

_BORN = (
    r"date of birth|birth ?date|born|d\.?o\.?b|birthday(?: is| was| ?[:=])"  # English
    r"|geburtsdatum|geburtstag(?: ist| ?[:=])|geboren|geb\."  # German
    r"|date de naissance|nee? le|fecha de nacimiento|nacid[oa]|naci"  # French, Spanish
    r"|data di nascita|nat[oa] il|data de nascimento|nascid[oa]|nasci"  # Italian, Portuguese
    r"|geboortedatum|data urodzenia|urodzon[ya]"  # Dutch, Polish
    r"|fodelsedatum|fodd|f[o\u00f8]dselsda(?:to|g)|f[o\u00f8]dt"  # Swedish, Danish, Norwegian
    r"|syntymaaika|syntynyt"  # Finnish
)
_YEAR = r"(?:18|19|20)\d\d"
_MONTH = r"[^\W0-9_]{3,12}\.?"
_DATE = (
    rf"(?:\d{{1,2}}[-./ ]{{1,2}}\d{{1,2}}[-./ ]{{1,2}}(?:{_YEAR}|\d\d)|{_YEAR}[-./ ]\d{{1,2}}[-./ ]\d{{1,2}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|\.)?[ -]{{1,2}}(?:(?:of|de|di) )?{_MONTH},?[ -](?:del? )?{_YEAR}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? {_YEAR}|{_YEAR}[01]\d[0-3]\d)"
)
BIRTH_DATE = rf"(?i)(?<!\w)(?:{_BORN})(?![^\W0-9_])[^0-9\n]{{0,24}}?(?<!\w)(?P<value>{_DATE})(?!\d)"
BIRTH_DATE_NEEDS = rf"(?i)(?:{_BORN})"

_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]"
    r"|W[AIVY])"
)
_UK_AREA = (
    r"(?:A[BL]|B[ABDHLNRST]?|C[ABFHMORTVW]|D[ADEGHLNTY]|E[CHNX]?|F[KY]|G[LU]?|H[ADGPRSUX]|I[GPV]|K[ATWY]|L[ADELNSU]?"
    r"|M[EKL]?|N[EGNPRW]?|O[LX]|P[AEHLOR]|R[GHM]|S[AEGKLMNOPRSTWY]?|T[ADFNQRSW]|UB|W[ACDFNRSV]?|YO|ZE)"
)
_UK_POSTCODE = rf"{_UK_AREA}\d[A-Z0-9]? \d[ABD-HJLNP-UW-Z]{{2}}(?!\w)"
_US_PLACE = rf"{_CAPITALIZED}(?: {_CAPITALIZED}){{0,2}},? {_STATE} \d{{5}}(?:-\d{{4}})?(?!\w)"
_PLACE = rf"{_WORD}(?:[ -]{_CAPITALIZED}){{0,3}}"
_POSTCODE = r"(?:(?:[A-Z]{1,2}-)?\d{4,5}|\d\d-\d{3}|\d{4}-\d{3}|\d{4} ?[A-Z]{2}|\d{3} \d\d)"
_THEN_PLACE = (
    rf"(?:[ ,]{{0,3}}(?:[ ,]|\r?\n)(?:{_POSTCODE} {_PLACE}|{_US_PLACE}|(?:{_CAPITALIZED}[ ,]{{1,2}})?{_UK_POSTCODE}))?"
)
_NUMBER = r"(?:n[o.]{0,2} ?)?\d{1,4}(?: ?[a-z])?(?![\w%\u20ac$])(?![.,:]\d)"

_ENDINGS = (
    r"stra(?:\u00df|ss)e|str\.?|gasse|allee|chaussee|weg|platz|ring|damm|ufer"
    r"|straat|steenweg|gracht|laan|plein|kade|gatan|vagen|vej|veien|gaten|katu"
)
_NO_STREET = r"(?!(?:arbeits?|park|stell|sitz|lager|liege|um|ruck|hin|heim|versand|liefer|vertriebs)(?:weg|platz|ring))"
_BEFORE_ENDING = rf"{_NO_STREET}[^\W0-9_][\w-]{{2,30}}?"
_APART = rf"{_WORD} (?:stra(?:\u00df|ss)e|str\.|straat|gata|katu)|(?-i:{_CAPITALIZED} (?:Platz|Allee|Gasse))"
_STREET_THEN_NUMBER = rf"{_START}(?i:(?:{_BEFORE_ENDING}(?:{_ENDINGS})|{_APART}),? ?{_NUMBER}){_THEN_PLACE}"
_STREET_THEN_NUMBER_NEEDS = rf"(?i)(?:{_ENDINGS}|gata),? ?(?:n[o.]{{0,2}} ?)?\d"

_ENGLISH = (
    r"Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Close|Crescent|Place|Pl|Square|Sq|Terrace"
    r"|Way|Highway|Hwy|Parkway|Pkwy"
)
_ANY_CASE = r"street|road|avenue|lane|boulevard|crescent|terrace"
_NO_NAME = (
    r"(?!(?:of|the|on|in|to|from|my|your|our|this|that|these|and|for|at|an?|by|per|more|is|was|are|it|miles?|km|days?"
    r"|weeks?|x|times?)\b)"
)
_NUMBER_THEN_STREET = (
    rf"{_START}\d{{1,5}}[A-Za-z]?,? (?:(?:[NSEW]\.? )?(?:{_CAPITALIZED} ){{1,4}}?(?:{_ENGLISH})"
    rf"|(?i:(?:{_NO_NAME}{_WORD} ){{1,2}}(?:{_ANY_CASE})))(?!\w){_THEN_PLACE}"
)
_NUMBER_THEN_STREET_NEEDS = rf"\d[A-Za-z]?,? (?:\S+ ){{1,6}}(?:{_ENGLISH}|(?i:{_ANY_CASE}))"

_FRENCH = r"rue|avenue|boulevard|bd|place|chemin|allee|impasse|quai|cours|route"
_NUMBER_THEN_KIND = (
    rf"{_START}(?i:\d{{1,4}}(?: ?(?:bis|ter))?,? (?:{_FRENCH})(?: (?:de|du|des|la|le|les)){{0,2}}"
    rf" (?:[dl]['\u2019] ?)?{_WORD})(?:[ -]{_CAPITALIZED}){{0,3}}{_THEN_PLACE}"
)
_NUMBER_THEN_KIND_NEEDS = rf"(?i)\d(?: ?(?:bis|ter))?,? (?:{_FRENCH}) "

_ROMANCE = (
    r"calle|c/|avenida|avda\.?|plaza|paseo|camino|carretera|rua|travessa|praca|alameda|viale|piazza|corso|vicolo"
    r"|ul\.|ulica|aleja|os\."
)
_KIND_THEN_NUMBER = (
    rf"{_START}(?:(?i:{_ROMANCE})|Via) ?(?i:(?:(?:del?|della|dei|la|las|los|el|da|dos?|das) ){{0,2}}"
    rf"{_WORD}(?: {_WORD}){{0,3}}?,? {_NUMBER}){_THEN_PLACE}"
)
_KIND_THEN_NUMBER_NEEDS = rf"(?:(?i:{_ROMANCE})|Via).*\d"

_POSTCODE_WORDS = (
    r"plz|postleitzahl|anschrift|adresse|wohnhaft in|wohne in|post ?code|zip(?: code)?|address(?: is)?|live in"
    r"|code postal|habite a?|codigo postal|direccion|vivo en|cap|indirizzo|abito a|adres|woon in|kod pocztowy|endereco"
)
POSTCODE_AFTER_WORDS = (
    rf"{_START}(?i:{_POSTCODE_WORDS})[ :=,]{{1,3}}(?P<value>{_POSTCODE},? {_PLACE}|(?i:{_UK_POSTCODE}))(?!\w)"
)
_SURE_POSTCODE = (
    rf"{_START}(?:(?:D-\d|F-\d|CH-|A-|DK-)\d{{4}} {_CAPITALIZED}(?:[ -]{_CAPITALIZED}){{0,2}}|{_US_PLACE}"
    rf"|{_UK_POSTCODE})(?!\w)"
)
_POSTCODE_NEEDS = rf"(?i:{_POSTCODE_WORDS})[ :=,]{{1,3}}|[DFAHK]-\d{{4}}|\d[A-Z0-9]? \d[A-Z]{{2}}|{_STATE} \d{{5}}"

ADDRESSES = (_STREET_THEN_NUMBER, _NUMBER_THEN_STREET, _NUMBER_THEN_KIND, _KIND_THEN_NUMBER, _SURE_POSTCODE)
ADDRESSES_NEED = (
    f"(?:{_STREET_THEN_NUMBER_NEEDS})|(?:{_NUMBER_THEN_STREET_NEEDS})|(?:{_NUMBER_THEN_KIND_NEEDS})"
    f"|(?:{_KIND_THEN_NUMBER_NEEDS})|(?:{_POSTCODE_NEEDS})"
)
