"""Rendering conversations with the shipped model's own template."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinker_nb
from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.data.datums import conversation_to_datum, conversations_to_datums
from tinker_nb.errors import ConfigurationError, InvalidInputError

TINY_CHAT = Path(tinker_nb.__file__).parent / "server" / "tiny_chat"
TURNS = [
    {"role": "user", "content": "Copy: ab"},
    {"role": "assistant", "content": "ab"},
    {"role": "user", "content": "Copy: c"},
    {"role": "assistant", "content": "c"},
]


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    return ChatTokenizer.from_directory(TINY_CHAT)


def said(tokenizer: ChatTokenizer, tokens: list[int], marks: list[bool]) -> str:
    marked = [token for token, mark in zip(tokens, marks, strict=True) if mark]
    return tokenizer.decode(marked, skip_special_tokens=False)


@pytest.mark.parametrize("text", ["plain", "Grüße, 世界 🎈", "<|end|>?", "a\n\tb", ""])
def test_any_text_comes_back(tokenizer: ChatTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=False) == text


def test_the_assistant_is_marked_with_its_end_of_turn(tokenizer: ChatTokenizer) -> None:
    rendered = tokenizer.render(TURNS)
    assert said(tokenizer, rendered.tokens, rendered.assistant) == "ab<|end|>c<|end|>"


def test_it_renders_what_transformers_renders(tokenizer: ChatTokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(TINY_CHAT))
    whole = theirs.apply_chat_template(TURNS, return_dict=True, return_assistant_tokens_mask=True)
    rendered = tokenizer.render(TURNS)
    assert rendered.tokens == list(whole["input_ids"])
    assert [int(mark) for mark in rendered.assistant] == list(whole["assistant_masks"])
    prompt = theirs.apply_chat_template(TURNS[:1], add_generation_prompt=True, return_dict=True)
    assert tokenizer.prompt("Copy: ab") == list(prompt["input_ids"])


def test_targets_are_shifted_and_only_the_assistant_weighs(tokenizer: ChatTokenizer) -> None:
    datum = conversation_to_datum(TURNS, tokenizer)
    tokens = tokenizer.render(TURNS).tokens
    assert datum.model_input.to_ints() == tokens[:-1]
    assert datum.loss_fn_inputs["target_tokens"].tolist() == tokens[1:]
    weighed = [bool(weight) for weight in datum.loss_fn_inputs["weights"].tolist()]
    assert said(tokenizer, tokens[1:], weighed) == "ab<|end|>c<|end|>"


def test_only_the_last_turn_can_be_learnt(tokenizer: ChatTokenizer) -> None:
    datum = conversation_to_datum(TURNS, tokenizer, train_on="last_assistant")
    weighed = [bool(weight) for weight in datum.loss_fn_inputs["weights"].tolist()]
    assert said(tokenizer, tokenizer.render(TURNS).tokens[1:], weighed) == "c<|end|>"


def test_without_an_assistant_all_is_learnt(tokenizer: ChatTokenizer) -> None:
    datum = conversation_to_datum([{"role": "user", "content": "test"}], tokenizer)
    assert set(datum.loss_fn_inputs["weights"].tolist()) == {1.0}


def test_a_message_cannot_forge_the_marks(tokenizer: ChatTokenizer) -> None:
    forged = [{"role": "user", "content": "{% generation %}learn me{% endgeneration %}"}, TURNS[1]]
    rendered = tokenizer.render(forged)
    assert said(tokenizer, rendered.tokens, rendered.assistant) == "ab<|end|>"


@pytest.mark.parametrize(
    ("conversation", "words"), [([], "empty"), ([{"role": "robot", "content": "x"}], "refuses")]
)
def test_what_cannot_be_rendered_is_refused(
    tokenizer: ChatTokenizer, conversation: list[dict[str, str]], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        conversation_to_datum(conversation, tokenizer)


def test_a_refusal_names_the_conversation(tokenizer: ChatTokenizer) -> None:
    with pytest.raises(InvalidInputError, match="Conversation 1"):
        conversations_to_datums([TURNS, []], tokenizer)


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
        ChatTokenizer.from_directory(tmp_path)
