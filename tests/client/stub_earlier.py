"""A server of the generation that speaks JSON throughout (section 7.1), its data in memory.

It has no ``client/config`` and nothing at its root. What it and `stub_skyrl` have in common is
`JsonStub`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Request

from tests.client.protocol_stub import API, PATIENCE, Stub, Watch, _Server, refused
from tinker_nb.wire.jsonform import read_forward_backward

#: What every target is given; the loss of a datum is half the sum of its weights.
LOGPROB = -0.5
TOKENS = [7, 8]


@dataclass
class JsonStub(Stub):
    """What a server that trains knows.

    Attributes
    ----------
    done
        How often it has carried out each kind of work.
    models
        Base model by model id.
    saved
        What was saved, by path.
    not_yet
        How many of the next polls it answers with "not yet".
    failing
        Why the next futures fail, each once.
    """

    done: Counter[str] = field(default_factory=Counter)
    models: dict[str, str] = field(default_factory=dict)
    saved: dict[str, str] = field(default_factory=dict)
    not_yet: int = 0
    failing: list[str] = field(default_factory=list)

    def carried_out(self, kind: str) -> None:
        """Count work as done; whoever waits for it may look."""
        with self.changing():
            self.done[kind] += 1

    def count(self, path: str) -> int:
        """Return how many requests came to a path."""
        return sum(each.path == path for each in list(self.seen))

    def bodies(self, name: str) -> list[Any]:
        """Return the bodies that came to an endpoint."""
        return [each.body for each in list(self.seen) if each.path == f"{API}/{name}"]


def tensor(values: list[float]) -> dict[str, Any]:
    """Return figures as a JSON tensor."""
    return {"data": values, "dtype": "float32", "shape": [len(values)]}


def samples(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is drawn for a sample's body."""
    limit = body["sampling_params"]["max_tokens"]
    drawn = {"stop_reason": "length", "tokens": TOKENS[:limit], "logprobs": [-0.1] * min(limit, 2)}
    return {"type": "sample", "sequences": [drawn] * body["num_samples"]}


def prompt_length(body: dict[str, Any]) -> int:
    """Return how many tokens a sample's prompt has."""
    return sum(len(chunk["tokens"]) for chunk in body["prompt"]["chunks"])


def _router(stub: JsonStub) -> APIRouter:
    router = APIRouter(prefix=API)
    known: dict[tuple[str, int], dict[str, Any]] = {}

    def take(kind: str, body: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        """Carry work out once, however often it comes under its number."""
        key = (body.get("model_id") or body["sampling_session_id"], body["seq_id"])
        if key not in known:
            stub.carried_out(kind)
            failed = stub.failing.pop(0) if stub.failing else None
            answer = {"error": failed, "category": "user"} if failed else result
            known[key] = stub.promise(answer, model_id=body.get("model_id"))
        return known[key]

    @router.post("/create_session")
    async def create_session(request: Request) -> Any:
        session_id = f"session-{len(stub.sessions)}"
        stub.sessions[session_id] = await request.json()
        return {"session_id": session_id}

    @router.post("/session_heartbeat")
    def beat() -> Any:
        return {}

    @router.post("/create_model")
    async def create_model(request: Request) -> Any:
        body = await request.json()
        model_id = f"{body['session_id']}:train:{body['model_seq_id']}"
        stub.models[model_id] = body["base_model"]
        return stub.promise({"model_id": model_id, "type": "create_model"})

    @router.post("/get_info")
    async def get_info(request: Request) -> Any:
        model_id = (await request.json())["model_id"]
        if model_id not in stub.models:
            return refused(404, f"There is no model {model_id}.")
        return {"model_id": model_id, "model_data": {"model_name": stub.models[model_id]}}

    @router.post("/forward")
    @router.post("/forward_backward")
    async def learn(request: Request) -> Any:
        body = await request.json()
        kind = request.url.path.rpartition("/")[2]
        asked = read_forward_backward(body)
        if asked.forward_only is not (kind == "forward"):
            return refused(422, "That is the body of another call.")
        tokens = [datum.model_input.length for datum in asked.data]
        result = {
            "loss_fn_output_type": "ArrayRecord",
            "loss_fn_outputs": [{"logprobs": tensor([LOGPROB] * each)} for each in tokens],
            "metrics": {"loss:sum": -LOGPROB * sum(tokens)},
        }
        return take(kind, body, result)

    @router.post("/optim_step")
    async def optim_step(request: Request) -> Any:
        return take("optim_step", await request.json(), {"metrics": None})

    @router.post("/save_weights")
    async def save_weights(request: Request) -> Any:
        body = await request.json()
        path = f"tinker://{body['model_id']}/weights/{body['path']}"
        stub.saved[path] = body["model_id"]
        return take("save_weights", body, {"path": path, "type": "save_weights"})

    @router.post("/save_weights_for_sampler")
    async def save_for_sampler(request: Request) -> Any:
        body = await request.json()
        name = body.get("path")
        path = f"tinker://{body['model_id']}/sampler_weights/{name}" if name else None
        number = body.get("sampling_session_seq_id")
        session_id = None if name else f"{body['model_id']}:sample:{number}"
        stub.saved[path or str(session_id)] = body["model_id"]
        result = {"path": path, "sampling_session_id": session_id}
        return take("save_weights_for_sampler", body, result)

    @router.post("/load_weights")
    async def load_weights(request: Request) -> Any:
        body = await request.json()
        if body["path"] not in stub.saved:
            return refused(404, f"There is no checkpoint {body['path']}.")
        return take("load_weights", body, {"path": body["path"]})

    @router.post("/create_sampling_session")
    async def create_sampling_session(request: Request) -> Any:
        body = await request.json()
        if body.get("model_path") and body["model_path"] not in stub.saved:
            return refused(404, f"There is no checkpoint {body['model_path']}.")
        number = body["sampling_session_seq_id"]
        return {"sampling_session_id": f"{body['session_id']}:sample:{number}"}

    @router.post("/asample")
    async def asample(request: Request) -> Any:
        body = await request.json()
        scores = [None, *[LOGPROB] * (prompt_length(body) - 1)]
        more = {"prompt_logprobs": scores if body.get("prompt_logprobs") else None}
        return take("asample", body, samples(body) | more)

    @router.post("/retrieve_future")
    async def retrieve_future(request: Request) -> Any:
        request_id = (await request.json())["request_id"]
        if request_id not in stub.futures:
            return refused(404, f"There is no future {request_id}.")
        if stub.not_yet:
            stub.not_yet -= 1
            return {"type": "try_again", "request_id": request_id, "queue_state": "active"}
        return stub.futures[request_id]

    @router.get("/training_runs/{run}")
    def training_run(run: str) -> Any:
        if run not in stub.models:
            return refused(404, f"There is no run {run}.")
        known = {"training_run_id": run, "base_model": stub.models[run], "model_owner": "me"}
        return {**known, "is_lora": True, "last_request_time": "2026-07-13T10:00:00Z"}

    return router


@contextmanager
def serving(app: FastAPI, stub: Stub) -> Iterator[None]:
    """Serve an application on a free port while the block runs; the stub sees what comes."""
    app.add_middleware(Watch, stub=stub)
    config = uvicorn.Config(
        app, port=0, ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.ready.wait(PATIENCE)
        (socket,) = server.servers[0].sockets
        stub.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def earlier_stub() -> Iterator[JsonStub]:
    """Serve such a server while the block runs."""
    stub = JsonStub()
    app = FastAPI(openapi_url=None)
    app.include_router(_router(stub))
    with serving(app, stub):
        yield stub
