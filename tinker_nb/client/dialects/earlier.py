"""JSON throughout, as SDKs before 0.25 spoke it (section 7.1), and SkyRL's own ways (7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from tinker_nb.client.dialects.ignored import LAYERS, NEWER_EXTRAS, Ignored
from tinker_nb.client.dialects.official import Dialect, refuse_chat
from tinker_nb.client.exchange import Accepted, Payload, Reply, Request, detail_of, json_payload
from tinker_nb.client.kinds import Ask, Kind
from tinker_nb.client.polling import Outcome, Over
from tinker_nb.client.routes import Route
from tinker_nb.client.states import FutureState
from tinker_nb.errors import NotSupportedByServer, RequestFailedError
from tinker_nb.wire.jsonform import forward_backward_to_json
from tinker_nb.wire.protobuf import ForwardBackwardRequest
from tinker_nb.wire.requests import (
    CreateModelRequest,
    LoadWeightsRequest,
    OptimStepRequest,
    SampleRequest,
    SaveWeightsForSamplerRequest,
    SaveWeightsRequest,
)
from tinker_nb.wire.results import ForwardBackwardOutput, SampleResponse

_FORWARD = "/api/v1/forward"
_NEWER = "it came with later servers"
_ABSENT = "it has no such endpoint"
_INTO_A_MODEL = "it loads into an existing model only"
_OURS = "only the embedded server gives them"
_AT_SAVING = ("ttl_seconds", "user_metadata")


class EarlierJson(Dialect):
    """Servers of earlier SDKs: the same flow, everything in JSON, ``/forward`` on its own."""

    key = "json"
    name = "A Tinker server of the JSON generation"
    missing: ClassVar[Mapping[str, str]] = {
        "create_training_client_from_state": _INTO_A_MODEL,
        "create_training_client_from_state_with_optimizer": _INTO_A_MODEL,
        "get_tokenizer_files": _OURS,
        **dict.fromkeys(
            (
                "save_weights_external",
                "get_external_weights_urls",
                "copy_weights",
                "search_sessions",
                "assign_session_project",
                "export_session_trace",
                "cancel_future",
                "get_audit_log",
                "get_billing_usage",
                "get_current_checkpoint_storage_usage",
            ),
            _NEWER,
        ),
    }
    ignored: ClassVar[Ignored] = {SampleRequest: NEWER_EXTRAS}

    def routes(self, operation: str) -> tuple[Route, ...]:
        """Return the endpoints of an operation, any one of which will do."""
        return (Route("POST", _FORWARD),) if operation == "forward" else super().routes(operation)

    def request(self, ask: Ask) -> Request:
        """Return what to send for a call."""
        request = super().request(ask)
        if isinstance(ask, ForwardBackwardRequest) and ask.forward_only:
            return request.at(_FORWARD)
        return request

    def payload(self, ask: Ask) -> Payload:
        """Return the body of a call, all of it JSON."""
        if isinstance(ask, ForwardBackwardRequest):
            refuse_chat(ask)
            return json_payload(forward_backward_to_json(ask))
        refuse_other_optimizers(ask, self.name)
        return super().payload(ask)

    def poll(self, kind: Kind, request_id: str, known_state: str, iteration: int) -> Request:
        """Return the request that asks for a result."""
        request = super().poll(kind, request_id, known_state, iteration)
        return replace(request, headers={**request.headers, "Accept": "application/json"})

    def output(self, reply: Reply) -> ForwardBackwardOutput:
        """Read a result; where no metric is the loss, it is the sum of the summands."""
        output = super().output(reply)
        summands = [each.get("elementwise_loss") for each in output.loss_fn_outputs]
        known = [each for each in summands if each is not None]
        if "loss:sum" in output.metrics or not known or len(known) < len(summands):
            return output
        total = float(sum(each.to_numpy().sum() for each in known))
        return replace(output, metrics={**output.metrics, "loss:sum": total})


class SkyRL(EarlierJson):
    """SkyRL's ``tinker`` server, 0.3."""

    key = "skyrl"
    name = "SkyRL"
    deduplicates = False  # it works off what comes, whatever its seq_id
    is_one_server = True
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
    notes: ClassVar[Mapping[str, str]] = {
        "create_lora_training_client": "rank and seed only",
        "forward_backward": "some backends give means where others give sums",
        "optim_step": "AdamW without grad_clip_norm",
        "sample": "max_tokens must be set",
        "save_state": "without ttl_seconds and user_metadata",
        "save_weights_for_sampler": "without ttl_seconds and user_metadata",
        "get_weights_info_by_tinker_path": "of weights to train on only",
        "get_checkpoint_archive_url": "of weights to sample from only",
        "get_checkpoint_archive_url_from_tinker_path": "of weights to sample from only",
        "download_checkpoint": "of weights to sample from only",
    }
    ignored: ClassVar[Ignored] = {
        SampleRequest: ("topk_prompt_logprobs", *NEWER_EXTRAS),
        CreateModelRequest: LAYERS,
        OptimStepRequest: ("adam_params.grad_clip_norm",),
        SaveWeightsRequest: _AT_SAVING,
        SaveWeightsForSamplerRequest: ("kind", *_AT_SAVING),
        LoadWeightsRequest: ("weights_access_token",),
    }

    def at(self, operation: str, path: str) -> str:
        """Return where it has an operation: its archives go by bare names."""
        if not path.endswith("/archive"):
            return path
        if "/checkpoints/weights/" in path:
            raise NotSupportedByServer(
                operation, self.name, reason="it has archives of weights to sample from only"
            )
        return path.replace("/checkpoints/sampler_weights/", "/checkpoints/")

    def payload(self, ask: Ask) -> Payload:
        """Return the body of a call in the form its stricter models take."""
        if isinstance(ask, SampleRequest):
            return json_payload(_strict_sample(ask))
        return super().payload(ask)

    def understood(self, reply: Reply) -> Reply:
        """Return an answer with the status it means: a conflict is there to stay."""
        if reply.status != 409:
            return reply
        return replace(reply, headers={**reply.headers, "x-should-retry": "false"})

    def poll(self, kind: Kind, request_id: str, known_state: str, iteration: int) -> Request:
        """Return the request that asks for a result; it may be held for five minutes."""
        return replace(super().poll(kind, request_id, known_state, iteration), timeout=330.0)

    def read_poll(self, reply: Reply, request_id: str) -> Outcome:
        """Say what the answer of a poll means: 400 is a failed future, 500 one without a reason."""
        if reply.status not in (400, 500):
            return super().read_poll(reply, request_id)
        said, _ = detail_of(reply)
        if reply.status == 500 and said != "Unknown error":
            return super().read_poll(reply, request_id)
        category = "unknown" if reply.status == 400 else "server"
        failed = RequestFailedError(said, request_id=request_id, category=category)  # type: ignore[arg-type]  # one of the two
        return Over(FutureState.FAILED, failed)

    def samples(self, reply: Reply, accepted: Accepted) -> SampleResponse:
        """Read a result; its prompt log-probabilities leave out the first token."""
        response = super().samples(reply, accepted)
        scores = response.prompt_logprobs
        # Later ones give a value for each token, the first of them empty.
        if scores is None or scores[:1] == [None]:
            return response
        return replace(response, prompt_logprobs=[None, *scores])


def refuse_other_optimizers(ask: Ask, server: str) -> None:
    """Raise when a call asks for another optimizer than AdamW."""
    made = isinstance(ask, CreateModelRequest) and ask.optimizer_config.type != "adamw"
    stepped = isinstance(ask, OptimStepRequest) and ask.optimizer_params is not None
    if made or stepped:
        what = "create_lora_training_client" if made else "optim_step"
        reason = "it has the optimizer AdamW only"
        raise NotSupportedByServer(f"{what} with another optimizer", server, reason=reason)


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
