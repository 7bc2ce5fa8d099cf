"""Templates that only ``transformers`` reads."""

from __future__ import annotations

import sys

import pytest

from tests.data.shapes import CHATML, CONFIG, byte_level, without_marks
from tinker_nb.data import template as ours
from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.data.template import MarkedTemplate, load_template
from tinker_nb.errors import ConfigurationError, InvalidInputError

TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Go on"},
    {"role": "assistant", "content": "There"},
]
BREAKING = "{% for m in messages %}{{ m.content }}{{ bos_token }}{% break %}{% endfor %}"


@pytest.fixture
def plain_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take our own tags away, as if they were newer than this package."""
    monkeypatch.setattr(ours, "_TAGS", [])


def files(template: str) -> dict[str, str]:
    return {
        "tokenizer.json": byte_level(),
        "tokenizer_config.json": CONFIG,
        "chat_template.jinja": template,
    }


@pytest.mark.parametrize("template", [CHATML, BREAKING])
def test_it_renders_the_same(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    own = load_template(template, {"bos_token": "<s>"})
    monkeypatch.setattr(ours, "_TAGS", [])
    theirs = load_template(template, {"bos_token": "<s>"})
    assert not isinstance(theirs, MarkedTemplate)
    assert theirs.render(TURNS) == own.render(TURNS)
    asked = own.render(TURNS[:1], add_generation_prompt=True)
    assert theirs.render(TURNS[:1], add_generation_prompt=True) == asked


@pytest.mark.usefixtures("plain_jinja")
def test_the_assistant_is_found_in_it() -> None:
    pytest.importorskip("transformers")
    template = "{% for x in [] %}{% break %}{% endfor %}" + CHATML
    marked = ChatTokenizer.from_files(files(template)).render(TURNS)
    assert any(marked.assistant)
    assert ChatTokenizer.from_files(files(without_marks(template))).render(TURNS) == marked


@pytest.mark.usefixtures("plain_jinja")
def test_it_may_refuse_a_conversation() -> None:
    pytest.importorskip("transformers")
    refusing = "{% for m in messages %}{% break %}{% endfor %}{{ raise_exception('not this') }}"
    with pytest.raises(InvalidInputError, match="refuses this conversation: not this"):
        ChatTokenizer.from_files(files(refusing)).prompt("Hi")


@pytest.mark.parametrize("template", ["{% tomorrow %}", "{{ messages | tomorrow }}", "{{ 1 +"])
def test_nobody_can_read_it(template: str) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ConfigurationError, match="template cannot be read"):
        ChatTokenizer.from_files(files(template)).prompt("Hi")


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigurationError, match=r"'tomorrow'.*pip install transformers"):
        ChatTokenizer.from_files(files("{% tomorrow %}")).prompt("Hi")
