"""What a server can do, as a table."""

from __future__ import annotations

from dataclasses import dataclass

from tinker_nb.client.server import Greeting

#: The operations of all clients, by the names a user calls; the async forms go with them.
OPERATIONS = (
    "create_lora_training_client",
    "create_training_client_from_state",
    "create_training_client_from_state_with_optimizer",
    "create_sampling_client",
    "forward",
    "forward_backward",
    "forward_backward_custom",
    "optim_step",
    "save_state",
    "load_state",
    "load_state_with_optimizer",
    "save_weights_for_sampler",
    "save_weights_external",
    "save_weights_and_get_sampling_client",
    "sample",
    "compute_logprobs",
    "create_custom_loss",
    "cancel_future",
    "get_info",
    "get_tokenizer_files",
    "get_server_capabilities",
    "list_training_runs",
    "get_training_run",
    "list_checkpoints",
    "list_user_checkpoints",
    "get_weights_info_by_tinker_path",
    "get_external_weights_urls",
    "get_checkpoint_archive_url",
    "delete_checkpoint",
    "publish_checkpoint_from_tinker_path",
    "unpublish_checkpoint_from_tinker_path",
    "set_checkpoint_ttl_from_tinker_path",
    "copy_weights",
    "list_sessions",
    "get_session",
    "search_sessions",
    "assign_session_project",
    "export_session_trace",
    "get_sampler",
    "get_audit_log",
    "get_billing_usage",
    "get_current_checkpoint_storage_usage",
)


@dataclass(frozen=True)
class Capability:
    """One operation: whether the server has it, and what to know of it."""

    operation: str
    supported: bool
    note: str = ""


@dataclass(frozen=True)
class Capabilities:
    """What a server can do, as far as is known without trying; ``print`` shows a table.

    Parameters
    ----------
    server
        What it is and where.
    data
        What training data it takes: ``tokens`` or ``conversations``.
    rows
        One per operation.
    """

    server: str
    data: str
    rows: tuple[Capability, ...]

    def lacks(self, operation: str) -> bool:
        """Say whether the server is known to lack an operation."""
        return any(row.operation == operation and not row.supported for row in self.rows)

    def __str__(self) -> str:
        width = max(len(row.operation) for row in self.rows)
        lines = [
            f"{row.operation:<{width}}  {'yes' if row.supported else 'no '}  {row.note}".rstrip()
            for row in self.rows
        ]
        return "\n".join([f"{self.server}; trains on {self.data}", *lines])


def capabilities_of(greeting: Greeting, base_url: str) -> Capabilities:
    """Return the table of a server that presented itself."""
    dialect = greeting.dialect
    rows = tuple(_row(name, greeting) for name in OPERATIONS)
    data = "conversations" if dialect.takes_chat else "tokens"
    return Capabilities(f"{dialect.name} at {base_url}", data, rows)


def _row(operation: str, greeting: Greeting) -> Capability:
    reason = greeting.dialect.missing.get(operation)
    if reason is not None:
        return Capability(operation, False, reason)
    if operation == "cancel_future" and not greeting.can_cancel:
        return Capability(operation, False, "it works on though nobody waits")
    return Capability(operation, True, _NOTES.get((greeting.dialect.key, operation), ""))


_NOTES = {
    ("tinkerbell", "save_weights_and_get_sampling_client"): "it follows the weights in training",
    ("tinkerbell", "sample"): "one answer, as text",
    ("skyrl", "forward_backward"): "each submission is done as it comes, also a repeated one",
}
