"""Every error of the package, in one tree.

::

    TinkerError
    ├── ConfigurationError            a setting is missing or wrong (user)
    ├── InvalidInputError             an argument was refused before or by the server (user)
    │   └── UnknownNameError          a model, run, loss or file that is not there (user)
    ├── FutureError
    │   ├── FutureTimeoutError        the local wait was over; the work goes on (nobody)
    │   ├── FutureCancelledError      somebody cancelled it (user)
    │   ├── FutureLostError           the server no longer knows the request (server)
    │   └── InvalidTransitionError    a state that cannot follow another (our own mistake)
    ├── NotSupportedByServer          this server lacks the operation; nothing was sent (server)
    ├── RequestFailedError            the server took the request and failed it (user or server)
    ├── ServerStartError              the embedded server did not come up (user)
    └── APIError
        ├── APIConnectionError        no answer (network)
        │   └── APITimeoutError       no answer in time (network)
        ├── APIResponseValidationError  an answer that does not follow the protocol (server)
        └── APIStatusError            an HTTP status that says no; one class per status
            ├── BadRequestError            400
            ├── AuthenticationError        401
            ├── BillingError               402
            ├── PermissionDeniedError      403
            ├── NotFoundError              404
            ├── ConflictError              409
            ├── GoneError                  410
            ├── PayloadTooLargeError       413
            ├── UnprocessableEntityError   422
            ├── RateLimitError             429
            └── InternalServerError        5xx

Each error says what happened (its message), to which request (``request_id``), whose fault it is
(``fault``) and what to do now (``advice``). Class names of the official SDK are kept, so code
written for it catches the same names here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["user", "server", "network", "unknown"]


class TinkerError(Exception):
    """Base of every error of the package.

    Parameters
    ----------
    message
        What happened, in one sentence.
    request_id
        The server's id of the request it happened to, where there is one.
    fault
        Whose fault it is; the class's own default when not given.
    advice
        What to do now, in one sentence.

    Attributes
    ----------
    tried
        What was tried before giving up, such as ``tried 4 times in 12 s``; often empty.
    """

    default_fault: ClassVar[Fault] = "unknown"
    default_advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        request_id: str | None = None,
        fault: Fault | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id
        self.fault: Fault = fault or self.default_fault
        self.advice = self.default_advice if advice is None else advice
        self.tried = ""

    def __str__(self) -> str:
        parts = [self.message]
        if self.advice:
            parts.append(self.advice)
        notes = [self.tried] if self.tried else []
        if self.request_id:
            notes.append(f"request {self.request_id}")
        if notes:
            parts.append(f"({', '.join(notes)})")
        return " ".join(parts)


def unexpected(error: Exception) -> TinkerError:
    """Return the error of a mistake of our own, with what really happened as its cause."""
    wrapped = TinkerError(f"The client failed: {error!r}.", advice="Please report this.")
    wrapped.__cause__ = error
    return wrapped


class ConfigurationError(TinkerError):
    """A setting is missing or wrong."""

    default_fault = "user"


class InvalidInputError(TinkerError, ValueError):
    """An argument was refused; nothing was changed."""

    default_fault = "user"


class UnknownNameError(InvalidInputError):
    """The name of a model, run, loss, session or file that is not there."""


class FutureError(TinkerError):
    """Base of what can go wrong with a future itself."""


class FutureTimeoutError(FutureError, TimeoutError):
    """The local wait was over before the result came; the request goes on."""

    default_fault = "network"
    default_advice = "The request goes on; wait again with a longer timeout."


class FutureCancelledError(FutureError):
    """The future was cancelled on this side."""

    default_fault = "user"
    default_advice = "Submit the call again if you still want its result."


class FutureLostError(FutureError):
    """The server no longer knows the request."""

    default_fault = "server"
    default_advice = "Submit the call again."


class InvalidTransitionError(FutureError):
    """A future was asked to enter a state that cannot follow its present one."""


class RequestFailedError(TinkerError):
    """The server accepted the request and failed it.

    Parameters
    ----------
    message
        The server's own words.
    request_id
        The failed request.
    category
        ``"user"``, ``"server"`` or ``"unknown"``, as the server said.
    """

    def __init__(
        self,
        message: str,
        *,
        request_id: str | None = None,
        category: Literal["user", "server", "unknown"] = "unknown",
        advice: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id, fault=category, advice=advice)
        self.category = category


class NotSupportedByServer(TinkerError):  # noqa: N818  # the name users were promised
    """The server lacks the operation.

    Parameters
    ----------
    operation
        What was asked, by the name of the client's method.
    server
        What the server is, such as ``SkyRL at http://127.0.0.1:8000``.
    reason
        Why, where there is more to say.
    """

    default_fault = "server"
    default_advice = "client.capabilities() lists what this server can do."

    def __init__(self, operation: str, server: str, *, reason: str = "") -> None:
        what = f"{server} does not support {operation}"
        super().__init__(f"{what}: {reason}." if reason else f"{what}.")
        self.operation = operation
        self.server = server
        self.reason = reason


class ServerStartError(TinkerError):
    """The embedded server did not come up."""

    default_fault = "user"


class APIError(TinkerError):
    """Base of everything that goes wrong between sending a request and reading its answer."""


class APIConnectionError(APIError):
    """No answer came: nothing listens there, or the connection broke."""

    default_fault = "network"


class APITimeoutError(APIConnectionError):
    """No answer came in time."""


class APIResponseValidationError(APIError):
    """An answer came that does not follow the protocol."""

    default_fault = "server"
    default_advice = "Check that the URL is that of a Tinker server."


class APIStatusError(APIError):
    """The server answered with a status that says no.

    Parameters
    ----------
    message
        What the server said.
    status_code
        The HTTP status.
    body
        The answer's body, parsed as JSON where it was JSON.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        body: object = None,
        request_id: str | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id, advice=advice)
        self.status_code = status_code
        self.body = body


class BadRequestError(APIStatusError):
    """400: the request makes no sense to the server."""

    default_fault = "user"


class AuthenticationError(APIStatusError):
    """401: the key is missing or wrong."""

    default_fault = "user"
    default_advice = "Pass the key this server was started with, by the name of its variable."


class BillingError(APIStatusError):
    """402: the account cannot pay for this now."""

    default_fault = "user"


class PermissionDeniedError(APIStatusError):
    """403: this key may not do that."""

    default_fault = "user"


class NotFoundError(APIStatusError):
    """404: the thing, or the whole endpoint, is not there."""

    default_fault = "user"


class ConflictError(APIStatusError):
    """409: the thing is already in that state, or being changed."""

    default_fault = "user"


class GoneError(APIStatusError):
    """410: it was there and is no more."""

    default_fault = "server"


class PayloadTooLargeError(APIStatusError):
    """413: the body is larger than the server takes."""

    default_fault = "user"
    default_advice = "Send less data per call."


class UnprocessableEntityError(APIStatusError):
    """422: a field of the body has a wrong type or value."""

    default_fault = "user"


class RateLimitError(APIStatusError):
    """429: too much at once."""

    default_fault = "user"
    default_advice = "Wait a little, then try again."


class InternalServerError(APIStatusError):
    """5xx: the server failed."""

    default_fault = "server"


STATUS_ERRORS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: BillingError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: PayloadTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def status_error_class(status_code: int) -> type[APIStatusError]:
    """Return the class for an HTTP status of 400 or more."""
    fallback = InternalServerError if status_code >= 500 else APIStatusError
    return STATUS_ERRORS.get(status_code, fallback)
