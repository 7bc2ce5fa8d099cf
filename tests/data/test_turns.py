"""Where the assistant speaks, by templates in the shapes of well-known models."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models

from tests.data.shapes import (
    CHATML,
    CONFIG,
    GEMMA,
    LLAMA3,
    MISTRAL,
    QWEN3,
    byte_level,
    sentence_piece,
    without_marks,
)
from tinker_nb.data.chat import ChatTokenizer, Conversation
from tinker_nb.data.datums import TrainOn, conversation_to_datum, conversations_to_datums
from tinker_nb.errors import InvalidInputError

TURNS = [
    {"role": "user", "content": "Hi  there"},
    {"role": "assistant", "content": "def f():\n    return  1"},
    {"role": "user", "content": "More 世界 🎈"},
    {"role": "assistant", "content": "Grüße ok"},
]
SYSTEM = {"role": "system", "content": "Be brief"}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nok"}
SHAPES = {"chatml": CHATML, "llama3": LLAMA3, "gemma": GEMMA, "mistral": MISTRAL, "qwen3": QWEN3}
STEADY = [name for name in SHAPES if name != "qwen3"]
TOKENIZERS = {
    "bytes": byte_level(),
    "trimmed": byte_level(trim_offsets=True),
    "pieces": sentence_piece(),
}


def tokenizer_of(template: str, kind: str = "bytes") -> ChatTokenizer:
    return ChatTokenizer.from_files(
        {
            "tokenizer.json": TOKENIZERS[kind],
            "tokenizer_config.json": CONFIG,
            "chat_template.jinja": template,
        }
    )


def said(tokenizer: ChatTokenizer, conversation: Conversation, train_on: TrainOn) -> str:
    datum = conversation_to_datum(conversation, tokenizer, train_on=train_on)
    targets = datum.loss_fn_inputs["target_tokens"].tolist()
    weights = datum.loss_fn_inputs["weights"].tolist()
    learnt = [token for token, weight in zip(targets, weights, strict=True) if weight]
    return tokenizer.decode(learnt, skip_special_tokens=False)


@pytest.mark.parametrize(
    ("name", "everything", "last"),
    [
        ("chatml", "def f():\n    return  1<|im_end|>Grüße ok<|im_end|>", "Grüße ok<|im_end|>"),
        ("llama3", "def f():\n    return  1<|eot_id|>Grüße ok<|eot_id|>", "Grüße ok<|eot_id|>"),
        (
            "gemma",
            "def f():\n    return  1<end_of_turn>Grüße ok<end_of_turn>",
            "Grüße ok<end_of_turn>",
        ),
        ("mistral", " def f():\n    return  1</s> Grüße ok</s>", " Grüße ok</s>"),
    ],
)
@pytest.mark.parametrize("kind", ["bytes", "trimmed"])
def test_templates_without_marks(kind: str, name: str, everything: str, last: str) -> None:
    tokenizer = tokenizer_of(without_marks(SHAPES[name]), kind)
    assert said(tokenizer, TURNS, "all_assistant") == everything
    assert said(tokenizer, TURNS, "last_assistant") == last


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", STEADY)
@pytest.mark.parametrize("turns", ["all", "last"])
def test_without_marks_it_is_as_with_them(kind: str, name: str, turns: Any) -> None:
    marked = tokenizer_of(SHAPES[name], kind).render(TURNS, turns=turns)
    found = tokenizer_of(without_marks(SHAPES[name]), kind).render(TURNS, turns=turns)
    assert found == marked
    assert any(found.assistant)
    assert not all(found.assistant)


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("name", SHAPES)
def test_marks_are_those_of_transformers(kind: str, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(TOKENIZERS[kind]), bos_token="<s>", eos_token="</s>"
    )
    whole = theirs.apply_chat_template(
        TURNS, chat_template=SHAPES[name], return_dict=True, return_assistant_tokens_mask=True
    )
    rendered = tokenizer_of(SHAPES[name], kind).render(TURNS)
    assert rendered.tokens == list(whole["input_ids"])
    assert [int(mark) for mark in rendered.assistant] == list(whole["assistant_masks"])


def test_thinking_that_is_left_out_later_is_not_guessed() -> None:
    tokenizer = tokenizer_of(without_marks(QWEN3))
    conversation = [TURNS[0], THOUGHT, TURNS[2], THOUGHT]
    with pytest.raises(InvalidInputError, match=r"message 1.*train_on='last_assistant'"):
        conversation_to_datum(conversation, tokenizer)
    last = said(tokenizer, conversation, "last_assistant")
    assert last == "<think>\nhm\n</think>\n\nok<|im_end|>"
    assert said(tokenizer, conversation[:2], "all_assistant") == last


def test_the_advice_is_only_what_works() -> None:
    # Whatever is asked, this template begins with how many messages there are.
    counting = "{{ messages | length }}" + without_marks(CHATML)
    tokenizer = tokenizer_of(counting)
    for train_on in ("all_assistant", "last_assistant"):
        with pytest.raises(InvalidInputError, match="train_on='all'") as caught:
            conversation_to_datum(TURNS[:3], tokenizer, train_on=train_on)
        assert "last_assistant" not in str(caught.value)
    assert conversation_to_datum(TURNS[:3], tokenizer, train_on="all")


def test_a_system_message_that_moves_is_noticed() -> None:
    tokenizer = tokenizer_of(without_marks(MISTRAL))
    with pytest.raises(InvalidInputError, match="message 2"):
        conversation_to_datum([SYSTEM, *TURNS], tokenizer)
    assert said(tokenizer, [SYSTEM, *TURNS], "last_assistant") == " Grüße ok</s>"


def test_a_refusal_of_many_keeps_its_advice() -> None:
    tokenizer = tokenizer_of(without_marks(QWEN3))
    with pytest.raises(InvalidInputError, match=r"Conversation 1: .*last_assistant"):
        conversations_to_datums([TURNS[:2], TURNS], tokenizer)


def test_an_assistant_that_is_not_last_is_found() -> None:
    tokenizer = tokenizer_of(without_marks(CHATML))
    assert said(tokenizer, TURNS[1:3], "last_assistant") == "def f():\n    return  1<|im_end|>"


def test_an_assistant_that_begins_where_the_template_needs_a_user_is_refused() -> None:
    tokenizer = tokenizer_of("{{ messages[0].content[0] }}" + without_marks(CHATML))
    with pytest.raises(InvalidInputError, match="message 0"):
        conversation_to_datum(TURNS[1:], tokenizer)


def test_a_message_in_several_marked_parts_is_learnt_whole() -> None:
    parts = (
        "{% for m in messages %}<|im_start|>"
        "{% if m.role == 'assistant' %}{% generation %}one{% endgeneration %} - "
        "{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    assert said(tokenizer_of(parts), TURNS, "last_assistant") == "oneGrüße ok"


def test_white_space_of_the_assistant_itself_is_learnt() -> None:
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    conversation = [TURNS[0], {"role": "assistant", "content": " ok \n"}]
    assert said(tokenizer_of(plain), conversation, "all_assistant") == " ok \n"


def test_a_token_belongs_to_who_says_its_first_character() -> None:
    model = models.BPE(vocab={"x": 0, "a": 1, "b": 2, "ab": 3}, merges=[("a", "b")])
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    rendered = ChatTokenizer(Tokenizer(model), plain).render(
        [
            {"role": "user", "content": "xa"},
            {"role": "assistant", "content": "bxa"},
            {"role": "user", "content": "bx"},
        ]
    )
    assert rendered.tokens == [0, 3, 0, 3, 0]
    assert rendered.assistant == [False, False, True, True, False]


def test_with_an_assistant_nothing_else_is_ever_learnt() -> None:
    silent = [TURNS[0], {"role": "assistant", "content": ""}]
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    marked = (
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}"
        "{% endif %}{% endfor %}"
    )
    for template in (plain, marked):
        with pytest.raises(InvalidInputError, match="says nothing"):
            conversation_to_datum(silent, tokenizer_of(template))


@pytest.mark.parametrize("name", SHAPES)
def test_without_an_assistant_all_is_learnt(name: str) -> None:
    tokenizer = tokenizer_of(without_marks(SHAPES[name]))
    datum = conversation_to_datum(TURNS[:1], tokenizer, train_on="last_assistant")
    assert set(datum.loss_fn_inputs["weights"].tolist()) == {1.0}


def test_somebody_in_the_assistants_place_is_named() -> None:
    tokenizer = tokenizer_of(without_marks(CHATML))
    conversation = [TURNS[0], {"role": "gpt", "content": "ok"}]
    with pytest.raises(InvalidInputError, match="but as 'gpt'"):
        conversation_to_datum(conversation, tokenizer)
    assert conversation_to_datum(conversation, tokenizer, train_on="all")


def test_a_date_in_the_template_is_the_same_in_all_its_renderings() -> None:
    dated = "{{ strftime_now('%H:%M:%S.%f') }}\n" + without_marks(CHATML)
    assert said(tokenizer_of(dated), TURNS, "last_assistant") == "Grüße ok<|im_end|>"


def test_templates_may_ask_whether_there_are_tools() -> None:
    tokenizer = tokenizer_of("{% if tools is not none %}tools!{% endif %}" + LLAMA3)
    assert "tools!" not in tokenizer.apply_chat_template(TURNS, tokenize=False)
