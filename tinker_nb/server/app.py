"""The application: routes, guards and the life of the house behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from tinker_nb._version import __version__
from tinker_nb.server.answers import install_error_handlers
from tinker_nb.server.config import Settings
from tinker_nb.server.guards.headers import (
    HeaderGuard,
    content_check,
    encoding_check,
    host_check,
    key_check,
    origin_check,
)
from tinker_nb.server.guards.limits import BodyLimit
from tinker_nb.server.house import House
from tinker_nb.server.routes import ROUTERS
from tinker_nb.server.shelf.expiry import sweep_forever
from tinker_nb.server.watch.idle import Activity, watch
from tinker_nb.server.watch.metrics import Metrics, Standing
from tinker_nb.server.watch.requests import Watch

_SWEEP_SECONDS = 60.0
_UNFINISHED = frozenset({"queued", "running"})


def create_app(house: House) -> FastAPI:
    """Return the application of an opened house; serving it starts and closes the house.

    ``state.stop``, when set, is called to stop the server that has been idle for too long.
    """
    activity = Activity()
    metrics = Metrics(lambda: replace(standing(house), open_requests=activity.open))
    app = FastAPI(
        title="tinker_nb",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        middleware=[
            Middleware(Watch, metrics=metrics, activity=activity),
            *_guards(house.settings),
        ],
    )
    app.state.house, app.state.metrics, app.state.activity = house, metrics, activity
    app.state.stop = None
    house.desk.observer = metrics.observe_future
    install_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


def _guards(settings: Settings) -> list[Middleware]:
    """Return the guards, the first to be asked first: cheap ones, and those who tell least."""
    meant = [
        host_check(settings.listen_host, settings.allow_hosts),
        origin_check(settings.allow_origins),
    ]
    formed = [key_check(settings.api_key), content_check, encoding_check]
    return [
        Middleware(HeaderGuard, checks=meant),
        # A browser's preliminary question carries no key, so it is answered before the key check.
        *([_cors(settings)] if settings.allow_origins else []),
        Middleware(HeaderGuard, checks=formed),
        Middleware(BodyLimit, limit=settings.max_body_bytes, depth=settings.max_json_depth),
    ]


def _cors(settings: Settings) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=settings.allow_origins,
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["*"],
    )


def standing(house: House) -> Standing:
    """Return what a house has to do now."""
    futures = tuple(
        (request.kind, request.state)
        for request in house.desk.overview()
        if request.state in _UNFINISHED
    )
    return Standing(futures, live_models=len(house.workshop.living))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    house: House = app.state.house
    house.start(asyncio.get_running_loop())
    tasks = [asyncio.create_task(sweep_forever(house, _SWEEP_SECONDS)), *_idle_watch(app, house)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        house.desk.close()
        await asyncio.to_thread(house.close)


def _idle_watch(app: FastAPI, house: House) -> list[asyncio.Task[None]]:
    limit, stop = house.settings.idle_stop, app.state.stop
    if limit is None or stop is None:
        return []
    activity: Activity = app.state.activity
    activity.touch()  # loading the model took its time
    task = watch(activity, lambda: house.desk.is_busy, limit, stop)
    return [asyncio.create_task(task)]
