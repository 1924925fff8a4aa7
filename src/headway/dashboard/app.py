"""The application: pages found as plug-ins, and for each request who sent it, whether it may, and what it gets."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import headway
from headway.core import plugins
from headway.core.errors import (
    DataError,
    HeadwayError,
    LeaseHeld,
    NotApplicable,
    PointerMoved,
    Refused,
    StoreUnavailable,
)
from headway.dashboard import bundle
from headway.dashboard.access.oidc import CALLBACK
from headway.dashboard.access.sessions import ROLES, Session, TooManySessions
from headway.dashboard.page import Action, BadInput, Call, FormTooLarge, Page, Redirect, Reply, View
from headway.dashboard.resources import Dashboard, NotFound
from headway.dashboard.security import SecurityMiddleware, cookie_name
from headway.monitoring.settings.ui import UiSection
from headway.reporting import colours
from headway.reporting.text import formatting

_HERE = Path(__file__).parent
MAX_FORM_BYTES = 262_144
"""Of a form: the longest text of a page has 20,000 characters, each of up to 9 bytes once it is encoded."""
MAX_FIELDS = 2_000
STATUS: Sequence[tuple[type[HeadwayError], HTTPStatus]] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (FormTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (BadInput, HTTPStatus.BAD_REQUEST),
    (PointerMoved, HTTPStatus.CONFLICT),
    (LeaseHeld, HTTPStatus.CONFLICT),
    (Refused, HTTPStatus.CONFLICT),
    (DataError, HTTPStatus.CONFLICT),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (TooManySessions, HTTPStatus.SERVICE_UNAVAILABLE),
)


_log = logging.getLogger(__name__)


def create_app(dashboard: Dashboard) -> Starlette:
    """Return the application of a dashboard, with every page that is installed; one that cannot be opened is logged."""
    pages = dict(_load_pages())
    environment = _environment(dashboard, pages)
    routes: list[BaseRoute] = [Mount("/static", StaticFiles(directory=_HERE / "static")), Route("/theme.css", _theme)]
    routes.append(Route(bundle.PATH, _bundle(dashboard)))
    for page in pages.values():
        routes += [Route(view.path, _endpoint(dashboard, environment, view), methods=["GET"]) for view in page.views]
        routes += [
            Route(action.path, _endpoint(dashboard, environment, action), methods=["POST"]) for action in page.actions
        ]
    return Starlette(
        routes=routes,
        middleware=_middleware(dashboard.config[UiSection]),
        exception_handlers={HTTPException: functools.partial(_http_error, dashboard, environment)},
    )


def _middleware(settings: UiSection) -> list[Middleware]:
    """Return what a request passes first: the address of its caller from a proxy that is believed, then the checks."""
    proxies = [Middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.proxies))] if settings.proxies else []
    return [Middleware(GZipMiddleware, compresslevel=6), *proxies, Middleware(SecurityMiddleware, settings=settings)]


def _load_pages() -> Iterator[tuple[str, Page]]:
    for name in plugins.names("page"):
        page: Page | NotApplicable = plugins.run_plugin("page", name, lambda plugin: plugin)
        if isinstance(page, NotApplicable):
            _log.error("the page %s is left out: %s", name, page)
        else:
            yield name, page


def load_page(name: str) -> Page:
    """Return the page of that name."""
    page: Page = plugins.load("page", name)
    return page


def _endpoint(dashboard: Dashboard, environment: jinja2.Environment, to: View | Action) -> Any:
    """Return the function that Starlette calls: it authorizes the request, and runs the handler on a thread."""

    async def endpoint(request: Request) -> Response:
        session = current_session(dashboard, request, counts=not (isinstance(to, View) and to.in_background))
        if session is None:
            if to.path in PUBLIC:
                session = dashboard.sign_in.visitor
            elif isinstance(to, Action):
                return _error(environment, None, HTTPStatus.UNAUTHORIZED, "you are not signed in", hint="sign in")
            else:
                return RedirectResponse(f"/sign-in?{urlencode({'next': _address(request)})}", HTTPStatus.SEE_OTHER)
        form: Mapping[str, str] = {}
        lists: dict[str, list[str]] = {name: request.query_params.getlist(name) for name in request.query_params}
        if isinstance(to, Action):
            try:
                fields = await _read_form(request)
            except BadInput as error:
                return _error(environment, session, _status(error), error.what, hint=error.hint)
            form = {name: values[-1] for name, values in fields.items()}
            lists |= fields
            if not session.accepts(form.pop("token", "")) and to.path not in PUBLIC:
                what = "the form is not one that this session was sent"
                return _error(environment, session, HTTPStatus.FORBIDDEN, what, hint="open the page again")
        if to.path not in PUBLIC and not session.may(to.role):
            what = f"this needs the role {to.role}, and {session.user} is {session.role}"
            return _error(environment, session, HTTPStatus.FORBIDDEN, what, hint="ask an admin of this dashboard")
        call = Call(
            dashboard=dashboard,
            session=session,
            path=dict(request.path_params),
            query=dict(request.query_params),
            form=form,
            lists=lists,
            cookies=request.cookies,
            address=request.client.host if request.client else "",
            base=dashboard.config[UiSection].url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}",
        )
        return await run_in_threadpool(_answer, environment, to, call)

    return endpoint


PUBLIC = ("/sign-in", "/sign-in/link", "/sign-in/issuer", CALLBACK)
"""Paths that need no session."""


def current_session(dashboard: Dashboard, request: Request, *, counts: bool = True) -> Session | None:
    """Return the session of a request, None without one; `counts` as in `Sessions.find`."""
    return dashboard.sessions.find(request.cookies.get(cookie_name(dashboard.config[UiSection]), ""), counts=counts)


async def _read_form(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form; raises BadInput for files, and for a body that is too large."""
    if int(request.headers.get("content-length") or 0) > MAX_FORM_BYTES:
        raise _too_large()
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadInput("the form is not application/x-www-form-urlencoded", hint="send it from its page")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise _too_large()
    return parse_form(body)


def _too_large() -> FormTooLarge:
    return FormTooLarge(f"the form has over {MAX_FORM_BYTES:,} bytes", hint="send less at once")


def _status(error: HeadwayError) -> HTTPStatus:
    return next((status for kind, status in STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def parse_form(body: bytes) -> dict[str, list[str]]:
    """Return the values of each field of a form in its usual encoding; raises BadInput."""
    try:
        text = body.decode("ascii")
        return parse_qs(
            text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise BadInput("the form cannot be read", hint="send it from its page") from error


def _answer(environment: jinja2.Environment, to: View | Action, call: Call) -> Response:
    try:
        if (model := call.path.get("model", "")) in call.dashboard.projects:
            call.dashboard.drop_erased(call.dashboard.projects[model])
        reply = to.handler(call)
    except HeadwayError as error:
        return _error(environment, call.session, _status(error), error.what, where=error.where, hint=error.hint)
    return _response(environment, reply, call)


def _response(environment: jinja2.Environment, reply: Reply, call: Call) -> Response:
    if isinstance(reply, Response):
        return reply
    if isinstance(reply, Redirect):
        call.session.message = reply.message
        return RedirectResponse(reply.path, HTTPStatus.SEE_OTHER)
    template = environment.get_template(reply.template)
    model = call.path.get("model", "")
    content = template.render(session=call.session, model=model, call=call, **reply.values)
    return HTMLResponse(content, reply.status, dict(reply.headers))


def _error(
    environment: jinja2.Environment,
    session: Session | None,
    status: HTTPStatus,
    what: str,
    *,
    where: str = "",
    hint: str = "",
) -> Response:
    template = environment.get_template("error.html")
    content = template.render(session=session, model="", call=None, status=status, what=what, where=where, hint=hint)
    return HTMLResponse(content, status)


async def _http_error(
    dashboard: Dashboard, environment: jinja2.Environment, request: Request, error: Exception
) -> Response:
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 500)
    return _error(environment, current_session(dashboard, request), status, status.phrase.lower(), hint="go to /")


def _bundle(dashboard: Dashboard) -> Any:
    """Return the function that gives a person who is signed in the scripts of charts."""

    async def endpoint(request: Request) -> Response:
        if current_session(dashboard, request, counts=False) is None:
            return Response("you are not signed in\n", HTTPStatus.UNAUTHORIZED, media_type="text/plain")
        return await bundle.serve_bundle(dashboard, request)

    return endpoint


async def _theme(_: Request) -> Response:
    return Response(colours.stylesheet(), media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def _address(request: Request) -> str:
    """Return the path and query of a request, for the way back after sign-in."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _environment(dashboard: Dashboard, pages: Mapping[str, Page]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.FileSystemLoader(_HERE / "templates"),
                jinja2.PrefixLoader({"reporting": jinja2.FileSystemLoader(_HERE.parent / "reporting")}),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ordered = sorted(pages.values(), key=lambda page: page.order)
    environment.globals |= {
        "version": headway.__version__,
        "models": tuple(dashboard.projects),
        "navigation": [(page.title, page.views[0]) for page in ordered if page.title],
        "tabs": [(page.tab, page.views[0]) for page in ordered if page.tab],
        "roles": ROLES,
        "link": link,
        "bundle": bundle.PATH.format(name=bundle.bundle_name()) if bundle.bundle_name() else "",
    }
    environment.filters |= {
        "typeset": formatting.typeset,
        "short": formatting.short_digest,
        "measured": formatting.format_measurement,
        "number": formatting.format_number,
        "date": formatting.period_name,
        "time": formatting.format_time,
    }
    return environment


def link(path: str, **parameters: str) -> str:
    """Return an address: each `{name}` of the path filled in, the other parameters as its query.

    >>> link("/models/{model}/data", model="a b", column="x&y")
    '/models/a%20b/data?column=x%26y'
    """
    inside = {name: text for name, text in parameters.items() if f"{{{name}}}" in path}
    filled = path
    for name, text in inside.items():
        filled = filled.replace(f"{{{name}}}", quote(text, safe=""))
    query = {name: text for name, text in parameters.items() if name not in inside and text}
    return filled + (f"?{urlencode(query)}" if query else "")
