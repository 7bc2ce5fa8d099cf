"""JSON bodies of the endpoints for administrators: audit log and billing (section 2.8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from tinker_nb.wire.base import WireModel

AuditEventType = Literal["all", "checkpoints", "projects", "teams", "organizations"]
_LONGEST_WINDOW = timedelta(days=14)


class AuditLogEntry(WireModel):
    """One thing that happened; ``event`` reads like ``checkpoint_read``."""

    timestamp: datetime
    event: str
    event_details: dict[str, Any] = Field(default_factory=dict)
    model_id: str | None = None
    tinker_path: str | None = None
    purpose: str | None = None


class AuditLogResponse(WireModel):
    """What happened on one day, in order."""

    entries: list[AuditLogEntry]


class GetBillingUsageRequest(WireModel):
    """Query of ``GET /api/v1/billing/usage/events``: whole hours, at most fourteen days."""

    starting_on: AwareDatetime
    ending_before: AwareDatetime

    @model_validator(mode="after")
    def _check(self) -> Self:
        for moment in (self.starting_on, self.ending_before):
            utc = moment.astimezone(UTC)
            if (utc.minute, utc.second, utc.microsecond) != (0, 0, 0):
                raise ValueError(f"{moment.isoformat()} is no full hour of UTC")
        if not self.starting_on < self.ending_before:
            raise ValueError("ending_before must come after starting_on")
        if self.ending_before - self.starting_on > _LONGEST_WINDOW:
            raise ValueError("the window may be 14 days at most")
        return self


class TrainingBillingEvent(WireModel):
    """Tokens trained on."""

    type: Literal["training"] = "training"
    token_count: int


class SamplingPrefillBillingEvent(WireModel):
    """Prompt tokens read; ``cached`` ones cost less."""

    type: Literal["sampling_prefill"] = "sampling_prefill"
    cached: bool
    token_count: int


class SamplingSampleBillingEvent(WireModel):
    """Tokens drawn."""

    type: Literal["sampling_sample"] = "sampling_sample"
    token_count: int


class CheckpointBillingEvent(WireModel):
    """Checkpoints written or read."""

    type: Literal["checkpoint"] = "checkpoint"
    count: int


class StorageBillingEvent(WireModel):
    """Checkpoints kept."""

    type: Literal["storage"] = "storage"
    free: bool = False
    gigabyte_hours: float


class OtherBillingEvent(WireModel):
    """A kind of use this version of the client does not know."""

    model_config = ConfigDict(extra="allow")
    type: str


BillingEventInfo = Annotated[
    TrainingBillingEvent
    | SamplingPrefillBillingEvent
    | SamplingSampleBillingEvent
    | CheckpointBillingEvent
    | StorageBillingEvent
    | OtherBillingEvent,
    Field(union_mode="left_to_right"),
]


class BillingUsageEvent(WireModel):
    """One kind of use in one hour; costs are estimates before credits, no amounts due."""

    bucket_start: datetime
    bucket_end: datetime
    event_info: BillingEventInfo
    base_model: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    session_id: str | None = None
    project_id: str | None = None
    estimated_cost_usd: float | None = None
    effective_rate_usd_per_million_tokens: float | None = None
    effective_rate_usd_per_gigabyte_month: float | None = None


class BillingUsageSession(WireModel):
    """What is known of a session that was billed."""

    user_metadata: dict[str, Any] | None = None


class BillingUsageResponse(WireModel):
    """Use by the hour; ``sessions`` by id.

    Costs up to ``cost_data_through`` come from invoices, later ones from the price list.
    """

    data: list[BillingUsageEvent]
    sessions: dict[str, BillingUsageSession] = Field(default_factory=dict)
    cost_data_through: datetime | None = None


class CurrentCheckpointStorageUsageItem(WireModel):
    """What one owner keeps in one project."""

    checkpoint_count: int
    size_bytes: int
    size_gigabytes: float
    project_id: str | None = None
    org_user_urn: str | None = None
    user_email: str | None = None
    user_name: str | None = None
    estimated_monthly_cost_usd: float | None = None


class CurrentCheckpointStorageUsageResponse(WireModel):
    """What is kept now."""

    data: list[CurrentCheckpointStorageUsageItem]
    effective_rate_usd_per_gigabyte_month: float | None = None
