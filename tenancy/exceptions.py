"""The conditions that the package refuses, one exception each."""

from __future__ import annotations

from django.core.exceptions import BadRequest, ImproperlyConfigured, PermissionDenied
from django.db import IntegrityError


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


class DomainLimitReached(LimitReached):
    """The organization has as many domains as it may."""


class OrganizationLimitReached(LimitReached):
    """The user is a member of as many organizations as they may be."""


class PermissionNotHeld(TenancyError, PermissionDenied):
    """Somebody grants, or takes, what their own role does not allow."""


class ImpersonationRefused(TenancyError, PermissionDenied):
    """Impersonation is not allowed here, or does not allow this."""


# Accounts and verifications.


class DecryptionFailed(TenancyError, ValueError):
    """No key opens an encrypted value, or it is not of the place where it stands."""


class AccountTaken(TenancyError, ValueError):
    """The provider's account is linked to another user."""


class UnverifiedEmail(TenancyError, ValueError):
    """A user was found by an e-mail address that one side has not verified."""


class LastWayIn(TenancyError, ValueError):
    """The user could not sign in without this account."""


class VerificationFailed(TenancyError, ValueError):
    """The value is wrong, used, replaced, expired, or was tried too often."""


class TransactionOpen(TenancyError, RuntimeError):
    """A failed try must be counted, which the caller's transaction could undo."""


# Of invitations.


class InvitationNotFound(TenancyError, ValueError):
    """No invitation has the token: it is unknown, or a renewal made it void."""


class InvitationExpired(TenancyError, ValueError):
    """The invitation's time is past."""


class InvitationUsed(TenancyError, ValueError):
    """The invitation was accepted, declined or revoked."""


class WrongRecipient(TenancyError, PermissionDenied):
    """The invitation was sent to another e-mail address than the user's."""


class EmailNotVerified(TenancyError, PermissionDenied):
    """The user's e-mail address is not verified, which a setting asks for."""


class UserNotActive(TenancyError, PermissionDenied):
    """The user is banned, switched off or deleted."""


class OrganizationNotActive(TenancyError, ValueError):
    """The organization is suspended or archived."""


# Domains.


class DomainTaken(TenancyError, ValueError):
    """The domain is verified for another organization."""


class ChallengeFailed(TenancyError, ValueError):
    """A domain's record is missing, or holds another token."""


class DNSUnavailable(TenancyError, ValueError):
    """The name servers of a domain gave no answer about its record."""


# Billing.


class AlreadySubscribed(TenancyError, ValueError):
    """The organization has a live subscription to the product."""


class TrialUsed(TenancyError, ValueError):
    """The organization has had its trial."""


class SubscriptionEnded(TenancyError, ValueError):
    """The subscription has ended, and nothing of it changes any more."""


class TransitionRefused(TenancyError, ValueError):
    """A subscription or an organization cannot go into the state that is asked for."""


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


# Of organizations and of what never changes.


class SubscriptionLive(TenancyError, ValueError):
    """The organization is not deleted while it has a live subscription."""


class ImmutableRow(TenancyError, IntegrityError):
    """A row that is written once was to be changed, or one that is kept deleted."""


# Members


class RoleInUse(TenancyError, ValueError):
    """A role that a membership or an invitation has cannot be deleted."""


class BuiltInRole(TenancyError, ValueError):
    """A built-in role keeps its key and its permissions, and is not deleted."""


class HasMemberships(TenancyError, ValueError):
    """A user who has memberships, ended ones too, is not deleted as one row."""
