"""Every operation of `RestClient` and `AdminClient`, with arguments the stub knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tests.client.protocol_stub import Stub
from tests.client.stub_rest import PROJECT, RUN, SESSION
from tinker_nb.client.rest.admin import AdminClient
from tinker_nb.client.rest.base import RestOperations
from tinker_nb.client.rest.client import RestClient
from tinker_nb.wire.sessions import AccessibleSearchOwner, SessionSearchRequest

#: A JWT without a signature: {"sub": "urn:user:1", "org_id": "org-1", "email": "me@example"}
JWT = (
    "eyJhbGciOiJub25lIn0."
    "eyJzdWIiOiJ1cm46dXNlcjoxIiwib3JnX2lkIjoib3JnLTEiLCJlbWFpbCI6Im1lQGV4YW1wbGUifQ."
)
WINDOW = ("2026-07-13T00:00:00Z", "2026-07-14T00:00:00Z")
SEARCH = SessionSearchRequest(
    display_name="nightly", owner=AccessibleSearchOwner(), user_metadata={"k": "v"}, limit=2
)
#: The arguments of the i-th of several calls at once: what one call uses up, others leave alone.
Arguments = Callable[[int, Path], tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True)
class Operation:
    """One operation and how to call it."""

    name: str
    arguments: Arguments
    owner: type[RestOperations] = RestClient
    key: str = "tml-test"
    is_official: bool = True

    @property
    def sends(self) -> bool:
        """Whether anything goes to the server."""
        return self.name != "whoami"

    def client(self, stub: Stub, **options: Any) -> RestOperations:
        """Return a client that has it."""
        return self.owner(base_url=stub.url, api_key=self.key, **options)

    def blocking(self, client: Any, index: int, folder: Path) -> Any:
        """Call the blocking form and wait."""
        args, more = self.arguments(index, folder)
        return getattr(client, self.name)(*args, **more).result(timeout=30)

    async def awaited(self, client: Any, index: int, folder: Path) -> Any:
        """Call the async form and wait."""
        args, more = self.arguments(index, folder)
        return await getattr(client, f"{self.name}_async")(*args, **more)


def _call(*args: Any, **more: Any) -> Arguments:
    return lambda _, __: (args, more)


def _on(kind: str, *args: Any, name: str = "step", **more: Any) -> Arguments:
    """Return arguments that begin with a checkpoint's path."""
    return lambda index, _: ((f"tinker://{RUN}/{kind}/{name}-{index}", *args), more)


def _export(index: int, folder: Path) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (f"tinker://{RUN}/external_weights/step-{index}", folder / str(index)), {}


_ADMIN = (
    ("get_audit_log", _call("checkpoints", date(2026, 7, 13))),
    ("get_billing_usage", _call(*WINDOW)),
    ("get_current_checkpoint_storage_usage", _call(PROJECT)),
)
OPERATIONS = [
    Operation("get_server_capabilities", _call()),
    Operation("get_training_run", _call(RUN)),
    Operation("get_training_run_by_tinker_path", _on("weights", "accessible")),
    Operation("get_weights_info_by_tinker_path", _on("sampler_weights")),
    Operation("list_training_runs", _call(5, 0, "owned", PROJECT)),
    Operation("list_checkpoints", _call(RUN)),
    Operation("list_user_checkpoints", _call(3, offset=2)),
    Operation("get_external_weights_urls", _on("external_weights")),
    Operation("delete_checkpoint", lambda index, _: ((RUN, f"weights/step-{index}"), {})),
    Operation("delete_checkpoint_from_tinker_path", _on("sampler_weights")),
    Operation("publish_checkpoint_from_tinker_path", _on("weights")),
    Operation("unpublish_checkpoint_from_tinker_path", _on("weights", name="public")),
    Operation("set_checkpoint_ttl_from_tinker_path", _on("weights", None)),
    Operation(
        "copy_weights",
        _on("weights", PROJECT, ttl_seconds=7200, weights_access_token="open-sesame"),
    ),
    Operation("list_sessions", _call(2, 1)),
    Operation("get_session", _call(SESSION, access_scope="accessible")),
    Operation("assign_session_project", _call(SESSION, PROJECT)),
    Operation("export_session_trace", _call(SESSION)),
    Operation("search_sessions", _call(SEARCH)),
    Operation("whoami", _call(), key=JWT),
    Operation("get_sampler", _call("session-a:sample:0")),
    *(Operation(name, arguments) for name, arguments in _ADMIN),
    *(Operation(name, arguments, AdminClient) for name, arguments in _ADMIN),
    Operation("get_checkpoint_archive_url", _call(RUN, "weights/step-0"), is_official=False),
    Operation(
        "get_checkpoint_archive_url_from_tinker_path", _on("sampler_weights"), is_official=False
    ),
    Operation("download_checkpoint", _export, is_official=False),
]


def title(operation: Operation) -> str:
    """Return what a test on an operation is called."""
    return f"{operation.owner.__name__}.{operation.name}"
