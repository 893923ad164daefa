"""Where a request comes from, and whether somebody acts in another's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from tenancy.exceptions import ImpersonationRefused

Key = Any  # A primary key: a UUID or an int, by the user model.


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from.

    Args:
        ip_address (str | None): the client's address; None outside requests.
        impersonator_id (key | None): who acts in the signed-in user's name.
    """

    ip_address: str | None = None
    impersonator_id: Key | None = None


_NOWHERE = Origin()
_origin: ContextVar[Origin | Callable[[], Origin]] = ContextVar(
    "tenancy_origin", default=_NOWHERE
)


def current_origin() -> Origin:
    """Return where the current request comes from; an empty Origin outside one."""
    origin = _origin.get()
    return origin if isinstance(origin, Origin) else origin()


@contextmanager
def acting_from(origin: Origin | Callable[[], Origin]) -> Iterator[None]:
    """Act from a request, for the audit trail.

    Args:
        origin (Origin | Callable): where it comes from, or what finds that when it is
            asked for.
    """
    before = _origin.get()
    _origin.set(origin)
    try:
        yield
    finally:
        # A value and not a Token, which no other Context can reset.
        _origin.set(before)


def refuse_impersonator(subject: str) -> None:
    """Refuse what nobody does in another's name.

    Args:
        subject (str): what is refused: "The password".
    Raises:
        ImpersonationRefused: somebody acts in the signed-in user's name.
    """
    if current_origin().impersonator_id is not None:
        raise ImpersonationRefused(
            f"{subject} cannot be changed while impersonating. Stop the impersonation "
            "first, with tenancy.impersonation.stop_impersonating(request)."
        )
