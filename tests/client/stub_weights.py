"""A server of the current protocol with models, checkpoints and samplers, and no weights in them.

It answers as sections 2.1 and 2.5 to 2.7 of the protocol have it, for what the embedded server does
not do yet. Both this client and the official SDK speak to it; `differences` says where they do not
say the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from tests.client.protocol_stub import API, Seen, Stub, protocol_stub, refused
from tests.client.stub_rest import checkpoint_router, run_router
from tinker_nb.wire.proto import tinker_public_pb2 as pb

BASE = "base"
TOKENS = [7, 8]
#: What is there from the beginning: a checkpoint of each kind, and one that needs a token.
RUN = "earlier:train:0"
STATE, SAMPLER = f"tinker://{RUN}/weights/w", f"tinker://{RUN}/sampler_weights/w"
FAILED = {"error": "The weights are gone.", "category": "user"}
FOREIGN, TOKEN = "tinker://theirs:train:0/weights/w", "open-sesame-token"
_KINDS = {
    "save_weights": "weights",
    "save_weights_for_sampler": "sampler_weights",
    "save_weights_external": "external_weights",
}


class _Watched(list[Seen]):
    """What came; whoever waits for the next one may look."""

    def __init__(self, stub: Stub) -> None:
        super().__init__()
        self._stub = stub

    def append(self, seen: Seen) -> None:
        with self._stub.changing():
            super().append(seen)


@dataclass
class WeightsStub(Stub):
    """What the server knows, and what it is to do.

    Attributes
    ----------
    models
        What get_info says, by model id.
    saved
        The base model of each checkpoint, by path.
    drawn
        The result of every sample as protobuf; made up when not given.
    failing
        The endpoints whose futures end in `FAILED`.
    taken
        With which status a checkpoint's name is refused that there is already.
    repeats_model_id
        Whether a model that was made by loading is named in the answer.
    """

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    saved: dict[str, str] = field(default_factory=dict)
    drawn: bytes | None = None
    failing: set[str] = field(default_factory=set)
    taken: int = 400
    repeats_model_id: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.greetings = _Watched(self)

    def begin_again(self) -> None:
        """Forget all that was done; ids are counted anew, so that two tours give the same ones."""
        self.models, self.samplers, self.sessions, self.futures = {}, {}, {}, {}
        self.saved = dict.fromkeys((STATE, SAMPLER, FOREIGN), BASE)
        self.drawn, self.failing, self.taken, self.repeats_model_id = None, set(), 400, True
        self.config, self._numbers = {}, itertools.count()
        self.refuse_once.clear()
        self.seen.clear()
        self.greetings.clear()

    def beats(self, session_id: str) -> int:
        """Return how many heartbeats came of a session."""
        path = f"{API}/session_heartbeat"
        beats = [each.body["session_id"] for each in list(self.greetings) if each.path == path]
        return beats.count(session_id)

    def future(self, request: Request, result: Any, **more: Any) -> dict[str, Any]:
        """Promise the result of a request, or that it fails."""
        fails = request.url.path.removeprefix(f"{API}/") in self.failing
        return self.promise(FAILED if fails else result, **more)

    def bodies(self, name: str) -> list[Any]:
        """Return the bodies that came to an endpoint."""
        return [each.body for each in list(self.seen) if each.path == f"{API}/{name}"]

    def add_model(self, session_id: str, number: int, base_model: str, **info: Any) -> str:
        """Make a model, and return its id."""
        model_id = f"{session_id}:train:{number}"
        data = {"arch": "toy", "model_name": base_model, "tokenizer_id": base_model}
        known = {"model_id": model_id, "model_data": data, "is_lora": True, "type": "get_info"}
        self.models[model_id] = {**known, "model_name": base_model, **info}
        return model_id

    def add_sampler(self, session_id: str, number: int, base_model: str, path: str | None) -> str:
        """Make a sampling session, and return its id."""
        sampler_id = f"{session_id}:sample:{number}"
        known = {"sampler_id": sampler_id, "base_model": base_model, "model_path": path}
        self.samplers[sampler_id] = known
        return sampler_id


@contextmanager
def weights_stub() -> Iterator[WeightsStub]:
    """Serve such a stub while the block runs."""
    stub = WeightsStub()
    stub.begin_again()
    own = (model_router, weight_router, sample_router)
    with protocol_stub(*own, run_router, checkpoint_router, stub=stub):
        yield stub


def _whole(stub: Stub) -> WeightsStub:
    assert isinstance(stub, WeightsStub)
    return stub


def model_router(plain: Stub) -> APIRouter:
    """Return models: made, made of a checkpoint, asked about, stepped."""
    router, stub = APIRouter(prefix=API), _whole(plain)

    @router.post("/create_model")
    async def create_model(request: Request) -> Any:
        body = await request.json()
        if body["session_id"] not in stub.sessions:
            return refused(404, f"There is no session {body['session_id']}.")
        place = (body["session_id"], body["model_seq_id"], body["base_model"])
        rank, optimizer = body["lora_config"]["rank"], body["optimizer_config"]
        model_id = stub.add_model(*place, lora_rank=rank, optimizer_config=optimizer)
        return stub.future(request, {"model_id": model_id, "type": "create_model"})

    @router.post("/get_info")
    async def get_info(request: Request) -> Any:
        model_id = (await request.json())["model_id"]
        return stub.models.get(model_id) or refused(404, f"There is no model {model_id}.")

    @router.post("/optim_step")
    async def optim_step(request: Request) -> Any:
        body = await request.json()
        params = body.get("adam_params") or body["optimizer_params"]
        return stub.future(request, {"metrics": {"learning_rate": params["learning_rate"]}})

    @router.post("/load_weights")
    async def load_weights(request: Request) -> Any:
        body = await request.json()
        path = body["path"]
        if ("model_id" in body) is ("session_id" in body):
            return refused(400, "A load is addressed by model_id or by session_id.")
        if path not in stub.saved:
            return refused(404, f"There is no checkpoint {path}.")
        if path == FOREIGN and body.get("weights_access_token") != TOKEN:
            # Some servers quote what was wrong in a request.
            return refused(403, f"That opens nothing: {body}")
        answer: dict[str, Any] = {"path": path, "type": "load_weights"}
        if "session_id" in body:
            base_model = body.get("base_model") or stub.saved[path]
            optimizer = body.get("optimizer_config") or {"type": "adamw"}
            place = (body["session_id"], body["model_seq_id"], base_model)
            model_id = stub.add_model(*place, lora_rank=8, optimizer_config=optimizer)
            answer |= {"model_id": model_id} if stub.repeats_model_id else {}
        return stub.future(request, answer)

    return router


def weight_router(plain: Stub) -> APIRouter:
    """Return what saves, and what makes sampling sessions."""
    router, stub = APIRouter(prefix=API), _whole(plain)

    @router.post("/save_weights")
    @router.post("/save_weights_for_sampler")
    @router.post("/save_weights_external")
    async def save(request: Request) -> Any:
        body, name = await request.json(), request.url.path.rpartition("/")[2]
        model = stub.models[body["model_id"]]
        if "path" not in body:
            session_id = body["model_id"].partition(":")[0]
            place = (session_id, body["sampling_session_seq_id"], model["model_name"])
            sampler_id = stub.add_sampler(*place, None)
            made = {"sampling_session_id": sampler_id, "path": None, "type": name}
            return stub.future(request, made)
        path = f"tinker://{body['model_id']}/{_KINDS[name]}/{body['path']}"
        if path in stub.saved and not body.get("overwrite"):
            return refused(stub.taken, f"There is a checkpoint {body['path']} already.")
        stub.saved[path] = model["model_name"]
        size = {"size_bytes": 4096} if name == "save_weights_external" else {}
        return stub.future(request, {"path": path, "type": name, **size})

    @router.post("/create_sampling_session")
    async def create_sampling_session(request: Request) -> Any:
        body = await request.json()
        path = body.get("model_path")
        if path is not None and path not in stub.saved:
            return refused(404, f"There is no checkpoint {path}.")
        base_model = body.get("base_model") or stub.saved[path]
        place = (body["session_id"], body["sampling_session_seq_id"], base_model)
        return {"sampling_session_id": stub.add_sampler(*place, path)}

    return router


def sample_router(plain: Stub) -> APIRouter:
    """Return what draws."""
    router, stub = APIRouter(prefix=API), _whole(plain)

    @router.post("/asample")
    async def asample(request: Request) -> Any:
        body = await request.json()
        if body["sampling_session_id"] not in stub.samplers:
            return refused(404, f"There is no sampler {body['sampling_session_id']}.")
        content = stub.drawn or drawn(body["num_samples"]).SerializeToString()
        # Returned as it is when it is asked for.
        result = Response(content, media_type="application/x-protobuf")
        names = [f"{body['seq_id']}/{each}" for each in range(body["num_samples"])]
        return stub.future(request, result, sample_sequence_ids=names)

    return router


# Results of samples ------------------------------------------------------------------------------


def drawn(num_samples: int) -> pb.SampleResponse:
    """Return the plainest answer of a sample: its sequences, and nothing that may be left out."""
    message = pb.SampleResponse()
    for _ in range(num_samples):
        message.sequences.add(tokens=packed(TOKENS, "<i4"), stop_reason=pb.LENGTH)
    return message


def packed(values: Any, layout: str) -> bytes:
    """Return values as the protocol packs them."""
    return np.asarray(values, layout).tobytes()


# What came ---------------------------------------------------------------------------------------

_POLL, _SESSION = "retrieve_future", "create_session"
#: All in which two clients may differ without meaning something else, each with its reason.
MAY_DIFFER = {
    (_POLL, "known_state"): "ours: our own server answers as soon as the state is another one",
    (_POLL, "allow_metadata_only"): "theirs: whether a size may come first; absent, it may not",
    (_POLL, "x-idempotency-key"): "theirs: a poll changes nothing, it needs none",
    (_SESSION, "sdk_version"): "each says its own",
    ("asample", "x-tinker-sampling-backpressure"): "theirs: asks to be refused early with 429",
    (_POLL, "x-tinker-create-promise-roundtrip-time"): "theirs: a time it took, for statistics",
    ("get_info", ""): "theirs: asked with each creation; ours asks when somebody wants to know",
    ("samplers", ""): "theirs: asked with each creation; ours asks when somebody wants to know",
}


def differences(theirs: Iterable[Seen], ours: Iterable[Seen]) -> set[tuple[str, str]]:
    """Return in what two tours differ: endpoint and field or header; no field, all of a request."""
    one, two = [_told(each) for each in theirs], [_told(each) for each in ours]
    only_asked = ("get_info", "samplers")
    found = {(name, "") for name in only_asked if _count(one, name) != _count(two, name)}
    rest = [[each for each in tour if each[0] not in only_asked] for tour in (one, two)]
    assert [name for name, _ in rest[0]] == [name for name, _ in rest[1]]
    for (name, their_fields), (_, our_fields) in zip(*rest, strict=True):
        names = their_fields.keys() | our_fields.keys()
        found |= {(name, at) for at in names if their_fields.get(at) != our_fields.get(at)}
    return found


def _count(tour: list[tuple[str, dict[str, Any]]], name: str) -> int:
    return sum(each == name for each, _ in tour)


def _told(seen: Seen) -> tuple[str, dict[str, Any]]:
    """Return the endpoint of a request, and all it said there by name."""
    said: dict[str, Any] = {
        name: value
        for name, value in seen.headers.items()
        if name.startswith("x-tinker-") or name in ("x-api-key", "accept", "content-type")
    }
    said["x-idempotency-key"] = str("x-idempotency-key" in seen.headers)
    body = dict(seen.body or {})
    if "tags" in body:
        body["tags"].sort()  # the official SDK sends them in no order
    said |= {"request": f"{seen.method} {seen.path} {seen.query}"}
    return seen.path.split("/")[3], {**said, **_numbers_alike(body)}


def _numbers_alike(value: Any) -> Any:
    """Return JSON in which 1 and 1.0 are the same, and 1 and true are not."""
    if isinstance(value, dict):
        return {name: _numbers_alike(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_numbers_alike(each) for each in value]
    return f"number {float(value)}" if type(value) in (int, float) else value
