"""A superuser acts in another user's name, for a while and on the record."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.middleware.csrf import rotate_token
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from tenancy import conf, signals
from tenancy.context import LookUp, look_up, scope
from tenancy.exceptions import ImpersonationRefused
from tenancy.models import AuditEvent, Membership
from tenancy.origin import Origin, acting_from
from tenancy.sessions import DOMAIN, IMPERSONATION, SessionStore, find_ip_address

logger = logging.getLogger("tenancy")


def impersonate(request: HttpRequest, user: Any, *, reason: str) -> None:
    """Sign a superuser in as another user, in a session of a fresh key.

    It ends after TENANCY_IMPERSONATION_AGE. Each organization of which the user is a
    live member finds it in its audit trail, beside what is done meanwhile.

    Args:
        request (HttpRequest): of a signed-in superuser.
        user (AbstractBaseUser): in whose name; neither superuser nor staff.
        reason (str): why, for the audit trail.
    Raises:
        ValueError: the reason is empty.
        ImpersonationRefused: the request is no superuser's, or impersonates already;
            the user is a superuser, of the staff, inactive or banned.
        ImproperlyConfigured: SESSION_ENGINE is another than "tenancy.sessions".
    """
    session, impersonator = _require_session(request), request.user
    if not reason.strip():
        raise ValueError(
            f"impersonate() was given the reason {reason!r}. Say why, for the audit "
            "trail."
        )
    _require_allowed(session, impersonator, user)
    until = timezone.now() + conf.impersonation_age()
    own = {
        name: session[name]
        for name in (SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY, DOMAIN)
        if name in session
    }
    session.flush()
    session[IMPERSONATION] = {
        "impersonator": own[SESSION_KEY],
        "until": until.isoformat(),
        "own": own,
    }
    if DOMAIN in own:
        session[DOMAIN] = own[DOMAIN]
    session[SESSION_KEY] = user._meta.pk.value_to_string(user)
    session[BACKEND_SESSION_KEY] = own[BACKEND_SESSION_KEY]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.set_expiry(until)
    session.note_device(request)
    # At once, so that whatever ends the superuser's sessions ends this one too.
    session.save()
    _become(request, user)
    _record(request, "started", user, impersonator.pk, reason=reason)
    signals.impersonation_started.send(
        type(user), request=request, user=user, impersonator=impersonator, reason=reason
    )


async def aimpersonate(request: HttpRequest, user: Any, *, reason: str) -> None:
    """See impersonate()."""
    await sync_to_async(impersonate)(request, user, reason=reason)


def stop_impersonating(request: HttpRequest) -> None:
    """Return to the superuser's own sign-in, in a session of a fresh key.

    A superuser who is one no more, or whose password was changed meanwhile, is signed
    out instead.

    Raises:
        ImpersonationRefused: the request impersonates nobody.
        ImproperlyConfigured: SESSION_ENGINE is another than "tenancy.sessions".
    """
    session, user = _require_session(request), request.user
    described = session.get(IMPERSONATION)
    if not described or not user.is_authenticated:
        raise ImpersonationRefused(
            "stop_impersonating() was called in a session that impersonates nobody. "
            "Call it where request.session.impersonator_id is set."
        )
    own, key = described["own"], session.impersonator_id
    impersonator = _find_impersonator(key)
    session.flush()
    if impersonator is None or not _is_verified(impersonator, own[HASH_SESSION_KEY]):
        _become(request, AnonymousUser())
    else:
        session.update(own)
        # The hash of a key that is a fallback now would end the new session.
        session[HASH_SESSION_KEY] = impersonator.get_session_auth_hash()
        session.note_device(request)
        _become(request, impersonator)
    _record(request, "stopped", user, key)
    signals.impersonation_stopped.send(
        type(user), request=request, user=user, impersonator=impersonator
    )


async def astop_impersonating(request: HttpRequest) -> None:
    """See stop_impersonating()."""
    await sync_to_async(stop_impersonating)(request)


def _require_session(request: HttpRequest) -> SessionStore:
    session = request.session
    if isinstance(session, SessionStore):
        return session
    raise ImproperlyConfigured(
        f"SESSION_ENGINE is that of '{type(session).__module__}', which cannot hold "
        "an impersonation. Set SESSION_ENGINE to 'tenancy.sessions'."
    )


def _require_allowed(session: SessionStore, impersonator: Any, user: Any) -> None:
    """Judge by what is stored now, and not by what the caller holds."""
    mend = "Sign in as a superuser, and choose a user who is neither staff nor banned."
    if session.impersonator_id is not None:
        raise ImpersonationRefused(
            "impersonate() was called while impersonating. Call stop_impersonating() "
            "first."
        )
    if _find_impersonator(impersonator.pk) is None:
        raise ImpersonationRefused(
            f"impersonate() was called by {impersonator!r}, who is no active "
            f"superuser. {mend}"
        )
    stored = get_user_model()._base_manager.filter(pk=user.pk).first()
    what = _find_obstacle(stored)
    if what is not None:
        raise ImpersonationRefused(
            f"impersonate() was given {user!r}, who {what}. {mend}"
        )


def _find_obstacle(user: Any) -> str | None:
    if user is None:
        return "is not stored"
    if user.is_superuser or user.is_staff:
        return "is a superuser or of the staff"
    if not user.is_active or getattr(user, "is_banned", False):
        return "is inactive or banned"
    return None


def _find_impersonator(key: Any) -> Any:
    """Return the superuser of a key, or None where there is none who may act."""
    user: Any = get_user_model()._base_manager.filter(pk=key).first()
    may_act = (
        user is not None
        and user.is_active
        and getattr(user, "is_superuser", False)
        and not getattr(user, "is_banned", False)
    )
    return user if may_act else None


def _is_verified(user: Any, known: str) -> bool:
    """Return whether the password is the one of the sign-in, as Django judges it."""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(known, one) for one in hashes)


def _become(request: HttpRequest, user: Any) -> None:
    """Make the rest of the request the user's."""

    async def auser() -> Any:
        return user

    request.user = user
    request.auser = auser
    rotate_token(request)


def _record(
    request: HttpRequest, what: str, user: Any, key: Any, **details: str
) -> None:
    """Write it into the log, and into the trails of the user's organizations."""
    logger.warning(
        "impersonation %s: of user %s by user %s%s",
        what,
        user.pk,
        key,
        "".join(f", {name}: {value!r}" for name, value in details.items()),
    )
    with look_up(LookUp.IMPERSONATION):
        memberships = list(
            Membership.objects.live().filter(
                user=user.pk, organization__status="active"
            )
        )
        origin = Origin(ip_address=find_ip_address(request), impersonator_id=key)
        for membership in memberships:
            with scope(membership.organization_id, user=user.pk), acting_from(origin):
                AuditEvent.objects.record(f"impersonation.{what}", user, **details)
