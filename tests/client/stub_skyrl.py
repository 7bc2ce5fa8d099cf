"""A server that behaves as SkyRL 0.3.0 does (section 7.2), its data in memory.

It carries out whatever comes, also what comes twice. `SkyRLStub` says what a test may change.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Path, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from tests.client.protocol_stub import API, PATIENCE
from tests.client.skyrl_bodies import (
    NAMES,
    CreateModel,
    Example,
    Forward,
    ForwardBackward,
    Input,
    Load,
    OfModel,
    OptimStep,
    Sample,
    SamplingSession,
    Save,
    SaveForSampler,
)
from tests.client.stub_earlier import LOGPROB, JsonStub, prompt_length, samples, serving, tensor

InPath = Annotated[str, Path(pattern=NAMES, max_length=255)]
TIME = "2026-07-13T10:00:00Z"
CLIPS = {"clip_low_threshold", "clip_high_threshold"}
CONFIG_KEYS: dict[str, set[str]] = {
    "cross_entropy": set(),
    "importance_sampling": set(),
    "ppo": {*CLIPS, "value_clip"},
    "cispo": CLIPS,
    "ppo_critic": {"value_clip"},
    "dppo": {"delta_low", "delta_high"},
}


@dataclass
class SkyRLStub(JsonStub):
    """What the server knows, and what a test may change.

    Attributes
    ----------
    checkpoints_of
        Model, name and kind (``training`` or ``sampler``) of each checkpoint.
    samplers_of
        Base model or path by sampling session.
    metrics
        What forward and forward_backward give beside their outputs.
    still_saving
        How many of the next uses of a checkpoint come too early.
    gate
        Holds the answers of submissions back until it is set; the work is done before.
    """

    checkpoints_of: list[tuple[str, str, str]] = field(default_factory=list)
    samplers_of: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] | None = field(default_factory=dict)
    still_saving: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate.set()

    async def take(self, kind: str, result: Any) -> dict[str, Any]:
        """Carry work out, and answer once the gate is open."""
        if self.failing:
            result = {"error": self.failing.pop(0)}
        request_id = str(len(self.futures) + 1)
        self.futures[request_id] = result
        self.carried_out(kind)
        await asyncio.to_thread(self.gate.wait, PATIENCE)
        return {"future_id": request_id, "status": "pending", "request_id": request_id}

    def check(self, model_id: str) -> None:
        """Refuse a model that is not there."""
        if model_id not in self.models:
            raise HTTPException(404, "Model not found")

    def keep(self, model_id: str, name: str, kind: str) -> None:
        """Keep a checkpoint; its name must be new."""
        self.check(model_id)
        if (model_id, name, kind) in self.checkpoints_of:
            raise HTTPException(409, f"Checkpoint '{name}' already exists for model '{model_id}'")
        self.checkpoints_of.append((model_id, name, kind))

    def use(self, model_id: str, name: str, kind: str) -> None:
        """Refuse a checkpoint that is not there, or not there yet."""
        if (model_id, name, kind) not in self.checkpoints_of:
            raise HTTPException(404, f"Checkpoint not found: {model_id}/{name}")
        if self.still_saving:
            self.still_saving -= 1
            raise HTTPException(425, "Checkpoint is still being created")


# Its endpoints --------------------------------------------------------------------------------


def _session_router(stub: SkyRLStub) -> APIRouter:
    router = APIRouter(prefix=API)

    @router.post("/client/config")
    def config() -> Any:
        return {"pjwt_auth_enabled": False}

    @router.get("/healthz")
    def health() -> Any:
        return {"status": "ok"}

    @router.post("/create_session")
    async def create_session(request: Request) -> Any:
        session_id = f"session_{secrets.token_hex(4)}"
        stub.sessions[session_id] = await request.json()
        return {"session_id": session_id, "type": "create_session", "info_message": None}

    @router.post("/session_heartbeat")
    def beat() -> Any:
        return {"type": "session_heartbeat"}

    @router.get("/get_server_capabilities")
    def capabilities() -> Any:
        return {"supported_models": [{"model_name": "base"}]}

    @router.post("/retrieve_future")
    async def retrieve_future(request: Request) -> Any:
        found = stub.futures.get(str(int((await request.json())["request_id"])))
        if found is None:
            raise HTTPException(404, "Future not found")
        if stub.not_yet:
            stub.not_yet -= 1
            raise HTTPException(408, "Timeout waiting for result")
        if "error" in found:
            raise HTTPException(500 if found["error"] == "Unknown error" else 400, found["error"])
        return found

    return router


def _model_router(stub: SkyRLStub) -> APIRouter:
    router = APIRouter(prefix=API)

    @router.post("/create_model")
    async def create_model(body: CreateModel) -> Any:
        if body.session_id not in stub.sessions:
            raise HTTPException(404, "Session not found")
        model_id = f"model_{secrets.token_hex(4)}"
        stub.models[model_id] = body.base_model
        made = {"model_id": model_id, "base_model": body.base_model}
        lora = {"lora_config": body.lora_config.model_dump()}
        taken = await stub.take("create_model", {**made, **lora})
        return {**made, **lora, "status": "created", "request_id": taken["request_id"]}

    @router.post("/get_info")
    def get_info(body: OfModel) -> Any:
        stub.check(body.model_id)
        base = stub.models[body.model_id]
        data = {"base_model": base, "lora_config": {"rank": 8, "seed": None}, "model_name": base}
        return {"model_id": body.model_id, "status": "created", "model_data": data}

    async def learn(kind: str, model_id: str, body: Input) -> Any:
        stub.check(model_id)
        wrong = set(body.loss_fn_config or {}) - CONFIG_KEYS[body.loss_fn]
        if wrong:
            message = f"Value error, Invalid loss_fn_config keys: {sorted(wrong)}"
            problem = {"type": "value_error", "loc": ["body"], "msg": message}
            return JSONResponse({"detail": [problem]}, 422)
        return await stub.take(kind, _output(body.data, stub.metrics))

    @router.post("/forward_backward")
    async def forward_backward(body: ForwardBackward) -> Any:
        return await learn("forward_backward", body.model_id, body.forward_backward_input)

    @router.post("/forward")
    async def forward(body: Forward) -> Any:
        return await learn("forward", body.model_id, body.forward_input)

    @router.post("/optim_step")
    async def optim_step(body: OptimStep) -> Any:
        stub.check(body.model_id)
        figures = {"skyrl.ai/grad_norm": 1.0, "skyrl.ai/learning_rate": 0.1}
        return await stub.take("optim_step", {"metrics": figures if stub.metrics else None})

    @router.post("/save_weights")
    async def save_weights(body: Save) -> Any:
        stub.keep(body.model_id, body.path, "training")
        path = f"tinker://{body.model_id}/weights/{body.path}"
        return await stub.take("save_weights", {"path": path, "type": "save_weights"})

    @router.post("/save_weights_for_sampler")
    async def save_for_sampler(body: SaveForSampler) -> Any:
        name = body.path or f"ss{body.sampling_session_seq_id}_seq{body.seq_id}"
        stub.keep(body.model_id, name, "sampler")
        path, session_id = f"tinker://{body.model_id}/{name}", None
        if body.path is None:
            session_id = f"sampling_{secrets.token_hex(4)}"
            stub.samplers_of[session_id] = path
        result = {"path": path if body.path else None, "sampling_session_id": session_id}
        return await stub.take("save_weights_for_sampler", {**result, "type": SAVED})

    @router.post("/load_weights")
    async def load_weights(body: Load) -> Any:
        stub.check(body.model_id)
        model_id, _, rest = body.path.removeprefix("tinker://").partition("/")
        kind, _, name = rest.partition("/")
        if kind != "weights":
            raise HTTPException(400, "request.path must be tinker://model_id/weights/name")
        stub.use(model_id, name, "training")
        return await stub.take("load_weights", {"type": "load_weights"})

    return router


SAVED = "save_weights_for_sampler"


def _output(data: list[Example], metrics: dict[str, float] | None) -> dict[str, Any]:
    outputs = []
    for each in data:
        targets = each.loss_fn_inputs["target_tokens"].data
        given = each.loss_fn_inputs.get("weights")
        weights = given.data if given is not None else [1.0] * len(targets)
        losses = [-LOGPROB * weight for weight in weights]
        lps = tensor([LOGPROB] * len(targets))
        outputs.append({"elementwise_loss": tensor(losses), "logprobs": lps})
    return {"loss_fn_output_type": "scalar", "loss_fn_outputs": outputs, "metrics": metrics}


def _sampling_router(stub: SkyRLStub) -> APIRouter:
    router = APIRouter(prefix=API)

    @router.post("/create_sampling_session")
    def create_sampling_session(body: SamplingSession) -> Any:
        if (body.base_model is None) == (body.model_path is None):
            raise HTTPException(400, "Exactly one of base_model or model_path must be provided")
        session_id = f"sampling_{secrets.token_hex(4)}"
        stub.samplers_of[session_id] = body.base_model or str(body.model_path)
        return {"sampling_session_id": session_id, "type": "create_sampling_session"}

    @router.get("/samplers/{sampler_id}")
    def sampler(sampler_id: str) -> Any:
        if sampler_id not in stub.samplers_of:
            raise HTTPException(404, "Sampler not found")
        source = stub.samplers_of[sampler_id]
        model_id = source.removeprefix("tinker://").partition("/")[0]
        return {"sampler_id": sampler_id, "base_model": stub.models.get(model_id, source)}

    @router.post("/asample")
    async def asample(body: Sample) -> Any:
        if ":" in body.sampling_session_id:
            raise HTTPException(400, "sampling_session_id must not contain ':'")
        if body.sampling_session_id not in stub.samplers_of:
            raise HTTPException(404, "Sampling session not found")
        source = stub.samplers_of[body.sampling_session_id]
        if source.startswith("tinker://"):
            model_id, *_, name = source.removeprefix("tinker://").split("/")
            stub.use(model_id, name, "sampler")
        if body.sampling_params.max_tokens is None:
            raise HTTPException(400, "max_tokens is currently required")
        asked = body.model_dump()
        scores = [LOGPROB] * (prompt_length(asked) - 1) if body.prompt_logprobs else None
        return await stub.take("asample", samples(asked) | {"prompt_logprobs": scores})

    return router


def _record_router(stub: SkyRLStub) -> APIRouter:
    router = APIRouter(prefix=API)

    def run(model_id: str) -> dict[str, Any]:
        stub.check(model_id)
        known = {"training_run_id": model_id, "base_model": stub.models[model_id]}
        return {**known, "model_owner": "default", "is_lora": True, "last_request_time": TIME}

    @router.get("/training_runs")
    def runs(limit: int = 20, offset: int = 0) -> Any:
        cursor = {"offset": offset, "limit": limit, "total_count": len(stub.models)}
        return {"training_runs": [run(each) for each in stub.models], "cursor": cursor}

    @router.get("/training_runs/{model_id}")
    def training_run(model_id: str) -> Any:
        return run(model_id)

    @router.get("/training_runs/{model_id}/checkpoints")
    @router.get("/models/{model_id}/checkpoints")
    def checkpoints(model_id: InPath) -> Any:
        found = [(name, kind) for owner, name, kind in stub.checkpoints_of if owner == model_id]
        return {"checkpoints": [_checkpoint(model_id, *each) for each in found]}

    @router.post("/weights_info")
    async def weights_info(request: Request) -> Any:
        path = (await request.json())["tinker_path"]
        model_id, _, rest = path.removeprefix("tinker://").partition("/")
        if not rest.startswith("weights/"):
            raise HTTPException(400, "Invalid tinker path format.")
        stub.use(model_id, rest.removeprefix("weights/"), "training")
        return {"base_model": stub.models[model_id], "is_lora": True, "lora_rank": 8}

    @router.get("/training_runs/{model_id}/checkpoints/{name}/archive")
    def archive(model_id: InPath, name: InPath, request: Request) -> Response:
        stub.use(model_id, name, "sampler")
        target = str(request.url).removesuffix("archive") + "download"
        return RedirectResponse(target, 302, {"Expires": "Mon, 13 Jul 2026 12:00:00 GMT"})

    @router.get("/training_runs/{model_id}/checkpoints/{name}/download")
    def download(model_id: InPath, name: InPath) -> Response:
        return Response(_archive(), media_type="application/octet-stream")

    return router


def _checkpoint(model_id: str, name: str, kind: str) -> dict[str, Any]:
    part = "weights" if kind == "training" else "sampler_weights"
    path = f"tinker://{model_id}/{part}/{name}"
    return {"checkpoint_id": name, "checkpoint_type": kind, "time": TIME, "tinker_path": path}


def _archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as opened:
        entry = tarfile.TarInfo("adapter_config.json")
        entry.size = 2
        opened.addfile(entry, io.BytesIO(b"{}"))
    return content.getvalue()


@contextmanager
def skyrl_stub() -> Iterator[SkyRLStub]:
    """Serve such a server while the block runs."""
    stub = SkyRLStub()
    app = FastAPI(openapi_url=None)

    @app.get("/")
    def root() -> Any:
        return {"name": "Tinker API Mock", "version": "0.0.1", "endpoints": {"models": []}}

    for router in (_session_router, _model_router, _sampling_router, _record_router):
        app.include_router(router(stub))
    with serving(app, stub):
        yield stub
