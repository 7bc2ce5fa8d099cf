"""Runs, checkpoints and the rest of the records: both clients, and the wire itself."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import tinker

from tests.client.rest_table import WINDOW
from tests.server.conftest import KEY, Served, collect, new_session
from tests.server.shelf import (
    FILES,
    folder_of,
    kept,
    put_checkpoint,
    put_run,
    put_sampler,
    put_session,
    route_of,
)
from tinker_nb.client.rest.admin import AdminClient
from tinker_nb.client.rest.client import RestClient
from tinker_nb.errors import BadRequestError, NotFoundError, NotSupportedByServer
from tinker_nb.server.shelf.copying import Order, copied_run, copy_checkpoint, own_session
from tinker_nb.server.store.records import RunRow, SessionRow

pytestmark = [
    # What the official SDK calls deprecated or experimental is what is asked for here.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*experimental"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
WAIT = 60


@pytest.fixture(scope="module", autouse=True)
def _no_telemetry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINKER_TELEMETRY", "0")
        yield
    gc.collect()  # the SDK leaves sockets to the collector; let that happen here, not elsewhere


@pytest.fixture(params=["official", "ours"])
def rest(request: pytest.FixtureRequest, served: Served) -> Iterator[Any]:
    """A client of either kind."""
    if request.param == "official":
        yield tinker.RestClient(base_url=served.url, api_key=KEY)
        return
    with RestClient(base_url=served.url, api_key=KEY) as ours:
        yield ours


@pytest.fixture(params=["official", "ours"])
def admin(request: pytest.FixtureRequest, served: Served) -> Iterator[Any]:
    """A client of either kind for administrators."""
    if request.param == "official":
        yield tinker.AdminClient(base_url=served.url, api_key=KEY)
        return
    with AdminClient(base_url=served.url, api_key=KEY) as ours:
        yield ours


def done(future: Any) -> Any:
    return future.result(timeout=WAIT)


# Every operation, both forms, both clients -------------------------------------------------------

Case = Callable[[Served], tuple[Any, ...]]


def _one(kind: str, *args: Any, **values: Any) -> Case:
    def make(served: Served) -> tuple[Any, ...]:
        return (put_checkpoint(served, put_run(served), kind=kind, **values), *args)

    return make


def _split(served: Served) -> tuple[Any, ...]:
    run = put_run(served)
    put_checkpoint(served, run, "s")
    return run, "weights/s"


CASES: dict[str, Case] = {
    "get_server_capabilities": lambda _: (),
    "get_training_run": lambda served: (put_run(served),),
    "get_training_run_by_tinker_path": _one("weights", "accessible"),
    "get_weights_info_by_tinker_path": _one("sampler_weights"),
    "list_training_runs": lambda _: (5, 0, "owned", "no-such-project"),
    "list_checkpoints": lambda served: (put_run(served),),
    "list_user_checkpoints": lambda _: (3, 2),
    "get_external_weights_urls": _one("external_weights"),
    "delete_checkpoint": _split,
    "delete_checkpoint_from_tinker_path": _one("sampler_weights"),
    "publish_checkpoint_from_tinker_path": _one("weights"),
    "unpublish_checkpoint_from_tinker_path": _one("weights", public=True),
    "set_checkpoint_ttl_from_tinker_path": _one("weights", 3600),
    "copy_weights": _one("weights", "a-project"),
    "list_sessions": lambda _: (2, 1),
    "get_session": lambda served: (put_session(served), "accessible"),
    "assign_session_project": lambda served: (put_session(served), "a-project"),
    "get_sampler": lambda served: (put_sampler(served, put_session(served)),),
    "get_billing_usage": lambda _: WINDOW,
    "get_current_checkpoint_storage_usage": lambda _: (),
}


@pytest.mark.parametrize("name", CASES)
async def test_every_operation_works_in_both_forms(rest: Any, served: Served, name: str) -> None:
    one = await asyncio.to_thread(lambda: done(getattr(rest, name)(*CASES[name](served))))
    if not hasattr(rest, f"{name}_async"):
        return
    two = await getattr(rest, f"{name}_async")(*CASES[name](served))
    assert type(one) is type(two)


def test_a_search_works(rest: Any, served: Served) -> None:
    session = put_session(served, display_name="found by both")
    kind = tinker.types if isinstance(rest, tinker.RestClient) else None
    wanted = {"display_name": "both found", "limit": 1}
    request = kind.SessionSearchRequest(**wanted) if kind is not None else wanted
    answer = done(rest.search_sessions(request))
    assert [each.session_id for each in answer.sessions][:1] == [session]
    assert answer.sessions[0].status.type == "active"
    assert answer.sessions[0].checkpoints_count == 0


# Runs --------------------------------------------------------------------------------------------


def test_a_run_tells_all(rest: Any, served: Served) -> None:
    began = 1_784_000_000.0
    metadata = {"kind": "test", "number": 3}
    run = put_run(served, state="lost", created_at=began, user_metadata=metadata, rank=7)
    for place, kind in enumerate(["weights", "sampler_weights", "external_weights"]):
        for name in ("old", "new"):
            at = began + place + (10 if name == "new" else 0)
            put_checkpoint(served, run, name, kind, created_at=at)
    put_checkpoint(served, run, "hidden", ephemeral=True, created_at=began + 90)
    put_checkpoint(served, run, "gone", created_at=began + 95, expires_at=began + 99)
    told = done(rest.get_training_run(run))
    assert told.training_run_id == run
    assert (told.base_model, told.lora_rank, told.is_lora) == ("tiny-chat", 7, True)
    assert told.model_owner == "local"
    assert told.corrupted
    assert told.user_metadata == {"kind": "test", "number": "3"}
    assert told.last_checkpoint.checkpoint_id == "weights/new"
    assert told.last_sampler_checkpoint.checkpoint_id == "sampler_weights/new"
    assert told.last_request_time == datetime.fromtimestamp(began + 12, UTC)


def test_runs_of_a_project_are_paged_newest_first(rest: Any, served: Served) -> None:
    project = f"paged-{type(rest).__module__}"
    session = put_session(served, project_id=project)
    runs = [put_run(served, session, created_at=float(place)) for place in range(3)]
    put_checkpoint(served, runs[1])
    page = done(rest.list_training_runs(2, 0, "accessible", project))
    assert [run.training_run_id for run in page.training_runs] == [runs[2], runs[1]]
    assert page.training_runs[0].last_checkpoint is None
    assert page.training_runs[1].last_checkpoint.tinker_path.startswith(f"tinker://{runs[1]}/")
    cursor = page.cursor
    assert (cursor.offset, cursor.limit, cursor.total_count) == (0, 2, 3)
    page = done(rest.list_training_runs(2, 2, project_id=project))
    assert [run.training_run_id for run in page.training_runs] == [runs[0]]


def test_a_run_remembers_its_last_request(http: httpx.Client, model_id: str) -> None:
    before = datetime.now(UTC)
    step = http.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": 1})
    collect(http, step)
    told = http.get(f"/api/v1/training_runs/{model_id}").json()
    assert datetime.fromisoformat(told["last_request_time"]) >= before
    assert told["last_request_time"].endswith("Z")


def test_a_page_takes_few_queries(served: Served, http: httpx.Client) -> None:
    from sqlalchemy import event

    session = put_session(served, project_id="large")
    for _ in range(30):
        put_checkpoint(served, put_run(served, session))
    asked: list[str] = []

    def note(*args: Any) -> None:
        asked.append(args[2])

    event.listen(served.house.database.quick, "before_cursor_execute", note)
    try:
        answer = http.get("/api/v1/training_runs", params={"project_id": "large", "limit": 50})
    finally:
        event.remove(served.house.database.quick, "before_cursor_execute", note)
    assert len(answer.json()["training_runs"]) == 30
    assert len([text for text in asked if text.startswith("SELECT")]) <= 4


# Checkpoints -------------------------------------------------------------------------------------


def test_checkpoints_are_listed_newest_first(rest: Any, served: Served) -> None:
    far = time.time() + 10_000
    run = put_run(served)
    ends = far + 10**6
    one = put_checkpoint(served, run, "one", created_at=far, user_metadata={"k": "v"})
    two = put_checkpoint(
        served, run, "two", "external_weights", created_at=far + 1, expires_at=ends, public=True
    )
    put_checkpoint(served, run, "hidden", ephemeral=True, created_at=far + 2)
    put_checkpoint(served, run, "gone", expires_at=time.time() - 1, created_at=far + 3)
    listed = done(rest.list_checkpoints(run)).checkpoints
    assert [each.tinker_path for each in listed] == [two, one]
    assert [each.checkpoint_type for each in listed] == ["external", "training"]
    assert [each.checkpoint_id for each in listed] == ["external_weights/two", "weights/one"]
    assert [each.public for each in listed] == [True, False]
    assert listed[0].expires_at == datetime.fromtimestamp(ends, UTC)
    assert listed[0].time == datetime.fromtimestamp(far + 1, UTC)
    assert listed[1].user_metadata == {"k": "v"}
    assert listed[1].size_bytes == sum(map(len, FILES.values()))
    page = done(rest.list_user_checkpoints(1, 0))
    assert page.cursor.total_count >= 2
    assert page.cursor.limit == 1
    for each in (one, two):
        done(rest.delete_checkpoint_from_tinker_path(each))


def test_the_path_of_skyrl_works_too(served: Served, http: httpx.Client) -> None:
    run = put_run(served)
    put_checkpoint(served, run)
    other = http.get(f"/api/v1/training_runs/{run}/checkpoints").json()
    assert http.get(f"/api/v1/models/{run}/checkpoints").json() == other
    assert len(other["checkpoints"]) == 1


def test_publishing_changes_what_is_listed(rest: Any, served: Served) -> None:
    run = put_run(served)
    path = put_checkpoint(served, run)
    done(rest.publish_checkpoint_from_tinker_path(path))
    assert done(rest.list_checkpoints(run)).checkpoints[0].public
    with pytest.raises((tinker.BadRequestError, BadRequestError), match="is public already"):
        done(rest.publish_checkpoint_from_tinker_path(path))
    done(rest.unpublish_checkpoint_from_tinker_path(path))
    with pytest.raises((tinker.BadRequestError, BadRequestError), match="is not public"):
        done(rest.unpublish_checkpoint_from_tinker_path(path))
    assert not done(rest.list_checkpoints(run)).checkpoints[0].public


def test_a_ttl_is_set_and_taken_back(rest: Any, served: Served) -> None:
    path = put_checkpoint(served, put_run(served))
    done(rest.set_checkpoint_ttl_from_tinker_path(path, 7200))
    row = kept(served, path)
    assert row is not None
    assert row.expires_at == pytest.approx(time.time() + 7200, abs=60)
    done(rest.set_checkpoint_ttl_from_tinker_path(path, None))
    row = kept(served, path)
    assert row is not None
    assert row.expires_at is None


@pytest.mark.parametrize("ttl", [3599, 0, -1, 315_576_001, 10**30])
def test_a_wrong_ttl_is_refused(served: Served, http: httpx.Client, ttl: int) -> None:
    path = put_checkpoint(served, put_run(served))
    for answer in (
        http.put(route_of(path, "ttl"), json={"ttl_seconds": ttl}),
        http.post("/api/v1/copy_weights", json={"source_path": path, "ttl_seconds": ttl}),
    ):
        assert answer.status_code == 400
        assert "ten years" in answer.json()["detail"]


def test_a_weights_info_tells_the_groups(rest: Any, served: Served) -> None:
    path = put_checkpoint(served, put_run(served, groups="mlp,unembed", rank=3))
    info = done(rest.get_weights_info_by_tinker_path(path))
    assert (info.base_model, info.is_lora, info.lora_rank) == ("tiny-chat", True, 3)
    assert (info.train_attn, info.train_mlp, info.train_unembed) == (False, True, True)
    assert info.optimizer_config.type == "adamw"


UNKNOWN = "/api/v1/training_runs/nobody:train:0/checkpoints/weights/none"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/training_runs/nobody:train:0", None),
        ("GET", "/api/v1/training_runs/nobody:train:0/checkpoints", None),
        ("GET", "/api/v1/models/nobody/checkpoints", None),
        ("DELETE", UNKNOWN, None),
        ("POST", f"{UNKNOWN}/publish", None),
        ("DELETE", f"{UNKNOWN}/publish", None),
        ("PUT", f"{UNKNOWN}/ttl", {"ttl_seconds": None}),
        ("GET", f"{UNKNOWN}/external_weights_urls", None),
        ("GET", f"{UNKNOWN}/archive", None),
        ("POST", "/api/v1/weights_info", {"tinker_path": "tinker://nobody/weights/none"}),
        ("POST", "/api/v1/copy_weights", {"source_path": "tinker://nobody/weights/none"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_unknown_is_404(http: httpx.Client, method: str, path: str, body: Any) -> None:
    answer = http.request(method, path, json=body)
    assert answer.status_code == 404
    detail = answer.json()["detail"]
    assert detail.startswith("There is no ")
    assert detail.endswith(".")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "weights/x",
        "tinker://r",
        "tinker://r/x",
        "tinker://r/weights",
        "tinker://r/bias/x",
        "tinker://r/weights/../x",
        "tinker://r/weights/a b",
        "tinker://r/weights/" + "x" * 200,
    ],
)
def test_a_malformed_path_is_refused(http: httpx.Client, path: str) -> None:
    for answer in (
        http.post("/api/v1/weights_info", json={"tinker_path": path}),
        http.post("/api/v1/copy_weights", json={"source_path": path}),
    ):
        assert answer.status_code == 400, path
        assert answer.json()["detail"]


def test_a_wrong_kind_of_checkpoint_is_refused(http: httpx.Client) -> None:
    answer = http.delete("/api/v1/training_runs/r/checkpoints/bias/x")
    assert answer.status_code == 400
    assert http.delete("/api/v1/training_runs/r/checkpoints/weights").status_code == 404
    assert http.delete("/api/v1/training_runs/r/checkpoints/weights/a/b").status_code == 404


# Copies ------------------------------------------------------------------------------------------


def test_a_copy_has_files_and_a_run_of_its_own(rest: Any, served: Served) -> None:
    run = put_run(served, rank=5, groups="attn")
    path = put_checkpoint(served, run, "mine", "sampler_weights", user_metadata={"k": "v"})
    project = f"copies-{type(rest).__module__}"
    copy = done(rest.copy_weights(path, project, ttl_seconds=7200, weights_access_token="open"))
    assert copy.endswith("/sampler_weights/mine")
    done(rest.delete_checkpoint_from_tinker_path(path))
    found = {file.name: file.read_bytes() for file in folder_of(served, copy).iterdir()}
    assert found == FILES
    info = done(rest.get_weights_info_by_tinker_path(copy))
    assert (info.lora_rank, info.train_attn, info.train_mlp) == (5, True, False)
    (there,) = done(rest.list_training_runs(project_id=project)).training_runs
    assert there.user_metadata == {"copied_from": path}
    assert there.last_sampler_checkpoint.user_metadata == {"k": "v"}
    expires = there.last_sampler_checkpoint.expires_at
    assert (expires - datetime.now(UTC)).total_seconds() == pytest.approx(7200, abs=60)
    owner = served.house.records.get(RunRow, there.training_run_id)
    assert owner is not None
    assert owner.state == "unloaded"
    assert done(rest.get_session(owner.session_id)).training_run_ids == [owner.model_id]


def test_a_repeated_copy_is_one(served: Served, http: httpx.Client) -> None:
    path = put_checkpoint(served, put_run(served))
    body = {"source_path": path, "destination_project_id": "p"}

    def copied(key: str | None) -> str:
        headers = {} if key is None else {"X-Idempotency-Key": key}
        answer = http.post("/api/v1/copy_weights", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["tinker_path"])

    before = len(list(served.house.home.checkpoints.iterdir()))
    assert copied("one") == copied("one") == copied("one")
    assert len(list(served.house.home.checkpoints.iterdir())) == before + 1
    assert len({copied("one"), copied("two"), copied(None), copied(None)}) == 4


async def test_copies_at_the_same_moment_are_one(served: Served) -> None:
    path = put_checkpoint(served, put_run(served))
    headers = {"X-API-Key": KEY, "X-Idempotency-Key": "together"}
    before = {each.name for each in served.house.home.checkpoints.iterdir()}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=WAIT) as http:
        calls = [http.post("/api/v1/copy_weights", json={"source_path": path}) for _ in range(6)]
        answers = await asyncio.gather(*calls)
    assert [answer.status_code for answer in answers] == [200] * 6
    (copy,) = {answer.json()["tinker_path"] for answer in answers}
    new = {each.name for each in served.house.home.checkpoints.iterdir()} - before
    assert new == {folder_of(served, copy).name}


def test_the_later_of_two_copies_gives_way(served: Served) -> None:
    """What two requests at once come to, in an order of our own."""
    house = served.house
    path = put_checkpoint(served, put_run(served))
    source, run = kept(served, path), house.records.get(RunRow, path.split("/")[2])
    assert source is not None
    assert run is not None
    session = own_session(source, None, "same")
    order = Order(source, copied_run(run, source, session.session_id, 0), session, None)
    real = house.records.get
    asked: list[Any] = []

    def late(table: Any, key: str) -> Any:
        """Let the first look happen before the other request was done."""
        asked.append(key)
        if len(asked) == 1:
            copy_checkpoint(served.house, order)
            return None
        return real(table, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.records, "get", late)
        before = len(list(house.home.checkpoints.iterdir()))
        copy = copy_checkpoint(house, order)
    assert kept(served, copy) is not None
    assert len(list(house.home.checkpoints.iterdir())) == before + 1


def test_a_copy_goes_into_a_session(served: Served, http: httpx.Client) -> None:
    session = new_session(http)
    path = put_checkpoint(served, put_run(served), "a")
    other = put_checkpoint(served, put_run(served), "a")
    body = {"source_path": path, "session_id": session, "model_seq_id": 3}
    for _ in range(2):
        answer = http.post("/api/v1/copy_weights", json=body)
        assert answer.json() == {"tinker_path": f"tinker://{session}:train:3/weights/a"}
    answer = http.post("/api/v1/copy_weights", json={**body, "source_path": other})
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        f"There is already a model '{session}:train:3'; give another model_seq_id."
    )
    runs = http.get(f"/api/v1/sessions/{session}").json()["training_run_ids"]
    assert runs == [f"{session}:train:3"]


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ({"session_id": "nowhere", "model_seq_id": 0}, 404),
        ({"session_id": "half"}, 400),
        ({"model_seq_id": 1}, 400),
        ({"session_id": "SESSION", "model_seq_id": -1}, 400),
        ({"session_id": "SESSION", "model_seq_id": 10**30}, 400),
        ({"destination_project_id": "a\nb"}, 400),
        ({"model_seq_id": "x"}, 422),
    ],
    ids=str,
)
def test_a_copy_to_nowhere_is_refused(
    served: Served, http: httpx.Client, where: dict[str, Any], status: int
) -> None:
    path = put_checkpoint(served, put_run(served))
    if where.get("session_id") == "SESSION":
        where = {**where, "session_id": new_session(http)}
    before = len(list(served.house.home.checkpoints.iterdir()))
    answer = http.post("/api/v1/copy_weights", json={"source_path": path, **where})
    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")
    assert len(list(served.house.home.checkpoints.iterdir())) == before


def test_a_copy_of_what_has_no_files_leaves_nothing(served: Served, http: httpx.Client) -> None:
    path = put_checkpoint(served, put_run(served), files={})
    folder_of(served, path).rmdir()
    before = {each.name for each in served.house.home.checkpoints.iterdir()}
    answer = http.post("/api/v1/copy_weights", json={"source_path": path})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "The checkpoint's files are gone; use another one."
    assert {each.name for each in served.house.home.checkpoints.iterdir()} == before


def test_a_copy_follows_no_links(served: Served, http: httpx.Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    path = put_checkpoint(served, put_run(served))
    (folder_of(served, path) / "link").symlink_to(secret)
    copy = http.post("/api/v1/copy_weights", json={"source_path": path}).json()["tinker_path"]
    assert {file.name for file in folder_of(served, copy).iterdir()} == set(FILES)


# What there is elsewhere -------------------------------------------------------------------------


def test_storage_is_told_by_project(admin: Any, served: Served) -> None:
    project = f"stored-{type(admin).__module__}"
    run = put_run(served, put_session(served, project_id=project))
    for name in "ab":
        put_checkpoint(served, run, name, size_bytes=10**9)
    put_checkpoint(served, run, "hidden", ephemeral=True, size_bytes=10**9)
    (item,) = done(admin.get_current_checkpoint_storage_usage(project)).data
    assert (item.checkpoint_count, item.size_bytes, item.size_gigabytes) == (2, 2 * 10**9, 2.0)
    assert (item.project_id, item.estimated_monthly_cost_usd) == (project, 0.0)
    everything = done(admin.get_current_checkpoint_storage_usage())
    assert project in [each.project_id for each in everything.data]
    assert everything.effective_rate_usd_per_gigabyte_month == 0.0


def test_nothing_is_billed(admin: Any) -> None:
    usage = done(admin.get_billing_usage(*WINDOW))
    assert (usage.data, usage.sessions) == ([], {})


def test_a_wrong_window_is_refused(http: httpx.Client) -> None:
    path = "/api/v1/billing/usage/events"
    for ends in ("2026-07-13T00:30:00Z", "2026-07-12T00:00:00Z", "2027-07-13T00:00:00Z", "x"):
        params = {"starting_on": WINDOW[0], "ending_before": ends}
        assert http.get(path, params=params).status_code == 422, ends
    assert http.get(path).status_code == 422


def test_there_is_no_audit_log(admin: Any) -> None:
    wanted = (tinker.NotFoundError, NotSupportedByServer)
    with pytest.raises(wanted, match=r"no audit log|not among the endpoints"):
        done(admin.get_audit_log())


def test_there_are_no_traces(rest: Any, served: Served) -> None:
    session = put_session(served)
    began = time.monotonic()
    wanted = (RuntimeError, NotSupportedByServer)
    with pytest.raises(wanted, match=r"records no traces|not among the endpoints"):
        done(rest.export_session_trace(session))
    assert time.monotonic() - began < 5


def test_the_key_can_be_asked_about(http: httpx.Client) -> None:
    from tinker.cli.auth_api import SelfApiKeyResponse

    told = http.get("/api/v1/auth/apikey/me")
    assert SelfApiKeyResponse.model_validate(told.json()).name == "local"
    assert KEY not in told.text
    assert http.delete("/api/v1/auth/apikey/me").status_code == 400
    assert http.post("/api/v1/auth/token", json={}).status_code == 404


def test_what_is_not_there_is_not_listed(http: httpx.Client) -> None:
    listed = http.get("/").json()["endpoints"]
    for path in ("audit", "auth/token", "sessions/{session_id}/trace_export"):
        assert f"/api/v1/{path}" not in listed
    assert listed["/api/v1/auth/apikey/me"] == ["GET"]
    one = "/api/v1/training_runs/{model_id}/checkpoints/{kind}/{name}"
    assert sorted(listed[f"{one}/publish"]) == ["DELETE", "POST"]


def test_unknown_things_are_refused_by_both_clients(rest: Any) -> None:
    wanted = (tinker.NotFoundError, NotFoundError)
    calls: dict[str, tuple[str, ...]] = {
        "get_training_run": ("nobody",),
        "list_checkpoints": ("nobody",),
        "get_session": ("nobody",),
        "get_sampler": ("nobody",),
        "delete_checkpoint": ("nobody", "weights/x"),
    }
    for name, arguments in calls.items():
        with pytest.raises(wanted, match="There is no"):
            done(getattr(rest, name)(*arguments))


def test_sessions_of_either_client_are_seen_by_both(rest: Any, served: Served) -> None:
    with tinker.ServiceClient(
        base_url=served.url, api_key=KEY, user_metadata={"by": "test"}
    ) as service:
        official: Any = service
        assert official.create_sampling_client(base_model="base").get_base_model()
        session = official.holder.get_session_id()
        told = done(rest.get_session(session))
        assert told.user_metadata == {"by": "test"}
        assert len(told.sampler_ids) == 1
        assert session in done(rest.list_sessions(1000)).sessions
    row = served.house.records.get(SessionRow, session)
    assert row is not None
    assert row.end == "success"
