"""The current official protocol, and what every other dialect has in common with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tinker_nb.client.dialects.ignored import Ignored, first_ignored
from tinker_nb.client.exchange import Accepted, Payload, Reply, Request, json_payload
from tinker_nb.client.kinds import Ask, Kind, kind_of
from tinker_nb.client.polling import Outcome, read_poll
from tinker_nb.client.routes import ROUTES, Route
from tinker_nb.errors import InvalidInputError, NotSupportedByServer
from tinker_nb.wire.data import is_conversation
from tinker_nb.wire.jsonform import output_from_json, sample_from_json
from tinker_nb.wire.protobuf import (
    CONTENT_TYPE,
    ForwardBackwardRequest,
    decode_output,
    encode_forward_backward,
)
from tinker_nb.wire.responses import FutureResponse
from tinker_nb.wire.results import ForwardBackwardOutput, SampleResponse
from tinker_nb.wire.samples import decode_sample

POLL_TIMEOUT = 60.0  # above the longest hold of a server, 45 s


class Dialect:
    """The current official protocol: protobuf for data, JSON for the rest.

    Attributes
    ----------
    key, name
        What a user calls it, and what messages and tables call it.
    deduplicates
        Whether a submission that comes twice under one number is done once, so that one without
        an answer may be sent again.
    has_sessions
        Whether there are sessions, heartbeats and sampling sessions.
    takes_chat
        Whether training data are conversations instead of tokens.
    is_one_server
        Whether it is one particular server, so that all it does not lack is known to be there.
    missing
        What it lacks, by the client's method, with the reason.
    notes
        What to know of operations it has.
    ignored
        Which arguments it would leave unread; they are refused.
    """

    key: ClassVar[str] = "official"
    name: ClassVar[str] = "The Tinker server"
    deduplicates: ClassVar[bool] = True
    has_sessions: ClassVar[bool] = True
    takes_chat: ClassVar[bool] = False
    is_one_server: ClassVar[bool] = False
    missing: ClassVar[Mapping[str, str]] = {}
    notes: ClassVar[Mapping[str, str]] = {}
    ignored: ClassVar[Ignored] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key}>"

    # Where it listens

    def routes(self, operation: str) -> tuple[Route, ...]:
        """Return the endpoints of an operation, any one of which will do; it may need none."""
        return ROUTES.get(operation, ())

    def at(self, operation: str, path: str) -> str:
        """Return where this server has an operation that is answered at once.

        Parameters
        ----------
        operation
            The client's method.
        path
            Where the official protocol has it, ids filled in.
        """
        return path

    # Submitting

    def request(self, ask: Ask) -> Request:
        """Return what to send for a call; raises when this server cannot be asked that."""
        self.refuse_ignored(ask)
        return Request("POST", kind_of(ask).path, self.payload(ask))

    def refuse_ignored(self, ask: Ask) -> None:
        """Raise `NotSupportedByServer` on an argument that the server would leave unread."""
        field = first_ignored(ask, self.ignored.get(type(ask), ()))
        if field is not None:
            what = f"{kind_of(ask).operation} with {field}"
            raise NotSupportedByServer(what, self.name, reason="it would ignore it without a word")

    def payload(self, ask: Ask) -> Payload:
        """Return the body of a call."""
        if isinstance(ask, ForwardBackwardRequest):
            refuse_chat(ask)
            return Payload(encode_forward_backward(ask), CONTENT_TYPE)
        return json_payload(ask.to_wire())

    def understood(self, reply: Reply) -> Reply:
        """Return an answer with the status it means, where that is not the one it has."""
        return reply

    def accepted(self, reply: Reply) -> Accepted:
        """Read the answer of a submission."""
        said = FutureResponse.model_validate(reply.json_object())
        return Accepted(said.request_id, said.model_id, tuple(said.sample_sequence_ids or ()))

    # Waiting

    def poll(self, kind: Kind, request_id: str, known_state: str, iteration: int) -> Request:
        """Return the request that asks for a result."""
        headers = {
            "X-Tinker-Request-Type": kind.name,
            "X-Tinker-Request-Iteration": str(iteration),
            "Accept": CONTENT_TYPE if kind.binary else "application/json",
        }
        body = {"request_id": request_id, "known_state": known_state}
        path = "/api/v1/retrieve_future"
        return Request("POST", path, json_payload(body), headers, POLL_TIMEOUT, lane="poll")

    def read_poll(self, reply: Reply, request_id: str) -> Outcome:
        """Say what the answer of a poll means."""
        return read_poll(reply, request_id)

    # Results

    def result(self, kind: Kind, reply: Reply, accepted: Accepted) -> Any:
        """Read a call's result."""
        if kind.result is ForwardBackwardOutput:
            return self.output(reply)
        if kind.result is SampleResponse:
            return self.samples(reply, accepted)
        return kind.result.model_validate(reply.json_object())

    def output(self, reply: Reply) -> ForwardBackwardOutput:
        """Read the result of a forward or forward_backward."""
        if reply.content_type == CONTENT_TYPE:
            return decode_output(reply.content)
        return output_from_json(reply.json_object())

    def samples(self, reply: Reply, accepted: Accepted) -> SampleResponse:
        """Read the result of a sample."""
        if reply.content_type == CONTENT_TYPE:
            return decode_sample(reply.content, accepted.sample_sequence_ids)
        return sample_from_json(reply.json_object())


def refuse_chat(ask: ForwardBackwardRequest) -> None:
    """Raise when the data of a call are conversations, which this server does not take."""
    if ask.data and is_conversation(ask.data[0]):
        raise InvalidInputError(
            "This server takes tokens, not conversations.",
            advice="Make datums of them with conversations_to_datums(conversations, tokenizer).",
        )
