"""The models and samplers that requests may name."""

from __future__ import annotations

import time
from pathlib import Path

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.config import SERVED_ALIASES
from tinker_nb.server.engine.work import (
    AdapterSpec,
    LayerGroup,
    ModelFacts,
    SavedWeights,
    WeightsSource,
)
from tinker_nb.server.store.records import (
    CheckpointRow,
    Records,
    RunRow,
    SamplerRow,
    SessionRow,
)
from tinker_nb.wire.params import LoraConfig
from tinker_nb.wire.paths import parse_tinker_path

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

    def add_run(
        self,
        model_id: str,
        spec: AdapterSpec,
        session_id: str | None = None,
        user_metadata: dict[str, object] | None = None,
    ) -> None:
        """Record a model that is being made."""
        row = RunRow(
            model_id=model_id,
            session_id=session_id,
            base_model=self._facts.name,
            rank=spec.rank,
            alpha=spec.alpha,
            groups=",".join(sorted(spec.groups)),
            seed=spec.seed,
            state="live",
            created_at=time.time(),
            user_metadata=user_metadata or {},
        )
        self._records.add(row)
        self._live[model_id] = row

    def live_run(self, model_id: str) -> RunRow:
        """Return a model that can be worked on."""
        run = self._live.get(model_id) or self._records.get(RunRow, model_id)
        if run is None:
            raise UnknownNameError(f"There is no model {model_id!r}.")
        if run.state == "unloaded":
            raise UnknownNameError(f"The model {model_id!r} was removed.")
        if run.state != "live":
            raise UnknownNameError(
                f"The model {model_id!r} was lost when the server stopped; make a new one."
            )
        return run

    def unload(self, model_id: str) -> None:
        """Let no later request use a model."""
        self._records.change(RunRow, model_id, state="unloaded")
        self._live.pop(model_id, None)

    def sampler(self, sampler_id: str) -> SamplerRow:
        """Return a sampling session."""
        row = self._records.get(SamplerRow, sampler_id)
        if row is None:
            raise UnknownNameError(f"There is no sampling session {sampler_id!r}.")
        return row

    def checkpoint(self, path: str) -> CheckpointRow:
        """Return a checkpoint that can be sampled."""
        parsed = parse_tinker_path(path)
        if parsed.kind != "sampler_weights":
            raise InvalidInputError(
                f"{path} cannot be sampled; save with save_weights_for_sampler and use that path."
            )
        row = self._records.get(CheckpointRow, str(parsed))
        if row is None:
            raise UnknownNameError(f"There is no checkpoint {path}.")
        return row


def sampler_weights(sampler: SamplerRow) -> WeightsSource:
    """Return the weights a sampling session draws from now."""
    return None if sampler.directory is None else SavedWeights(Path(sampler.directory))


def checkpoint_weights(checkpoint: CheckpointRow) -> SavedWeights:
    """Return the weights in a checkpoint."""
    return SavedWeights(Path(checkpoint.directory))
