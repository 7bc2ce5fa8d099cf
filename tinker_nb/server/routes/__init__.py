"""HTTP only: each route reads a body, asks the house, and answers."""

from tinker_nb.server.routes import (
    checkpoints,
    downloads,
    elsewhere,
    futures,
    metrics,
    models,
    queue,
    quickstart,
    runs,
    sampling,
    service,
    sessions,
    shared,
    weights,
)

#: The first is asked first whether a path is its own, so what is asked most stands there.
ROUTERS = (
    futures.router,
    shared.router,
    service.router,
    metrics.router,
    sessions.router,
    models.router,
    weights.router,
    queue.router,
    sampling.router,
    quickstart.router,
    runs.router,
    checkpoints.router,
    downloads.router,
    elsewhere.router,
)
