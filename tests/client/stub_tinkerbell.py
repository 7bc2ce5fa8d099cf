"""A server that behaves as Tinkerbell does (section 8), its data in memory.

Every refusal but 404 comes as a 500 that says in words what it is. `TinkerbellStub` says what a
test may change.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tests.client.protocol_stub import API, Stub
from tests.client.stub_earlier import TOKENS, serving

Job = Callable[[dict[str, Any]], Any]


class JobFailedError(Exception):
    """Work that failed, with what the server says of it."""


@dataclass
class TinkerbellStub(Stub):
    """What the server knows, and what a test may change.

    Attributes
    ----------
    models
        How many forward_backwards wait for a step, by model.
    losses
        The names of losses it knows.
    done
        How often each job came.
    pending
        How many of the next polls it answers with "pending".
    has_engine
        Whether an inference engine samples, which gives tokens.
    answers_nothing
        Whether jobs end without a result.
    """

    models: dict[str, int] = field(default_factory=dict)
    losses: set[str] = field(
        default_factory=lambda: {"cross_entropy", "importance_sampling", "ppo", "registered"}
    )
    done: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    has_engine: bool = False
    answers_nothing: bool = False

    def run(self, job: Job, body: dict[str, Any]) -> dict[str, Any]:
        """Run a job, and keep what came of it under a new id."""
        request_id = f"future_{secrets.token_hex(4)}"
        self.done[job.__name__] += 1
        try:
            outcome = {"result": None if self.answers_nothing else job(body)}
        except JobFailedError as error:
            outcome = {"failed": str(error)}
        self.futures[request_id] = outcome
        return {"request_id": request_id, "model_id": _named(body)}

    # Jobs

    def add_lora(self, body: dict[str, Any]) -> Any:
        model_id = f"{body.get('base_model', 'base')}_lora_{secrets.token_hex(4)}"
        self.models[model_id] = 0
        return {"model_id": model_id}

    def forward_backward(self, body: dict[str, Any]) -> Any:
        name = body.get("loss_fn", "cross_entropy")
        if name not in self.losses:
            raise JobFailedError(f"Unknown loss function: {name}")
        if not all("content" in message for each in body["data"] for message in each):
            raise JobFailedError("list indices must be integers or slices, not str")
        self.models[body["model_id"]] += 1
        figures = {"loss:sum": 1.5, "num_tokens": 9.0, "mean_nll": 0.5, "perplexity": 1.6}
        return {
            "loss": 1.5,
            "num_samples": len(body["data"]),
            "model_id": body["model_id"],
            "backend": "huggingface",
            "metrics": figures,
            "loss_fn_outputs": {"loss_fn": name},
        }

    def optim_step(self, body: dict[str, Any]) -> Any:
        if not self.models.get(body["model_id"]):
            raise JobFailedError(f"No gradients accumulated for '{body['model_id']}'.")
        self.models[body["model_id"]] = 0
        figures = {"learning_rate": body["adam_params"]["learning_rate"], "step_completed": 1.0}
        return {"metrics": figures, "model_id": body["model_id"], "backend": "huggingface"}

    def asample(self, body: dict[str, Any]) -> Any:
        if not self.has_engine:
            return {"generated_text": "igpay atinlay", "model_id": _named(body)}
        drawn = {"stop_reason": "length", "tokens": TOKENS, "logprobs": None}
        return {"sequences": [drawn], "completions": ["igpay"], "prompt_logprobs": None}

    def remove_lora(self, body: dict[str, Any]) -> Any:
        self.models.pop(body["model_id"], None)
        return {"status": "deleted"}

    def load_weights(self, _: dict[str, Any]) -> Any:
        return {"status": "loaded"}

    def save_weights(self, _: dict[str, Any]) -> Any:
        return {"status": "saved"}


def _named(body: dict[str, Any]) -> str:
    return str(body.get("model_id") or body.get("base_model", "unknown"))


def _router(stub: TinkerbellStub) -> APIRouter:
    router = APIRouter()
    endpoints = {
        "add_lora_async": stub.add_lora,
        "remove_lora_async": stub.remove_lora,
        "forward_async": stub.forward_backward,  # it adds gradients up too
        "forward_backward_async": stub.forward_backward,
        "optim_step_async": stub.optim_step,
        "asample": stub.asample,
        "load_weights_async": stub.load_weights,
        "save_weights_async": stub.save_weights,
        "save_weights_for_sampler_async": stub.save_weights,
    }
    for name, job in endpoints.items():
        router.add_api_route(f"{API}/{name}", _taking(stub, job), methods=["POST"])

    @router.post("/retrieve_future")
    async def retrieve_future(request: Request) -> Any:
        request_id = (await request.json()).get("request_id")
        if not request_id:
            raise HTTPException(400, "request_id is required")
        if request_id not in stub.futures:
            raise HTTPException(404, f"Future {request_id} not found")
        if stub.pending:
            stub.pending -= 1
            return JSONResponse({"status": "pending"}, 202)
        outcome = stub.futures[request_id]
        if "failed" in outcome:
            raise HTTPException(500, f"Job failed: {outcome['failed']}")
        return outcome["result"] or {"status": "completed", "result": None}

    @router.post("/get_info")
    async def get_info(request: Request) -> Any:
        model_id = (await request.json())["model_id"]
        return {"model_id": model_id, "model_data": {"model_name": model_id, "arch": "unknown"}}

    @router.get("/get_server_capabilities")
    def capabilities() -> Any:
        return {"supported_models": [{"model_id": "b", "model_name": "org/b", "arch": "llama"}]}

    @router.get("/healthz")
    def health() -> Any:
        return {"status": "ok"}

    @router.get("/")
    def root() -> Any:
        name = "Tinkerbell API Server (Megatron-Bridge + vLLM)"
        return {"name": name, "version": "2.0", "endpoints": {"futures": "/retrieve_future"}}

    return router


def _taking(stub: TinkerbellStub, job: Job) -> Callable[[Request], Any]:
    async def take(request: Request) -> Any:
        body = await request.json()
        if not isinstance(body, dict):
            raise HTTPException(400, "The browser (or proxy) sent a request it could not read.")
        return stub.run(job, body)

    return take


async def _in_words(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return JSONResponse({"detail": "Not Found"}, 404)
    phrase = HTTPStatus(error.status_code).phrase
    return JSONResponse({"detail": f"{error.status_code} {phrase}: {error.detail}"}, 500)


@contextmanager
def tinkerbell_stub() -> Iterator[TinkerbellStub]:
    """Serve such a server while the block runs."""
    stub = TinkerbellStub()
    app = FastAPI(openapi_url=None, exception_handlers={HTTPException: _in_words})
    app.include_router(_router(stub))
    with serving(app, stub):
        yield stub
