"""Where a server is, and the key that opens it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from tinker_nb.client.credentials import Credential, find_credential
from tinker_nb.client.retry import DEFAULT_POLICY, RetryPolicy
from tinker_nb.errors import ConfigurationError

HOSTED_URL = "https://tinker.thinkingmachines.dev/services/tinker-prod"
#: The hosted service's own pages.
CONSOLE = "https://tinker.thinkingmachines.ai"


@dataclass(frozen=True)
class Endpoint:
    """Where a server is, and the key that opens it. Its repr never shows the key.

    Parameters
    ----------
    base_url
        Where it is.
    api_key
        The key.
    retry
        How patient to be with it.
    headers
        Sent with each request.
    credential_cmd
        A shell command that prints a credential.
    """

    base_url: str
    api_key: SecretStr | None = None
    retry: RetryPolicy = field(default=DEFAULT_POLICY)
    headers: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)
    credential_cmd: SecretStr | None = field(default=None, repr=False)

    @property
    def credential(self) -> Credential:
        """What there is to open it with."""
        return Credential(self.api_key, self.credential_cmd)

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return is_loopback(self.base_url)


def is_loopback(url: str) -> bool:
    """Say whether a URL's host is this machine."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified  # 0.0.0.0 leads here too


def find_endpoint(
    base_url: str | None = None,
    api_key: str | SecretStr | None = None,
    retry: RetryPolicy = DEFAULT_POLICY,
    headers: Mapping[str, str | SecretStr] | None = None,
) -> Endpoint:
    """Return the endpoint of the arguments, filled up from the environment.

    A server elsewhere is opened with the argument, ``TINKER_API_KEY``, what the command in
    ``TINKER_CREDENTIAL_CMD`` prints, or the key that `tinker auth login` has stored. For a server
    on this machine only the first two are used, so that a key to the hosted service never travels
    to whatever happens to listen here.

    Raises
    ------
    ConfigurationError
        The URL is none, or there is no key for a server elsewhere.
    """
    url = (base_url or os.environ.get("TINKER_BASE_URL") or HOSTED_URL).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is no server URL; it begins with http:// or https://.")
    found = find_credential(api_key, is_local=is_loopback(url))
    # What is sent with each request may be a secret too, such as a pass through a company's gate.
    sealed = {
        name: value if isinstance(value, SecretStr) else SecretStr(value)
        for name, value in (headers or {}).items()
    }
    return Endpoint(url, found.key, retry, sealed, found.command)
