"""The audit trail as people read it: who did what, when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from tenancy.models import AuditEvent, Membership

NAMING = ("user", "to")
"""The details that hold the key of a user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event, in words.

    Args:
        occurred_at (datetime): when it was done.
        actor (str): who did it, as far as the reader may know.
        action (str): what was done.
        kind (str): to what kind of row.
        details (str): what is known beside it.
        organization (str): whose it is; empty where the reader sees one only.
    """

    occurred_at: datetime
    actor: str
    action: str
    kind: str
    details: str
    organization: str = ""


def describe_events(
    events: Iterable[AuditEvent], *, viewer: Any, with_organization: bool = False
) -> list[Entry]:
    """Return events of the scope in words, with the names of people.

    Args:
        events (Iterable[AuditEvent]): of the active scope.
        viewer (AbstractBaseUser): who reads: a superuser is told everybody's name,
            others those of fellow members.
        with_organization (bool): whether each says whose it is.
    """
    rows = list(events)
    keys = {key for row in rows for key in (row.actor_key, row.impersonator_key)}
    keys.update(key for row in rows for key in _list_named(row.details))
    people = _find_people(keys - {""}, viewer)
    return [
        Entry(
            occurred_at=row.occurred_at,
            actor=_name_actor(row, people),
            action=row.action.rpartition(".")[2].replace("_", " "),
            kind=row.action.rpartition(".")[0].replace("_", " "),
            details=_tell(row.details, people),
            organization=str(row.organization) if with_organization else "",
        )
        for row in rows
    ]


def _find_people(keys: set[str], viewer: Any) -> dict[str, str]:
    users: Any = get_user_model()  # Any: a project's own.
    known = []
    for key in keys:
        try:
            known.append(users._meta.pk.to_python(key))
        except ValidationError:
            # Of a user model that the project had before.
            continue
    if not known:
        return {}
    rows = users._base_manager.filter(pk__in=known)
    if not getattr(viewer, "is_superuser", False):
        rows = rows.filter(Exists(Membership.objects.filter(user=OuterRef("pk"))))
    return {str(user.pk): str(user) for user in rows}


def _name_actor(row: AuditEvent, people: dict[str, str]) -> str:
    if not row.actor_key:
        return _("system")
    actor = people.get(row.actor_key, _("somebody who is no member"))
    if not row.impersonator_key:
        return actor
    impersonator = people.get(row.impersonator_key, _("support"))
    return _("%(impersonator)s as %(actor)s") % {
        "impersonator": impersonator,
        "actor": actor,
    }


def _list_named(details: Any) -> list[str]:  # Any: what JSON holds.
    """Return the keys of users that the details name."""
    if not isinstance(details, dict):
        return []
    named = [details.get(name) for name in NAMING]
    return [key for key in named if isinstance(key, str)]


def _tell(details: Any, people: dict[str, str]) -> str:  # Any: as above.
    if not isinstance(details, dict):
        return ""
    # Who names the member names the membership.
    untold = {"membership"} if "user" in details else set()
    return "; ".join(
        f"{name.replace('_', ' ')}: {_tell_value(name, value, people)}"
        for name, value in details.items()
        if value not in (None, "", [], {}) and name not in untold
    )


def _tell_value(name: str, value: Any, people: dict[str, str]) -> str:
    if name in NAMING and isinstance(value, str):
        return people.get(value, value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
