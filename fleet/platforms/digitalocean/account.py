"""Whether DigitalOcean takes this machine's token: asked for its account, which any token may."""

from __future__ import annotations

import os

from fleet.platforms.diagnosis import LIMIT, Verdict
from fleet.stack_config import ConfigReader, Secure

_HOW = "make one at https://cloud.digitalocean.com/account/api/tokens and set DIGITALOCEAN_TOKEN"


def account(config: ConfigReader) -> Verdict:
    """What DigitalOcean answers to the token.

    Args:
        config: Reads the stack's config.
    """
    import httpx  # slow to import, and no plan needs it

    token = config("digitalocean:token")
    if isinstance(token, Secure):
        return Verdict(
            None, "the stack's config has the token as a secret, which is not read here; `fleet preview` uses it"
        )
    token = token or os.environ.get("DIGITALOCEAN_TOKEN") or os.environ.get("DIGITALOCEAN_ACCESS_TOKEN")
    if not token:
        return Verdict(False, f"there is no token: {_HOW}")
    url = os.environ.get("DIGITALOCEAN_API_URL", "https://api.digitalocean.com").rstrip("/")
    try:
        answer = httpx.get(f"{url}/v2/account", headers={"Authorization": f"Bearer {token}"}, timeout=LIMIT / 2)
        if answer.status_code == 401:
            return Verdict(False, f"DigitalOcean refuses the token: {_HOW}")
        if answer.status_code == 403:
            return Verdict(None, "DigitalOcean knows the token, which may not see its account (scope `account:read`)")
        answer.raise_for_status()
        return Verdict(True, f"the account is {answer.json()['account']['status']}")
    except httpx.HTTPStatusError as error:
        return Verdict(None, f"{url} answered {error.response.status_code}")
    except (httpx.HTTPError, ValueError, KeyError, TypeError, UnicodeError) as error:
        # Of what is wrong with a header, the text would have the token.
        return Verdict(False, f"{url} does not answer as DigitalOcean does ({type(error).__name__}): check the network")
