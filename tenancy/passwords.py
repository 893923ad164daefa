"""A forgotten password: what is sent to the user's address lets them set another.

The secret is a Verification, and no token of Django's PasswordResetTokenGenerator:
somebody who has read SECRET_KEY can make none, a newer one voids the one before, and
of two who use it at once, one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from tenancy import conf
from tenancy.exceptions import UserNotActive, VerificationFailed
from tenancy.models import Account, Session, SystemEvent, Verification
from tenancy.models.stamped_model import StampedModel
from tenancy.models.user import RESET_PURPOSE
from tenancy.models.verification import FAILED, NOBODY, VerificationManager
from tenancy.origin import refuse_impersonator
from tenancy.transactions import find_alias, take_locks, verb


class Obstacle(Enum):
    """Why no password is set by mail."""

    NO_ACCOUNT = "no account"
    NOT_ACTIVE = "not active"
    NO_PASSWORD = "no password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """What is to be mailed to whoever asks for another password.

    Args:
        to (str): the address: the user's as it is stored, else as it was given.
        verification (Verification): tells how long the token is valid.
        token (str | None): for the link; None where there is an obstacle.
        obstacle (Obstacle | None): why there is no link.
    """

    to: str
    verification: Verification
    token: str | None
    obstacle: Obstacle | None


def find_user(address: str) -> Any:  # A user of any model.
    """Return who signs in with an address, or None."""
    users: Any = get_user_model()  # Any: as above.
    alias = router.db_for_write(users)
    try:
        return users._default_manager.db_manager(alias).get_by_natural_key(address)
    except users.DoesNotExist:
        return None


@sensitive_variables()
def issue_reset(address: str, *, asked_by: Any = None) -> Reset:
    """Return what to mail to an address, whoever has it or nobody.

    The same queries are made for each. A user without a usable password, who signs in
    at a provider, gets a first one only by asking for it while they are signed in.

    Args:
        address (str): what was typed.
        asked_by (AbstractBaseUser | None): who is signed in.
    """
    user = find_user(address)
    obstacle = _find_obstacle(user, address, asked_by)
    verification, token = Verification.objects.db_manager(_alias()).issue(
        purpose=RESET_PURPOSE,
        identifier=NOBODY if obstacle else user.get_username(),
        lifetime=conf.password_reset_age(),
    )
    return Reset(
        to=address if user is None else getattr(user, user.get_email_field_name()),
        verification=verification,
        token=None if obstacle else token,
        obstacle=obstacle,
    )


@sensitive_variables("token")
def find_user_of_reset(token: str) -> Any:  # A user of any model.
    """Return the user whose password a token sets; it is not used up.

    Raises:
        VerificationFailed: the token is wrong, used, replaced or expired.
        UserNotActive: the user is banned or switched off.
    """
    verification = Verification.objects.db_manager(_alias()).find_by_token(
        purpose=RESET_PURPOSE, token=token
    )
    user = None if verification is None else find_user(verification.identifier)
    if user is None:
        raise VerificationFailed(FAILED)
    if not _is_active(user):
        raise UserNotActive(
            f"The user {str(user.pk)!r} is banned or switched off. Lift the ban first, "
            "with user.lift_ban()."
        )
    return user


@sensitive_variables()
def reset_password(token: str, password: str) -> Any:  # A user of any model.
    """Use a token up, set the password, and end all sessions of the user.

    The address is verified by that, where the user model keeps it. One that was not
    verified before may have been somebody else's to sign up with: whatever accounts
    they have linked are unlinked.

    Args:
        token (str): what issue_reset() made.
        password (str): the new one, which was validated.
    Returns:
        AbstractBaseUser: the user.
    Raises:
        VerificationFailed: the token is wrong, used, replaced or expired.
        UserNotActive: the user is banned or switched off.
        ImpersonationRefused: somebody acts in another person's name.
    """
    refuse_impersonator("The password")
    return _reset(Verification.objects.db_manager(_alias()), token, password)


@sensitive_variables()
@verb
def _reset(rows: VerificationManager, token: str, password: str) -> Any:
    alias = find_alias(rows)
    user = find_user_of_reset(token)
    take_locks(alias, users=[user.pk])
    # Read anew, now that nobody bans the user or changes their address.
    user = find_user_of_reset(token)
    if not rows.try_consume(
        purpose=RESET_PURPOSE, identifier=user.get_username(), value=token
    ):
        raise VerificationFailed(FAILED)
    user.set_password(password)
    changed = ["password"]
    if isinstance(user, StampedModel):
        changed.append("updated_at")
    is_first_proof = getattr(user, "email_verified_at", False) is None
    if is_first_proof:
        user.email_verified_at = timezone.now()
        changed.append("email_verified_at")
    user.save(using=alias, update_fields=changed)
    # A user model of the project's own may not do it.
    Session.objects.db_manager(alias).end_all(user, reason="password")
    SystemEvent.objects.db_manager(alias).record("user.password_reset", user)
    if is_first_proof:
        for account in Account.objects.using(alias).filter(user=user):
            account.unlink()
    return user


def _alias() -> str:
    return router.db_for_write(get_user_model())


def _find_obstacle(user: Any, address: str, asked_by: Any) -> Obstacle | None:
    # Asked whoever it is, so that each address takes as many queries.
    name = f"user__{get_user_model().USERNAME_FIELD}"
    username = address if user is None else user.get_username()
    has_account = Account.objects.using(_alias()).filter(**{name: username}).exists()
    if user is None:
        return Obstacle.NO_ACCOUNT
    if not _is_active(user):
        return Obstacle.NOT_ACTIVE
    # An empty password is a usable one to Django, and opens nothing.
    if user.password and user.has_usable_password():
        return None
    is_own = getattr(asked_by, "pk", None) == user.pk
    return None if has_account and is_own else Obstacle.NO_PASSWORD


def _is_active(user: Any) -> bool:
    return bool(user.is_active) and not getattr(user, "is_banned", False)
