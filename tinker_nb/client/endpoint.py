"""Where a server is, and the key that opens it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from tinker_nb.client.retry import DEFAULT_POLICY, RetryPolicy
from tinker_nb.errors import ConfigurationError

HOSTED_URL = "https://tinker.thinkingmachines.dev/services/tinker-prod"
#: The hosted service's own pages.
CONSOLE = "https://tinker.thinkingmachines.ai"


@dataclass(frozen=True)
class Endpoint:
    """Where a server is, and the key that opens it. Its repr never shows the key."""

    base_url: str
    api_key: SecretStr | None = None
    retry: RetryPolicy = field(default=DEFAULT_POLICY)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return is_loopback(self.base_url)


def is_loopback(url: str) -> bool:
    """Say whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_endpoint(
    base_url: str | None = None,
    api_key: str | SecretStr | None = None,
    retry: RetryPolicy = DEFAULT_POLICY,
    headers: Mapping[str, str] | None = None,
) -> Endpoint:
    """Return the endpoint of the arguments, filled up from the environment.

    Raises
    ------
    ConfigurationError
        The URL is none, or a server elsewhere has no key.
    """
    url = (base_url or os.environ.get("TINKER_BASE_URL") or HOSTED_URL).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is no server URL; it begins with http:// or https://.")
    return Endpoint(url, _found_key(api_key, url), retry, dict(headers or {}))


def _found_key(api_key: str | SecretStr | None, url: str) -> SecretStr | None:
    """Return the key from the argument or ``TINKER_API_KEY``; a server here may need none."""
    if isinstance(api_key, SecretStr):
        return api_key
    key = api_key or os.environ.get("TINKER_API_KEY")
    if key:
        return SecretStr(key)
    if is_loopback(url):
        return None
    raise ConfigurationError(
        "There is no key for this server.", advice="Set TINKER_API_KEY, or give api_key."
    )
