"""The conditions that the package refuses, one exception each."""

from __future__ import annotations

from django.core.exceptions import BadRequest, ImproperlyConfigured, PermissionDenied


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


# Billing.


class AlreadySubscribed(TenancyError, ValueError):
    """The organization has a live subscription to the product."""


class TrialUsed(TenancyError, ValueError):
    """The organization has had its trial."""


class SubscriptionEnded(TenancyError, ValueError):
    """The subscription has ended, and nothing of it changes any more."""


class TransitionRefused(TenancyError, ValueError):
    """The subscription cannot go from its present state into the one asked for."""


class PlanRefused(TenancyError, ValueError):
    """The plan is not offered, is unknown, or is another product's."""


class PlanInUse(TenancyError, ValueError):
    """Subscriptions refer to the plan, whose product stays what it is."""


class SubscriptionConflict(TenancyError, ValueError):
    """The provider's subscription is stored as another one."""


class PaymentConflict(TenancyError, ValueError):
    """The provider's payment is recorded with other values."""


class BillingCustomerConflict(TenancyError, ValueError):
    """The organization has another billing customer, or the customer is taken."""


class UnknownBillingCustomer(TenancyError, LookupError):
    """No organization has the customer that a provider's event names."""


class BillingHandlerMissing(TenancyError, ImproperlyConfigured):
    """Nothing is registered that applies a provider's events."""


class InvalidSignature(TenancyError, BadRequest):
    """A provider's event is not signed, or was signed too long ago.

    It is a BadRequest, so that an uncaught one is answered with status 400.
    """
