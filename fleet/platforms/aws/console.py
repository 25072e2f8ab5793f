"""Serial consoles of EC2 instances, by ``ec2:GetConsoleOutput``."""

from __future__ import annotations

import json
from typing import Any

from fleet.dynamic.tokens import named
from fleet.errors import FleetError
from fleet.platforms.consoles import END, AskedConsole

CONSOLE = "fleet.platforms.aws.console:Console"
"""What states have for :class:`Console`; it may never change."""
_NOT_LATEST = ("UnsupportedOperation", "InvalidParameterCombination")
"""Errors for instances that are not of Nitro (API reference of GetConsoleOutput): theirs is as of their last start."""


def argument(region: str, profile: str, instance: str) -> str:
    """What :class:`Console` is called with.

    Args:
        region: The instance's region.
        profile: A profile of the AWS configuration; empty for the default.
        instance: The instance's id.
    """
    return json.dumps({"region": region, "profile": profile, "instance": instance})


@named(CONSOLE)
class Console(AskedConsole):
    """The console of an instance; the ``argument`` is that of :func:`argument`."""

    _client: Any = None

    def read(self) -> str:
        """As of now on Nitro instances, with the credentials of the environment or the profile."""
        try:
            import boto3  # slow to import, and needed only while a machine starts
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ModuleNotFoundError:
            raise FleetError(
                "Consoles of AWS are read by the Python package boto3, which is not installed.",
                fix="Install it: `pip install 'fcos-fleet[aws]'`.",
            ) from None
        wanted = {"InstanceId": self.place["instance"]}
        try:
            if self._client is None:
                session = boto3.Session(region_name=self.place["region"], profile_name=self.place["profile"] or None)
                patience = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})
                self._client = session.client("ec2", config=patience)
            try:
                answer = self._client.get_console_output(**wanted, Latest=True)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _NOT_LATEST:
                    raise
                answer = self._client.get_console_output(**wanted)
        except (BotoCoreError, ClientError) as error:
            raise FleetError(f"The console of {self.place['instance']} cannot be read: {error}.") from None
        return str(answer.get("Output") or "")[-END:]
