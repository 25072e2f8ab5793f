"""The server behind the page: who may read it, what there is to read, and how news is pushed.

It listens on 127.0.0.1 and answers GET and HEAD alone. Others on this machine, and pages of other sites in the user's
browser, can send it requests, too, so each needs all of these; what lacks one gets an empty 403:

- a secret: the token of the URL that is printed, or, once that was opened, the cookie that it was exchanged for;
- as ``Host`` this server's own address, which a name that an attacker's DNS server leads to 127.0.0.1 is not;
- no ``Origin``, or this server's; no ``Sec-Fetch-Site`` that tells of another site or port.

Browsers send cookies to every port of a host (RFC 6265, section 8.5). So that no other server of this machine gets this
one's, its path is a random one that only this server's own pages know.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet.errors import FleetError, UsageError, unexpected
from fleet.view import page
from fleet.view.snapshot import Json

HOST = "127.0.0.1"
LOOK_SECONDS = 1.0
"""Between two looks at the stack, while somebody looks at the page."""
_ALIVE_SECONDS = 15.0
"""After which a stream that has no news says so, or nobody would notice that its reader is gone."""
_STOP_SECONDS = 2
"""That open connections have to end when the server does."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer."""


Opened = Callable[[str, str], None]
"""Told two URLs of the page: one to show, and one to start a browser with, which opens it once."""


class Source(Protocol):
    """What the page is about. Its methods may take seconds; each runs in a thread, and several may at once."""

    def look(self) -> Json:
        """The snapshot of now.

        Raises:
            FleetError: There is none to be had at the moment.
        """
        ...

    def detail(self, node: str) -> Json | None:
        """What the page shows of one node alone: its config, its console; ``None``: there is no such node."""
        ...

    def changes(self) -> Json:
        """What an update would change, as of now.

        Raises:
            FleetError: That cannot be found out.
        """
        ...


@dataclass(frozen=True)
class Keys:
    """What lets a browser in, new for each run.

    Attributes:
        token: In the URL that is printed.
        tickets: Tokens that let in once. One is in the URL that a browser is started with, whose arguments others on
            this machine may see.
        cookie: What a token or a ticket is exchanged for.
        place: The path that the page is at, and the cookie goes to.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    tickets: set[str] = field(default_factory=lambda: {secrets.token_urlsafe(32)})
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    place: str = field(default_factory=lambda: secrets.token_urlsafe(12))


class Guard:
    """Lets those requests through that may read, and sets :data:`HEADERS`.

    Args:
        app: What answers them.
        keys: What lets in.
        port: The server's port.
    """

    def __init__(self, app: ASGIApp, keys: Keys, port: int) -> None:
        self._app, self._keys, self._port = app, keys, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for key, value in HEADERS.items():
                    headers[key] = value
            await send(message)

        if scope["type"] != "http" or not self._may_read(scope):
            await Response(status_code=403)({**scope, "type": "http"}, receive, sent)
        elif scope["method"] not in ("GET", "HEAD"):
            await Response(status_code=405, headers={"Allow": "GET, HEAD"})(scope, receive, sent)
        else:
            await self._app(scope, receive, sent)

    def _may_read(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in (f"{HOST}:{self._port}", f"localhost:{self._port}"):
            return False
        if any(origin != f"http://{host}" for origin in headers.getlist("origin")):
            return False
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return False
        if scope["path"] == "/":
            given = QueryParams(scope["query_string"]).get("token", "")
            if scope["method"] == "GET" and given in self._keys.tickets:
                self._keys.tickets.discard(given)
                return True
            wanted = self._keys.token
        else:
            given, wanted = cookie_parser(headers.get("cookie", "")).get(cookie_name(self._port), ""), self._keys.cookie
        return secrets.compare_digest(given.encode(), wanted.encode())


def cookie_name(port: int) -> str:
    """The cookie's name: servers of several ports are one host's to a browser."""
    return f"fleet-view-{port}"


class Feed:
    """The latest snapshot, looked for while somebody reads, and a stream of those that differ.

    Args:
        source: Gives snapshots.
        seconds: Between two looks.
    """

    def __init__(self, source: Source, seconds: float = LOOK_SECONDS) -> None:
        self._source, self._seconds = source, seconds
        self._text, self._number, self._readers = "", 0, 0
        self._latest: Mapping[str, Any] = {}
        self._news = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._over = False

    async def run(self) -> None:
        """Look, over and over, as long as somebody reads."""
        while not self._over:
            await self._wanted.wait()
            await self._look()
            await asyncio.sleep(self._seconds)

    async def _look(self) -> None:
        try:
            self._latest = await run_in_threadpool(self._source.look)
            shown = {**self._latest, "trouble": self._latest.get("trouble", "")}
        except Exception as error:
            # What was seen last stays, with what keeps it from being renewed: this task lasts as long as the page.
            shown = {**self._latest, "trouble": _said(error)}
        if (text := json.dumps(shown, separators=(",", ":"))) != self._text:
            async with self._news:
                self._text, self._number = text, self._number + 1
                self._news.notify_all()

    async def end(self) -> None:
        """End every stream."""
        self._over = True
        self._wanted.set()
        async with self._news:
            self._news.notify_all()

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events: the latest snapshot, then each that is another one."""
        self._readers += 1
        self._wanted.set()
        sent = 0
        try:
            yield "retry: 1000\n\n"
            while not self._over:
                if self._number != sent:
                    sent = self._number
                    yield f"event: snapshot\nid: {sent}\ndata: {self._text}\n\n"
                    continue
                try:
                    async with self._news:
                        await asyncio.wait_for(self._news.wait(), _ALIVE_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._readers -= 1
            if not self._readers and not self._over:
                self._wanted.clear()


def _said(error: Exception) -> str:
    """What the page says of an error, which is no reason for the server to end or to print."""
    return str(error) if isinstance(error, FleetError) else unexpected(error)


def application(source: Source, *, keys: Keys, port: int, seconds: float = LOOK_SECONDS) -> ASGIApp:
    """The server's application.

    Args:
        source: What the page is about.
        keys: What lets in.
        port: The port that it is reached at.
        seconds: Between two looks at the source.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.feed = feed = Feed(source, seconds)
        looking = asyncio.create_task(feed.run())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def enter(request: Request) -> Response:
        answer = RedirectResponse(f"/{keys.place}/", status_code=303)
        answer.set_cookie(
            cookie_name(port), keys.cookie, path=f"/{keys.place}/", httponly=True, samesite="strict"
        )  # fmt: skip
        return answer

    async def shown(request: Request) -> Response:
        return Response(page.live(), media_type="text/html")

    def file(name: str, kind: str) -> Callable[[Request], Response]:
        return lambda request: Response(page.static(name), media_type=kind)

    async def events(request: Request) -> Response:
        kind = "text/event-stream"
        if request.method == "HEAD":
            return Response(media_type=kind)
        return StreamingResponse(request.app.state.feed.events(), media_type=kind)

    def detail(request: Request) -> Response:
        try:
            found = source.detail(request.path_params["node"])
        except Exception as error:
            return JSONResponse({"config": [], "console": "", "note": _said(error)})
        return Response(status_code=404) if found is None else JSONResponse(found)

    def changes(request: Request) -> Response:
        try:
            return JSONResponse(source.changes())
        except Exception as error:
            return JSONResponse({"error": _said(error)})

    routes = [
        Route("/", shown),
        Route("/view.css", file("view.css", "text/css")),
        Route("/view.js", file("view.js", "text/javascript")),
        Route("/icon.svg", file("icon.svg", "image/svg+xml")),
        Route("/events", events),
        Route("/nodes/{node}", detail),
        Route("/changes", changes),
    ]
    app = Starlette(routes=[Route("/", enter), Mount(f"/{keys.place}", routes=routes, name="page")], lifespan=lifespan)
    return Guard(app, keys, port)


def serve(source: Source, *, port: int, opened: Opened, check: Callable[[], None]) -> None:
    """Serve the page until this process is to stop.

    Args:
        source: What the page is about.
        port: The port; 0: any that is free.
        opened: Called once it answers: with the page's URL, and with one that opens it once.
        check: Called every now and then; what it raises ends the server, and is passed on.

    Raises:
        UsageError: The port is in use.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"Port {port} of {HOST} cannot be listened on: {reason}.", fix="Leave `--port` out: a free one is taken."
        ) from None
    port = listener.getsockname()[1]
    keys = Keys()
    config = uvicorn.Config(
        application(source, keys=keys, port=port),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    server = uvicorn.Server(config)
    # In a thread, uvicorn leaves the process's signals alone, which fleet catches itself.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="fleet-view", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            check()
            thread.join(0.05)
        at = f"http://{HOST}:{port}/?token="
        opened(at + keys.token, at + next(iter(keys.tickets)))
        while thread.is_alive():
            check()
            thread.join(0.2)
    finally:
        server.should_exit = True
        thread.join(_STOP_SECONDS + 3)
        listener.close()
