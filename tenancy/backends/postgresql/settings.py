"""What a connection tells PostgreSQL of the scope, which its policies read.

One setting decides. ``tenancy.organization`` holds the active organization's key, or
nothing, or a mark: that every organization is reached, or a user's own memberships.
Marks are texts that can be cast to the key's type, since the planner casts them when it
counts rows, and as which no key is ever written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Field

from tenancy.backends.enforcement import is_uuid, literal

ORGANIZATION = "tenancy.organization"
USER = "tenancy.user"
MARK_BEGINNINGS = ("{", "+")
DELETES = "tenancy.deletes"
_REPLAN = b"DISCARD PLANS; "


class Marks(NamedTuple):
    """What stands in place of an organization's key.

    Args:
        every (str): every organization is reached: tenancy.unscoped().
        own (str): the memberships of the user in ``tenancy.user``, and what they are
            of, are read: tenancy.scope(user=...).
    """

    every: str
    own: str


UUID_MARKS = Marks(
    every="{ffffffff-ffff-ffff-ffff-ffffffffffff}",
    own="{ffffffff-ffff-ffff-ffff-fffffffffffe}",
)
INTEGER_MARKS = Marks(every="+9223372036854775807", own="+9223372036854775806")


def marks_of(field: Field[Any, Any]) -> Marks:
    """Return the marks of the type of a field that holds an organization's key."""
    return UUID_MARKS if is_uuid(field) else INTEGER_MARKS


class Prefix(NamedTuple):
    """What goes before a statement, in its message.

    Args:
        text (bytes): statements, on a line of their own.
        results (int): how many results they have.
        replans (bool): whether the first of them has kept plans made anew.
    """

    text: bytes
    results: int
    replans: bool = False

    def without_replanning(self) -> Prefix:
        """Return the same for a connection that keeps no plan of one organization."""
        return self._replace(
            text=self.text.removeprefix(_REPLAN),
            results=self.results - 1,
            replans=False,
        )

    def without_deleting(self) -> Prefix:
        """Return the same, and that rows which are kept are not deleted."""
        setting = f"SET LOCAL {DELETES} = '';\n".encode()
        return self._replace(text=self.text + setting, results=self.results + 1)


def write_organization(key: str) -> Prefix:
    """Return what sets an organization's key; an empty one is none."""
    return Prefix(f"SET LOCAL {ORGANIZATION} = {literal(key)};\n".encode(), 1)


def write_every(marks: Marks) -> Prefix:
    """Return what lets the rest of a message reach every organization.

    A plan that was made and kept in one organization's scope, by a function or for a
    prepared statement, compares rows with one key, and would show nothing here: it is
    made anew. The other way round it is right as it is.
    """
    text, results = write_organization(marks.every)[:2]
    return Prefix(_REPLAN + text, 1 + results, replans=True)


def write_own(marks: Marks, user: str) -> Prefix:
    """Return what lets the rest of a message read a user's memberships."""
    text, results = write_organization(marks.own)[:2]
    setting = f'SET LOCAL tenancy."user" = {literal(user)}; '.encode()
    return Prefix(_REPLAN + setting + text, 2 + results, replans=True)
