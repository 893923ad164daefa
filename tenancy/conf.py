"""The settings of the package, each read when it is needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

from django.conf import settings

DEFAULT_ORGANIZATION_MODEL = "tenancy.Organization"
DEFAULT_RESERVED_SLUGS = frozenset(
    {
        "account",
        "accounts",
        "admin",
        "api",
        "app",
        "assets",
        "auth",
        "billing",
        "dashboard",
        "help",
        "invitations",
        "login",
        "logout",
        "mail",
        "media",
        "new",
        "organizations",
        "password",
        "public",
        "root",
        "settings",
        "signin",
        "signup",
        "static",
        "status",
        "support",
        "system",
        "tenancy",
        "user",
        "users",
        "www",
    }
)


def organization_model() -> str:
    """Return TENANCY_ORGANIZATION_MODEL, the label of the organization model.

    Type: str, "app_label.ModelName". Default: "tenancy.Organization". Like
    AUTH_USER_MODEL it is chosen before the first migration.
    """
    label: str = getattr(
        settings, "TENANCY_ORGANIZATION_MODEL", DEFAULT_ORGANIZATION_MODEL
    )
    return label


def reserved_slugs() -> Collection[str]:
    """Return TENANCY_RESERVED_SLUGS, the slugs that no organization may take.

    Type: a collection of lower-case str. Default: words that sites use for their
    own addresses, such as "admin" and "login".
    """
    slugs: Collection[str] = getattr(
        settings, "TENANCY_RESERVED_SLUGS", DEFAULT_RESERVED_SLUGS
    )
    return slugs


def database_aliases() -> Collection[str] | None:
    """Return TENANCY_DATABASES, the aliases that hold the same organizations.

    Type: a collection of aliases of DATABASES, or None for those to which the
    routers send reads and writes of the organization model. Default: None. A
    replica that the routers pick at random is named here.
    """
    aliases: Collection[str] | None = getattr(settings, "TENANCY_DATABASES", None)
    return aliases


def unscoped_role() -> str | None:
    """Return TENANCY_UNSCOPED_ROLE, the role that tenancy.unscoped() enters.

    Type: str, or None for none. Default: None. On PostgreSQL 16 and later; the command
    'create_unscoped_role' makes it, and gives the policies the form that it allows.
    """
    role: str | None = getattr(settings, "TENANCY_UNSCOPED_ROLE", None)
    return role


def limits() -> Mapping[str, int | None]:
    """Return TENANCY_LIMITS, how many of a kind there may be where no plan says.

    Type: a dict of int, or None for no limit, by name: "members" (live members and
    pending invitations of an organization), "invitations" (pending ones of an
    organization), "teams" (of an organization), "organizations" (of a user). Default:
    empty, no limit.
    """
    limits: Mapping[str, int | None] = getattr(settings, "TENANCY_LIMITS", {})
    return limits


# Sessions


def session_update_age() -> timedelta:
    """Return TENANCY_SESSION_UPDATE_AGE, how old an expiry is before it slides.

    A session that is used is prolonged to its whole age again once this has gone by
    since it last was. Type: timedelta. Default: one day. For a session of less than
    seven times that, a seventh of its age.
    """
    age: timedelta = getattr(settings, "TENANCY_SESSION_UPDATE_AGE", timedelta(days=1))
    return age


def impersonation_age() -> timedelta:
    """Return TENANCY_IMPERSONATION_AGE, after which an impersonation ends.

    Type: timedelta. Default: one hour.
    """
    age: timedelta = getattr(settings, "TENANCY_IMPERSONATION_AGE", timedelta(hours=1))
    return age
