"""Where each operation lives: the endpoints of the official protocol, by the client's method.

One table for all who must know: what a server says it has is compared with it, and the table of
capabilities is made of it. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from tinker_nb.client.kinds import KINDS

# One id may be written as several parameters: a checkpoint's as its kind and its name.
_ID = re.compile(r"\{[^}]*\}(/\{[^}]*\})*")


class Route(NamedTuple):
    """One endpoint; ``{}`` stands in the place of each id in its path."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def route(method: str, path: str) -> Route:
    """Return an endpoint from a path in which ids may have names, such as ``{model_id}``."""
    return Route(method.upper(), _ID.sub("{}", path))


def _api(method: str, path: str) -> tuple[Route, ...]:
    return (Route(method, f"/api/v1/{path}"),)


#: Operations that are answered with a future, by the kind of their request.
_CALLS = {
    "create_lora_training_client": "CreateModel",
    "create_training_client_from_state": "LoadWeights",
    "create_training_client_from_state_with_optimizer": "LoadWeights",
    "forward": "Forward",
    "forward_backward": "ForwardBackward",
    "forward_backward_custom": "ForwardBackward",
    "optim_step": "OptimStep",
    "save_state": "SaveWeights",
    "load_state": "LoadWeights",
    "load_state_with_optimizer": "LoadWeights",
    "save_weights_for_sampler": "SaveWeightsForSampler",
    "save_weights_and_get_sampling_client": "SaveWeightsForSampler",
    "save_weights_external": "SaveWeightsExternal",
    "sample": "Sample",
    "compute_logprobs": "Sample",
    # A server that cannot run losses itself must only be able to do what stands in for that; one
    # that can says so in its wishes.
    "create_custom_loss": "ForwardBackward",
    "unload_model": "UnloadModel",
}
_RUN = "training_runs/{}"
_CHECKPOINT = f"{_RUN}/checkpoints/{{}}"
_SESSION = "sessions/{}"
_ARCHIVE = _api("GET", f"{_CHECKPOINT}/archive")
_URLS = _api("GET", f"{_CHECKPOINT}/external_weights_urls")
_SAMPLER = _api("GET", "samplers/{}")
_AT_ONCE = {
    "create_sampling_client": _api("POST", "create_sampling_session"),
    "get_server_capabilities": _api("GET", "get_server_capabilities"),
    "get_tokenizer_files": _api("GET", "tokenizer"),
    "get_info": _api("POST", "get_info"),
    "get_base_model": _SAMPLER,
    "get_sampler": _SAMPLER,
    "cancel_future": _api("POST", "cancel_future"),
    "list_training_runs": _api("GET", "training_runs"),
    "get_training_run": _api("GET", _RUN),
    "get_training_run_by_tinker_path": _api("GET", _RUN),
    "list_checkpoints": _api("GET", f"{_RUN}/checkpoints"),
    "list_user_checkpoints": _api("GET", "checkpoints"),
    "get_weights_info_by_tinker_path": _api("POST", "weights_info"),
    "get_external_weights_urls": _URLS,
    "get_checkpoint_archive_url": _ARCHIVE,
    "get_checkpoint_archive_url_from_tinker_path": _ARCHIVE,
    "download_checkpoint": _URLS + _ARCHIVE,
    "delete_checkpoint": _api("DELETE", _CHECKPOINT),
    "delete_checkpoint_from_tinker_path": _api("DELETE", _CHECKPOINT),
    "publish_checkpoint_from_tinker_path": _api("POST", f"{_CHECKPOINT}/publish"),
    "unpublish_checkpoint_from_tinker_path": _api("DELETE", f"{_CHECKPOINT}/publish"),
    "set_checkpoint_ttl_from_tinker_path": _api("PUT", f"{_CHECKPOINT}/ttl"),
    "copy_weights": _api("POST", "copy_weights"),
    "list_sessions": _api("GET", "sessions"),
    "get_session": _api("GET", _SESSION),
    "assign_session_project": _api("PUT", f"{_SESSION}/project"),
    "export_session_trace": _api("GET", f"{_SESSION}/trace_export"),
    "search_sessions": _api("POST", "sessions/search"),
    "get_audit_log": _api("GET", "audit"),
    "get_billing_usage": _api("GET", "billing/usage/events"),
    "get_current_checkpoint_storage_usage": _api("GET", "billing/usage/checkpoints/current"),
}
#: The endpoints of each operation. Where there are several, any one of them will do; an operation
#: that is not here needs none.
ROUTES: Mapping[str, tuple[Route, ...]] = {
    name: (Route("POST", KINDS[kind].path),) for name, kind in _CALLS.items()
} | _AT_ONCE
