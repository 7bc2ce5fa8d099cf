"""The options of the command line, each with its words; settings have the names of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tinker_nb.server.config import TINY_CHAT, Device, DType, Durability, LogFormat, LogLevel


def _option(help_: str, *flags: str, panel: str | None = None) -> Any:
    return typer.Option(*flags, help=help_, rich_help_panel=panel)


_WHO, _WORK, _LIFE = "Who may ask", "How it works", "How long it stays, and what it tells"

Host = Annotated[str, _option("Address to listen at.")]
Port = Annotated[int, _option("Port to listen at; 0 takes a free one.")]
Model = Annotated[str, _option(f"{TINY_CHAT}, a Hugging Face directory, or a hub name.")]
Download = Annotated[bool, _option("Fetch a model that is not in the hub's cache.", "--download")]
DataDir = Annotated[Path | None, _option("Where runs and checkpoints are kept.")]

ApiKeyEnv = Annotated[
    str | None, _option("Variable that holds the key; a random one if not given.", panel=_WHO)
]
NoAuth = Annotated[
    bool, _option("Ask for no key; on loopback addresses only.", "--no-auth", panel=_WHO)
]
AllowRemote = Annotated[
    bool,
    _option("Listen at an address that other machines reach.", "--allow-remote", panel=_WHO),
]
AllowHosts = Annotated[
    list[str],
    _option(
        "Another name that requests may call this server by, such as a proxy's; may be repeated.",
        "--allow-host",
        panel=_WHO,
    ),
]
AllowOrigins = Annotated[
    list[str],
    _option(
        "Origin, such as https://example.org, whose pages may ask; may be repeated.",
        "--allow-origin",
        panel=_WHO,
    ),
]

TheDevice = Annotated[Device, _option("Where the model computes.", panel=_WORK)]
TheDType = Annotated[DType, _option("Numbers of the base model.", panel=_WORK)]
GradientCheckpointing = Annotated[
    bool,
    _option(
        "Need less memory in training, and more time.", "--gradient-checkpointing", panel=_WORK
    ),
]
BatchTokens = Annotated[
    int, _option("Most tokens, with padding, that are trained on at once.", panel=_WORK)
]
BatchRows = Annotated[int, _option("Most sequences that are drawn at once.", panel=_WORK)]
MaxRank = Annotated[int, _option("Largest LoRA rank.", panel=_WORK)]
MaxLiveModels = Annotated[
    int, _option("Adapters kept in memory; others are parked on disk.", panel=_WORK)
]
MaxRequestTokens = Annotated[int, _option("Most tokens in one request.", panel=_WORK)]
TheDurability = Annotated[
    Durability,
    _option(
        "step: every acknowledged step survives a crash; checkpoint: only saved checkpoints do, "
        "and steps are faster.",
        panel=_WORK,
    ),
]

SessionTimeout = Annotated[
    float, _option("Seconds without a heartbeat after which a session has ended.", panel=_LIFE)
]
IdleStop = Annotated[
    float | None,
    _option(
        "Stop after so many seconds without requests and work; looking at health, figures and "
        "the queue does not count.",
        panel=_LIFE,
    ),
]
UntilStdinCloses = Annotated[
    bool,
    _option(
        "When stdin ends, finish what was asked and stop.", "--until-stdin-closes", panel=_LIFE
    ),
]
Linger = Annotated[
    float,
    _option("Seconds without requests and work that it stays when stdin has ended.", panel=_LIFE),
]
TheLogFormat = Annotated[LogFormat, _option("json: one object per line.", panel=_LIFE)]
TheLogLevel = Annotated[
    LogLevel,
    _option("The least serious that is logged; info: a line per request.", panel=_LIFE),
]
