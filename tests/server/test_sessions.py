"""Sessions: their life and end, and finding them again."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.server.conftest import Served, new_session
from tests.server.shelf import put_checkpoint, put_run, put_sampler, put_session
from tinker_nb.server.shelf.expiry import sweep_once
from tinker_nb.server.store.records import SessionRow

SEARCH = "/api/v1/sessions/search"


def row_of(served: Served, session_id: str) -> SessionRow:
    row = served.house.records.get(SessionRow, session_id)
    assert row is not None
    return row


def beat(http: httpx.Client, session_id: str) -> httpx.Response:
    return http.post("/api/v1/session_heartbeat", json={"session_id": session_id})


def finish(http: httpx.Client, session_id: str, reason: str, detail: Any = None) -> httpx.Response:
    body = {"reason": {"type": reason}, "detail": detail}
    return http.post(f"/api/v1/sessions/{session_id}/finish", json=body)


def found(http: httpx.Client, **wanted: Any) -> list[dict[str, Any]]:
    answer = http.post(SEARCH, json=wanted)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["sessions"])


def ids(sessions: list[dict[str, Any]]) -> list[str]:
    return [each["session_id"] for each in sessions]


# Life and end ------------------------------------------------------------------------------------


def test_what_is_said_at_the_beginning_is_kept(served: Served, http: httpx.Client) -> None:
    body = {
        "tags": ["a", "b"],
        "sdk_version": "x",
        "project_id": "begun-in",
        "display_name": "Nightly run",
        "user_metadata": {"k": "v", "n": 3},
    }
    answer = http.post("/api/v1/create_session", json=body).json()
    row = row_of(served, answer["session_id"])
    assert (row.project_id, row.display_name, row.tags) == ("begun-in", "Nightly run", "a,b")
    told = http.get(f"/api/v1/sessions/{row.session_id}").json()
    # As text: the official SDK reads nothing else.
    assert told["user_metadata"] == {"k": "v", "n": "3"}
    assert told["display_name"] == "Nightly run"


@pytest.mark.parametrize(
    "wrong",
    [
        {"tags": ["x" * 300]},
        {"display_name": "x" * 300},
        {"project_id": "a\nb"},
        {"user_metadata": {"k": "x" * 70_000}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_is_too_large_to_keep_is_refused(http: httpx.Client, wrong: dict[str, Any]) -> None:
    answer = http.post("/api/v1/create_session", json={"tags": [], "sdk_version": "x", **wrong})
    assert answer.status_code == 400
    assert answer.json()["detail"].endswith(".")


def test_the_first_reason_stays(served: Served, http: httpx.Client) -> None:
    session = new_session(http)
    assert beat(http, session).json() == {"type": "session_heartbeat"}
    assert finish(http, session, "errored", "out of luck").status_code == 200
    assert finish(http, session, "success", "after all").status_code == 200
    row = row_of(served, session)
    assert (row.end, row.end_detail) == ("errored", "out of luck")
    (summary,) = found(http, session_id=session)
    reason = {"type": "client_finished", "reason": {"type": "errored"}, "detail": "out of luck"}
    assert summary["status"] == reason


def test_a_finished_session_needs_no_heartbeat_any_more(http: httpx.Client) -> None:
    session = new_session(http)
    finish(http, session, "success")
    answer = beat(http, session)
    assert answer.status_code == 410
    assert answer.json()["detail"] == f"The session '{session}' has been finished."


def test_a_silent_session_ends_and_runs_again(served: Served, http: httpx.Client) -> None:
    now = time.time()
    session = put_session(served, heartbeat_at=now - 301)
    loud = put_session(served, heartbeat_at=now - 299)
    sweep_once(served.house, now)
    assert row_of(served, session).end_detail == "No heartbeat came for 300 seconds."
    (summary,) = found(http, session_id=session)
    assert "status" not in summary
    (summary,) = found(http, session_id=loud)
    assert summary["status"] == {"type": "active"}
    assert beat(http, session).status_code == 200
    row = row_of(served, session)
    assert (row.end, row.end_detail, row.finished_at) == (None, None, None)
    assert row.heartbeat_at >= now


def test_a_client_may_still_say_how_a_silent_session_ended(
    served: Served, http: httpx.Client
) -> None:
    session = put_session(served, heartbeat_at=time.time() - 400)
    sweep_once(served.house, time.time())
    assert finish(http, session, "interrupted").status_code == 200
    assert row_of(served, session).end == "interrupted"
    assert beat(http, session).status_code == 410


@pytest.mark.parametrize("reason", ["bored", None, 3])
def test_an_unknown_reason_is_refused(http: httpx.Client, reason: Any) -> None:
    answer = finish(http, new_session(http), reason)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("type: ")


def test_an_unknown_session_is_404_everywhere(http: httpx.Client) -> None:
    for answer in (
        beat(http, "nowhere"),
        finish(http, "nowhere", "success"),
        http.get("/api/v1/sessions/nowhere"),
        http.put("/api/v1/sessions/nowhere/project", json={"project_id": "p"}),
        http.get("/api/v1/sessions/nowhere/trace_export"),
    ):
        assert answer.status_code == 404, answer.request.url
        assert answer.json()["detail"] == "There is no session 'nowhere'."


# Lists -------------------------------------------------------------------------------------------


def test_sessions_are_listed_newest_first(served: Served, http: httpx.Client) -> None:
    far = time.time() + 1000
    mine = [put_session(served, created_at=far + place) for place in range(4)]
    listed = http.get("/api/v1/sessions", params={"limit": 2, "offset": 1}).json()["sessions"]
    assert listed == [mine[2], mine[1]]
    assert len(http.get("/api/v1/sessions").json()["sessions"]) <= 20


def test_a_session_tells_what_it_made(served: Served, http: httpx.Client) -> None:
    session = put_session(served)
    runs = [put_run(served, session, created_at=float(place)) for place in (2, 1)]
    sampler = put_sampler(served, session)
    told = http.get(f"/api/v1/sessions/{session}", params={"access_scope": "accessible"}).json()
    assert told == {"training_run_ids": runs[::-1], "sampler_ids": [sampler]}


def test_a_session_moves_into_a_project(served: Served, http: httpx.Client) -> None:
    session = put_session(served)
    run = put_run(served, session)
    listed = "/api/v1/training_runs"
    params = {"project_id": "moved-to"}
    assert http.get(listed, params=params).json()["training_runs"] == []
    answer = http.put(f"/api/v1/sessions/{session}/project", json={"project_id": "moved-to"})
    assert answer.status_code == 200
    (there,) = http.get(listed, params=params).json()["training_runs"]
    assert there["training_run_id"] == run
    for wrong in (" ", "a\tb"):
        answer = http.put(f"/api/v1/sessions/{session}/project", json={"project_id": wrong})
        assert answer.status_code == 400


# Search ------------------------------------------------------------------------------------------


def test_a_search_by_id_or_name(served: Served, http: httpx.Client) -> None:
    one = put_session(served, display_name="Größe of the blue whale")
    two = put_session(served, display_name="BLUE monday 100%")
    assert ids(found(http, display_name="größE whale")) == [one]
    assert set(ids(found(http, display_name="blue"))) == {one, two}
    assert ids(found(http, display_name="blue monday")) == [two]
    assert ids(found(http, display_name="100%")) == [two]
    assert ids(found(http, display_name="b_ue")) == []
    assert set(ids(found(http, display_name="monday", session_id=one))) == {one, two}
    assert ids(found(http, session_id="nowhere")) == []


def test_a_search_by_metadata_and_project(served: Served, http: httpx.Client) -> None:
    odd = {'quo"te': "v'1", "number": 5}
    session = put_session(served, user_metadata=odd, project_id="searched")
    assert ids(found(http, user_metadata={'quo"te': "v'1"})) == [session]
    assert ids(found(http, user_metadata={'quo"te': "v'1", "other": "x"})) == []
    assert ids(found(http, user_metadata={"quo": "v'1"})) == []
    assert ids(found(http, project_ids=["searched", "other"])) == [session]
    assert ids(found(http, project_ids=["other"])) == []
    assert ids(found(http, project_ids=[])) == []
    nowhere = put_session(served)
    (summary,) = found(http, session_id=nowhere, project_ids=["default"])
    assert summary["project_id"] == "default"


def test_a_search_by_owner_and_status(served: Served, http: httpx.Client) -> None:
    now = time.time()
    project = "standing"
    running = put_session(served, project_id=project, created_at=now)
    done = put_session(
        served, project_id=project, created_at=now + 1, finished_at=now, end="success"
    )
    wrong = put_session(
        served, project_id=project, created_at=now + 2, finished_at=now, end="errored"
    )
    silent = put_session(
        served, project_id=project, created_at=now + 3, finished_at=now, end="silent"
    )

    def with_status(*statuses: dict[str, Any]) -> list[str]:
        return ids(found(http, project_ids=[project], statuses=list(statuses)))

    everything = [silent, wrong, done, running]
    assert ids(found(http, project_ids=[project])) == everything
    assert with_status({"type": "active"}) == [running]
    assert with_status({"type": "client_finished"}) == [wrong, done]
    errored = {"type": "client_finished", "reasons": ["errored"]}
    assert with_status(errored) == [wrong]
    assert with_status(errored, {"type": "active"}) == [wrong, running]
    assert with_status({"type": "cancelled"}, {"type": "failed"}) == []
    for owner, expected in (
        ({"type": "own"}, everything),
        ({"type": "accessible"}, everything),
        ({"type": "user", "owner_urns": ["local"]}, everything),
        ({"type": "user", "owner_urns": ["urn:somebody"]}, []),
    ):
        assert ids(found(http, project_ids=[project], owner=owner)) == expected


def test_a_search_counts_what_is_kept(served: Served, http: httpx.Client) -> None:
    session = put_session(served)
    for _ in range(2):
        put_checkpoint(served, put_run(served, session), files={"adapter_x": b"12345"})
    run = put_run(served, session)
    put_checkpoint(served, run, "gone", expires_at=time.time() - 1)
    put_checkpoint(served, run, "hidden", ephemeral=True)
    (summary,) = found(http, session_id=session)
    assert (summary["checkpoints_count"], summary["checkpoint_storage_bytes"]) == (2, 10)
    assert summary["owner"] == "local"


@pytest.mark.parametrize("step", [0.0, 1e-7, 0.3], ids=["together", "within a microsecond", "far"])
def test_pages_of_a_search_lose_and_repeat_nothing(
    served: Served, http: httpx.Client, step: float
) -> None:
    project = f"paged-{step}"
    began = 1_784_000_000.1234567
    mine = {
        put_session(served, project_id=project, created_at=began + place * step)
        for place in range(7)
    }
    pages, cursor = [], None
    for _ in range(4):
        answer = http.post(SEARCH, json={"project_ids": [project], "limit": 2, "cursor": cursor})
        body = answer.json()
        pages.append(ids(body["sessions"]))
        cursor = body.get("next_cursor")
        if cursor is None:
            break
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    seen = [each for page in pages for each in page]
    assert len(seen) == 7
    assert set(seen) == mine


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 201},
        {"display_name": ""},
        {"statuses": []},
        {"statuses": [{"type": "bored"}]},
        {"owner": {"type": "user", "owner_urns": []}},
        {"cursor": {"last_created_at": "2026-07-13T10:00:00", "last_session_id": "x"}},
        {"display_nam": "x"},
    ],
    ids=str,
)
def test_a_wrong_search_is_refused(http: httpx.Client, wrong: dict[str, Any]) -> None:
    answer = http.post(SEARCH, json=wrong)
    assert answer.status_code == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_cursor_may_be_far_away(http: httpx.Client, moment: str) -> None:
    cursor = {"last_created_at": moment, "last_session_id": "x"}
    assert http.post(SEARCH, json={"cursor": cursor}).status_code == 200


WRONG = ["limit=0", "limit=1001", "limit=x", "offset=-1", f"offset={10**30}"]


@pytest.mark.parametrize("query", [*WRONG, "access_scope=y"])
@pytest.mark.parametrize("path", ["sessions", "training_runs"])
def test_wrong_pages_are_refused(http: httpx.Client, path: str, query: str) -> None:
    answer = http.get(f"/api/v1/{path}?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize("query", WRONG)
def test_wrong_pages_of_checkpoints_are_refused(http: httpx.Client, query: str) -> None:
    assert http.get(f"/api/v1/checkpoints?{query}").status_code == 422
