"""Whether AWS takes this machine's credentials: asked with GetCallerIdentity, which needs no permission."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil

from fleet.platforms.diagnosis import LIMIT, Verdict, run
from fleet.stack_config import ConfigReader, Secure

_HOW = "`aws configure sso` and `aws sso login`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def identity(config: ConfigReader, region: str) -> Verdict:
    """Who this machine is for AWS.

    Args:
        config: Reads the stack's config.
        region: The stack's region.
    """
    if isinstance(config("aws:accessKey"), Secure) or isinstance(config("aws:secretKey"), Secure):
        return Verdict(
            None, "the stack's config has them as a secret, which is not read here; `fleet preview` uses them"
        )
    profile = config("aws:profile") or ""
    if importlib.util.find_spec("boto3"):
        return _by_sdk(profile, region)
    if shutil.which("aws"):
        options = [*(["--profile", profile] if profile else []), *(["--region", region] if region else [])]
        answer = run("aws", "sts", "get-caller-identity", "--output", "json", *options)
        if answer.returncode == 0:
            return Verdict(True, str(json.loads(answer.stdout)["Arn"]))
        return Verdict(False, f"{_reason(answer.stderr)}: {_HOW}")
    return Verdict(None, "not tried: with `pip install boto3`, or AWS's command line, they would be")


def _by_sdk(profile: str, region: str) -> Verdict:
    boto3 = importlib.import_module("boto3")
    exceptions = importlib.import_module("botocore.exceptions")
    settings = importlib.import_module("botocore.config").Config(
        connect_timeout=LIMIT / 2, read_timeout=LIMIT / 2, retries={"total_max_attempts": 1}
    )
    try:
        session = boto3.Session(profile_name=profile or None, region_name=region or "us-east-1")
        return Verdict(True, str(session.client("sts", config=settings).get_caller_identity()["Arn"]))
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        return Verdict(False, f"{_reason(str(error))}: {_HOW}")


def _reason(text: str) -> str:
    return " ".join(text.split()).rstrip(".") or "they do not work"
