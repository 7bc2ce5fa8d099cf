"""The quick-start dialect: each job as a waiting path and as one that answers with a future.

Paths that the official protocol has too are in the rooms of that: they call `answered` where the
body is of this dialect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.answers import refusal, waited_response
from tinker_nb.server.house import House
from tinker_nb.server.intake.jobs import JOBS
from tinker_nb.server.intake.tickets import Waiting
from tinker_nb.server.routes.common import TheHouse, json_body, parsed, submitted
from tinker_nb.wire.losses import LOSSES

router = APIRouter()
Answer = Callable[[Request, House], Awaitable[Response]]

_FUTURES = tuple(f"/api/v1/{name}_async" for name in JOBS if name != "sample")
#: The short names of futures, at the root.
_SHORT = {
    "/add_lora": "add_lora",
    "/remove_lora": "remove_lora",
    "/fwd": "forward",
    "/fwdbwd": "forward_backward",
    "/optim_step": "optim_step",
    "/save_weights": "save_weights",
    "/load_weights": "load_weights",
    "/save_weights_for_sampler": "save_weights_for_sampler",
}


async def answered(name: str, body: dict[str, Any], house: House, *, waits: bool) -> Response:
    """Answer a job with its result, or at once with a future."""
    ask = JOBS[name](body, house)
    if not waits:
        return submitted(house, ask)
    outcome = await house.desk.wait(house.desk.submit(ask), hold=None)
    if outcome is None or isinstance(outcome, Waiting):
        return refusal(503, "The server stops; submit the request again when it is back.")
    return waited_response(outcome)


def _route(name: str, *, waits: bool) -> Callable[..., Awaitable[Response]]:
    async def route(request: Request, house: TheHouse) -> Response:
        body = await parsed(await request.body(), json_body)
        return await answered(name, body, house, waits=waits)

    route.__doc__ = f"{JOBS[name].__doc__}" + ("" if waits else " Answers with a future.")
    return route


def _add(path: str, name: str, *, waits: bool) -> None:
    operation = path.strip("/").replace("/", "_")
    router.add_api_route(
        path, _route(name, waits=waits), methods=["POST"], operation_id=operation, name=operation
    )


for _name in ("add_lora", "remove_lora", "sample"):
    _add(f"/api/v1/{_name}", _name, waits=True)
for _path in _FUTURES:
    _add(_path, _path.removeprefix("/api/v1/").removesuffix("_async"), waits=False)
for _path, _name in _SHORT.items():
    _add(_path, _name, waits=False)


@router.get("/list_loss_functions")
async def list_loss_functions() -> Response:
    """List the losses."""
    return JSONResponse({"available_loss_functions": list(LOSSES)})


@router.post("/register_custom_loss")
async def register_custom_loss() -> Response:
    """Refuse a pickled function: it could do anything here."""
    raise InvalidInputError(
        "This server takes no code. Compute the loss where you are: forward_backward_custom of "
        "tinker_nb and of the official SDK do so."
    )
