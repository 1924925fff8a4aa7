"""Attacks on the dashboard: writes and reads without the right to them, and texts that would run as scripts.

Pages are found by their plug-ins. A try counts as refused only if the request did not reach the page.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

from playwright.sync_api import Browser
from tests.dashboard import visits
from tests.dashboard.people import Answer, Person, RunningDashboard

from headway.core import plugins
from headway.core.action import PersonAction
from headway.dashboard.access.sessions import ROLES, Session
from headway.dashboard.app import PUBLIC, load_page
from headway.dashboard.page import Action, View
from headway.dashboard.security import COOKIE

FORM = "application/x-www-form-urlencoded"
FIELDS = {"reason": "an attack", "name": "eve", "role": "admin", "scope": "operate"}


@dataclass(frozen=True)
class Attacks:
    """Tries, and those that were not refused, each with what was sent and the answer."""

    tries: int
    found: Sequence[str]


class Try(NamedTuple):
    """A request: what it tries, and its parts; `Answer.status` must be a refusal."""

    what: str
    person: Person
    method: str
    path: str
    body: str = ""
    headers: Mapping[str, str] = {}

    def send(self) -> Answer:
        """Send it."""
        return self.person.send(self.method, self.path, self.body, headers=self.headers)


def was_refused(answer: Answer) -> bool:
    """Return whether a request was refused before a page saw it."""
    if answer.status == 303:
        return answer.headers["location"].startswith("/sign-in?next=")
    if answer.status == 400:
        return "The form is not application/x-www-form-urlencoded" in answer.words
    return answer.status in (401, 403, 405, 421)


def unauthorised_writes(served: RunningDashboard) -> Attacks:
    """Send each action of each page as people who may not, and look whether anything was changed."""
    before, tries, found = _kept(served), 0, []
    pages = [load_page(name) for name in plugins.names("page")]
    actions = [(action, {view.path for view in page.views}) for page in pages for action in page.actions]
    for attempt in (attempt for action, views in actions for attempt in _writes(served, action, views)):
        answer, tries = attempt.send(), tries + 1
        if not was_refused(answer) or "set-cookie" in answer.headers:
            found.append(f"{attempt.method} {attempt.path}, {attempt.what}: {answer.status}")
    if _kept(served) != before:
        found.append("what is kept has changed")
    return Attacks(tries, found)


def _kept(served: RunningDashboard) -> object:
    """Return what actions change: saved actions, pointers, and the files of the project outside its store."""
    kept: list[object] = []
    for project in served.dashboard.projects.values():
        files = [path for path in Path(project.config.folder).iterdir() if path.is_file()]
        kept += [
            [(path.name, path.read_bytes()) for path in sorted(files)],
            project.records(PersonAction),
            project.state.last(project.name, "live"),
        ]
    return kept


def _writes(served: RunningDashboard, action: Action, views: set[str]) -> Iterator[Try]:
    path, port = filled(served, action.path), served.port
    if action.path in PUBLIC:
        yield from _sign_ins(served, path)
        return
    admin, other, out = (served.visitor("admin", name=name) for name in ("ada", "eve", "out"))
    assert admin.session and other.session and out.session
    token = admin.session.token
    right = urlencode({**FIELDS, "token": token})
    served.dashboard.sessions.end(out.session.key)
    for what, body in (("no session", ""), ("no session, a token", right)):
        yield Try(what, served.visitor(), "POST", path, body)
    for role in ROLES[: ROLES.index(action.role)]:
        person = served.visitor(role)
        assert person.session
        for what, sent in (("plain", person.session.token), ("masked", person.session.masked_token())):
            yield Try(f"role {role}, {what} token", person, "POST", path, urlencode({**FIELDS, "token": sent}))
    for origin in origins(port):
        yield Try(f"origin {origin!r}", admin, "POST", path, right, {"Origin": origin})
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        f"localhost@evil.example:{port}",
    ):
        yield Try(f"host {host}", admin, "POST", path, right, {"Host": host, "Origin": f"http://{host}"})
    yield Try("replayed token", out, "POST", path, urlencode({**FIELDS, "token": out.session.token}))
    yield Try("replayed masked token", out, "POST", path, urlencode({**FIELDS, "token": out.session.masked_token()}))
    tokens = {
        "token of another session": other.session.token,
        "masked token of another session": other.session.masked_token(),
        "empty token": "",
        "wrong token": "x" * len(token),
        "half a token": token[: len(token) // 2],
        "token in another case": token.swapcase(),
        "cookie as a token": admin.session.key,
    }
    for what, sent in tokens.items():
        yield Try(what, admin, "POST", path, urlencode({**FIELDS, "token": sent}))
    yield Try("no token", admin, "POST", path, urlencode(FIELDS))
    yield Try("token in the address", admin, "POST", f"{path}?token={quote(token)}", urlencode(FIELDS))
    yield Try("token in a header", admin, "POST", path, urlencode(FIELDS), {"X-CSRF-Token": token})
    yield Try("a right and a wrong token", admin, "POST", path, f"{right}&token=x")
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", ""):
        yield Try(f"content type {kind!r}", admin, "POST", path, right, {"Content-Type": kind})
    methods = (
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "QUERY",
        *(() if action.path in views else ("GET", "HEAD")),
    )
    for method in methods:
        yield Try("another method", admin, method, f"{path}?{right}", right)
        yield Try("another method that names POST", admin, method, path, right, {"X-HTTP-Method-Override": "POST"})
    for what, person in ended(served).items():
        assert person.session
        yield Try(what, person, "POST", path, urlencode({**FIELDS, "token": person.session.token}))


def _sign_ins(served: RunningDashboard, path: str) -> Iterator[Try]:
    """Yield sign-ins by right credentials that another site sends."""
    link = urlencode({"secret": served.dashboard.sign_in.create_link("eve", "admin"), "key": "hw_x"})
    for origin in origins(served.port):
        yield Try(f"sign-in from {origin!r}", served.visitor(), "POST", path, link, {"Origin": origin})
    for method in ("PUT", "PATCH", "DELETE"):
        yield Try("sign-in by another method", served.visitor(), method, path, link)


def origins(port: int) -> Sequence[str]:
    """Return what a page of another site sends as its origin; nothing, for a program."""
    return (
        "",
        "null",
        "https://evil.example",
        f"http://evil.example:{port}",
        "http://127.0.0.1",
        f"http://127.0.0.1:{port + 1}",
        f"http://127.0.0.1.evil.example:{port}",
        f"http://localhost:{port}",
        f"http://127.0.0.1:{port}@evil.example",
    )


def ended(served: RunningDashboard) -> dict[str, Person]:
    """Return people whose sessions have ended in each of the ways, and some who never had one."""
    sessions = served.dashboard.sessions
    idle, old = served.visitor("admin"), served.visitor("admin")
    assert idle.session and old.session
    idle.session.seen_s = float("-inf")
    old.session.made_s = float("-inf")
    revoked = Person(served.port, sessions.begin("eve", "admin", holds=lambda: False))
    forged = Session(user="eve", role="admin", made_s=0.0, seen_s=0.0)
    named = Person(served.port, forged, headers={"Cookie": f"__Host-{COOKIE}={served.visitor('admin').session.key}"})  # type: ignore[union-attr]
    return {
        "idle for too long": idle,
        "signed in for too long": old,
        "role withdrawn": revoked,
        "forged session": Person(served.port, forged),
        "cookie by another name": named,
        "empty cookie": Person(served.port, forged, headers={"Cookie": f"{COOKIE}="}),
    }


def unauthorised_reads(served: RunningDashboard) -> Attacks:
    """Open each view of each page as people who may not."""
    tries, found = 0, []
    views = [view for name in plugins.names("page") for view in load_page(name).views if view.path not in PUBLIC]
    for attempt in (attempt for view in views for attempt in _reads(served, view)):
        answer, tries = attempt.send(), tries + 1
        if not was_refused(answer):
            found.append(f"{attempt.method} {attempt.path}, {attempt.what}: {answer.status}")
    return Attacks(tries, found)


def _reads(served: RunningDashboard, view: View) -> Iterator[Try]:
    path = filled(served, view.path)
    for method in ("GET", "HEAD"):
        yield Try("no session", served.visitor(), method, path)
        for role in ROLES[: ROLES.index(view.role)]:
            yield Try(f"role {role}", served.visitor(role), method, path)
        for host in ("evil.example", f"127.0.0.1.evil.example:{served.port}"):
            yield Try(f"host {host}", served.visitor("admin"), method, path, "", {"Host": host})
        for what, person in ended(served).items():
            yield Try(what, person, method, path)


def filled(served: RunningDashboard, path: str) -> str:
    """Return the path of a view or an action with the first model, and `x` for its other parameters."""
    model = next(iter(served.dashboard.projects))
    return re.sub(r"\{\w+(:\w+)?\}", "x", path.replace("{model}", quote(model, safe="")))


def payloads() -> list[str]:
    """Return texts that run as scripts where a page does not escape them."""
    run = "alert('xss')"
    events = (
        "onerror",
        "onload",
        "onfocus",
        "onmouseover",
        "onclick",
        "ontoggle",
        "onanimationstart",
        "onpointerenter",
        "onpointerdown",
        "onscroll",
        "onanimationend",
        "onbeforetoggle",
    )
    tags = (
        "img src=x",
        "svg",
        "body",
        "input autofocus",
        "details open",
        "video src=x",
        "iframe src=x",
        "xss tabindex=1 autofocus",
    )
    plain = [f"<{tag} {event}={run}>" for tag, event in itertools.product(tags, events)]
    scripts = [
        f"<script>{run}</script>",
        f"<ScRiPt>{run}</sCrIpT>",
        f"<script src=data:text/javascript,{quote(run)}></script>",
        f'<iframe src="javascript:{run}"></iframe>',
        f'<iframe srcdoc="<script>{run}</script>"></iframe>',
        f'<a href="javascript:{run}">xss</a>',
        f'<form action="javascript:{run}"><button>xss</button></form>',
        f"<math><mtext></form><form><mglyph><style></math><img src=x onerror={run}>",
        f'<object data="javascript:{run}"></object>',
        "<meta http-equiv=refresh content=\"0;url=javascript:alert('xss')\">",
        "<base href=https://evil.example/>",
        "<link rel=stylesheet href=https://evil.example/x.css>",
        "<style>*{background:url(https://evil.example/)}</style>",
    ]
    broken = [
        "{payload}",
        "'>{payload}",
        '">{payload}',
        "'\"></title></textarea></select>{payload}",
        "--!>{payload}",
        "]]>{payload}",
    ]
    inside = (
        [f'" {event}={run} x="' for event in events]
        + [f"' {event}={run} x='" for event in events]
        + [
            f"javascript:{run}",
            f"{{{{ {run} }}}}",
            "{{ config }}{{ ''.__class__ }}",
            "{% raw %}<script>alert('xss')</script>",
            f"\\u003cscript\\u003e{run}\\u003c/script\\u003e",
            f"+ADw-script+AD4-{run}+ADw-/script+AD4-",
            f"\ufeff<script>{run}</script>",
            f"<\x00script>{run}</script>",
        ]
    )
    around = [form.format(payload=payload) for form, payload in itertools.product(broken, scripts)]
    return [*plain, *around, *inside]


class _Parser(HTMLParser):
    """What in a page could run a script, or load something from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        addresses = [
            values.get(name, "") for name in ("href", "src", "action", "formaction", "data", "srcdoc", "content")
        ]
        is_data = values.get("type") == "application/json" and "src" not in values  # no browser runs it
        own = tag != "script" or is_data or values.get("src", "").startswith("/static/")
        if (
            not own
            or tag in ("xss", "iframe", "object", "embed", "base", "style", "math")
            or "srcdoc" in values
            or any(name.startswith("on") or name == "style" for name in values)
            or any(
                re.match(r"\s*(javascript|data|https?|//)", text, re.IGNORECASE) for text in addresses if tag != "img"
            )
        ):
            self.found.append(self.get_starttag_text() or tag)


def scripts_in(text: str) -> list[str]:
    """Return what in the text of a page could run a script, by a parser of HTML."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    return parser.found


@dataclass
class Trap:
    """Pages in a real browser whose content security policy is off, and every script that they run."""

    served: RunningDashboard
    browser: Browser
    found: list[str] = field(default_factory=list)

    def open(self, addresses: Sequence[str]) -> list[str]:
        """Open addresses as an admin, and return what ran: a dialog, or a message of a payload."""
        base = f"http://127.0.0.1:{self.served.port}"
        context = self.browser.new_context(base_url=base, bypass_csp=True)
        session = self.served.dashboard.sessions.begin("ada", "admin")
        context.add_cookies([{"name": COOKIE, "value": session.key, "url": base}])
        context.add_init_script("window.alert = window.confirm = window.prompt = text => console.log('RAN ' + text)")
        page = context.new_page()
        at = ""
        page.on(
            "console", lambda message: self.found.append(f"{at}: {message.text}") if "RAN" in message.text else None
        )
        page.on(
            "request",
            lambda one: None if one.url.startswith((base, "data:")) else self.found.append(f"{at}: {one.url}"),
        )
        for at in addresses:
            page.goto(at, wait_until="load")
            page.evaluate("() => document.querySelectorAll('details').forEach(one => one.open = true)")
        context.close()
        return self.found


def plant(served: RunningDashboard, texts: Sequence[str]) -> None:
    """Save actions whose every free text is one of the texts."""
    project = next(iter(served.dashboard.projects.values()))
    for number, text in enumerate(texts):
        at = f"2026-11-28T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}+00:00"
        saved = PersonAction(
            name=project.name, at=at, who=text, role=text, action=text, subject=text, reason=text, outcome=text
        )
        project.save(saved)


def addresses_with(served: RunningDashboard, texts: Sequence[str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield requests whose parameters are the texts: method, address and fields of a form, over all pages in turn."""
    names = parameters()
    for name, text in enumerate(texts):
        page = names[name % len(names)][0]
        for view in _finite(load_page(page).views):
            model = text if name % 3 == 0 else next(iter(served.dashboard.projects))
            path = re.sub(r"\{\w+(:\w+)?\}", quote(text, safe=""), view.path.replace("{model}", quote(model, safe="")))
            query = urlencode({parameter: text for one, parameter in names if one == page})
            yield "GET", f"{path}?{query}", {}
        for action in load_page(page).actions:
            if action.path != "/sign-out":
                fields = {parameter: text for one, parameter in names if one == page}
                yield "POST", filled(served, action.path), {**fields, "reason": text, "name": text}


def _finite(views: Sequence[View]) -> Sequence[View]:
    """Return the views whose answer ends; events go on for ever."""
    return [view for view in views if not view.in_background]


def parameters() -> list[tuple[str, str]]:
    """Return the parameters that pages read, by page, as their code names them; one at least for each page."""
    found = []
    for page, file in plugins.own("page").items():
        code = file.read_text(encoding="utf-8")
        names = re.findall(r"""(?:query|form|lists)(?:\.get\(|\[)\s*["'](\w+)["']|\.text\(\s*["'](\w+)["']""", code)
        found += [(page, one or other) for one, other in dict.fromkeys(names)] or [(page, "x")]
    return found


def xss_found(served: RunningDashboard, texts: Sequence[str], browser: Browser | None = None) -> Attacks:
    """Send and save texts wherever pages take them; parse every answer, and open the pages in a browser."""
    plant(served, texts)
    person, found = served.visitor("admin"), []
    opened: dict[str, None] = {}
    for method, address, fields in addresses_with(served, texts):
        answer = person.get(address) if method == "GET" else person.post(address, **fields)
        if answer.headers.get("content-type", "").startswith("text/html"):
            found += [f"{method} {address}: {one}" for one in scripts_in(answer.text)]
            opened |= {address: None} if method == "GET" else {}
    if browser:
        views = [view for page in plugins.names("page") for view in _finite(load_page(page).views)]
        for address in (filled(served, view.path) for view in views):
            opened |= (
                {address: None} if person.get(address).headers.get("content-type", "").startswith("text/html") else {}
            )
        found += Trap(served, browser).open([*opened])
    return Attacks(len(texts), found)


def xss_in_columns(served: RunningDashboard, texts: Sequence[str], browser: Browser | None = None) -> Attacks:
    """Open every page of a project whose columns are the texts; those that a page showed are the tries."""
    person, found, shown = served.visitor("admin"), [], set[str]()
    pages = [page.address for page in visits.crawl(person.get, served.dashboard.projects) if page.is_page]
    for address in pages:  # once more: what a page computes in the background is there now
        text = person.get(address).text
        found += [f"GET {address}: {one}" for one in scripts_in(text)]
        shown |= {one for one in texts if one in unescape(text)}
    if browser:
        found += Trap(served, browser).open(pages)
    return Attacks(len(shown), found)
