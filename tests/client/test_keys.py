"""The key, tokens and private headers are in no text: a tour with sentinels, and a search."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import pickle
import re
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx_aiohttp
import pytest
from IPython.core.ultratb import VerboseTB
from pydantic import SecretStr

from tests.client.scripted import Say, ScriptedServer, Seen, scripted_server
from tinker_nb import (
    AdamParams,
    ModelInput,
    SamplingClient,
    SamplingParams,
    ServiceClient,
)
from tinker_nb.client import loops
from tinker_nb.client.dialects import official
from tinker_nb.client.exchange import Payload
from tinker_nb.client.loops import loop_thread
from tinker_nb.client.rest.client import RestClient
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    FutureCancelledError,
    FutureTimeoutError,
    InternalServerError,
    InvalidInputError,
    PermissionDeniedError,
    TinkerError,
    UnprocessableEntityError,
)

WAIT = 30
QUICK = RetryPolicy(0.01, 0.05, patience=0.2, refused_patience=0.1, conflict_patience=0.2)
PROMPT = ModelInput.from_ints([1, 2])
DRAW = SamplingParams(max_tokens=1)
PATH = "tinker://run/weights/w"
#: What must be nowhere. Their parts are searched for, so they are like nothing else.
KEY = "tml-Kx7QvZ2mNp4RwT9sJ"
TOKEN = "Yd3LhG8cXe5BfU6aPo1V"
PRIVATE = "Zq0MiW4nSt7DkE2rHj9C"
_CLAIMS = base64.urlsafe_b64encode(
    b'{"jti":"wQxZkVpLtRbGhUeYcMsJ","exp":4102444800,"sub":"somebody","org_id":"some"}'
).decode()
_SIGNATURE = "Jf8GtV3bWm1RsK6nOy0L"
JWT = f"eyJhbGciOiJub25lIn0.{_CLAIMS.rstrip('=')}.{_SIGNATURE}"
_PART = 6
_PARTS = frozenset(
    secret[start : start + _PART]
    for secret in (KEY.removeprefix("tml-"), TOKEN, PRIVATE, _SIGNATURE, _CLAIMS[12:36])
    for start in range(len(secret) - _PART + 1)
)
_ANY_PART = re.compile("|".join(_PARTS), re.IGNORECASE)


def places_in(text: str) -> list[str]:
    """Return where a part of a secret stands in a text, with what is around it."""
    found = _ANY_PART.finditer(text)
    return [text[max(0, each.start() - 150) : each.end() + 20] for each in found]


@dataclass
class Texts:
    """All that was shown, said or logged on a tour, by where it came from."""

    found: list[tuple[str, str]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def add(self, where: str, text: str) -> None:
        self.found.append((where, text))

    def assert_clean(self) -> None:
        leaks = {where: place for where, text in self.found for place in places_in(text)[:1]}
        assert not leaks, "\n\n".join(f"{where}: {place}" for where, place in leaks.items())

    # Where to look

    def error(self, error: BaseException) -> None:
        """Take in an error as a log, a debugger and a notebook show it, and what it came from."""
        self.errors.append(error)
        for each in chain(error):
            each.__traceback__ = frames_of_others(each.__traceback__)
            self.add(f"text of {each!r}", f"{each} {each!r} {each.args!r}")
            self.walk(f"attributes of {each!r}", vars(each))
        for each in chain(error):
            name = type(each).__name__
            self.add(f"traceback of {name}", "".join(traceback.format_exception(each)))
            captured = traceback.TracebackException.from_exception(each, capture_locals=True)
            self.add(f"variables of {name}", "".join(captured.format()))
            self.add(f"notebook's view of {name}", notebook_view(each))

    def walk(self, where: str, start: object) -> None:
        """Take in how an object shows itself, and everything of ours that can be reached in it."""
        seen: set[int] = set()
        waiting: list[tuple[str, object]] = [(where, start)]
        while waiting:
            name, each = waiting.pop()
            if id(each) in seen:
                continue
            seen.add(id(each))
            self.add(name, f"{each!r} {each}")
            waiting += [(f"{name}.{part}", inner) for part, inner in inside(each)]

    def logs(self, records: list[logging.LogRecord]) -> None:
        """Take in what was logged, by anybody and at any level."""
        form = logging.Formatter()
        for record in records:
            self.add(f"log of {record.name}", f"{form.format(record)} {vars(record)!r}")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error, its causes and its contexts, also the suppressed ones."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]


def frames_of_others(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this file, which itself holds the secrets."""
    if trace is None:
        return None
    rest = frames_of_others(trace.tb_next)
    if trace.tb_frame.f_code.co_filename == __file__:
        return rest
    return TracebackType(rest, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


def notebook_view(error: BaseException) -> str:
    """Return what a notebook shows after ``%xmode Verbose``."""
    view = VerboseTB(theme_name="nocolor", include_vars=True)
    return str(view.text(type(error), error, error.__traceback__))


def inside(each: object) -> Iterator[tuple[str, object]]:
    """Give what can be reached in an object of ours or in a collection.

    What is shut stays shut, and so does a body on its way, which holds what the server must get.
    """
    if isinstance(each, SecretStr | Payload):
        return
    if isinstance(each, Mapping):
        yield from ((repr(key), value) for key, value in each.items())
    elif isinstance(each, list | tuple | set | frozenset):
        yield from ((str(number), value) for number, value in enumerate(each))
    elif type(each).__module__.startswith("tinker_nb"):
        yield from vars(each).items() if hasattr(each, "__dict__") else ()


# The tour's places


def answering(seen: Seen) -> Say | None:
    """Answer what the usual script does not."""
    answers: dict[str, Any] = {
        "create_sampling_session": {"sampling_session_id": "SS"},
        "load_weights": {"request_id": "load"},
        "asample": {"request_id": "sample", "sample_sequence_ids": ["s"]},
    }
    name = seen.path.rpartition("/")[2]
    return Say(200, answers[name]) if name in answers else None


def refusing(status: int, *names: str) -> Callable[[Seen], Say | None]:
    """Answer some paths, or all, with a status, and repeat what was sent as some servers do."""

    def script(seen: Seen) -> Say | None:
        if names and not seen.path.endswith(names):
            return answering(seen)
        said = [{"msg": "no", "input": str(seen.body), "headers": seen.headers}]
        return Say(status, {"detail": said, "sent": seen.body or None})

    return script


@contextlib.contextmanager
def garbage_server() -> Iterator[str]:
    """Run a server that speaks no HTTP."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(b"\x00\x01 no HTTP at all\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def free_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def client(url: str, key: str | SecretStr = KEY) -> ServiceClient:
    private = {"X-Private": PRIVATE}
    return ServiceClient(
        None, "p", base_url=url, api_key=key, default_headers_overrides=private, retry=QUICK
    )


@pytest.fixture
def texts(caplog: pytest.LogCaptureFixture) -> Iterator[Texts]:
    """Collect what a tour shows and logs, at every level of every logger; then search it."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "aiohttp", "asyncio", "tinker_nb", "pydantic"):
        caplog.set_level(logging.DEBUG, logger=name)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, logger=name)
    loop = loop_thread().loop
    slow = loop.slow_callback_duration
    # Now it logs each step of each task, with the result of what has ended.
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    found = Texts()
    yield found
    loop.set_debug(False)
    loop.slow_callback_duration = slow
    found.logs(caplog.records)
    found.assert_clean()


@contextlib.contextmanager
def failing(texts: Texts, *kinds: type[BaseException]) -> Iterator[None]:
    """Expect an error, and take it in."""
    with pytest.raises(kinds) as caught:
        yield
    texts.error(caught.value)


# The search itself


def test_the_search_finds_what_it_should() -> None:
    """A search that finds nothing anywhere would pass every test of this file."""

    def leak(key: str) -> None:
        raise ValueError("no")

    class Holder:
        __module__ = "tinker_nb.somewhere"

        def __init__(self) -> None:
            self.inner = {"a": [SecretStr(KEY)]}

    assert places_in(f"...{KEY[-6:]}")
    assert places_in(TOKEN.lower())
    shut, open_ = Texts(), Texts()
    shut.walk("holder", Holder())
    shut.assert_clean()
    holder = Holder()
    holder.inner["a"].append(KEY)  # type: ignore[arg-type]
    open_.walk("holder", holder)
    assert len([text for _, text in open_.found if places_in(text)]) > 0
    variables = Texts()
    with pytest.raises(ValueError) as caught:
        leak(KEY)
    trace = caught.value.__traceback__
    captured = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    variables.add("variables", "".join(captured.format()))
    variables.add("notebook", notebook_view(caught.value))
    assert trace is not None
    assert [where for where, text in variables.found if places_in(text)] == [
        "variables",
        "notebook",
    ]


# The tour


def tour(service: ServiceClient, texts: Texts) -> None:
    """Look at everything a user can hold, while it works and after."""
    training = service.create_lora_training_client("m")
    step = training.optim_step(AdamParams())
    loading = training.load_state(PATH, TOKEN)
    sampler = service.create_sampling_client(base_model="m")
    drawing = sampler.sample(PROMPT, 1, DRAW)
    rest = service.create_rest_client()
    transport = service.server.transport
    links = [link for link, _ in transport._links._open.values()]
    assert links
    for name, each in {
        "service": service,
        "session": service.session,
        "server": service.server,
        "transport": transport,
        "endpoint": transport.endpoint,
        "links": links,
        "training": training,
        "sampler": sampler,
        "rest": rest,
        "futures": [step, loading, drawing, training.created, sampler.created],
        "works": loops.under_way,
    }.items():
        texts.walk(name, each)
    step.result(WAIT)
    for future in (step, loading, drawing):
        future.exception(WAIT)
        texts.walk("snapshot", future.snapshot)
        texts.walk("reference", future.reference)
        texts.add("reference", str(future.reference and future.reference.to_dict()))
    handle = sampler.get_sampler_handle()
    texts.add("handle", handle + base64.urlsafe_b64decode(handle).decode())
    texts.add("pickle", repr(pickle.dumps(sampler)))


def test_a_tour_on_which_all_goes_well(texts: Texts) -> None:
    with scripted_server(answering) as server, client(server.url) as service:
        tour(service, texts)
        assert_sent(server)


def assert_sent(server: ScriptedServer) -> None:
    """See that the secrets were there to be found: the server got them."""
    assert all(each.headers["x-api-key"] == KEY for each in server.seen)
    assert all(each.headers["x-private"] == PRIVATE for each in server.seen)
    loads = [each.body for each in server.seen if each.path.endswith("load_weights")]
    assert all(body["weights_access_token"] == TOKEN for body in loads)


def everything(service: ServiceClient, texts: Texts, *kinds: type[BaseException]) -> None:
    """Fail in all forms."""
    with failing(texts, *kinds):
        service.get_server_capabilities()
    with failing(texts, *kinds):
        service.create_lora_training_client("m")
    with failing(texts, *kinds):
        service.create_sampling_client(base_model="m")
    with failing(texts, *kinds):
        service.create_training_client_from_state(PATH, weights_access_token=TOKEN)
    with failing(texts, *kinds):
        service.copy_weights(PATH, weights_access_token=TOKEN).result(WAIT)

    async def asynchronous() -> None:
        with failing(texts, *kinds):
            await service.get_server_capabilities_async()
        with failing(texts, *kinds):
            await service.create_training_client_from_state_async(PATH, weights_access_token=TOKEN)
        with failing(texts, *kinds):
            await service.create_rest_client().copy_weights_async(
                PATH, "p", weights_access_token=TOKEN
            )

    asyncio.run(asynchronous())
    texts.walk("service", service)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (500, InternalServerError), (422, UnprocessableEntityError)],
)
def test_statuses_that_say_no(status: int, kind: type[TinkerError], texts: Texts) -> None:
    with scripted_server(refusing(status)) as server, client(server.url) as service:
        everything(service, texts, kind)
        assert_sent(server)


def test_calls_that_are_refused(texts: Texts) -> None:
    names = ("optim_step", "load_weights", "create_sampling_session", "copy_weights")
    refused = refusing(403, *names)
    with scripted_server(refused) as server, client(server.url) as service:
        training = service.create_lora_training_client("m")
        for future in (training.optim_step(), training.load_state(PATH, TOKEN)):
            with failing(texts, PermissionDeniedError):
                future.result(WAIT)
            texts.walk("snapshot", future.snapshot)
        with failing(texts, PermissionDeniedError):
            service.copy_weights(PATH, weights_access_token=TOKEN).result(WAIT)
        with failing(texts, TinkerError):
            service.create_sampling_client(base_model="m")
        with failing(texts, TinkerError):
            service.create_training_client_from_state(PATH, weights_access_token=TOKEN)
        assert_sent(server)


def test_a_refused_connection(texts: Texts) -> None:
    with client(free_url()) as service:
        everything(service, texts, APIConnectionError)


def test_a_server_that_speaks_no_http(texts: Texts) -> None:
    with garbage_server() as url, client(url) as service:
        everything(service, texts, APIConnectionError)


@pytest.mark.parametrize("body", [b"<html></html>", b"", b"[1]", b"{}"])
def test_answers_that_break_the_protocol(body: bytes, texts: Texts) -> None:
    def script(seen: Seen) -> Say | None:
        return None if seen.path.endswith(("config", "create_session")) else Say(200, body)

    with scripted_server(script) as server, client(server.url) as service:
        for start in (
            lambda: service.create_lora_training_client("m"),
            lambda: service.create_sampling_client(base_model="m"),
            lambda: service.create_training_client_from_state(PATH, weights_access_token=TOKEN),
            lambda: service.copy_weights(PATH, weights_access_token=TOKEN).result(WAIT),
        ):
            with failing(texts, APIResponseValidationError):
                start()
        texts.walk("service", service)
        assert_sent(server)


class Holding:
    """A script whose polls, and capabilities, are held until a test says so."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.came = threading.Event()

    def __call__(self, seen: Seen) -> Say | None:
        polled = seen.path.endswith("retrieve_future") and seen.body["request_id"] != "create"
        if polled or "capabilities" in seen.path:
            self.came.set()
            self.release.wait(WAIT)
        return answering(seen)


@contextlib.contextmanager
def held(texts: Texts) -> Iterator[tuple[Holding, ServiceClient]]:
    script = Holding()
    with scripted_server(script) as server, client(server.url) as service:
        yield script, service
        script.release.set()
        texts.walk("service", service)
        assert_sent(server)


def test_timeouts(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official, "POLL_TIMEOUT", 0.05)
    with held(texts) as (_, service):
        training = service.create_lora_training_client("m")
        loading = training.load_state(PATH, TOKEN)
        with failing(texts, FutureTimeoutError):
            loading.result(timeout=0.01)
        with failing(texts, APITimeoutError):
            loading.result(WAIT)


async def test_cancelled_waits(texts: Texts) -> None:
    """The frames of a send that is cancelled end up in the caller's traceback."""
    with held(texts) as (script, service):
        waiting = asyncio.create_task(service.get_server_capabilities_async())
        await asyncio.to_thread(script.came.wait, WAIT)
        waiting.cancel()
        with failing(texts, asyncio.CancelledError):
            await waiting
        script.came.clear()

        async def too_long() -> None:
            async with asyncio.timeout(None) as limit:
                asked = asyncio.ensure_future(service.get_server_capabilities_async())
                asked.add_done_callback(lambda _: None)
                await asyncio.to_thread(script.came.wait, WAIT)
                limit.reschedule(0)
                await asked

        with failing(texts, TimeoutError):
            await too_long()
        frames = [f.f_code.co_name for e in texts.errors for f, _ in _walk(e)]
        assert "send" in frames  # the search went where it should


def _walk(error: BaseException) -> Iterator[tuple[Any, int]]:
    for each in chain(error):
        yield from traceback.walk_tb(each.__traceback__)


def test_cancelled_futures_and_closing(texts: Texts) -> None:
    with held(texts) as (script, service):
        training = service.create_lora_training_client("m")
        first, second = training.load_state(PATH, TOKEN), training.load_state(PATH, TOKEN)
        script.came.wait(WAIT)
        first.cancel()
        with failing(texts, FutureCancelledError):
            first.result(WAIT)
        service.close()
        with failing(texts, FutureCancelledError):
            second.result(WAIT)
        with failing(texts, ConfigurationError):
            training.load_state(PATH, TOKEN).result(WAIT)
        texts.walk("closed", [training, first, second])


def test_mistakes_of_our_own(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody thought of is logged with all the way it took, and given to the user."""

    async def broken(self: object, request: object) -> None:
        try:
            raise KeyError("deep")
        except KeyError as error:
            raise ValueError("a mistake") from error

    monkeypatch.setattr(httpx_aiohttp.AiohttpTransport, "handle_async_request", broken)
    with client(free_url()) as service:
        with failing(texts, ValueError):
            service.get_server_capabilities()
        with failing(texts, TinkerError):
            service.create_lora_training_client("m")
        with failing(texts, TinkerError):
            service.create_training_client_from_state(PATH, weights_access_token=TOKEN)
        with contextlib.suppress(ValueError):
            service.close()
    notes = [note for error in texts.errors for each in chain(error) for note in notes_of(each)]
    assert any("handle_async_request" in note for note in notes)  # where it was is still told


def notes_of(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def test_metadata_that_no_json_holds(texts: Texts) -> None:
    with scripted_server(answering) as server, client(server.url) as service:
        metadata = {"what": object()}
        with failing(texts, Exception):
            service.create_training_client_from_state(
                PATH, user_metadata=metadata, weights_access_token=TOKEN
            )


def test_a_listener_that_fails(texts: Texts) -> None:
    def listen(_: object) -> None:
        raise ValueError("broken listener")

    with scripted_server(answering) as server, client(server.url) as service:
        training = service.create_lora_training_client("m")
        loading = training.load_state(PATH, TOKEN)
        loading.subscribe(listen)
        loading.exception(WAIT)


@pytest.mark.parametrize("ending", ["\n", "é", "\x00"])
def test_a_key_that_no_header_can_carry(ending: str, texts: Texts) -> None:
    with client(free_url(), KEY + ending) as service:
        everything(service, texts, ConfigurationError)


def test_behind_a_proxy(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    """There other layers send, which log more."""
    with scripted_server(refusing(401)) as server:
        monkeypatch.setenv("http_proxy", server.url)
        with client("http://tinker.invalid") as service:
            everything(service, texts, AuthenticationError)
        assert_sent(server)


def test_keys_that_are_exchanged_for_others(texts: Texts) -> None:
    def script(seen: Seen) -> Say | None:
        answers = {"config": {"pjwt_auth_enabled": True}, "token": {"jwt": JWT}}
        name = seen.path.rpartition("/")[2]
        return Say(200, answers[name]) if name in answers else other(seen)

    other: Callable[[Seen], Say | None] = answering
    with scripted_server(script) as server, client(server.url) as service:
        tour(service, texts)
        assert server.seen[-1].headers["x-api-key"] == JWT
        assert service.create_rest_client().whoami().result(WAIT).user_urn == "somebody"
        other = refusing(403)
        for _ in range(2):
            with failing(texts, PermissionDeniedError):
                service.get_server_capabilities()
            texts.walk("service", service)


# What is refused before anything is sent


def refused_at_once() -> dict[str, Callable[[], object]]:
    """Return calls in whose own frames secrets may stand as they fail."""
    service = client(free_url())
    rest = RestClient(base_url=free_url(), api_key=KEY)
    return {
        "service": lambda: client("ftp://nowhere"),
        "rest": lambda: RestClient(base_url="ftp://nowhere", api_key=KEY),
        "handle": lambda: SamplingClient.from_sampler_handle("no handle", api_key=KEY),
        "token": lambda: rest.copy_weights(PATH, "p", weights_access_token=TOKEN + "\n").result(
            WAIT
        ),
        "copy": lambda: rest.copy_weights("no path", "p", weights_access_token=TOKEN).result(WAIT),
        "copy-too": lambda: service.copy_weights("no", weights_access_token=TOKEN).result(WAIT),
        "state": lambda: service.create_training_client_from_state(
            "no path", weights_access_token=TOKEN
        ),
        "optimizer": lambda: service.create_training_client_from_state_with_optimizer(
            "no path", weights_access_token=TOKEN
        ),
    }


@pytest.mark.parametrize("name", sorted(refused_at_once()))
def test_frames_that_refuse_hold_no_secret(name: str, texts: Texts) -> None:
    with failing(texts, ConfigurationError, InvalidInputError):
        refused_at_once()[name]()


async def test_frames_of_async_forms_that_refuse_hold_no_secret(texts: Texts) -> None:
    """What is awaited directly keeps all its frames."""
    for call in (
        lambda: client(free_url()).copy_weights_async("no path", weights_access_token=TOKEN),
        lambda: (
            client(free_url())
            .create_rest_client()
            .copy_weights_async(PATH, "p", weights_access_token=TOKEN + "\n")
        ),
        lambda: client(free_url()).create_training_client_from_state_async(
            "no path", weights_access_token=TOKEN
        ),
    ):
        with failing(texts, ConfigurationError, InvalidInputError):
            await call()
    with scripted_server(answering) as server:
        async with RestClient(base_url=server.url, api_key=KEY) as rest:
            with failing(texts, ConfigurationError):
                await rest.whoami_async()


def test_loading_from_no_path(texts: Texts) -> None:
    with scripted_server(answering) as server, client(server.url) as service:
        training = service.create_lora_training_client("m")
        for load in (training.load_state, training.load_state_with_optimizer):
            with failing(texts, InvalidInputError):
                load("no path", TOKEN)
