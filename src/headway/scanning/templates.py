"""Templates of Jinja, such as chat templates: they are code, and only plain ones are judged.

A plain template compares and joins texts: it names items by literal keys, and calls a few methods of strings. No text
that it puts together can name an attribute. Whatever is written in another way is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from headway.scanning.verdicts import Problem

MAX_TEMPLATE = 1 << 20
_REACHES = re.compile(
    r"__(class|globals|builtins|import|subclasses|mro|base|init|getattribute|reduce|code|self)__|\b(os|subprocess|sys)\s*\.\s*"
    r"(popen|system|modules|run|Popen|environ)|\bself\s*\.\s*_TemplateReference|\bcycler\.|\bjoiner\.|\bnamespace\.__"
    r"|\battr\s*\(\s*['\"]_|\\x5f\\x5f|\beval\s*\(|\bexec\s*\("
)
_MARK = re.compile(r"\{\{|\{%|\{#")
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>\d{1,9}(?:\.\d{1,9})?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<operator>==|!=|<=|>=|[<>+~.,:=()\[\]{}|-]))",
    re.ASCII | re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_BEFORE_STATEMENT = frozenset(
    ("if", "elif", "else", "endif", "for", "endfor", "set", "endset", "generation", "endgeneration")
)
_FORBIDDEN = frozenset(("self", "cycler", "joiner", "lipsum", "dict", "range", "import", "include", "extends", "macro"))
_FILTERS = frozenset(
    ("trim", "tojson", "length", "first", "last", "upper", "lower", "string", "int", "safe", "items", "list")
)
_METHODS = frozenset(
    ("strip", "lstrip", "rstrip", "split", "startswith", "endswith", "upper", "lower", "items", "keys")
)
_FUNCTIONS = frozenset(("raise_exception", "strftime_now", "namespace"))
_INDEX = re.compile(r"[\d\s:+-]*|loop \. index0?( [+-] \d+)?")
_KEY = re.compile(r"(['\"])[A-Za-z][\w -]*\1", re.ASCII)
_WORDS = frozenset(("and", "or", "not", "if", "in", "is", "else"))


def judge_template(text: str, location: str) -> list[Problem]:
    """Judge a text that its reader may render with Jinja; a text without marks of Jinja is only searched."""
    if match := _REACHES.search(text):
        message = f"a text in its metadata reaches for Python objects: {match[0][:60]!r}"
        return [Problem(code="template", message=message, location=location[:80])]
    if len(text) > MAX_TEMPLATE and _MARK.search(text):
        return [_unjudged("is too long to be judged", location)]
    for code, is_statement in _codes(text):
        if not _is_plain(code, is_statement=is_statement):
            return [_unjudged(f"holds code that is not plain: {code.strip()[:60]!r}", location)]
    return []


def judge_prose(text: str, location: str) -> list[Problem]:
    """Judge a text for people, where braces are common: only code that calls or looks up something counts."""
    problems = judge_template(text, location)
    if problems and not problems[0].is_unsafe:
        calls = [code for code, is_statement in _codes(text) if is_statement or re.search(r"[(\[|]", code)]
        return problems if len(text) > MAX_TEMPLATE or calls else []
    return problems


def _unjudged(what: str, location: str) -> Problem:
    return Problem(code="template-code", message=f"a template {what}", location=location[:80], is_unsafe=False)


def _codes(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the code between the marks of Jinja, and whether it is a statement."""
    position = 0
    while opened := _MARK.search(text, position):
        closing = {"{{": "}}", "{%": "%}", "{#": "#}"}[opened[0]]
        end = text.find(closing, opened.end())
        code = text[opened.end() : end if end >= 0 else len(text)]
        position = end + 2 if end >= 0 else len(text)
        if opened[0] != "{#" and end >= 0:
            yield code.strip("-+"), opened[0] == "{%"


def _is_plain(code: str, *, is_statement: bool) -> bool:
    """Return whether code between two marks is plain; what Jinja itself would read otherwise never is."""
    tokens: list[tuple[str, str]] = []
    position = _end_of_space(code, 0)
    while position < len(code):
        token = _TOKEN.match(code, position)
        if not token or token.lastgroup is None:
            return False
        tokens.append((token.lastgroup, token[token.lastgroup]))
        position = _end_of_space(code, token.end())
    if is_statement and tokens and tokens[0][1] not in _BEFORE_STATEMENT:
        return False
    return _has_plain_tokens([("", ""), ("", ""), *tokens, ("", "")]) and _has_plain_lookups(tokens)


def _end_of_space(code: str, position: int) -> int:
    space = _SPACE.match(code, position)
    return space.end() if space else position


def _has_plain_tokens(tokens: list[tuple[str, str]]) -> bool:
    for index in range(2, len(tokens) - 1):
        (kind, value), before, after = tokens[index], tokens[index - 1], tokens[index + 1]
        if kind == "string" and (re.search(r"[{%}#]{2}", value) or re.search(r"\\[^ntr'\"\\]", value)):
            return False
        if kind == "name" and (value.startswith("_") or value in _FORBIDDEN):
            return False
        if before[1] == "|" and value not in _FILTERS:
            return False
        if value == "(" and before[0] == "name" and before[1] not in _WORDS:
            allowed = {".": _METHODS, "|": _FILTERS}.get(tokens[index - 2][1], _FUNCTIONS)
            if before[1] not in allowed:
                return False
        elif value == "(" and before[1] in (")", "]"):
            return False
        if value == "." and after[0] != "name":
            return False
    return True


def _has_plain_lookups(tokens: list[tuple[str, str]]) -> bool:
    """Return whether each pair of brackets after a value holds a literal key or index."""
    for index, (_, value) in enumerate(tokens):
        kind, before = tokens[index - 1] if index else ("", "(")
        is_value = (kind in ("name", "string") and before not in _WORDS) or before in (")", "]", "}")
        if value != "[" or not is_value:
            continue
        closing = next((end for end in range(index, len(tokens)) if tokens[end][1] == "]"), len(tokens))
        inside = " ".join(token for _, token in tokens[index + 1 : closing])
        if not (_INDEX.fullmatch(inside) or _KEY.fullmatch(inside)):
            return False
    return True
