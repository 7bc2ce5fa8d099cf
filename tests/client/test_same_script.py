"""One script text under both packages, on the real embedded server: the same figures come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tinker_nb import EmbeddedServer

SCRIPT = Path(__file__).with_name("same_script.py")
IMPORTS = {
    "\nimport tinker\n": "\nimport tinker_nb as tinker\n",
    "\nfrom tinker import types\n": "\nfrom tinker_nb import types\n",
}
# The official SDK warns of half of what its users' scripts do; ours has nothing to warn of.
WARNINGS = {
    "tinker": ("ignore::FutureWarning", "ignore::DeprecationWarning"),
    "tinker_nb": ("error",),
}


def for_us(text: str) -> str:
    """Return a script with its imports, and nothing else, changed."""
    for theirs, ours in IMPORTS.items():
        assert text.count(theirs) == 1
        text = text.replace(theirs, ours)
    return text


def run(package: str, script: str, server: EmbeddedServer) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *(f"-W{each}" for each in WARNINGS[package]), "-c", script],
        env={
            **os.environ,
            "TINKER_BASE_URL": server.base_url,
            "TINKER_API_KEY": server.api_key.get_secret_value(),
            "TINKER_TELEMETRY": "0",
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Name the places where two results differ by more than rounding."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [line for key in one for line in differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for key, pair in pairs for line in differences(*pair, f"{place}/{key}")]
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if one == other or (numbers and one == pytest.approx(other, rel=1e-4, abs=1e-4)):
        return []
    return [f"{place}: {one!r} and {other!r}"]


@pytest.mark.slow
def test_the_same_text_gives_the_same_losses(embedded: EmbeddedServer) -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    theirs = run("tinker", text, embedded)
    ours = run("tinker_nb", for_us(text), embedded)
    assert differences(theirs, ours) == []
    losses = ours["supervised"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]
    assert [each[0] for each in ours["caught"]] == [
        "model",
        "checkpoint",
        "no data",
        "key",
        "a misspelt field",
        "no ints",
        "no such token",
        "no time",
    ]


def test_a_difference_would_be_seen() -> None:
    one = {"losses": [1.0, 2.0], "tokens": [[1, 2], "a"], "none": None}
    assert differences(one, one) == []
    assert differences(one, {**one, "losses": [1.0, 2.00001]}) == []
    assert differences(one, {**one, "losses": [1.0, 2.001]}) == ["/losses/1: 2.0 and 2.001"]
    assert differences(one, {**one, "tokens": [[1, 3], "a"]}) == ["/tokens/0/1: 2 and 3"]
    assert len(differences(one, {"losses": [1.0]})) == 1
