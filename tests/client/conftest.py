"""The real embedded server, one for all tests of the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tinker_nb import ChatTokenizer, Datum, EmbeddedServer, ServiceClient, start_server
from tinker_nb.data import toy
from tinker_nb.data.datums import conversations_to_datums


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = start_server(data_dir=tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def service(embedded: EmbeddedServer) -> Iterator[ServiceClient]:
    with ServiceClient(base_url=embedded.base_url, api_key=embedded.api_key) as client:
        yield client


@pytest.fixture(scope="session")
def tokenizer(embedded: EmbeddedServer) -> ChatTokenizer:
    with ServiceClient(base_url=embedded.base_url, api_key=embedded.api_key) as client:
        return ChatTokenizer.from_files(client.get_tokenizer_files("tiny-chat"))


@pytest.fixture(scope="session")
def data(tokenizer: ChatTokenizer) -> list[Datum]:
    conversations = toy.pig_latin_conversations(8, seed=1, split="train")
    return conversations_to_datums(conversations, tokenizer)
