"""Tinkerbell: chat data, futures at the root, no sessions (section 8 of the protocol)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.exchange import Accepted, Payload, Reply, Request, detail_of, json_payload
from tinker_nb.client.kinds import Ask, Kind, kind_of
from tinker_nb.client.polling import Finished, NotYet, Outcome, Over, read_poll
from tinker_nb.client.states import FutureState
from tinker_nb.errors import NotSupportedByServer, RequestFailedError
from tinker_nb.wire.data import EncodedTextChunk, is_conversation
from tinker_nb.wire.protobuf import ForwardBackwardRequest
from tinker_nb.wire.requests import CreateModelRequest, OptimStepRequest, SampleRequest
from tinker_nb.wire.results import ForwardBackwardOutput, SampledSequence, SampleResponse

_NO_FILES = "it keeps no files"
_NO_SESSIONS = "it has no sessions"
_PATHS = {
    "CreateModel": "/api/v1/add_lora_async",
    "ForwardBackward": "/api/v1/forward_backward_async",
    "OptimStep": "/api/v1/optim_step_async",
    "Sample": "/api/v1/asample",
    "UnloadModel": "/api/v1/remove_lora_async",
}
_FAILED = "Job failed: "
#: What stands before the name of a base model where others have a sampling session's id.
BASE = "base:"


class Tinkerbell(Dialect):
    """Tinkerbell: conversations in, plain JSON out."""

    key = "tinkerbell"
    name = "Tinkerbell"
    deduplicates = False
    has_sessions = False
    takes_chat = True
    missing: ClassVar[Mapping[str, str]] = {
        "forward": "its forward adds gradients up, as forward_backward does",
        "forward_backward_custom": "it gives no log-probabilities of the training data",
        "compute_logprobs": "it scores no prompts",
        "create_custom_loss": "its losses travel as pickles, which this client never sends",
        **dict.fromkeys(
            (
                "save_state",
                "load_state",
                "load_state_with_optimizer",
                "save_weights_for_sampler",
                "save_weights_external",
                "create_training_client_from_state",
                "create_training_client_from_state_with_optimizer",
                "create_sampling_client from a checkpoint",
                "copy_weights",
                "list_checkpoints",
                "list_user_checkpoints",
                "get_weights_info_by_tinker_path",
                "get_external_weights_urls",
                "get_checkpoint_archive_url",
                "get_checkpoint_archive_url_from_tinker_path",
                "delete_checkpoint",
                "delete_checkpoint_from_tinker_path",
                "publish_checkpoint_from_tinker_path",
                "unpublish_checkpoint_from_tinker_path",
                "set_checkpoint_ttl_from_tinker_path",
            ),
            _NO_FILES,
        ),
        **dict.fromkeys(
            (
                "list_training_runs",
                "get_training_run",
                "get_training_run_by_tinker_path",
                "list_sessions",
                "get_session",
                "get_sampler",
                "assign_session_project",
                "export_session_trace",
                "search_sessions",
                "cancel_future",
                "get_audit_log",
                "get_billing_usage",
                "get_current_checkpoint_storage_usage",
                "get_tokenizer_files",
            ),
            _NO_SESSIONS,
        ),
    }
    paths: ClassVar[Mapping[str, str]] = {
        "get_info": "/get_info",
        "get_server_capabilities": "/get_server_capabilities",
    }

    def request(self, ask: Ask) -> Request:
        """Return what to send for a call; everything of it that would be ignored is refused."""
        kind = kind_of(ask)
        if kind.name not in _PATHS:
            raise NotSupportedByServer(
                kind.operation, self.name, reason=self.missing.get(kind.operation, "")
            )
        return Request("POST", _PATHS[kind.name], self.payload(ask))

    def payload(self, ask: Ask) -> Payload:
        """Return the body of a call."""
        if isinstance(ask, CreateModelRequest):
            return json_payload(_add_lora(ask))
        if isinstance(ask, ForwardBackwardRequest):
            return json_payload(_forward_backward(ask))
        if isinstance(ask, OptimStepRequest):
            if ask.adam_params is None:
                raise NotSupportedByServer("optim_step", self.name, reason="it has AdamW only")
            return json_payload(
                {"model_id": ask.model_id, "adam_params": ask.adam_params.to_wire()}
            )
        if isinstance(ask, SampleRequest):
            return json_payload(_sample(ask))
        return super().payload(ask)

    def poll(self, kind: Kind, request_id: str, known_state: str, iteration: int) -> Request:
        """Return the request that asks for a result, at the root."""
        request = super().poll(kind, request_id, known_state, iteration)
        return replace(
            request, path="/retrieve_future", payload=json_payload({"request_id": request_id})
        )

    def read_poll(self, reply: Reply, request_id: str) -> Outcome:
        """Say what the answer of a poll means: 202 is not yet, 500 with a reason is failed."""
        if reply.status == 202:
            return NotYet(FutureState.RUNNING)
        if reply.status == 200:
            return Finished(reply)
        said, _ = detail_of(reply)
        if reply.status == 500 and _FAILED in said:
            message = said.partition(_FAILED)[2]
            return Over(FutureState.FAILED, RequestFailedError(message, request_id=request_id))
        return read_poll(reply, request_id)

    def output(self, reply: Reply) -> ForwardBackwardOutput:
        """Read a training result; its figures are means over the conversations."""
        body = reply.json_object()
        metrics = {k: float(v) for k, v in (body.get("metrics") or {}).items()}
        metrics.setdefault("loss:sum", float(body["loss"]))
        return ForwardBackwardOutput(str(body.get("backend", self.name)), [], metrics)

    def samples(self, reply: Reply, accepted: Accepted) -> SampleResponse:
        """Read a sample: text, or tokens with their texts."""
        body = reply.json_object()
        if "sequences" not in body:
            return SampleResponse([SampledSequence("stop", [], text=body["generated_text"])])
        response = super().samples(reply, accepted)
        texts = [*body.get("completions", []), *[None] * len(response.sequences)]
        pairs = zip(response.sequences, texts, strict=False)
        return replace(response, sequences=[replace(each, text=text) for each, text in pairs])


def _refuse(what: str, reason: str) -> NotSupportedByServer:
    return NotSupportedByServer(what, Tinkerbell.name, reason=reason)


def _add_lora(ask: CreateModelRequest) -> dict[str, Any]:
    lora = ask.lora_config
    if not (lora.train_attn and lora.train_mlp and lora.train_unembed) or lora.seed is not None:
        raise _refuse(
            "create_lora_training_client with a seed or a choice of layers",
            "it takes a rank only",
        )
    return {"base_model": ask.base_model, "rank": lora.rank}


def _forward_backward(ask: ForwardBackwardRequest) -> dict[str, Any]:
    if ask.forward_only:
        raise _refuse("forward", Tinkerbell.missing["forward"])
    examples: Sequence[Any] = ask.data
    if not all(is_conversation(each) for each in examples):
        raise _refuse("training on tokens", "it takes conversations; give them as they are")
    conversations = [[dict(message) for message in each] for each in examples]
    return {"model_id": ask.model_id, "data": conversations, "loss_fn": ask.loss_fn}


def _sample(ask: SampleRequest) -> dict[str, Any]:
    if ask.num_samples > 1 or ask.prompt_logprobs or ask.topk_prompt_logprobs:
        raise _refuse(
            "sample with several samples or prompt log-probabilities", "it draws one answer"
        )
    chunks = ask.prompt.chunks
    if len(chunks) != 1 or not isinstance(chunks[0], EncodedTextChunk):
        raise _refuse("sample of a prompt in several chunks", "it takes one run of tokens")
    address = ask.sampling_session_id or ""
    whom = (
        {"base_model": address.removeprefix(BASE)}
        if address.startswith(BASE)
        else {"model_id": address}
    )
    prompt = {"chunks": [{"type": "encoded_text", "tokens": list(chunks[0].tokens)}]}
    return {**whom, "prompt": prompt, "sampling_params": ask.sampling_params.to_wire()}
