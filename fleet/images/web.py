"""Requests to image servers: over TLS only, with bounded responses.

Plain http is refused, as is every redirect to it: whoever is on the way could put another image, another checksum or
an older release in the place of what was asked for. A server with a certificate of a private authority is trusted
through ``SSL_CERT_FILE`` in the environment, as httpx reads it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleet.errors import FleetError, Remedy

if TYPE_CHECKING:
    import httpx


def refuse_plain(url: str) -> None:
    """Refuse URLs that do not use TLS.

    Raises:
        FleetError: The URL is none of https.
    """
    if not url.startswith("https://"):
        raise FleetError(
            f"{url} is not asked for over https, so anybody on the way could put something else in its place.",
            fix="Name a server that has https; a private authority's certificate is trusted with SSL_CERT_FILE.",
        )


@contextlib.contextmanager
def translated(
    url: str, *, what: str = "", refused: str | Remedy = "", failed: str | Remedy = Remedy.CHECK_NETWORK
) -> Iterator[None]:
    """A context that turns HTTP errors into :class:`~fleet.errors.FleetError`.

    Args:
        url: What is asked for.
        what: More of what it is, where the URL alone does not say it: after it in the sentence.
        refused: What to do if the server does not offer it.
        failed: What to do if the server cannot be reached, or breaks off.

    Raises:
        FleetError: In place of any of httpx's.
    """
    import httpx  # slow to import, and most runs ask no server

    try:
        yield
    except httpx.HTTPStatusError as error:
        raise FleetError(f"The server answered {error.response.status_code} for {url}{what}.", fix=refused) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FleetError(f"The download of {url} failed: {error or type(error).__name__}.", fix=failed) from None


def client(timeout: float) -> httpx.Client:
    """A client that follows redirects to https only.

    Args:
        timeout: Seconds to wait for each step of an answer.
    """
    import httpx  # slow to import, and most runs ask no server

    def check(request: httpx.Request) -> None:
        refuse_plain(str(request.url))

    # The hook is called for the request itself and for that of every redirect.
    return httpx.Client(timeout=timeout, follow_redirects=True, event_hooks={"request": [check]})


def fetch(url: str, *, most: int, timeout: float) -> bytes:
    """Fetch a small file.

    Args:
        url: Where it is.
        most: Bytes that it may have, decoded.
        timeout: Seconds to wait for each step of the answer.

    Raises:
        httpx.HTTPError: The server cannot be reached, or does not offer it; see :func:`translated`.
        FleetError: It is larger, or not asked for over https.
    """
    content = bytearray()
    with client(timeout) as asking, asking.stream("GET", url) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > most:
                raise FleetError(f"What {url} answers is more than {most >> 10} KiB, and not what was asked for.")
    return bytes(content)
