"""The conditions that the package refuses, one exception each."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied


class TenancyError(Exception):
    """The root of every exception that the package raises."""


class ScopeRequired(TenancyError, RuntimeError):
    """Tenant rows were asked for with no active scope."""


class CrossOrganization(TenancyError, PermissionDenied):
    """A row, a key or a scope of another organization was reached for.

    It is a PermissionDenied, so that an uncaught one ends as a 403 page. Its text
    never tells whether the row exists.
    """


class RawSQLRefused(TenancyError, RuntimeError):
    """A statement names a tenant table without the organization's predicate."""


class ScopeInterleaved(TenancyError, RuntimeError):
    """A scope was left while another one, entered later, was still open."""


class UnsupportedDatabase(TenancyError, RuntimeError):
    """A connection's vendor is not one on which isolation is enforced."""


# What the verbs refuse. Each is a ValueError, so that a caller's handler of bad input
# meets it; those about rights are a PermissionDenied.


class AlreadyMember(TenancyError, ValueError):
    """The user is a live member of the organization."""


class NotAMember(TenancyError, ValueError):
    """The user is no live member of the organization."""


class LastOwner(TenancyError, ValueError):
    """The organization would be left without an owner."""


class LimitReached(TenancyError, ValueError):
    """A plan or a setting allows no more of these.

    Args:
        message (str): what was found, and what to do.
        limit (int): how many are allowed.
    """

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class SeatLimitReached(LimitReached):
    """The organization's members and pending invitations fill its seats."""


class InvitationLimitReached(LimitReached):
    """The organization has as many pending invitations as it may."""


class TeamLimitReached(LimitReached):
    """The organization has as many teams as it may."""


class OrganizationLimitReached(LimitReached):
    """The user is a member of as many organizations as they may be."""


class PermissionNotHeld(TenancyError, PermissionDenied):
    """Somebody grants, or takes, what their own role does not allow."""


class ImpersonationRefused(TenancyError, PermissionDenied):
    """Impersonation is not allowed here, or does not allow this."""


# Members


class RoleInUse(TenancyError, ValueError):
    """A role that a membership or an invitation has cannot be deleted."""


class BuiltInRole(TenancyError, ValueError):
    """A built-in role keeps its key and its permissions, and is not deleted."""


class HasMemberships(TenancyError, ValueError):
    """A user who has memberships, ended ones too, is not deleted as one row."""
