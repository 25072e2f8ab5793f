"""Serial consoles of Compute Engine instances, by ``instances.getSerialPortOutput``."""

from __future__ import annotations

import json

from fleet.dynamic.tokens import named
from fleet.errors import FleetError
from fleet.platforms.consoles import END, AskedConsole
from fleet.platforms.gcp.credentials import Credentials

CONSOLE = "fleet.platforms.gcp.console:Console"
"""What states have for :class:`Console`; it may never change."""
API = "https://compute.googleapis.com/compute/v1"
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

    def __init__(self, argument: str) -> None:
        super().__init__(argument)
        self._credentials = Credentials()

    def read(self) -> str:
        """Ask with the credentials of :mod:`fleet.platforms.gcp.credentials`."""
        import httpx  # slow to import, and needed only while a machine starts

        place = self.place
        path = f"projects/{place['project']}/zones/{place['zone']}/instances/{place['name']}/serialPort"
        try:
            token = self._credentials.token()
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
            # Its text may have the header with the token.
            reason = type(error).__name__
        raise FleetError(f"The console of {place['name']} cannot be read: {reason}.")
