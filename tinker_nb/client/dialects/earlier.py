"""JSON throughout, as SDKs before 0.25 spoke it (section 7.1), and SkyRL's own ways (7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from tinker_nb.client.dialects.official import Dialect, refuse_chat
from tinker_nb.client.exchange import Accepted, Payload, Reply, Request, detail_of, json_payload
from tinker_nb.client.kinds import Ask, Kind
from tinker_nb.client.polling import Outcome, Over
from tinker_nb.client.states import FutureState
from tinker_nb.errors import NotSupportedByServer, RequestFailedError
from tinker_nb.wire.jsonform import forward_backward_to_json
from tinker_nb.wire.protobuf import ForwardBackwardRequest
from tinker_nb.wire.requests import OptimStepRequest, SampleRequest
from tinker_nb.wire.results import ForwardBackwardOutput, SampleResponse

_NEWER = "it came with later servers"
_ABSENT = "it has no such endpoint"


class EarlierJson(Dialect):
    """Servers of earlier SDKs: the same flow, everything in JSON, ``/forward`` on its own."""

    key = "json"
    name = "A Tinker server of the JSON generation"
    missing: ClassVar[Mapping[str, str]] = {
        "create_training_client_from_state": "it loads a checkpoint into an existing model only",
        "create_training_client_from_state_with_optimizer": (
            "it loads a checkpoint into an existing model only"
        ),
        "save_weights_external": _NEWER,
        "get_external_weights_urls": _NEWER,
        "copy_weights": _NEWER,
        "create_custom_loss": _NEWER,
        "search_sessions": _NEWER,
        "assign_session_project": _NEWER,
        "export_session_trace": _NEWER,
        "cancel_future": _NEWER,
        "get_audit_log": _NEWER,
        "get_billing_usage": _NEWER,
        "get_current_checkpoint_storage_usage": _NEWER,
    }

    def request(self, ask: Ask) -> Request:
        """Return what to send for a call."""
        request = super().request(ask)
        if isinstance(ask, ForwardBackwardRequest) and ask.forward_only:
            return replace(request, path="/api/v1/forward")
        return request

    def payload(self, ask: Ask) -> Payload:
        """Return the body of a call, all of it JSON."""
        if isinstance(ask, ForwardBackwardRequest):
            refuse_chat(ask)
            return json_payload(forward_backward_to_json(ask))
        return super().payload(ask)

    def poll(self, kind: Kind, request_id: str, known_state: str, iteration: int) -> Request:
        """Return the request that asks for a result."""
        request = super().poll(kind, request_id, known_state, iteration)
        return replace(request, headers={**request.headers, "Accept": "application/json"})

    def output(self, reply: Reply) -> ForwardBackwardOutput:
        """Read a result; where it has no metrics, the loss is the sum of its summands."""
        output = super().output(reply)
        summands = [each.get("elementwise_loss") for each in output.loss_fn_outputs]
        if "loss:sum" in output.metrics or not summands:
            return output
        known = [each for each in summands if each is not None]
        if len(known) < len(summands):
            return output
        total = float(sum(each.to_numpy().sum() for each in known))
        return replace(output, metrics={**output.metrics, "loss:sum": total})


class SkyRL(EarlierJson):
    """SkyRL's ``tinker`` server, 0.3."""

    key = "skyrl"
    name = "SkyRL"
    deduplicates = False  # it works off what comes, whatever its seq_id
    missing: ClassVar[Mapping[str, str]] = {
        **EarlierJson.missing,
        **dict.fromkeys(
            (
                "list_sessions",
                "get_session",
                "list_user_checkpoints",
                "delete_checkpoint",
                "delete_checkpoint_from_tinker_path",
                "publish_checkpoint_from_tinker_path",
                "unpublish_checkpoint_from_tinker_path",
                "set_checkpoint_ttl_from_tinker_path",
            ),
            _ABSENT,
        ),
        "load_state": "it always restores the optimizer; use load_state_with_optimizer",
    }

    def payload(self, ask: Ask) -> Payload:
        """Return the body of a call in the form its stricter models take."""
        if isinstance(ask, SampleRequest):
            return json_payload(_strict_sample(ask))
        if isinstance(ask, OptimStepRequest) and ask.optimizer_params is not None:
            raise NotSupportedByServer("optim_step", self.name, reason="it has AdamW only")
        return super().payload(ask)

    def read_poll(self, reply: Reply, request_id: str) -> Outcome:
        """Say what the answer of a poll means: 400 is a failed future here."""
        if reply.status == 400:
            said, _ = detail_of(reply)
            return Over(FutureState.FAILED, RequestFailedError(said, request_id=request_id))
        return super().read_poll(reply, request_id)

    def samples(self, reply: Reply, accepted: Accepted) -> SampleResponse:
        """Read a result; its prompt log-probabilities leave out the first token."""
        response = super().samples(reply, accepted)
        if response.prompt_logprobs is None:
            return response
        return replace(response, prompt_logprobs=[None, *response.prompt_logprobs])


def _strict_sample(ask: SampleRequest) -> dict[str, Any]:
    """Return a sample's body: ``max_tokens`` must be there, and ``stop`` be a list."""
    body = ask.to_wire()
    params = body["sampling_params"]
    if params.get("max_tokens") is None:
        raise NotSupportedByServer(
            "sample without max_tokens", SkyRL.name, reason="set SamplingParams(max_tokens=…)"
        )
    if isinstance(params.get("stop"), str):
        params["stop"] = [params["stop"]]
    return body
