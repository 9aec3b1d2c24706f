"""The page of a person as a Starlette application, to be mounted or served by itself.

Nothing on it needs a script. A signed link (``links``) starts a session whose cookie goes to that person's pages alone;
every form carries a token of the session; and whatever is not the person's answers like what does not exist.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined

from hyperalign.errors import HyperalignError, MissingExtraError, NotFoundError
from hyperalign.programs.reward.asking import Question
from hyperalign.text import printable

from .background import WriteBoth
from .links import Links, Session, load_secret
from .questions import Answers
from .screens import Done, Notices, Screen, Screens, say_switched_off

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, RedirectResponse, Response
    from starlette.routing import Mount, Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as missing:  # pragma: no cover - the extra is installed where this is tested
    raise MissingExtraError("A person's page", "gateway") from missing

__all__ = ["LOOPBACK", "page_app"]

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
"""Names under which a page on this machine may be asked for; another name is one that somebody else has set up."""

_COOKIE: Final = "hyperalign_page"
_ROOT: Final = "hyperalign.root"
_LARGEST_FORM: Final = 256 * 1024
_MOST_FIELDS: Final = 20
_LONGEST_PROBLEM: Final = 300
_SCREENS: Final = {"": "beliefs", "texts": "texts", "question": "question", "compare": "compare", "history": "history"}
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow",
}
_DONE: Final = {
    "off": "Turned off. It is not used any more, and it will not be learned again.",
    "on": "Turned on again.",
    "flip": "Turned around.",
    "ignore": "That decides nothing any more.",
    "correct": "Corrected. Your words are used from now on.",
    "add": "Added. It is used from now on.",
    "take": "Taken out.",
    "restore": "Gone back to that version.",
    "forget": "Forgotten for good.",
    "answer": "Thank you. Your answer is kept, and what predicts your choices has learned from it.",
    "kept": "Thank you. Your answer is kept; it is learned from at the next update.",
    "skip": "Left out. Here is another question.",
}


def page_app(
    store: str | Path | None = None,
    secret: bytes | None = None,
    *,
    answers: Answers | None = None,
    compare: WriteBoth | None = None,
    notices: Notices | None = None,
    hosts: Collection[str] = LOOPBACK,
    encoder: str | None = None,
) -> Starlette:
    """The pages of all people of a store, each opened by a signed link to it.

    Args:
        store: where people are; None for the store in the data folder.
        secret: signs links; that of the data folder if None.
        answers: by prompt, the answers to ask about; those that ship if None.
        compare: answers a prompt without the profile and with it; None where no model is configured.
        notices: what to say at the top of a person's page; where the gateway switched a profile off if None.
        hosts: names under which the page may be asked for, without ports.
        encoder: what a new reward reads texts with.

    Raises:
        StorageError: the secret can't be read or made.
    """
    screens = Screens(
        store, answers=answers, compare=compare, notices=notices or say_switched_off(store), encoder=encoder
    )
    page = _Page(screens, Links(secret or load_secret()))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        screens.close()

    routes = [
        Route("/open/{token}", page.open_link),
        Route("/static/style.css", page.style),
        Mount(
            "/u/{handle}",
            routes=[
                *(Route(f"/{path}", page.shows(name)) for path, name in _SCREENS.items()),
                Route("/forget", page.shows("forget")),
                Route("/do/{action}", page.act, methods=["POST"]),
            ],
        ),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: page.missing, 405: page.missing})
    app.add_middleware(_Guard, hosts=frozenset(host.lower() for host in hosts))
    return app


class _Guard:
    """Answers only for the names it is known by, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0].decode("latin-1").lower() not in _HEADERS]
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*kept, *added]}
            await send(message)

        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(given) == 1 and _host_name(given[0]) in self._hosts:
            # Of a mount inside, the root path has more than this.
            await self._app({**scope, _ROOT: scope.get("root_path", "")}, receive, send_guarded)
            return
        # A name that somebody else points at this machine would make their scripts look like ours.
        answer = Response("This page is not served under that name.\n", 421, media_type="text/plain")
        await answer(scope, receive, send_guarded)


class _Page:
    """The handlers of requests."""

    def __init__(self, screens: Screens, links: Links) -> None:
        self._screens = screens
        self._links = links
        package = "hyperalign.backends.gateway.page"
        self._templates = Environment(
            loader=PackageLoader(package, "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._style = files(package).joinpath("static/style.css").read_text("utf-8")

    async def open_link(self, request: Request) -> Response:
        """Exchange a link's token for a cookie of that person's pages."""
        user = self._links.read_link(request.path_params["token"])
        if user is None:
            return await self.missing(request)
        path = f"{_root(request)}/u/{self._links.handle(user)}/"
        # Not a redirect: browsers leave strict cookies out of one that another site's link began.
        response = self._render(request, Screen("open.html", {"target": path}, 0))
        response.set_cookie(
            _COOKIE,
            self._links.open_session(user),
            max_age=self._links.session_age,
            path=path,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def style(self, request: Request) -> Response:
        """The one style sheet."""
        del request
        return Response(self._style, media_type="text/css")

    async def missing(self, request: Request, error: Exception | None = None) -> Response:
        """What does not exist, and what is somebody else's: nobody can tell the two apart."""
        del error
        return self._render(request, Screen("missing.html"), status=404)

    def shows(self, name: str) -> Callable[[Request], Any]:
        """The handler that shows a screen."""
        show: Callable[[str, dict[str, str]], Screen] = getattr(self._screens, name)

        async def handle(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return await self.missing(request)
            return await run_in_threadpool(self._show, request, session, show)

        return handle

    async def act(self, request: Request) -> Response:
        """Do what a form asks for, and show its screen again."""
        session = self._session(request)
        if session is None:
            return await self.missing(request)
        form = await _read_form(request)
        if form is None or not self._links.unseal(session, "csrf", form.get("csrf", ""))[0]:
            return self._render(request, Screen("refused.html"), status=403, session=session)
        return await run_in_threadpool(self._act, request, session, form)

    def _show(self, request: Request, session: Session, show: Callable[[str, dict[str, str]], Screen]) -> Response:
        try:
            screen = show(session.user, dict(request.query_params))
        except NotFoundError:
            return self._render(request, Screen("missing.html"), status=404)
        except HyperalignError as error:
            return self._render(request, Screen("problem.html", {"problem": error}), status=500, session=session)
        return self._render(request, screen, session=session)

    def _act(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        _, asked = self._links.unseal(session, "question", form.get("question", ""))
        question = Question(*asked) if asked else None
        problem = ""
        try:
            done = self._screens.act(session.user, request.path_params["action"], form, question)
        except HyperalignError as error:
            back = form.get("back", "")
            done, problem = Done(back if back in _SCREENS else ""), str(error)[:_LONGEST_PROBLEM]
        where = f"{self._home(request, session)}/{done.screen}"
        if done.said or problem:
            said = self._links.seal(session, "said", [done.said, done.version, problem])
            where += f"{'&' if '?' in where else '?'}said={said}"
        return RedirectResponse(where, 303)

    def _session(self, request: Request) -> Session | None:
        cookie = request.cookies.get(_COOKIE, "")
        return self._links.read_session(cookie, request.path_params["handle"]) if cookie else None

    def _home(self, request: Request, session: Session) -> str:
        return f"{_root(request)}/u/{self._links.handle(session.user)}"

    def _render(
        self, request: Request, screen: Screen, *, status: int = 200, session: Session | None = None
    ) -> HTMLResponse:
        values: dict[str, Any] = {
            "root": _root(request),
            "refresh": screen.refresh,
            "home": "",
            "user": "",
            "said": "",
            "problem_said": "",
            "undo": None,
            **screen.values,
        }
        if session is not None:
            values |= {"home": self._home(request, session), "user": printable(session.user)}
            values |= {"csrf": self._links.seal(session, "csrf"), **self._last_change(request, session)}
            if asked := values.get("question"):
                values["sealed"] = self._links.seal(session, "question", [asked.prompt, asked.first, asked.second])
        return HTMLResponse(self._templates.get_template(screen.template).render(values), status)

    def _last_change(self, request: Request, session: Session) -> dict[str, Any]:
        """What to say of the change that led here, and what undoes it."""
        is_ours, content = self._links.unseal(session, "said", request.query_params.get("said", ""))
        if not is_ours:
            return {}
        said, version, problem = content
        undo = self._screens.undo_of(session.user, version) if version else None
        return {"said": _DONE.get(said, ""), "problem_said": problem, "undo": undo}


def _root(request: Request) -> str:
    """The path under which the page is mounted."""
    return str(request.scope.get(_ROOT, "")).rstrip("/")


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


async def _read_form(request: Request) -> dict[str, str] | None:
    """The fields of a form; None where another site sent it, or where it is too large or of another type."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_FORM:
                return None
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except (ClientDisconnect, ValueError):
        return None
    return {name: values[-1].replace("\r\n", "\n") for name, values in fields.items()}
