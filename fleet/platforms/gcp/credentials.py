"""Tokens for Compute Engine, by the credentials that Pulumi's provider takes too, as far as the environment has them.

In this order: the token in ``GOOGLE_OAUTH_ACCESS_TOKEN``; the key of a service account in ``GOOGLE_CREDENTIALS`` and
the variables that the provider's page "Configuration" lists beside it; the application default credentials. No token,
and nothing of a key, is in an error.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.errors import FleetError

HOW = "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS"
_TOKEN = "GOOGLE_OAUTH_ACCESS_TOKEN"
_KEYS = ("GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON")
_SCOPE = "https://www.googleapis.com/auth/compute.readonly"
_SECONDS = 10.0


class Credentials:
    """Credentials whose token is used for as long as it is valid."""

    def __init__(self) -> None:
        self._own: Any = None

    def token(self) -> str:
        """An access token.

        Raises:
            FleetError: There is none; says why.
        """
        if token := os.environ.get(_TOKEN):
            return token
        if not are_readable():
            raise FleetError(
                "Credentials for Google Cloud are read with the Python package google-auth, which is not installed.",
                fix="Install it: `pip install 'fcos-fleet[gcp]'`.",
            )
        from google.auth.exceptions import GoogleAuthError

        try:
            if self._own is None:
                self._own = _credentials()
            if not self._own.valid:
                self._own.refresh(_Transport())
        except (GoogleAuthError, OSError, ValueError) as error:
            raise FleetError(f"There are no credentials for Google Cloud that work: {type(error).__name__}.") from None
        return str(self._own.token)


def are_readable() -> bool:
    """Whether credentials can be read here: there is a token, or the library that makes one."""
    return bool(
        os.environ.get(_TOKEN) or (importlib.util.find_spec("google") and importlib.util.find_spec("google.auth"))
    )


def _credentials() -> Any:
    """Those of the provider's variables (a key's JSON, or the path of its file), or the application default ones.

    Raises:
        ValueError: What a variable holds is not the key of a service account.
    """
    import google.auth
    from google.oauth2 import service_account

    for name in _KEYS:
        if value := os.environ.get(name):
            text = value if value.lstrip().startswith("{") else Path(value).read_text(encoding="utf-8")
            account: Any = service_account.Credentials
            return account.from_service_account_info(json.loads(text), scopes=[_SCOPE])
    return google.auth.default(scopes=[_SCOPE])[0]


class _Response:
    """An answer, as google-auth reads it (``google.auth.transport.Response``)."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status, self.headers, self.data = status, headers, data


class _Transport:
    """What google-auth asks with (``google.auth.transport.Request``): its own need another HTTP library."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Response:
        import httpx
        from google.auth.exceptions import TransportError

        try:
            answer = httpx.request(method, url, content=body, headers=headers, timeout=timeout or _SECONDS)
        except httpx.HTTPError as error:
            failure: Any = TransportError
            raise failure(type(error).__name__) from None
        return _Response(answer.status_code, answer.headers, answer.content)
