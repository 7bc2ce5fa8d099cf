"""What concerns the server as a whole."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tinker_nb._version import __version__
from tinker_nb.server.answers import answer
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.wire.requests import ClientConfigRequest
from tinker_nb.wire.responses import (
    ClientConfigResponse,
    ClientDynamicConfigResponse,
    GetServerCapabilitiesResponse,
    HealthResponse,
    SupportedModel,
)

router = APIRouter()
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@router.get("/healthz")
@router.get("/api/v1/healthz")
async def healthz() -> Response:
    """Say that the server is up."""
    return answer(HealthResponse())


@router.get("/")
async def index(request: Request) -> Response:
    """List all endpoints: our client knows from this what it need not try."""
    paths = request.app.openapi()["paths"]
    endpoints = {path: sorted(method.upper() for method in paths[path]) for path in sorted(paths)}
    body = {"name": "tinker_nb", "version": __version__, "endpoints": endpoints}
    return JSONResponse(body)


@router.get("/get_server_capabilities")
@router.get("/api/v1/get_server_capabilities")
async def get_server_capabilities(house: TheHouse) -> Response:
    """Say what is served."""
    model = SupportedModel(
        model_name=house.facts.name,
        max_context_length=house.facts.context,
        trainable=True,
        sampleable=True,
    )
    return answer(GetServerCapabilitiesResponse(supported_models=[model]))


@router.get("/api/v1/tokenizer")
async def tokenizer(house: TheHouse, model: str = "base") -> Response:
    """Give the files a client makes its tokenizer from."""
    house.models.check_base(model)
    files = {name: _text(house.facts.directory / name) for name in _TOKENIZER_FILES}
    return JSONResponse(files)


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


@router.post("/api/v1/client/config")
async def client_config(_: ClientConfigRequest) -> Response:
    """Give the official SDK its settings."""
    return answer(ClientConfigResponse())


@router.post("/api/v1/client/dynamic_config")
async def dynamic_config(_: ClientConfigRequest) -> Response:
    """Give the official SDK its changing settings: an abandoned sample may be cancelled."""
    return answer(ClientDynamicConfigResponse(sample_cancel_enabled=True))


@router.post("/api/v1/telemetry")
async def telemetry() -> Response:
    """Take events and drop them."""
    return JSONResponse({"status": "accepted"})
