"""What people read where a verb refuses: its own words are for developers."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.forms import BaseForm
from django.utils.translation import gettext_lazy as _

from tenancy import exceptions

_WORDS: dict[type[Exception], Any] = {  # Any: lazy translations.
    ObjectDoesNotExist: _("This was deleted meanwhile."),
    exceptions.AlreadyMember: _("This person is a member already."),
    exceptions.NotAMember: _("This person is no member any more."),
    exceptions.LastOwner: _(
        "The organization needs an owner. Make another member an owner first."
    ),
    exceptions.SeatLimitReached: _(
        "Every seat is taken. Revoke an invitation, or change the plan."
    ),
    exceptions.InvitationLimitReached: _(
        "No more invitations can be pending. Revoke one of them first."
    ),
    exceptions.TeamLimitReached: _(
        "The organization has as many teams as it may. Delete one of them first."
    ),
    exceptions.OrganizationLimitReached: _(
        "You are in as many organizations as you may be. Leave one of them first."
    ),
    exceptions.DomainLimitReached: _(
        "The organization has as many domains as it may. Remove one of them first."
    ),
    exceptions.DomainTaken: _(
        "This domain is verified for another organization. Have it removed there first."
    ),
    exceptions.ChallengeFailed: _(
        "The record was not found. It may take hours until a change of DNS is seen."
    ),
    exceptions.DNSUnavailable: _(
        "The domain's name servers did not answer. Try again later."
    ),
    exceptions.PermissionNotHeld: _("Your role does not allow this."),
    exceptions.ImpersonationRefused: _("Nobody does this in another person's name."),
    exceptions.InvitationNotFound: _("This invitation is not valid."),
    exceptions.InvitationExpired: _("This invitation has expired."),
    exceptions.InvitationUsed: _("This invitation was answered or revoked before."),
    exceptions.WrongRecipient: _("This invitation was sent to another e-mail address."),
    exceptions.EmailNotVerified: _("Verify your e-mail address first."),
    exceptions.UserNotActive: _("This account is not active."),
    exceptions.OrganizationNotActive: _("The organization is not active."),
    exceptions.SubscriptionLive: _(
        "The organization has a live subscription. End that first."
    ),
    exceptions.TransitionRefused: _("The organization's state has changed meanwhile."),
    exceptions.VerificationFailed: _(
        "The link is wrong, used or expired. Ask for a new one."
    ),
}

REFUSALS: tuple[type[Exception], ...] = (ValidationError, *_WORDS)
"""What a page tells people; every other exception is a fault of the program."""


def explain(error: Exception) -> str:
    """Return what a person reads of one of REFUSALS."""
    if isinstance(error, ValidationError):
        return " ".join(error.messages)
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return str(words)
    raise error


def add_refusal(form: BaseForm, error: Exception) -> None:
    """Put one of REFUSALS into a form, at the fields that it has."""
    if not isinstance(error, ValidationError) or not hasattr(error, "error_dict"):
        form.add_error(None, explain(error))
        return
    for name, errors in error.error_dict.items():
        form.add_error(name if name in form.fields else None, errors)
