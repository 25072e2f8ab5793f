"""Whether Google Cloud takes this machine's credentials: asked for the stack's project in Compute Engine."""

from __future__ import annotations

from fleet.errors import FleetError
from fleet.platforms.diagnosis import LIMIT, Verdict
from fleet.platforms.gcp.credentials import HOW, Credentials, are_readable
from fleet.stack_config import ConfigReader, Secure

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
    if not are_readable():
        return Verdict(None, "not tried: with `pip install 'fcos-fleet[gcp]'`, they would be")
    try:
        token = Credentials().token()
        answer = httpx.get(
            f"{API}/compute/v1/projects/{project}?fields=name",
            headers={"Authorization": f"Bearer {token}"},
            timeout=LIMIT / 2,
        )
    except FleetError as error:
        return Verdict(False, f"{error} Use {HOW}")
    except (httpx.HTTPError, UnicodeError) as error:
        return Verdict(False, f"{API} does not answer ({type(error).__name__}): check the network")
    if answer.status_code == 200:
        return Verdict(True, f"project {project} answers")
    refused = {401: f"Google Cloud refuses them: {HOW}",
               403: f"they may not see Compute Engine in project {project}: grant a role, and enable the API",
               404: f"there is no project {project}: `pulumi config set gcp:project PROJECT`"}  # fmt: skip
    return Verdict(False, refused.get(answer.status_code, f"{API} answered {answer.status_code}"))
