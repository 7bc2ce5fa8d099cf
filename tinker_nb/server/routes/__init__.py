"""HTTP only: each route reads a body, asks the house, and answers."""

from tinker_nb.server.routes import (
    futures,
    models,
    quickstart,
    sampling,
    service,
    sessions,
    shared,
)

ROUTERS = (
    service.router,
    sessions.router,
    models.router,
    sampling.router,
    shared.router,
    quickstart.router,
    futures.router,
)
