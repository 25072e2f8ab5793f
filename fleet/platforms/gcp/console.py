"""Serial consoles of Compute Engine instances, by ``instances.getSerialPortOutput``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.dynamic.tokens import named
from fleet.errors import FleetError
from fleet.platforms.consoles import END, AskedConsole

CONSOLE = "fleet.platforms.gcp.console:Console"
"""What states have for :class:`Console`; it may never change."""
API = "https://compute.googleapis.com/compute/v1"
_SCOPE = "https://www.googleapis.com/auth/compute.readonly"
_SECONDS = 10.0


def argument(project: str, zone: str, name: str) -> str:
    """What :class:`Console` is called with.

    Args:
        project: The instance's project.
        zone: Its zone.
        name: Its name in Google Cloud.
    """
    return json.dumps({"project": project, "zone": zone, "name": name})


@named(CONSOLE)
class Console(AskedConsole):
    """The console of an instance; the ``argument`` is that of :func:`argument`."""

    _credentials: Any = None

    def read(self) -> str:
        """With the provider's own credentials, as far as the environment has them, or the application default ones."""
        import httpx  # slow to import, and needed only while a machine starts

        place = self.place
        path = f"projects/{place['project']}/zones/{place['zone']}/instances/{place['name']}/serialPort"
        try:
            token = self._token()
            with httpx.Client(timeout=_SECONDS) as client:
                answer = client.get(
                    f"{API}/{path}",
                    # Negative: from the end (API reference of the method).
                    params={"port": 1, "start": -END},
                    headers={"Authorization": f"Bearer {token}"},
                )
                answer.raise_for_status()
                return str(answer.json().get("contents", ""))
        except httpx.HTTPStatusError as error:
            reason = f"status {error.response.status_code}"
        except (httpx.HTTPError, ValueError) as error:
            reason = str(error) or type(error).__name__
        raise FleetError(f"The console of {place['name']} cannot be read: {reason}.")

    def _token(self) -> str:
        """An access token.

        Raises:
            FleetError: There is none; says why.
        """
        if token := os.environ.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
            return token
        try:
            from google.auth.exceptions import GoogleAuthError
        except ModuleNotFoundError:
            raise FleetError(
                "Consoles of Google Cloud are read with the Python package google-auth, which is not installed.",
                fix="Install it: `pip install 'fcos-fleet[gcp]'`.",
            ) from None
        try:
            if self._credentials is None:
                self._credentials = _credentials()
            if not self._credentials.valid:
                self._credentials.refresh(_Transport())
        except (GoogleAuthError, OSError, ValueError) as error:
            raise FleetError(f"There are no credentials for Google Cloud's consoles: {type(error).__name__}.") from None
        return str(self._credentials.token)


def _credentials() -> Any:
    """Those of the provider's variables (a key's JSON, or the path of its file), or the application default ones.

    Raises:
        ValueError: What a variable holds is not the key of a service account.
    """
    import google.auth
    from google.oauth2 import service_account

    for name in ("GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON"):
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
