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

ROUTERS = (
    service.router,
    metrics.router,
    sessions.router,
    models.router,
    weights.router,
    queue.router,
    sampling.router,
    shared.router,
    quickstart.router,
    futures.router,
    runs.router,
    checkpoints.router,
    downloads.router,
    elsewhere.router,
)
