"""Answers: results as they are kept to responses, and errors to one sentence with a status."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.store.futures import Stored
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.jsonform import output_to_json, sample_to_json
from tinker_nb.wire.protobuf import CONTENT_TYPE, decode_output
from tinker_nb.wire.responses import ErrorDetail
from tinker_nb.wire.samples import decode_sample

JSON_TYPE = "application/json"


def answer(model: WireModel, status: int = 200) -> Response:
    """Return a JSON answer without the fields that are not set."""
    return Response(model.model_dump_json(exclude_none=True), status, media_type=JSON_TYPE)


def refusal(status: int, detail: str) -> Response:
    """Return a "no" with its reason."""
    return answer(ErrorDetail(detail=detail), status)


def result_response(stored: Stored, accept: str) -> Response:
    """Return a result in the form that is accepted: protobuf where asked for, else JSON."""
    if stored.form in ("json", "failed"):
        return Response(stored.body, media_type=JSON_TYPE)
    if CONTENT_TYPE in accept.lower():
        return Response(stored.body, media_type=CONTENT_TYPE)
    return JSONResponse(as_json(stored))


def as_json(stored: Stored) -> Any:
    """Return a result as JSON, whatever its form."""
    if stored.form == "forward_backward":
        return output_to_json(decode_output(stored.body))
    if stored.form == "sample":
        return sample_to_json(decode_sample(stored.body))
    return json.loads(stored.body)


def waited_response(stored: Stored) -> Response:
    """Return a result as the quick-start dialect gives it: a failure is a status of its own."""
    body = as_json(stored)
    if stored.form == "failed":
        return refusal(400 if body["category"] == "user" else 500, body["error"])
    return JSONResponse(body)


def install_error_handlers(app: FastAPI) -> None:
    """Let every error leave as ``{"detail": sentence}``."""
    app.add_exception_handler(InvalidInputError, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(UnicodeEncodeError, _not_text)
    app.add_exception_handler(Exception, _unexpected)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidInputError)
    return refusal(404 if isinstance(error, UnknownNameError) else 400, error.message)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {404: f"There is no {request.url.path}; GET / lists what there is."}
    return refusal(error.status_code, known.get(error.status_code, str(error.detail)))


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError | ValidationError)
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        return refusal(400, "The body is not JSON.")
    place = ".".join(str(part) for part in problem["loc"] if part != "body") or "the body"
    return refusal(422, f"{place}: {problem['msg']}.")


async def _not_text(_: Request, __: Exception) -> Response:
    # JSON can spell half a surrogate pair, which no name of ours can be.
    return refusal(400, "The body holds text that is not Unicode.")


async def _unexpected(_: Request, error: Exception) -> Response:
    # The framework logs it with its traceback after this answer.
    return refusal(500, f"The server failed on this request ({type(error).__name__}).")
