"""Tinkerbell: chat data, futures at the root, no sessions (section 8 of the protocol)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from tinker_nb.client.dialects.earlier import refuse_other_optimizers
from tinker_nb.client.dialects.ignored import LAYERS, NEWER_EXTRAS, Ignored
from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.exchange import (
    JSON,
    Accepted,
    Payload,
    Reply,
    Request,
    detail_of,
    json_payload,
)
from tinker_nb.client.kinds import Ask, Kind, kind_of
from tinker_nb.client.polling import Finished, NotYet, Outcome, Over, read_poll
from tinker_nb.client.routes import Route
from tinker_nb.client.states import FutureState
from tinker_nb.errors import NotSupportedByServer, RequestFailedError
from tinker_nb.wire.data import EncodedTextChunk, is_conversation
from tinker_nb.wire.protobuf import ForwardBackwardRequest
from tinker_nb.wire.requests import CreateModelRequest, OptimStepRequest, SampleRequest
from tinker_nb.wire.results import ForwardBackwardOutput, SampledSequence, SampleResponse

_NO_FILES = "it keeps no files"
_NO_SCORES = "it gives no log-probabilities of the data"
_NO_RECORDS = "it keeps no records"
_NO_NAMES = "it does not say which model is behind an id"
_PATHS = {
    "CreateModel": "/api/v1/add_lora_async",
    "ForwardBackward": "/api/v1/forward_backward_async",
    "OptimStep": "/api/v1/optim_step_async",
    "Sample": "/api/v1/asample",
    "UnloadModel": "/api/v1/remove_lora_async",
}
_AT_ONCE = {
    "get_info": Route("POST", "/get_info"),
    "get_server_capabilities": Route("GET", "/get_server_capabilities"),
}
_FAILED = "Job failed: "
#: How a refusal names the status it would have elsewhere: ``400 Bad Request: it lacks a prompt``.
_WORDING = re.compile(r"([45]\d\d) [A-Z][\w' -]*: (.*)", re.DOTALL)
#: What stands before the name of a base model where others have a sampling session's id.
BASE = "base:"


class Tinkerbell(Dialect):
    """Tinkerbell: conversations in, plain JSON out."""

    key = "tinkerbell"
    name = "Tinkerbell"
    deduplicates = False
    has_sessions = False
    takes_chat = True
    is_one_server = True
    missing: ClassVar[Mapping[str, str]] = {
        "forward": "its forward adds gradients up, as forward_backward does",
        "forward_backward_custom": _NO_SCORES,
        "create_custom_loss": _NO_SCORES,
        "compute_logprobs": "it scores no prompts",
        "get_base_model": _NO_NAMES,
        "get_tokenizer": _NO_NAMES,
        "get_tokenizer_files": "only the embedded server gives them",
        **dict.fromkeys(
            (
                "save_state",
                "load_state",
                "load_state_with_optimizer",
                "save_weights_for_sampler",
                "save_weights_external",
                "create_training_client_from_state",
                "create_training_client_from_state_with_optimizer",
                "copy_weights",
                "list_checkpoints",
                "list_user_checkpoints",
                "get_weights_info_by_tinker_path",
                "get_external_weights_urls",
                "get_checkpoint_archive_url",
                "get_checkpoint_archive_url_from_tinker_path",
                "download_checkpoint",
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
                "get_audit_log",
                "get_billing_usage",
                "get_current_checkpoint_storage_usage",
            ),
            _NO_RECORDS,
        ),
        "cancel_future": "it works on though nobody waits",
    }
    notes: ClassVar[Mapping[str, str]] = {
        "create_lora_training_client": "rank only",
        "create_sampling_client": "of a base model only",
        "forward_backward": "its figures are means over conversations",
        "optim_step": "AdamW without grad_clip_norm",
        "sample": "one answer, most often as text without tokens",
        "save_weights_and_get_sampling_client": "it follows the weights in training",
    }
    ignored: ClassVar[Ignored] = {
        CreateModelRequest: ("lora_config.seed", *LAYERS),
        OptimStepRequest: ("adam_params.grad_clip_norm",),
        SampleRequest: (
            "num_samples",
            "prompt_logprobs",
            "topk_prompt_logprobs",
            *NEWER_EXTRAS,
            "sampling_params.seed",
            "sampling_params.stop",
        ),
    }

    # Where it listens

    def routes(self, operation: str) -> tuple[Route, ...]:
        """Return the endpoints of an operation, any one of which will do."""
        if operation in _AT_ONCE:
            return (_AT_ONCE[operation],)
        paths = {_OPERATIONS[name]: path for name, path in _PATHS.items()}
        return (Route("POST", paths[operation]),) if operation in paths else ()

    def at(self, operation: str, path: str) -> str:
        """Return where this server has an operation that is answered at once."""
        return _AT_ONCE[operation].path if operation in _AT_ONCE else path

    # Submitting

    def request(self, ask: Ask) -> Request:
        """Return what to send for a call; everything of it that would be ignored is refused."""
        kind = kind_of(ask)
        if kind.name not in _PATHS:
            raise _refuse(kind.operation, self.missing.get(kind.operation, ""))
        self.refuse_ignored(ask)
        return Request("POST", _PATHS[kind.name], self.payload(ask))

    def payload(self, ask: Ask) -> Payload:
        """Return the body of a call."""
        refuse_other_optimizers(ask, self.name)
        if isinstance(ask, CreateModelRequest):
            return json_payload({"base_model": ask.base_model, "rank": ask.lora_config.rank})
        if isinstance(ask, ForwardBackwardRequest):
            return json_payload(_forward_backward(ask))
        if isinstance(ask, OptimStepRequest):
            return json_payload(_optim_step(ask))
        if isinstance(ask, SampleRequest):
            return json_payload(_sample(ask))
        return super().payload(ask)

    def understood(self, reply: Reply) -> Reply:
        """Return an answer with the status it means: every refusal but 404 comes as a 500."""
        if reply.status != 500 or reply.content_type != JSON:
            return reply
        said, _ = detail_of(reply)
        worded = _WORDING.fullmatch(said)
        status, words = (int(worded[1]), worded[2]) if worded else (reply.status, said)
        # It is the server's own word, and no passing trouble on the way to it.
        headers = {**reply.headers, "x-should-retry": "false"}
        return Reply(status, JSON, json_payload({"detail": words}).content, headers)

    def accepted(self, reply: Reply) -> Accepted:
        """Read the answer of a submission, whose model_id is that of the base for a new model."""
        return replace(super().accepted(reply), model_id=None)

    # Waiting

    def poll(self, kind: Kind, request_id: str, known_state: str, iteration: int) -> Request:
        """Return the request that asks for a result, at the root."""
        request = super().poll(kind, request_id, known_state, iteration)
        return replace(
            request, path="/retrieve_future", payload=json_payload({"request_id": request_id})
        )

    def read_poll(self, reply: Reply, request_id: str) -> Outcome:
        """Say what the answer of a poll means: 202 is not yet, 500 with a reason is failed."""
        if reply.status == 202:
            return NotYet()
        if reply.status == 200:
            return Finished(reply)
        meant = self.understood(reply)
        said, _ = detail_of(meant)
        if meant.status == 500 and said.startswith(_FAILED):
            failed = RequestFailedError(said.removeprefix(_FAILED), request_id=request_id)
            return Over(FutureState.FAILED, failed)
        return read_poll(meant, request_id)

    # Results

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


_OPERATIONS = {
    "CreateModel": "create_lora_training_client",
    "ForwardBackward": "forward_backward",
    "OptimStep": "optim_step",
    "Sample": "sample",
    "UnloadModel": "unload_model",
}


def _refuse(what: str, reason: str) -> NotSupportedByServer:
    return NotSupportedByServer(what, Tinkerbell.name, reason=reason)


def _forward_backward(ask: ForwardBackwardRequest) -> dict[str, Any]:
    if ask.loss_fn_config:
        raise _refuse("forward_backward with loss_fn_config", "it would ignore it without a word")
    examples: Sequence[Any] = ask.data
    if not all(is_conversation(each) for each in examples):
        raise _refuse("training on tokens", "it takes conversations; give them as they are")
    conversations = [[dict(message) for message in each] for each in examples]
    return {"model_id": ask.model_id, "data": conversations, "loss_fn": ask.loss_fn}


def _optim_step(ask: OptimStepRequest) -> dict[str, Any]:
    params = ask.adam_params.to_wire() if ask.adam_params is not None else {}
    params.pop("grad_clip_norm", None)
    return {"model_id": ask.model_id, "adam_params": params}


def _sample(ask: SampleRequest) -> dict[str, Any]:
    chunks = ask.prompt.chunks
    if len(chunks) != 1 or not isinstance(chunks[0], EncodedTextChunk):
        raise _refuse("sample of a prompt in several chunks", "it takes one run of tokens")
    prompt = {"chunks": [{"type": "encoded_text", "tokens": list(chunks[0].tokens)}]}
    params = ask.sampling_params.to_wire()
    if params["top_k"] == -1:
        params["top_k"] = 0  # that is "off" for what samples there
    return {**_whom(ask), "prompt": prompt, "sampling_params": params}


def _whom(ask: SampleRequest) -> dict[str, str]:
    address = ask.sampling_session_id or ""
    if address.startswith(BASE):
        return {"base_model": address.removeprefix(BASE)}
    return {"model_id": address}
