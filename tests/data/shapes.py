"""Small chat templates in the shapes of well-known models, and tokenizers to go with them.

Each template has ``{% generation %}`` marks; `without_marks` takes them out, as published
templates lack them.
"""

from __future__ import annotations

import re

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

CHATML = (
    "{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ m.content }}<|im_end|>{{ '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

LLAMA3 = (
    "{{ bos_token }}"
    "{% for m in messages %}"
    "<|start_header_id|>{{ m.role }}<|end_header_id|>{{ '\\n\\n' }}"
    "{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content | trim }}<|eot_id|>{% endgeneration %}"
    "{% else %}{{ m.content | trim }}<|eot_id|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)

GEMMA = (
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}{{ '\\n' }}"
    "{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content | trim }}<end_of_turn>{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ m.content | trim }}<end_of_turn>{{ '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)

# The system message goes into the last user message, and there are no words that ask to speak.
MISTRAL = (
    "{% if messages[0].role == 'system' %}"
    "{% set system = messages[0].content + '\\n\\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{{ bos_token }}"
    "{% for m in turns %}"
    "{% if m.role == 'user' %}"
    "[INST] {% if m == (turns | selectattr('role', 'equalto', 'user') | list)[-1] %}{{ system }}"
    "{% endif %}{{ m.content }}[/INST]"
    "{% else %}{% generation %} {{ m.content }}{{ eos_token }}{% endgeneration %}{% endif %}"
    "{% endfor %}"
)

# Only the answer to the last question keeps its thinking.
QWEN3 = (
    "{% set ns = namespace(last=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}"
    "{% set words = m.content.split('</think>')[-1].lstrip('\\n') %}"
    "{% set thinking = '' %}"
    "{% if '</think>' in m.content %}"
    "{% set thinking = m.content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{% endif %}"
    "{% generation %}"
    "{% if loop.index0 > ns.last %}<think>\n{{ thinking }}\n</think>\n\n{% endif %}"
    "{{ words }}<|im_end|>{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ m.content }}<|im_end|>{{ '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>"]
SPECIAL += ["<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"]
CONFIG = '{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null}'

_LESSONS = ["def f(x):\n    return x + 1\n", "Hello there, my friend", "user\nassistant\nsystem\n"]


def without_marks(template: str) -> str:
    """Return a template as it would be published."""
    return re.sub(r"\{% (end)?generation %\}", "", template)


def byte_level(*, trim_offsets: bool = False) -> str:
    """Return the ``tokenizer.json`` of a small tokenizer of bytes, as GPT-like models have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(tokenizer, 400, SPECIAL, alphabet)


def sentence_piece() -> str:
    """Return the ``tokenizer.json`` of one with ``▁`` for spaces, as Llama 2 has."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(spaces)
    tokenizer.decoder = decoders.Replace("▁", " ")
    return _trained(tokenizer, 200, ["<unk>", *SPECIAL], [])


def _trained(tokenizer: Tokenizer, size: int, special: list[str], alphabet: list[str]) -> str:
    trainer = BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_LESSONS * 20, trainer)
    return str(tokenizer.to_str())
