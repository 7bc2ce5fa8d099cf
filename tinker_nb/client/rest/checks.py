"""What is wrong with the arguments of a request, before it is sent. No I/O."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.rest import AccessScope

M = TypeVar("M", bound=WireModel)


def check_page(limit: int, offset: int) -> None:
    """Refuse a page that no list has."""
    if _no_integer(limit) or limit < 1:
        raise InvalidInputError(f"limit must be an integer of at least 1, not {limit!r}.")
    if _no_integer(offset) or offset < 0:
        raise InvalidInputError(f"offset must be an integer of at least 0, not {offset!r}.")


def check_scope(access_scope: str) -> None:
    """Refuse a scope that does not exist."""
    check_choice("access_scope", access_scope, get_args(AccessScope))


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise InvalidInputError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")


def check_project(project_id: str) -> None:
    """Refuse an empty project id."""
    if not isinstance(project_id, str) or not project_id.strip():
        raise InvalidInputError(f"{project_id!r} is no project id.")


def check_day(day: date | None) -> None:
    """Refuse what is no plain date: a time of day would be lost."""
    if day is not None and (not isinstance(day, date) or isinstance(day, datetime)):
        raise InvalidInputError(f"day must be a datetime.date, not {day!r}.")


def checked(model: type[M], fields: Any) -> M:
    """Return a request's body; raises `InvalidInputError` with the first thing wrong in it."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"{where}: {what}." if where else f"{what}.") from error


def _no_integer(value: object) -> bool:
    return not isinstance(value, int) or isinstance(value, bool)
