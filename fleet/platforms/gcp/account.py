"""Whether Google Cloud takes this machine's credentials: asked for the stack's project in Compute Engine."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from pathlib import Path

from fleet.platforms.diagnosis import LIMIT, Verdict, run
from fleet.stack_config import ConfigReader, Secure

_HOW = "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS"
_SCOPE = "https://www.googleapis.com/auth/compute.readonly"
API = "https://compute.googleapis.com"


def access(config: ConfigReader, project: str) -> Verdict:
    """What Google Cloud answers to the credentials.

    Args:
        config: Reads the stack's config.
        project: The stack's project.
    """
    import httpx  # slow to import, and no plan needs it

    if any(isinstance(config(f"gcp:{key}"), Secure) for key in ("credentials", "accessToken")):
        return Verdict(
            None, "the stack's config has them as a secret, which is not read here; `fleet preview` uses them"
        )
    if not project:
        return Verdict(False, "the stack names no project: `pulumi config set gcp:project PROJECT`")
    token = _token()
    if isinstance(token, Verdict):
        return token
    try:
        answer = httpx.get(
            f"{API}/compute/v1/projects/{project}?fields=name",
            headers={"Authorization": f"Bearer {token}"},
            timeout=LIMIT / 2,
        )
    except (httpx.HTTPError, UnicodeError) as error:
        return Verdict(False, f"{API} does not answer ({type(error).__name__}): check the network")
    if answer.status_code == 200:
        return Verdict(True, f"project {project} answers")
    refused = {401: f"Google Cloud refuses them: {_HOW}",
               403: f"they may not see Compute Engine in project {project}: grant a role, and enable the API",
               404: f"there is no project {project}: `pulumi config set gcp:project PROJECT`"}  # fmt: skip
    return Verdict(False, refused.get(answer.status_code, f"{API} answered {answer.status_code}"))


def _token() -> str | Verdict:
    """An access token, or why there is none. It is never shown."""
    if token := os.environ.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
        return token
    if importlib.util.find_spec("google") and importlib.util.find_spec("google.auth"):
        auth, requests = (
            importlib.import_module("google.auth"),
            importlib.import_module("google.auth.transport.requests"),
        )
        try:
            credentials, _ = auth.default(scopes=[_SCOPE])
            credentials.refresh(requests.Request())
            return str(credentials.token)
        except auth.exceptions.GoogleAuthError as error:
            return Verdict(False, f"there are none that work ({type(error).__name__}): {_HOW}")
    if shutil.which("gcloud"):
        answer = run("gcloud", "auth", "application-default", "print-access-token")
        return answer.stdout.strip() if answer.returncode == 0 else Verdict(False, f"gcloud has none: {_HOW}")
    file = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or str(
        Path.home() / ".config/gcloud/application_default_credentials.json"
    )
    if Path(file).is_file() or os.environ.get("GOOGLE_CREDENTIALS"):
        return Verdict(None, "not tried: with `pip install 'google-auth[requests]'`, or gcloud, they would be")
    return Verdict(False, f"there are none: {_HOW}")
