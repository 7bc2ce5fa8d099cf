"""Rendering conversations with the shipped model's own template."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

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


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "tool", "content": "4"}, "Message 1: messages of tools"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, "of tools"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, "only text"),
        ({"role": "user"}, "a text 'content'"),
        ({"role": "user", "content": 7}, "not 7"),
        ({"content": "Hi"}, "needs 'role'"),
        ("Hi", "needs 'role'"),
    ],
)
def test_a_message_that_is_not_text_is_refused(
    tokenizer: ChatTokenizer, message: Any, words: str
) -> None:
    conversation = [TURNS[0], message]
    for use in (tokenizer.render, tokenizer.prompt, tokenizer.apply_chat_template):
        with pytest.raises(InvalidInputError, match=words):
            use(conversation)


def test_keys_that_hold_nothing_do_not_matter(tokenizer: ChatTokenizer) -> None:
    filled: Any = [{**turn, "tool_calls": [], "name": None} for turn in TURNS]
    assert tokenizer.render(filled) == tokenizer.render(TURNS)


@pytest.mark.parametrize("value", ["Hi", {"role": "user", "content": "Hi"}, 7])
def test_what_is_no_conversation_is_refused(tokenizer: ChatTokenizer, value: Any) -> None:
    with pytest.raises(InvalidInputError, match="is no conversation"):
        tokenizer.apply_chat_template(value)


def test_it_does_what_a_transformers_tokenizer_does(tokenizer: ChatTokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(TINY_CHAT))
    ours = tokenizer
    ids = theirs.encode("Hi <|end|>", add_special_tokens=False)
    assert ours.encode("Hi <|end|>", add_special_tokens=False) == ids
    for skip in (True, False):
        text = theirs.decode(ids, skip_special_tokens=skip)
        assert ours.decode(ids, skip_special_tokens=skip) == text
    assert ours.decode(ids[0], skip_special_tokens=False) == "H"
    for name in ("bos_token", "eos_token", "pad_token"):
        assert getattr(ours, name) == getattr(theirs, name)
        assert getattr(ours, f"{name}_id") == getattr(theirs, f"{name}_id")
    assert (ours.vocab_size, len(ours)) == (theirs.vocab_size, len(theirs))
    for asked in (True, False):
        text = theirs.apply_chat_template(TURNS[:1], add_generation_prompt=asked, tokenize=False)
        assert ours.apply_chat_template(TURNS[:1], asked, tokenize=False) == text
        assert ours.apply_chat_template(TURNS[:1], asked) == ours.encode(text)


def test_special_tokens_come_when_asked_for() -> None:
    tokenizer = Tokenizer.from_str((TINY_CHAT / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer.post_processor = TemplateProcessing("<|user|> $A", special_tokens=[("<|user|>", 257)])
    ours = ChatTokenizer(tokenizer, None)
    assert ours.encode("a", add_special_tokens=True) == [257, *ours.encode("a")]


def test_a_template_gets_the_callers_variables() -> None:
    template = "{{ 'thinks' if enable_thinking else 'answers' }}"
    tokenizer = ChatTokenizer.from_files(_files(chat_template=template))
    texts = [
        tokenizer.apply_chat_template(TURNS, tokenize=False, enable_thinking=on)
        for on in (True, False)
    ]
    assert texts == ["thinks", "answers"]


def test_what_only_transformers_returns_is_refused(tokenizer: ChatTokenizer) -> None:
    assert tokenizer.apply_chat_template(TURNS, return_dict=False, tools=None)
    with pytest.raises(InvalidInputError, match="takes no return_tensors here"):
        tokenizer.apply_chat_template(TURNS, return_tensors="pt")


def test_a_file_may_not_cut_texts_short() -> None:
    tokenizer = Tokenizer.from_str((TINY_CHAT / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    ours = ChatTokenizer.from_files({"tokenizer.json": tokenizer.to_str()})
    assert ours.decode(ours.encode("abcd"), skip_special_tokens=False) == "abcd"


def test_of_several_templates_the_default_one_counts() -> None:
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    tokenizer = ChatTokenizer.from_files(_files(chat_template=named))
    assert tokenizer.apply_chat_template(TURNS, tokenize=False) == "yes"


def test_templates_get_texts_of_special_tokens_only() -> None:
    files = _files(
        chat_template="{{ bos_token }}{{ eos_token }}{{ add_bos_token }}",
        bos_token={"content": "<s>"},
        eos_token="</s>",
        add_bos_token=True,
        pad_token=None,
    )
    tokenizer = ChatTokenizer.from_files(files)
    assert tokenizer.apply_chat_template(TURNS, tokenize=False) == "<s></s>"
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == (None, None)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no tokenizer.json"),
        ({"tokenizer.json": "{"}, "tokenizer.json cannot be read"),
        ({"tokenizer.json": "{}", "tokenizer_config.json": "{"}, "is not JSON"),
        ({"tokenizer.json": "{}", "tokenizer_config.json": "[]"}, "no JSON object"),
    ],
)
def test_broken_files_are_named(files: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        ChatTokenizer.from_files(files)


def test_a_model_without_a_template_still_encodes() -> None:
    tokenizer = ChatTokenizer.from_files(_files())
    assert tokenizer.encode("a")
    with pytest.raises(ConfigurationError, match="no chat template"):
        tokenizer.prompt("Hi")


def test_it_says_where_it_is_from(tokenizer: ChatTokenizer) -> None:
    assert Path(tokenizer.name_or_path) == TINY_CHAT
    assert "tiny_chat" in repr(tokenizer)
    assert "261 tokens" in repr(tokenizer)


def test_importing_it_costs_little() -> None:
    code = (
        "import sys, tinker_nb.data.chat\n"
        "print([name for name in ('jinja2', 'tokenizers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
        ChatTokenizer.from_directory(tmp_path)


def _files(**config: Any) -> dict[str, str]:
    tokenizer = (TINY_CHAT / "tokenizer.json").read_text(encoding="utf-8")
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": json.dumps(config)}
