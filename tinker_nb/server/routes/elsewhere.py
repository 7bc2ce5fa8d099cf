"""What the hosted service has beside the work: usage, accounts, audit log, traces.

A server for one user has no accounts and bills nothing. What can be told truly is told; the rest
is refused with a sentence, under statuses that let the official SDK give up at once, and left out
of the list of endpoints, so that our own client does not even ask.
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from tinker_nb.server.answers import answer, refusal
from tinker_nb.server.routes.asked import TheListing
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.server.routes.sessions import named_session
from tinker_nb.server.shelf.described import OWNER
from tinker_nb.wire.sessions import SessionTraceResponse
from tinker_nb.wire.usage import (
    BillingUsageResponse,
    CurrentCheckpointStorageUsageItem,
    CurrentCheckpointStorageUsageResponse,
    GetBillingUsageRequest,
)

router = APIRouter(prefix="/api/v1")
_GIGABYTE = 10**9


@router.get("/billing/usage/checkpoints/current")
async def storage_usage(
    listing: TheListing, project_id: Annotated[str | None, Query()] = None
) -> Response:
    """Say how much every project holds in checkpoints; it costs nothing."""
    held = listing.held_by_projects(time.time(), project_id)
    items = [
        CurrentCheckpointStorageUsageItem(
            checkpoint_count=each.count,
            size_bytes=each.size_bytes,
            size_gigabytes=each.size_bytes / _GIGABYTE,
            project_id=project,
            user_name=OWNER,
            estimated_monthly_cost_usd=0.0,
        )
        for project, each in sorted(held.items(), key=lambda item: item[0] or "")
    ]
    return answer(
        CurrentCheckpointStorageUsageResponse(data=items, effective_rate_usd_per_gigabyte_month=0.0)
    )


@router.get("/billing/usage/events")
async def billing_usage(starting_on: str, ending_before: str) -> Response:
    """Say what was billed: nothing, ever."""
    GetBillingUsageRequest.model_validate(
        {"starting_on": starting_on, "ending_before": ending_before}
    )
    return answer(BillingUsageResponse(data=[]))


@router.get("/auth/apikey/me")
async def own_key() -> Response:
    """Say whose key it is, as the official command line asks when it logs in."""
    details = {"org_details": {"name": OWNER}, "user_details": {"email": OWNER}}
    note = "The key of a local tinker_nb server."
    return JSONResponse({"key_id": 0, "name": OWNER, "note": note, "details": details})


# What is not there -------------------------------------------------------------------------------


@router.get("/sessions/{session_id}/trace_export", include_in_schema=False)
async def trace_export(session_id: str, house: TheHouse) -> Response:
    """Say that there is no trace, in the way that ends the official SDK's polling."""
    named_session(house, session_id)
    error = "This server records no traces."
    return answer(SessionTraceResponse(status="failed", error=error))


@router.get("/audit", include_in_schema=False)
async def audit() -> Response:
    """Say that there is no audit log; an empty one would say that nothing happened."""
    return refusal(404, "This server keeps no audit log.")


@router.delete("/auth/apikey/me", include_in_schema=False)
async def delete_own_key() -> Response:
    """Say that the key is not kept here."""
    return refusal(400, "The key of this server is set when it starts; stop it to end the key.")


@router.post("/auth/token", include_in_schema=False)
async def token() -> Response:
    """Say that there are no tokens."""
    return refusal(404, "This server makes no tokens; send the key itself.")
