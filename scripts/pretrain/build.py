"""The tokenizer, the chat template and the untrained model."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

SPECIAL = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>")
SYSTEM, USER, ASSISTANT, END, PAD = range(256, 261)
ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}
{%- elif message['role'] in ['system', 'user'] -%}
<|{{ message['role'] }}|>{{ message['content'] }}<|end|>
{%- else -%}
{{ raise_exception('tiny-chat knows the roles system, user and assistant only') }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


def byte_letters() -> list[str]:
    """List the letters that stand for the 256 bytes in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def make_tokenizer() -> Tokenizer:
    """Make the tokenizer: a token's id is its byte, and special tokens follow."""
    vocabulary = {letter: byte for byte, letter in enumerate(byte_letters())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    )
    return tokenizer


def make_config() -> LlamaConfig:
    """Make the configuration of the model."""
    return LlamaConfig(
        vocab_size=256 + len(SPECIAL),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write every file of the model but its card.

    Parameters
    ----------
    model : LlamaForCausalLM
        The model.
    folder : Path
        Where to; made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=END, pad_token_id=PAD, max_new_tokens=64, do_sample=True, top_k=0
    )
    model.save_pretrained(folder)
    make_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    (folder / "tokenizer_config.json").write_text(json.dumps(_tokenizer_config(), indent=2) + "\n")


def _tokenizer_config() -> dict[str, object]:
    """Describe the tokenizer to transformers."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "padding_side": "left",
        "eos_token": SPECIAL[3],
        "pad_token": SPECIAL[4],
        "additional_special_tokens": list(SPECIAL[:3]),
        "clean_up_tokenization_spaces": False,
    }
