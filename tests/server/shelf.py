"""Sessions, runs and checkpoints put on a server's shelf without any training."""

from __future__ import annotations

import secrets
import time
from typing import Any

from tests.server.conftest import Served
from tinker_nb.server.store.records import CheckpointRow, RunRow, SamplerRow, SessionRow
from tinker_nb.wire.paths import TinkerPath, parse_tinker_path

FILES = {
    "adapter_config.json": b'{"r": 4}',
    "adapter_model.safetensors": bytes(range(256)) * 40,
    "optimizer.safetensors": b"moments",
}


def put_session(served: Served, **values: Any) -> str:
    """Put a session on the shelf."""
    session_id = f"s-{secrets.token_hex(6)}"
    now = time.time()
    fields = {"created_at": now, "heartbeat_at": now, "tags": "", "user_metadata": {}, **values}
    served.house.records.add(SessionRow(session_id=session_id, **fields))
    return session_id


def put_run(served: Served, session_id: str | None = None, **values: Any) -> str:
    """Put a run on the shelf, in a session of its own where none is given."""
    owner = session_id or put_session(served)
    model_id = f"{owner}:train:{secrets.randbelow(10**9)}"
    fields = {
        "base_model": "tiny-chat",
        "rank": 4,
        "alpha": 32.0,
        "groups": "attn,mlp",
        "state": "unloaded",
        "created_at": time.time(),
        "user_metadata": {},
        **values,
    }
    served.house.records.add(RunRow(model_id=model_id, session_id=owner, **fields))
    return model_id


def put_checkpoint(
    served: Served,
    model_id: str,
    name: str = "step",
    kind: Any = "weights",
    files: dict[str, bytes] | None = None,
    **values: Any,
) -> str:
    """Put a checkpoint and its files on the shelf; returns its path."""
    directory = secrets.token_hex(12)
    folder = served.house.home.checkpoints / directory
    folder.mkdir()
    contents = FILES if files is None else files
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    path = str(TinkerPath(model_id, kind, name))
    fields = {
        "created_at": time.time(),
        "ephemeral": False,
        "public": False,
        "user_metadata": {},
        "size_bytes": sum(map(len, contents.values())),
        **values,
    }
    row = CheckpointRow(path=path, model_id=model_id, kind=kind, directory=directory, **fields)
    served.house.records.add(row)
    return path


def put_sampler(served: Served, session_id: str, **values: Any) -> str:
    """Put a sampling session on the shelf."""
    sampler_id = f"{session_id}:sample:{secrets.randbelow(10**9)}"
    fields = {"base_model": "tiny-chat", "created_at": time.time(), **values}
    row = SamplerRow(sampler_id=sampler_id, session_id=session_id, **fields)
    served.house.records.add(row)
    return sampler_id


def kept(served: Served, path: str) -> CheckpointRow | None:
    """Return a checkpoint's row as it is now."""
    return served.house.records.get(CheckpointRow, path)


def folder_of(served: Served, path: str) -> Any:
    """Return where a checkpoint's files are."""
    row = kept(served, path)
    assert row is not None
    return served.house.home.checkpoints / row.directory


def route_of(path: str, action: str = "") -> str:
    """Return where requests about a checkpoint go."""
    parsed = parse_tinker_path(path)
    route = f"/api/v1/training_runs/{parsed.run}/checkpoints/{parsed.checkpoint_id}"
    return f"{route}/{action}" if action else route
