"""RestClient: runs, checkpoints, sessions and accounts, without a session of its own."""

from __future__ import annotations

import base64
import json
from typing import Any

from tinker_nb.client.operations import future_of
from tinker_nb.client.rest.admin import AdminOperations
from tinker_nb.client.rest.checkpoints import CheckpointOperations
from tinker_nb.client.rest.files import FileOperations
from tinker_nb.client.rest.runs import RunOperations
from tinker_nb.client.rest.sessions import SessionOperations
from tinker_nb.errors import ConfigurationError
from tinker_nb.wire.rest import WhoamiResponse


class RestClient(
    RunOperations, CheckpointOperations, FileOperations, SessionOperations, AdminOperations
):
    """Runs, checkpoints, sessions and accounts of one server.

    It needs no session and sends nothing before the first call. Each operation has two forms: the
    plain one gives a `TinkerFuture`, the ``_async`` one is awaited for the value.

    Parameters
    ----------
    base_url
        The server; ``TINKER_BASE_URL`` or the hosted service when not given.
    api_key
        The key; ``TINKER_API_KEY`` when not given. A server on this machine may need none.
    retry
        How patient to be with a server that fails.

    Examples
    --------
    >>> with RestClient() as rest:
    ...     runs = rest.list_training_runs().result().training_runs
    >>> async with RestClient() as rest:
    ...     runs = (await rest.list_training_runs_async()).training_runs
    """

    async def whoami_async(self) -> WhoamiResponse:
        """Return whose key this is, as the key itself says; nothing is sent.

        Only a key that is a JWT says it. Exchanging another key for one is not done here.

        Raises
        ------
        ConfigurationError
            The key says nothing of its owner.

        Examples
        --------
        >>> rest.whoami().result().user_urn
        >>> (await rest.whoami_async()).user_urn
        """
        key = (await self._server.transport.ready()).api_key
        return identity_in(key.get_secret_value() if key is not None else "")

    whoami = future_of(whoami_async)


def identity_in(key: str) -> WhoamiResponse:
    """Return whose key it is; raises `ConfigurationError`, in which the key does not appear."""
    if not key.startswith("eyJ"):
        raise ConfigurationError(
            "This key does not say whose it is: only a JWT does, which begins with eyJ.",
            advice="This client does not exchange keys for JWTs; give it one as api_key.",
        )
    claims = _claims(key)
    if not (claims.get("sub") and claims.get("org_id")):
        raise ConfigurationError("This key is a JWT that does not say whose it is.")
    return WhoamiResponse(
        user_urn=str(claims["sub"]),
        org_urn=f"tml:organization:{claims['org_id']}",
        email=claims.get("email") or None,
    )


def _claims(key: str) -> dict[str, Any]:
    """Return what a JWT says, or nothing; it is not verified, for the server does that."""
    payload = [*key.split("."), ""][1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}
