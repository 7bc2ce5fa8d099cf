"""The models and samplers that requests may name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.config import SERVED_ALIASES
from tinker_nb.server.engine.work import (
    AdapterSpec,
    LayerGroup,
    ModelFacts,
)
from tinker_nb.server.store.records import (
    CheckpointRow,
    Records,
    RunRow,
    SamplerRow,
    SessionRow,
)
from tinker_nb.wire.params import LoraConfig, OptimizerConfig
from tinker_nb.wire.paths import TinkerPath, parse_tinker_path

OFFICIAL_ALPHA = 32.0


class Models:
    """Finds what a request names, or says in one sentence why it cannot."""

    def __init__(self, records: Records, facts: ModelFacts, max_rank: int) -> None:
        self._records = records
        self._facts = facts
        self._max_rank = max_rank
        self._live: dict[str, RunRow] = {}  # spares every request a look into the table

    def check_base(self, name: str) -> None:
        """Refuse a base model other than the one that is served."""
        facts = self._facts
        if name not in SERVED_ALIASES | {facts.name, str(facts.directory)}:
            raise UnknownNameError(
                f"This server has no base model {name!r}; it serves {facts.name!r} "
                "(also called 'base')."
            )

    def check_session(self, session_id: str) -> None:
        """Refuse a session that was never created."""
        if self._records.get(SessionRow, session_id) is None:
            raise UnknownNameError(f"There is no session {session_id!r}; create one first.")

    def spec(self, config: LoraConfig, alpha: float = OFFICIAL_ALPHA) -> AdapterSpec:
        """Return the adapter a LoRA config asks for."""
        if config.rank > self._max_rank:
            raise InvalidInputError(f"rank is {config.rank}; this server takes {self._max_rank}.")
        wanted: dict[LayerGroup, bool] = {
            "attn": config.train_attn,
            "mlp": config.train_mlp,
            "unembed": config.train_unembed,
        }
        groups = frozenset(group for group, on in wanted.items() if on) & self._facts.trainable
        if not groups:
            raise InvalidInputError(
                "Nothing would be trained: switch on one of "
                + ", ".join(f"train_{group}" for group in sorted(self._facts.trainable))
                + "."
            )
        seed = None if config.seed is None else config.seed % 2**63
        return AdapterSpec(config.rank, alpha, groups, seed)

    def check_optimizer(self, config: OptimizerConfig | None) -> None:
        """Refuse optimizers other than AdamW."""
        if config is not None and config.type != "adamw":
            raise InvalidInputError("This server has the optimizer 'adamw' only.")

    def new_run(
        self,
        model_id: str,
        spec: AdapterSpec,
        session_id: str | None = None,
        user_metadata: Mapping[str, Any] | None = None,
    ) -> RunRow:
        """Return the record of a model that is to be made."""
        self._check_free(model_id)
        return RunRow(
            model_id=model_id,
            session_id=session_id,
            base_model=self._facts.name,
            rank=spec.rank,
            alpha=spec.alpha,
            groups=",".join(sorted(spec.groups)),
            seed=spec.seed,
            state="live",
            created_at=time.time(),
            user_metadata=dict(user_metadata or {}),
        )

    def like(
        self,
        source: RunRow,
        model_id: str,
        session_id: str,
        user_metadata: Mapping[str, Any] | None,
    ) -> RunRow:
        """Return the record of a model that is to be made of another one's checkpoint."""
        spec = AdapterSpec(source.rank, source.alpha, groups_of(source), source.seed)
        return self.new_run(model_id, spec, session_id, user_metadata)

    def _check_free(self, model_id: str) -> None:
        if self._records.get(RunRow, model_id) is not None:
            raise InvalidInputError(
                f"There is a model {model_id!r} already; count model_seq_id up for a new one."
            )

    def live_run(self, model_id: str) -> RunRow:
        """Return a model that can be worked on."""
        run = self._live.get(model_id) or self._records.get(RunRow, model_id)
        if run is None:
            raise UnknownNameError(f"There is no model {model_id!r}.")
        if run.state == "unloaded":
            raise UnknownNameError(f"The model {model_id!r} was removed.")
        if run.state != "live":
            raise UnknownNameError(
                f"The model {model_id!r} was lost when the server stopped; make a new one, from "
                "its last checkpoint if it has one."
            )
        self._check_served(run)
        self._live[model_id] = run
        return run

    def unload(self, model_id: str) -> None:
        """Let no later request use a model."""
        self._live.pop(model_id, None)

    def sampler(self, sampler_id: str) -> SamplerRow:
        """Return a sampling session."""
        row = self._records.get(SamplerRow, sampler_id)
        if row is None:
            raise UnknownNameError(f"There is no sampling session {sampler_id!r}.")
        if row.base_model != self._facts.name:
            raise UnknownNameError(_other_base(sampler_id, row.base_model, self._facts.name))
        return row

    def sampled_checkpoint(self, path: str) -> CheckpointRow:
        """Return a checkpoint that can be sampled."""
        parsed = parse_tinker_path(path)
        if parsed.kind != "sampler_weights":
            raise InvalidInputError(
                f"{path} cannot be sampled; save with save_weights_for_sampler and use that path."
            )
        return self._checkpoint(parsed)

    def trained_checkpoint(self, path: str) -> CheckpointRow:
        """Return a checkpoint whose weights can be put into a model."""
        parsed = parse_tinker_path(path)
        if parsed.kind == "external_weights":
            raise InvalidInputError(f"{path} is an export; load a path of save_weights instead.")
        return self._checkpoint(parsed)

    def run_of(self, checkpoint: CheckpointRow) -> RunRow:
        """Return the model that a checkpoint is of."""
        run = self._records.get(RunRow, checkpoint.model_id)
        assert run is not None, "the tables refer to each other"
        return run

    def _checkpoint(self, path: TinkerPath) -> CheckpointRow:
        row = self._records.get(CheckpointRow, str(path))
        if row is None or has_expired(row, time.time()):
            raise UnknownNameError(f"There is no checkpoint {path}.")
        self._check_served(self.run_of(row))
        return row

    def _check_served(self, run: RunRow) -> None:
        if run.base_model != self._facts.name:
            raise UnknownNameError(_other_base(run.model_id, run.base_model, self._facts.name))


def has_expired(checkpoint: CheckpointRow, now: float) -> bool:
    """Say whether a checkpoint's time is over; its files may still be there."""
    return checkpoint.expires_at is not None and checkpoint.expires_at <= now


def groups_of(run: RunRow) -> frozenset[LayerGroup]:
    """Return the groups of layers that a run trains."""
    return cast("frozenset[LayerGroup]", frozenset(run.groups.split(",")))


def _other_base(name: str, base: str, served: str) -> str:
    return (
        f"{name!r} belongs to the base model {base!r}, and this server serves {served!r}; start "
        "the server with that model."
    )
