"""Downloads: resumed, whole or not there, and nothing outside the folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.protocol_stub import Stub, protocol_stub
from tests.client.stub_files import FileFault, edition, file_router
from tests.client.stub_rest import REST, RUN, seed
from tinker_nb.client.downloads.downloading import DownloadProgress
from tinker_nb.client.downloads.file_names import safe_parts
from tinker_nb.client.downloads.parts import Body, edition_of, read_opening
from tinker_nb.client.downloads.plain_get import Opening
from tinker_nb.client.rest.client import RestClient
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)

QUICK = RetryPolicy(first_delay=0.001, longest_delay=0.002, patience=0.5, refused_patience=0.05)
EXPORT = f"tinker://{RUN}/external_weights/step-0"
SAMPLER = f"tinker://{RUN}/sampler_weights/step-0"
BIG = bytes(range(256)) * 10_000
FILES = {"adapter_config.json": b'{"r": 8}', "deep/adapter_model.safetensors": BIG, "empty": b""}
FIRST = "adapter_config.json"


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    with protocol_stub(*REST, file_router) as stub:
        yield stub


@pytest.fixture
def stub(running: Stub) -> Iterator[Stub]:
    seed(running)
    running.files, running.file_faults = dict(FILES), []
    running.seen.clear()
    yield running
    running.refusal = None


@pytest.fixture
def rest(stub: Stub) -> Iterator[RestClient]:
    with RestClient(base_url=stub.url, api_key="tml-test", retry=QUICK) as client:
        yield client


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder, by its relative name."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def gets(stub: Stub) -> list[Any]:
    return [each for each in stub.seen if each.path.startswith("/files/")]


# Files -------------------------------------------------------------------------------------------


def test_every_file_comes_and_says_how_far_it_is(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    heard: list[DownloadProgress] = []
    target = tmp_path / "new" / "folder"
    paths = rest.download_checkpoint(EXPORT, target, progress=heard.append).result(30)
    assert contents(target) == FILES
    assert [path.relative_to(target).as_posix() for path in paths] == sorted(FILES)
    assert heard[0] == DownloadProgress(FIRST, 0, 8, 0, 3)
    assert heard[-1] == DownloadProgress("empty", 0, 0, 3, 3)
    big = [each for each in heard if each.file == "deep/adapter_model.safetensors"]
    assert [each.bytes_done for each in big] == sorted(each.bytes_done for each in big)
    assert {each.bytes_total for each in big} == {len(BIG)}


def test_no_key_leaves_for_the_file_host(rest: RestClient, stub: Stub, tmp_path: Path) -> None:
    rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert len(gets(stub)) == len(FILES)
    for each in gets(stub):
        assert not {"x-api-key", "authorization", "cookie"} & set(each.headers)
        assert each.query == (("signature", "s3cret"),)
        assert each.headers["accept-encoding"] == "identity"


def test_a_listener_that_fails_does_not_end_it(
    rest: RestClient, stub: Stub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: DownloadProgress) -> None:
        raise RuntimeError("not my day")

    rest.download_checkpoint(EXPORT, tmp_path, progress=fail).result(30)
    assert contents(tmp_path) == FILES
    assert "progress callback" in caplog.text


def test_a_path_of_something_else_says_what_to_do(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.archives = [(404, {}, {"detail": "There are no archives."})]
    with pytest.raises(InvalidInputError, match="save_weights_external"):
        rest.download_checkpoint(SAMPLER, tmp_path / "new").result(30)
    stub.archives = [(404, {}, {"detail": "Not Found"})]
    with pytest.raises(InvalidInputError, match="save_weights_external"):
        rest.download_checkpoint(SAMPLER, tmp_path / "new").result(30)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_is_not_there_is_not_found(rest: RestClient, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        rest.download_checkpoint(f"tinker://{RUN}/external_weights/no", tmp_path).result(30)


def test_an_export_without_files_breaks_the_protocol(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.files = {}
    with pytest.raises(APIResponseValidationError, match="no files"):
        rest.download_checkpoint(EXPORT, tmp_path).result(30)


# Trouble on the way ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        [FileFault(cut=100_000)],
        [FileFault(cut=0), FileFault(cut=1), FileFault(cut=2_000_000)],
        [FileFault(status=503), FileFault(cut=7), FileFault(status=500)],
        [FileFault(status=429, headers={"Retry-After": "0"})],
        [FileFault(cut=70_000), FileFault(no_ranges=True)],
        [FileFault(cut=70_000), FileFault(headers={"Content-Range": "bytes 0-9/10"})],
        [FileFault(cut=70_000), FileFault(headers={"Content-Range": "nonsense"})],
        [FileFault(status=403)],
        [FileFault(cut=9), FileFault(status=403), FileFault(cut=9), FileFault(status=403)],
    ],
    ids=[
        "cut",
        "cut thrice",
        "cut and 5xx",
        "429",
        "range ignored",
        "wrong range",
        "no range",
        "expired",
        "expired twice",
    ],
)
def test_trouble_on_the_way_is_gone_through(
    faults: list[FileFault], rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.files, stub.file_faults = {"weights": BIG}, list(faults)
    rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert contents(tmp_path) == {"weights": BIG}
    assert stub.file_faults == []


def test_a_cut_download_goes_on_where_it_stopped(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.files, stub.file_faults = {"weights": BIG}, [FileFault(cut=2_000_000)]
    rest.download_checkpoint(EXPORT, tmp_path).result(30)
    first, second = gets(stub)
    assert "range" not in first.headers
    assert int(second.headers["range"].removeprefix("bytes=").removesuffix("-")) > 0
    assert second.headers["if-range"] == edition(BIG)


def test_expired_urls_are_asked_for_again(rest: RestClient, stub: Stub, tmp_path: Path) -> None:
    stub.file_faults = [FileFault(), FileFault(status=403)]
    rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert sum("external_weights_urls" in each.path for each in stub.seen) == 2
    assert contents(tmp_path) == FILES


def test_a_part_from_earlier_is_gone_on_with(rest: RestClient, stub: Stub, tmp_path: Path) -> None:
    stub.files = {"weights": BIG}
    (tmp_path / "weights.part").write_bytes(BIG[:1000])
    heard: list[DownloadProgress] = []
    rest.download_checkpoint(EXPORT, tmp_path, progress=heard.append).result(30)
    assert contents(tmp_path) == {"weights": BIG}
    assert [each.headers["range"] for each in gets(stub)] == ["bytes=1000-"]
    assert heard[0].bytes_done == 1000


def test_a_part_of_another_edition_is_not_gone_on_with(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.files, stub.file_faults = {"weights": BIG}, [FileFault(cut=1000), FileFault(status=400)]
    with pytest.raises(BadRequestError):
        rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert (tmp_path / "weights.part").stat().st_size == 1000
    stub.files = {"weights": BIG[::-1]}
    rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert contents(tmp_path) == {"weights": BIG[::-1]}


def test_a_spoilt_note_beside_a_part_does_no_harm(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.files = {"weights": BIG}
    (tmp_path / "weights.part").write_bytes(BIG[:1000])
    (tmp_path / "weights.part.tag").write_bytes(b"\xff\r\nX-Evil: 1")
    rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert contents(tmp_path) == {"weights": BIG}
    assert "if-range" not in gets(stub)[0].headers


def test_a_part_that_is_whole_already_only_gets_its_name(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.files = {"weights": BIG}
    (tmp_path / "weights.part").write_bytes(BIG)
    rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert contents(tmp_path) == {"weights": BIG}
    assert len(gets(stub)) == 1


def test_a_part_that_is_too_long_is_thrown_away(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.files = {"weights": BIG}
    (tmp_path / "weights.part").write_bytes(BIG + b"more")
    rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert contents(tmp_path) == {"weights": BIG}


def test_lasting_trouble_ends_and_keeps_what_there_is(
    rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.files = {"weights": BIG}
    stub.file_faults = [FileFault(cut=5000), *[FileFault(status=503)] * 5000]
    with pytest.raises(InternalServerError, match="503") as caught:
        rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert contents(tmp_path).keys() == {"weights.part", "weights.part.tag"}
    assert "s3cret" not in str(caught.value)
    assert len(stub.file_faults) > 1000  # it was the time that ended it


def test_lasting_silence_ends_too(rest: RestClient, stub: Stub, tmp_path: Path) -> None:
    stub.files, stub.file_faults = {"weights": BIG}, [FileFault(cut=0)] * 5000
    with pytest.raises(APIConnectionError, match="goes on where it stopped") as caught:
        rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert "s3cret" not in repr(caught.value)


def test_a_refusal_is_not_tried_again(rest: RestClient, stub: Stub, tmp_path: Path) -> None:
    stub.file_faults = [FileFault(status=403)] * 9
    with pytest.raises(PermissionDeniedError):
        rest.download_checkpoint(EXPORT, tmp_path).result(30)
    assert len(gets(stub)) == 2  # once more with new URLs


@pytest.mark.parametrize(
    "headers",
    [{"Content-Encoding": "gzip"}, {"Content-Encoding": "zstd"}],
    ids=["gzip", "zstd"],
)
def test_an_encoded_file_is_refused(
    headers: dict[str, str], rest: RestClient, stub: Stub, tmp_path: Path
) -> None:
    stub.file_faults = [FileFault(headers=headers)]
    with pytest.raises(APIResponseValidationError, match="encoded"):
        rest.download_checkpoint(EXPORT, tmp_path).result(30)


def test_a_disk_that_refuses_says_what_to_do(rest: RestClient, tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file where a folder should be")
    with pytest.raises(ConfigurationError, match="another folder"):
        rest.download_checkpoint(EXPORT, tmp_path).result(30)


async def test_a_cancelled_download_can_be_gone_on_with(stub: Stub, tmp_path: Path) -> None:
    stub.files = {"weights": BIG}
    begun = asyncio.Event()

    def hear(state: DownloadProgress) -> None:
        if state.bytes_done:
            begun.set()

    async with RestClient(base_url=stub.url, retry=QUICK) as rest:
        call = asyncio.create_task(rest.download_checkpoint_async(EXPORT, tmp_path, progress=hear))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not (tmp_path / "weights").exists()
        await rest.download_checkpoint_async(EXPORT, tmp_path)
    assert contents(tmp_path) == {"weights": BIG}


# Names -------------------------------------------------------------------------------------------

BAD_NAMES = [
    "/etc/passwd",
    "../up",
    "deep/../../up",
    "deep//x",
    "./x",
    "deep/",
    "",
    "..",
    "a\\b",
    "C:/x",
    "C:x",
    "//server/share/x",
    "line\nbreak",
    "nul\0",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(APIResponseValidationError, match="is refused"):
        safe_parts(name)


def test_good_names_are_taken() -> None:
    assert safe_parts("deep/adapter model-1.safetensors.age") == (
        "deep",
        "adapter model-1.safetensors.age",
    )


def test_one_bad_name_stops_everything(rest: RestClient, stub: Stub, tmp_path: Path) -> None:
    stub.files = {"a": b"1", "../b": b"2"}
    target = tmp_path / "folder"
    with pytest.raises(APIResponseValidationError, match="is refused"):
        rest.download_checkpoint(EXPORT, target).result(30)
    assert list(tmp_path.iterdir()) == []
    assert gets(stub) == []


@pytest.mark.parametrize("link", ["deep", "deep/adapter_model.safetensors"])
def test_a_link_in_the_folder_is_not_followed(link: str, rest: RestClient, tmp_path: Path) -> None:
    elsewhere, target = tmp_path / "elsewhere", tmp_path / "folder"
    elsewhere.mkdir()
    (target / link).parent.mkdir(parents=True)
    (target / link).symlink_to(elsewhere)
    with pytest.raises(APIResponseValidationError, match="link"):
        rest.download_checkpoint(EXPORT, target).result(30)
    assert list(elsewhere.iterdir()) == []


def test_a_part_that_is_a_link_is_replaced(rest: RestClient, stub: Stub, tmp_path: Path) -> None:
    stub.files = {"weights": BIG}
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    for name in ("weights.part", "weights.part.tag"):
        (tmp_path / "folder" / name).symlink_to(other)
    rest.download_checkpoint(EXPORT, tmp_path / "folder").result(30)
    assert other.read_bytes() == b"mine"
    assert not (tmp_path / "folder" / "weights").is_symlink()
    assert contents(tmp_path / "folder") == {"weights": BIG}


# What an answer means ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "have", "tag", "reading"),
    [
        (200, {"content-length": "10"}, 4, None, Body(0, 10, None)),
        (200, {}, 0, None, Body(0, None, None)),
        (200, {"content-length": "1", "etag": '"a"'}, 0, None, Body(0, 1, '"a"')),
        (206, {"content-range": "bytes 4-9/10"}, 4, None, Body(4, 10, None)),
        (206, {"content-range": "bytes 4-9/*"}, 4, None, Body(4, None, None)),
        (206, {"content-range": "bytes 4-9/10", "etag": '"a"'}, 4, '"a"', Body(4, 10, '"a"')),
        (206, {"content-range": "bytes 4-9/10", "etag": '"b"'}, 4, '"a"', "misfit"),
        (206, {"content-range": "bytes 5-9/10"}, 4, None, "misfit"),
        (206, {}, 4, None, "misfit"),
        (416, {"content-range": "bytes */4"}, 4, None, "whole"),
        (416, {"content-range": "bytes */3"}, 4, None, "misfit"),
        (416, {}, 0, None, "error"),
        (403, {}, 4, None, "expired"),
        (404, {}, 4, None, "error"),
        (503, {}, 0, None, "error"),
    ],
)
def test_what_an_answer_means(
    status: int, headers: dict[str, str], have: int, tag: str | None, reading: object
) -> None:
    assert read_opening(Opening(status, headers), have, tag) == reading


def test_only_strong_marks_tell_editions_apart() -> None:
    assert edition_of({"etag": '"a"', "last-modified": "Mon"}) == '"a"'
    assert edition_of({"etag": 'W/"a"', "last-modified": "Mon"}) == "Mon"
    assert edition_of({"etag": 'W/"a"'}) is None
    assert edition_of({"etag": '"ä"'}) is None
