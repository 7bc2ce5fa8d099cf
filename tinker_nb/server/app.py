"""The application: routes, guards and the life of the house behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from tinker_nb._version import __version__
from tinker_nb.server.answers import install_error_handlers
from tinker_nb.server.house import House
from tinker_nb.server.limits import BodyLimit
from tinker_nb.server.routes import ROUTERS
from tinker_nb.server.security import KeyGuard


def create_app(house: House) -> FastAPI:
    """Return the application of an opened house; serving it starts and closes the house."""
    app = FastAPI(
        title="tinker_nb",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.house = house
    install_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(BodyLimit, limit=house.settings.max_body_bytes)
    app.add_middleware(KeyGuard, key=house.settings.api_key)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    house: House = app.state.house
    house.start(asyncio.get_running_loop())
    try:
        yield
    finally:
        house.desk.close()
        await asyncio.to_thread(house.close)
