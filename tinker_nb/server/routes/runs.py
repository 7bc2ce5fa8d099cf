"""Training runs: what is known of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from tinker_nb.server.answers import answer
from tinker_nb.server.routes.asked import Scope, ShortPage, TheListing, named_run
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.server.shelf.described import checkpoint, training_run
from tinker_nb.server.store.listing import Listing
from tinker_nb.server.store.tables import RunRow
from tinker_nb.wire.rest import (
    CheckpointsListResponse,
    Cursor,
    TrainingRun,
    TrainingRunsResponse,
)

router = APIRouter(prefix="/api/v1")


@router.get("/training_runs")
async def training_runs(
    listing: TheListing,
    page: ShortPage,
    access_scope: Scope = "owned",
    project_id: Annotated[str | None, Query()] = None,
) -> Response:
    """List the models that were ever made, newest first."""
    runs, total = listing.runs(page, project_id)
    cursor = Cursor(offset=page.offset, limit=page.limit, total_count=total)
    return answer(TrainingRunsResponse(training_runs=_described(listing, runs), cursor=cursor))


@router.get("/training_runs/{model_id}")
async def one_training_run(
    model_id: str, house: TheHouse, listing: TheListing, access_scope: Scope = "owned"
) -> Response:
    """Describe a model that was ever made."""
    (run,) = _described(listing, [named_run(house, model_id)])
    return answer(run)


@router.get("/training_runs/{model_id}/checkpoints")
@router.get("/models/{model_id}/checkpoints")
async def checkpoints_of_run(model_id: str, house: TheHouse, listing: TheListing) -> Response:
    """List all checkpoints of a model, newest first; the second path is SkyRL's."""
    rows = listing.checkpoints_of_run(named_run(house, model_id).model_id, time.time())
    return answer(CheckpointsListResponse(checkpoints=[checkpoint(row) for row in rows]))


def _described(listing: Listing, runs: Sequence[RunRow]) -> list[TrainingRun]:
    facts = listing.facts([run.model_id for run in runs], time.time())
    return [training_run(run, facts[run.model_id]) for run in runs]
