"""The stub's endpoints for runs, checkpoints, sessions and accounts (section 2.8)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from tests.client.protocol_stub import API, Stub, refused

TIME = "2026-07-13T10:00:00Z"
KINDS = {"weights": "training", "sampler_weights": "sampler", "external_weights": "external"}
RUN, SESSION, PROJECT = "session-a:train:0", "session-a", "project-a"


def seed(stub: Stub, steps: int = 12) -> None:
    """Put the same runs, checkpoints and sessions into a stub, whatever was done to it."""
    run = {"training_run_id": RUN, "base_model": "base", "model_owner": "me", "is_lora": True}
    stub.runs = {RUN: {**run, "lora_rank": 8, "last_request_time": TIME}}
    stub.checkpoints = {RUN: {}}
    for kind in KINDS:
        for step in range(steps):
            add_checkpoint(stub, RUN, f"{kind}/step-{step}")
    stub.samplers = {"session-a:sample:0": {"sampler_id": "session-a:sample:0", "base_model": "b"}}
    stub.sessions = {f"session-{each}": _session(each) for each in "abc"}
    stub.projects = {PROJECT}
    stub.traces = [{"status": "ready", "url": "https://files.example/trace"}]
    stub.archives = [(302, {"Location": "/files/archive", "Expires": HTTP_DATE}, None)]


HTTP_DATE = "Mon, 13 Jul 2026 10:00:00 GMT"


def _session(letter: str) -> dict[str, Any]:
    return {"runs": [RUN] if letter == "a" else [], "samplers": [], "display_name": letter}


def add_checkpoint(stub: Stub, run: str, checkpoint_id: str) -> dict[str, Any]:
    """Put a checkpoint into a stub."""
    known = {
        "checkpoint_id": checkpoint_id,
        "checkpoint_type": KINDS.get(checkpoint_id.partition("/")[0], "sampler"),
        "time": TIME,
        "tinker_path": f"tinker://{run}/{checkpoint_id}",
        "size_bytes": 4096,
        "public": False,
    }
    return stub.checkpoints.setdefault(run, {}).setdefault(checkpoint_id, known)


def page(items: list[Any], limit: int, offset: int) -> tuple[list[Any], dict[str, int]]:
    """Return a part of a list and the cursor that says which."""
    cursor = {"limit": limit, "offset": offset, "total_count": len(items)}
    return items[offset : offset + limit], cursor


def run_router(stub: Stub) -> APIRouter:
    """Return capabilities, training runs and samplers."""
    router = APIRouter(prefix=API)

    @router.get("/get_server_capabilities")
    def capabilities() -> Any:
        return {"supported_models": [{"model_name": "base", "max_context_length": 512}]}

    @router.get("/training_runs")
    def runs(limit: int, offset: int, access_scope: str, project_id: str | None = None) -> Any:
        mine = [] if project_id else list(stub.runs.values())
        shown, cursor = page(mine, limit, offset)
        return {"training_runs": shown, "cursor": cursor}

    @router.get("/training_runs/{run}")
    def training_run(run: str, access_scope: str) -> Any:
        return stub.runs.get(run) or refused(404, f"There is no run {run}.")

    @router.get("/samplers/{sampler_id}")
    def sampler(sampler_id: str) -> Any:
        return stub.samplers.get(sampler_id) or refused(404, f"There is no {sampler_id}.")

    return router


def checkpoint_router(stub: Stub) -> APIRouter:
    """Return everything about checkpoints."""
    router = APIRouter(prefix=API)
    one = "/training_runs/{run}/checkpoints/{checkpoint_id:path}"

    def find(run: str, checkpoint_id: str) -> dict[str, Any] | None:
        return stub.checkpoints.get(run, {}).get(checkpoint_id)

    def unknown() -> JSONResponse:
        return refused(404, "There is no such checkpoint.")

    @router.get("/training_runs/{run}/checkpoints")
    def of_run(run: str) -> Any:
        return {"checkpoints": list(stub.checkpoints.get(run, {}).values())}

    @router.get("/checkpoints")
    def of_all(limit: int, offset: int) -> Any:
        everything = [each for run in stub.checkpoints.values() for each in run.values()]
        shown, cursor = page(everything, limit, offset)
        return {"checkpoints": shown, "cursor": cursor}

    @router.post(f"{one}/publish")
    @router.delete(f"{one}/publish")
    def publish(run: str, checkpoint_id: str, request: Request) -> Response:
        found, public = find(run, checkpoint_id), request.method == "POST"
        if found is None:
            return unknown()
        if found["public"] is public:
            return refused(409, f"It is {'' if public else 'not '}public already.")
        found["public"] = public
        return Response(status_code=204)

    @router.put(f"{one}/ttl")
    async def ttl(run: str, checkpoint_id: str, request: Request) -> Response:
        found = find(run, checkpoint_id)
        if found is None:
            return unknown()
        found["ttl_seconds"] = (await request.json())["ttl_seconds"]
        return JSONResponse({})

    @router.delete(one)
    def delete(run: str, checkpoint_id: str) -> Response:
        gone = stub.checkpoints.get(run, {}).pop(checkpoint_id, None)
        return Response(status_code=204) if gone else unknown()

    @router.get(f"{one}/external_weights_urls")
    def urls(run: str, checkpoint_id: str) -> Any:
        if find(run, checkpoint_id) is None:
            return unknown()
        return {
            "urls": {name: f"{stub.url}/files/{name}?signature=s3cret" for name in stub.files},
            "expires": TIME,
        }

    @router.get(f"{one}/archive")
    def archive(run: str, checkpoint_id: str) -> Response:
        if find(run, checkpoint_id) is None:
            return unknown()
        status, headers, body = stub.archives.pop(0) if stub.archives[1:] else stub.archives[0]
        return JSONResponse(body, status, headers)

    @router.post("/weights_info")
    async def info(request: Request) -> Any:
        run, _, rest = (await request.json())["tinker_path"][len("tinker://") :].partition("/")
        return (
            {"base_model": "base", "is_lora": True, "lora_rank": 8}
            if find(run, rest)
            else unknown()
        )

    @router.post("/copy_weights")
    async def copy(request: Request) -> Any:
        name = (await request.json())["source_path"].rpartition("/")[2]
        return {"tinker_path": f"tinker://copy/weights/{name}"}

    return router


def session_data_router(stub: Stub) -> APIRouter:
    """Return what there is of sessions beside beginning and ending them."""
    router = APIRouter(prefix=API)

    @router.get("/sessions")
    def sessions(limit: int, offset: int, access_scope: str) -> Any:
        return {"sessions": page(list(stub.sessions), limit, offset)[0]}

    @router.get("/sessions/{session_id}")
    def session(session_id: str, access_scope: str) -> Any:
        found = stub.sessions.get(session_id)
        if found is None:
            return refused(404, f"There is no session {session_id}.")
        return {"training_run_ids": found["runs"], "sampler_ids": found["samplers"]}

    @router.put("/sessions/{session_id}/project")
    async def project(session_id: str, request: Request) -> Any:
        project_id = (await request.json())["project_id"]
        if project_id not in stub.projects:
            return refused(403, "You may not use that project.")
        stub.sessions[session_id]["project_id"] = project_id
        return Response(status_code=204)

    @router.get("/sessions/{session_id}/trace_export")
    def trace(session_id: str) -> Any:
        return stub.traces.pop(0) if stub.traces[1:] else stub.traces[0]

    @router.post("/sessions/search")
    async def search(request: Request) -> Any:
        limit = (await request.json())["limit"]
        found = [summary(name, stub.is_newer) for name in stub.sessions]
        more = {"last_created_at": TIME, "last_session_id": "session-a"}
        return {"sessions": found[:limit], "next_cursor": more if found[limit:] else None}

    return router


def summary(session_id: str, is_newer: bool) -> dict[str, Any]:
    """Return what a search says of a session."""
    statuses: dict[str, Any] = {
        "session-a": {"type": "client_finished", "reason": {"type": "success"}},
        "session-b": {"type": "hibernating", "until": TIME} if is_newer else None,
    }
    said = {"session_id": session_id, "created_at": TIME, "owner": "me", "checkpoints_count": 1}
    return {**said, "project_id": PROJECT, "status": statuses.get(session_id, {"type": "active"})}


def admin_router(stub: Stub) -> APIRouter:
    """Return audit log and billing."""
    router = APIRouter(prefix=API)

    @router.get("/audit")
    def audit(request: Request) -> Response:
        return RedirectResponse(f"{API}/audit/?{request.url.query}")

    @router.get("/audit/")
    def audit_log(event_type: str, day: str | None = None) -> Any:
        details = {"event_type": event_type, "day": day}
        entry = {"timestamp": TIME, "event": "checkpoint_read", "event_details": details}
        return {"entries": [entry]}

    @router.get("/billing/usage/events")
    def events(starting_on: str, ending_before: str) -> Any:
        infos: list[dict[str, Any]] = [{"type": "training", "token_count": 7}]
        infos += [{"type": "moonlight", "lumens": 1}] if stub.is_newer else []
        bucket = {"bucket_start": starting_on, "bucket_end": ending_before}
        return {"data": [{**bucket, "event_info": info} for info in infos]}

    @router.get("/billing/usage/checkpoints/current")
    def storage(project_id: str | None = None) -> Any:
        sizes = {"checkpoint_count": 2, "size_bytes": 10, "size_gigabytes": 1e-8}
        return {"data": [{**sizes, "project_id": project_id}]}

    return router


REST = (run_router, checkpoint_router, session_data_router, admin_router)
