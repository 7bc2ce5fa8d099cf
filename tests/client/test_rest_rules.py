"""What is refused before it is sent, and how single operations behave."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tests.client.protocol_stub import Stub, protocol_stub
from tests.client.rest_table import JWT
from tests.client.stub_rest import PROJECT, REST, RUN, SESSION, add_checkpoint, seed
from tinker_nb.client.exchange import Reply
from tinker_nb.client.rest.admin import AdminClient, redirect_target
from tinker_nb.client.rest.client import RestClient, identity_in
from tinker_nb.client.rest.files import read_archive_url
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.errors import (
    APIResponseValidationError,
    ConfigurationError,
    ConflictError,
    InternalServerError,
    InvalidInputError,
    NotSupportedByServer,
    PermissionDeniedError,
    RequestFailedError,
)
from tinker_nb.wire.paths import parse_checkpoint_path
from tinker_nb.wire.sessions import OtherSessionStatus
from tinker_nb.wire.usage import OtherBillingEvent

QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.02, patience=2.0, refused_patience=0.1)
PATH = f"tinker://{RUN}/weights/step-0"
JSON_TYPE = "application/json"


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    with protocol_stub(*REST) as stub:
        yield stub


@pytest.fixture
def stub(running: Stub) -> Iterator[Stub]:
    seed(running)
    running.seen.clear()
    yield running
    running.is_newer = False


@pytest.fixture
def rest(stub: Stub) -> Iterator[RestClient]:
    with RestClient(base_url=stub.url, api_key="tml-test", retry=QUICK) as client:
        yield client


# Refused before it is sent -----------------------------------------------------------------------

Ask = Callable[[RestClient], Any]
REFUSED: dict[str, Ask] = {
    "limit 0": lambda r: r.list_sessions(0),
    "limit text": lambda r: r.list_training_runs("5"),  # type: ignore[arg-type]
    "limit true": lambda r: r.list_user_checkpoints(True),
    "offset -1": lambda r: r.list_user_checkpoints(5, -1),
    "scope": lambda r: r.get_session(SESSION, "mine"),  # type: ignore[arg-type]
    "no project": lambda r: r.assign_session_project(SESSION, " "),
    "no project of runs": lambda r: r.list_training_runs(project_id=""),
    "no project to copy to": lambda r: r.copy_weights(PATH),
    "empty project to copy to": lambda r: r.copy_weights(PATH, ""),
    "no project of storage": lambda r: r.get_current_checkpoint_storage_usage(""),
    "ttl short": lambda r: r.set_checkpoint_ttl_from_tinker_path(PATH, 3599),
    "ttl long": lambda r: r.copy_weights(PATH, PROJECT, ttl_seconds=11 * 366 * 86_400),
    "ttl part": lambda r: r.set_checkpoint_ttl_from_tinker_path(PATH, 4000.5),  # type: ignore[arg-type]
    "no run": lambda r: r.get_training_run(""),
    "run up": lambda r: r.list_checkpoints(".."),
    "run with slash": lambda r: r.list_checkpoints("a/../b"),
    "no checkpoint": lambda r: r.delete_checkpoint(RUN, "weights"),
    "checkpoint up": lambda r: r.delete_checkpoint(RUN, "weights/../x"),
    "path cut off": lambda r: r.delete_checkpoint_from_tinker_path(f"tinker://{RUN}/weights"),
    "path without end": lambda r: r.delete_checkpoint_from_tinker_path(f"tinker://{RUN}/weights/"),
    "path of four": lambda r: r.publish_checkpoint_from_tinker_path(f"{PATH}/more"),
    "path of no kind": lambda r: r.unpublish_checkpoint_from_tinker_path(f"tinker://{RUN}/heavy/x"),
    "no path": lambda r: r.get_weights_info_by_tinker_path("weights/step-0"),
    "path is none": lambda r: r.get_weights_info_by_tinker_path(None),  # type: ignore[arg-type]
    "no export": lambda r: r.get_external_weights_urls(PATH),
    "day text": lambda r: r.get_audit_log(day="2026-07-13"),  # type: ignore[arg-type]
    "day with time": lambda r: r.get_audit_log(day=datetime(2026, 7, 13, 5, tzinfo=UTC)),
    "event": lambda r: r.get_audit_log("parties"),  # type: ignore[arg-type]
    "no zone": lambda r: r.get_billing_usage("2026-07-13T00:00:00", "2026-07-14T00:00:00Z"),
    "no date": lambda r: r.get_billing_usage("soon", "2026-07-14T00:00:00Z"),
    "half past": lambda r: r.get_billing_usage("2026-07-13T00:30:00Z", "2026-07-14T00:00:00Z"),
    "backwards": lambda r: r.get_billing_usage("2026-07-14T00:00:00Z", "2026-07-13T00:00:00Z"),
    "too long": lambda r: r.get_billing_usage("2026-07-01T00:00:00Z", "2026-07-16T00:00:00Z"),
    "search limit": lambda r: r.search_sessions({"limit": 201}),
    "search typo": lambda r: r.search_sessions({"display_nam": "x"}),
    "token": lambda r: r.copy_weights(PATH, PROJECT, weights_access_token="s3cret\r\nX: y"),
}


@pytest.mark.parametrize("ask", REFUSED.values(), ids=REFUSED)
def test_a_wrong_argument_is_refused_before_anything_is_sent(
    ask: Ask, rest: RestClient, stub: Stub
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ask(rest).result(timeout=20)
    assert stub.seen == []
    assert str(caught.value).endswith(".")
    assert "s3cret" not in str(caught.value)


def test_the_project_may_come_from_the_environment(
    rest: RestClient, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_PROJECT_ID", "project-env")
    assert rest.copy_weights(PATH).result(20) == "tinker://copy/weights/step-0"
    assert stub.seen[-1].body["destination_project_id"] == "project-env"


def test_full_hours_of_any_zone_are_taken(rest: RestClient, stub: Stub) -> None:
    start = datetime.fromisoformat("2026-07-13T05:30:00+05:30")
    rest.get_billing_usage(start, "2026-07-14T00:00:00Z").result(20)
    assert dict(stub.seen[-1].query)["starting_on"] == "2026-07-13T05:30:00+05:30"


# Paths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "run", "checkpoint_id", "kind"),
    [
        ("tinker://s:train:0/weights/a", "s:train:0", "weights/a", "weights"),
        ("tinker://s/external_weights/a b", "s", "external_weights/a b", "external_weights"),
        ("tinker://model_1/final", "model_1", "final", None),
    ],
)
def test_paths_of_two_and_three_parts(
    path: str, run: str, checkpoint_id: str, kind: str | None
) -> None:
    parsed = parse_checkpoint_path(path)
    assert (parsed.run, parsed.checkpoint_id, parsed.kind) == (run, checkpoint_id, kind)
    assert str(parsed) == path


def test_a_path_of_two_parts_is_sent_bare(rest: RestClient, stub: Stub) -> None:
    add_checkpoint(stub, "model_1", "final")
    rest.delete_checkpoint_from_tinker_path("tinker://model_1/final").result(20)
    assert stub.seen[-1].path == "/api/v1/training_runs/model_1/checkpoints/final"


# Single operations -------------------------------------------------------------------------------


def test_a_published_checkpoint_is_a_conflict_at_once(rest: RestClient, stub: Stub) -> None:
    rest.publish_checkpoint_from_tinker_path(PATH).result(20)
    with pytest.raises(ConflictError, match="public already"):
        rest.publish_checkpoint_from_tinker_path(PATH).result(20)
    assert len(stub.seen) == 2


def test_passing_trouble_keeps_one_idempotency_key(rest: RestClient, stub: Stub) -> None:
    stub.refuse_once = [(503, {"detail": "x"}), (500, None)]
    rest.publish_checkpoint_from_tinker_path(PATH).result(20)
    assert len(stub.seen) == 3
    assert len({each.headers["x-idempotency-key"] for each in stub.seen}) == 1


def test_a_redirect_is_not_taken_for_success(rest: RestClient, stub: Stub) -> None:
    stub.refuse_once = [(307, None)]
    with pytest.raises(APIResponseValidationError, match="nothing was done"):
        rest.delete_checkpoint_from_tinker_path(PATH).result(20)


def test_an_endpoint_that_is_not_there_is_named(rest: RestClient, stub: Stub) -> None:
    missing = 404, {"detail": "Not Found"}
    for ask in (
        lambda: rest.publish_checkpoint_from_tinker_path(PATH),
        lambda: rest.get_checkpoint_archive_url_from_tinker_path(PATH),
        lambda: rest.list_sessions(),
    ):
        stub.refuse_once = [missing]
        with pytest.raises(NotSupportedByServer):
            ask().result(20)


def test_a_trace_is_waited_for(
    rest: RestClient, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestClient, "trace_pause", 0.001)
    ready = {"status": "ready", "url": "https://files.example/1"}
    stub.traces = [{"status": "pending"}, {"status": "pending"}, ready]
    assert rest.export_session_trace(SESSION).result(20) == "https://files.example/1"
    assert len(stub.seen) == 3


def test_a_trace_that_cannot_be_made_says_why(rest: RestClient, stub: Stub) -> None:
    stub.traces = [{"status": "failed", "error": "too large"}]
    with pytest.raises(RequestFailedError, match="too large"):
        rest.export_session_trace(SESSION).result(20)
    stub.traces = [{"status": "ready"}]
    with pytest.raises(APIResponseValidationError, match="not where"):
        rest.export_session_trace(SESSION).result(20)


def test_the_pause_before_the_next_question_is_five_seconds() -> None:
    assert (RestClient.trace_pause, RestClient.archive_pause) == (5.0, 30.0)


def test_what_is_new_hides_nothing_else(rest: RestClient, stub: Stub) -> None:
    stub.is_newer = True
    found = rest.search_sessions({}).result(20).sessions
    assert isinstance(found[1].status, OtherSessionStatus)
    assert [each.status.type for each in found if each.status] == [
        "client_finished",
        "hibernating",
        "active",
    ]
    bills = rest.get_billing_usage("2026-07-13T00:00:00Z", "2026-07-14T00:00:00Z").result(20).data
    assert isinstance(bills[1].event_info, OtherBillingEvent)
    assert bills[0].event_info.token_count == 7  # type: ignore[union-attr]


def test_the_audit_log_follows_its_redirect(stub: Stub) -> None:
    with AdminClient(base_url=stub.url, api_key="tml-test") as admin:
        (entry,) = admin.get_audit_log(day=date(2026, 7, 13)).result(20).entries
    assert entry.event_details == {"event_type": "all", "day": "2026-07-13"}
    assert [each.path for each in stub.seen] == ["/api/v1/audit", "/api/v1/audit/"]


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/pre/api/v1/audit/?a=1", "/api/v1/audit/?a=1"),
        ("https://host/pre/api/v2/audit", "/api/v2/audit"),
        ("audit/?a=1", "/api/v1/audit/?a=1"),
        ("https://other/pre/api/v1/audit", None),
        ("http://host/pre/api/v1/audit", None),
        ("https://host/elsewhere", None),
        ("https://host/pre.evil/api", None),
        (None, None),
    ],
)
def test_the_key_goes_to_its_own_server_only(location: str | None, path: str | None) -> None:
    headers = {"location": location} if location is not None else {}
    reply = Reply(307, "", b"", headers)
    if path is not None:
        assert redirect_target("https://host/pre", "/api/v1/audit?a=1", reply) == path
        return
    with pytest.raises(APIResponseValidationError, match="key is not sent"):
        redirect_target("https://host/pre", "/api/v1/audit?a=1", reply)


# Archives ----------------------------------------------------------------------------------------

NOW = datetime(2026, 7, 13, 10, tzinfo=UTC)
HERE = "http://host/api/v1/x/archive"


@pytest.mark.parametrize(
    ("reply", "url", "minutes"),
    [
        (
            Reply(
                302,
                "",
                b"",
                {"location": "https://f/a", "expires": "Mon, 13 Jul 2026 12:00:00 GMT"},
            ),
            "https://f/a",
            120,
        ),
        (
            Reply(302, "", b"", {"location": "download", "expires": "soon"}),
            "http://host/api/v1/x/download",
            15,
        ),
        (Reply(200, JSON_TYPE, b'{"url": "https://f/a"}'), "https://f/a", 15),
        (
            Reply(200, JSON_TYPE, b'{"url": "https://f/a", "expires": "2026-07-13T11:00:00Z"}'),
            "https://f/a",
            60,
        ),
    ],
    ids=["redirect", "redirect without date", "json without date", "json"],
)
def test_both_ways_to_say_where_an_archive_is(reply: Reply, url: str, minutes: int) -> None:
    read = read_archive_url(reply, HERE, NOW)
    assert (read.url, (read.expires - NOW).total_seconds() / 60) == (url, minutes)


def test_an_archive_nowhere_breaks_the_protocol() -> None:
    for reply in (Reply(302, "", b""), Reply(200, JSON_TYPE, b"{}")):
        with pytest.raises(APIResponseValidationError):
            read_archive_url(reply, HERE, NOW)


def test_an_archive_that_is_being_made_is_waited_for(
    rest: RestClient, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestClient, "archive_pause", 0.001)
    stub.archives = [(503, {}, None), (503, {"Retry-After": "0"}, None), *stub.archives]
    said = rest.get_checkpoint_archive_url(RUN, "weights/step-0").result(20)
    assert said.url == f"{stub.url}/files/archive"
    assert len(stub.seen) == 3
    assert all(each.headers["accept"] == JSON_TYPE for each in stub.seen)


def test_an_archive_that_is_never_made_is_given_up(
    rest: RestClient, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestClient, "archive_pause", 0.001)
    stub.archives = [(503, {}, {"detail": "being made"})]
    with pytest.raises(InternalServerError, match="being made"):
        rest.get_checkpoint_archive_url_from_tinker_path(PATH).result(20)
    assert len(stub.seen) == 6


def test_the_wait_is_the_servers_where_it_says_one(rest: RestClient) -> None:
    from tinker_nb.client.retry import Failure

    assert rest._while_made(Failure(503, {"retry-after": "7"}), 0) == 7
    assert rest._while_made(Failure(503, {}), 4) == 30
    assert rest._while_made(Failure(503, {}), 5) is None


# Secrets and identity ----------------------------------------------------------------------------


def test_a_token_appears_nowhere(
    rest: RestClient, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    stub.refuse_once = [(503, None), (403, {"detail": "no"})]
    future = rest.copy_weights(PATH, PROJECT, weights_access_token="s3cret")
    with pytest.raises(PermissionDeniedError) as caught:
        future.result(20)
    assert stub.seen[-1].headers["x-tinker-weights-access-token"] == "s3cret"
    assert "s3cret" not in json.dumps(stub.seen[-1].body)
    texts = [repr(rest), repr(future), repr(future.snapshot), repr(caught.value), str(caught.value)]
    assert not any("s3cret" in text for text in [*texts, caplog.text])


def test_whoami_reads_the_key(stub: Stub) -> None:
    with RestClient(base_url=stub.url, api_key=JWT) as rest:
        me = rest.whoami().result(20)
    assert (me.user_urn, me.org_urn) == ("urn:user:1", "tml:organization:org-1")
    assert me.email == "me@example"
    assert stub.seen == []


def test_an_empty_email_is_none() -> None:
    claims = base64.urlsafe_b64encode(b'{"sub":"u","org_id":"o","email":""}').decode().rstrip("=")
    assert identity_in(f"eyJ.{claims}.sig").email is None


@pytest.mark.parametrize(
    "key", ["tml-s3cret", "eyJs3cret", "eyJ.s3cret.x", "eyJ.e30.s3cret", "eyJ.WzFd.s3cret", ""]
)
def test_a_key_that_says_nothing_is_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        identity_in(key)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "s3cret" not in repr(chain)
        chain = chain.__cause__ or chain.__context__
