"""Sign in and out."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from headway.core.errors import HeadwayError
from headway.dashboard.access.oidc import CALLBACK, IssuerRefused
from headway.dashboard.access.sessions import ISSUER
from headway.dashboard.access.sign_in import LINK, Identity, SignInRefused, TooManyAttempts
from headway.dashboard.page import Action, Call, Page, Rendered, Reply, View
from headway.dashboard.security import cookie_name, uses_https
from headway.monitoring.settings.ui import UiSection

_STATE = "headway_issuer"
_log = logging.getLogger(__name__)


def _form(call: Call) -> Reply:
    return _page(call, own_path(call.query.get("next", "/")))


def _page(call: Call, back: str, problem: HeadwayError | None = None) -> Reply:
    sign_in = call.dashboard.sign_in
    values = {"next": back, "problem": problem, "passwords": sign_in.has_users, "issuer": sign_in.issuer is not None}
    if isinstance(problem, TooManyAttempts):
        wait = {"Retry-After": str(math.ceil(problem.wait_s))}
        return Rendered(template="sign_in.html", values=values, status=HTTPStatus.TOO_MANY_REQUESTS, headers=wait)
    return Rendered(
        template="sign_in.html", values=values, status=HTTPStatus.UNAUTHORIZED if problem else HTTPStatus.OK
    )


def _link_form(call: Call) -> Reply:
    return Rendered(template="sign_in_link.html", values={"secret": call.query.get("secret", "")})


def _sign_in(call: Call) -> Reply:
    back = own_path(call.form.get("next", "/"))
    sign_in = call.dashboard.sign_in
    try:
        if "key" in call.form:
            identity = sign_in.by_key(call.form["key"], address=call.address)
        else:
            name, password = call.form.get("name", "").strip(), call.form.get("password", "")
            identity = sign_in.by_password(name, password, address=call.address)
    except (SignInRefused, TooManyAttempts) as error:
        return _page(call, back, error)
    return begin(call, identity, back)


def _sign_in_by_link(call: Call) -> Reply:
    try:
        identity = call.dashboard.sign_in.by_link(call.form.get("secret", ""), address=call.address)
    except (SignInRefused, TooManyAttempts) as error:
        return _page(call, "/", error)
    return begin(call, identity, "/account" if identity.how == LINK else "/")


def _to_issuer(call: Call) -> Reply:
    issuer = call.dashboard.sign_in.issuer
    if issuer is None:
        return _form(call)
    try:
        address, state = issuer.begin(base=call.base, back=own_path(call.query.get("next", "/")), address=call.address)
    except IssuerRefused as error:
        return _page(call, "/", error)
    response = RedirectResponse(address, HTTPStatus.SEE_OTHER)
    secure = uses_https(call.dashboard.config[UiSection])
    response.set_cookie(_STATE, state, max_age=600, httponly=True, samesite="lax", path=CALLBACK, secure=secure)
    return response


def _from_issuer(call: Call) -> Reply:
    issuer = call.dashboard.sign_in.issuer
    if issuer is None:
        return _form(call)
    try:
        user, role, back = issuer.finish(call.query, state=call.cookies.get(_STATE, ""))
    except IssuerRefused as error:
        _log.warning("refused a sign-in at the issuer from %s: %s", call.address, error)
        return _page(call, "/", error)
    response = begin(call, Identity(user=user, role=role, how=ISSUER), back)
    response.delete_cookie(_STATE, path=CALLBACK)
    return response


def begin(call: Call, identity: Identity, back: str) -> Response:
    """Sign a person in with a new session; one that this browser had ends, so that none can be prepared."""
    settings, sessions = call.dashboard.config[UiSection], call.dashboard.sessions
    sessions.end(call.session.key)
    session = sessions.begin(identity.user, identity.role, how=identity.how, holds=identity.holds)
    _log.info("%r signed in as %s by %s from %s", identity.user, identity.role, identity.how, call.address)
    response = RedirectResponse(back, HTTPStatus.SEE_OTHER)
    response.set_cookie(
        cookie_name(settings), session.key, httponly=True, samesite="lax", path="/", secure=uses_https(settings)
    )
    return response


def _sign_out(call: Call) -> Reply:
    settings = call.dashboard.config[UiSection]
    call.dashboard.sessions.end(call.session.key)
    response = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    response.delete_cookie(cookie_name(settings), path="/", secure=uses_https(settings), httponly=True, samesite="lax")
    return response


def own_path(path: str) -> str:
    r"""Return a path of this dashboard; `/` for the address of another site (`//`, `/\`)."""
    own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if own else "/"


plugin = Page(
    views=[
        View("/sign-in", _form),
        View("/sign-in/link", _link_form),
        View("/sign-in/issuer", _to_issuer),
        View(CALLBACK, _from_issuer),
    ],
    actions=[
        Action("/sign-in", _sign_in),
        Action("/sign-in/link", _sign_in_by_link),
        Action("/sign-out", _sign_out, role="viewer"),
    ],
)
