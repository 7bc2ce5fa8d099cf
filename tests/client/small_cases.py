"""Small data and a quick client, for tests against servers of every family."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinker_nb import Datum, ModelInput, SamplingParams, ServiceClient
from tinker_nb.client.retry import RetryPolicy

WAIT = 30
QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.02, patience=5.0, refused_patience=5.0)
DATUM = Datum(
    ModelInput.from_ints([1, 2, 3]),
    {"target_tokens": np.array([2, 3, 4]), "weights": np.array([0.0, 1.0, 1.0], np.float32)},
)
DATA = [DATUM, DATUM]
CHAT = [[{"role": "user", "content": "pig"}, {"role": "assistant", "content": "igpay"}]]
PROMPT = ModelInput.from_ints([5, 6, 7, 8])
PARAMS = SamplingParams(max_tokens=2)


def client_of(url: str, **options: Any) -> ServiceClient:
    """Return a client that does not wait long."""
    return ServiceClient(base_url=url, retry=QUICK, **options)
