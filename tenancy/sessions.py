"""The session engine: SESSION_ENGINE = "tenancy.sessions"."""

from __future__ import annotations

import contextlib
import copy
import ipaddress
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, router, transaction
from django.db.models import F, FilteredRelation, Q
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from tenancy import conf
from tenancy.context import LookUp, look_up
from tenancy.exceptions import CrossOrganization
from tenancy.models import Membership, Session
from tenancy.models.session import SessionManager
from tenancy.resolvers import Address, Resolvers, merge_addresses
from tenancy.tokens import digest_token
from tenancy.transactions import take_locks, verb

IMPERSONATION = "_tenancy_impersonation"
"""The key of the data under which an impersonation is described."""

DOMAIN = "_tenancy_domain"
"""The key of the data, in any engine, under which stands where somebody signed in.

It is an organization's own domain; at the site's hosts there is none.
"""

_EXPIRY = "_session_expiry"  # Django's own key.
_DAYS_IN_AGE = 7
_UNSET: Any = object()  # Tells "not chosen" from the choice of None.

Key = Any  # A primary key: a UUID or an int, by the model.

security_logger = logging.getLogger("django.security.SuspiciousSession")


class SessionEnded(UpdateError, SessionInterrupted):
    """A session was ended, expired or deleted while a request used it.

    Where Django does not handle it as an UpdateError, the answer is a "400 Bad
    Request", as of its own SessionInterrupted.
    """


class SessionStore(SessionBase):
    """A session in a row of tenancy.models.Session, found by a digest of its key.

    Beside what Django's stores do, it carries the active membership, tells who is
    signed in and on what device, and never brings an ended session back.
    """

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        # The row as this store has last read or written it.
        self._row: Session | None = None
        self._row_expiry: Any = None  # What the data say, as JSON holds it.
        self._chosen: Key | None = _UNSET
        self._device: tuple[str | None, str] | None = None
        # Where the request was sent; not known outside of one.
        self._domain: str | None = _UNSET
        # Which memberships are read together with the row: None for none.
        self._join: _Join | None = None
        self._joined: list[Session] = []

    @classmethod
    def get_model_class(cls) -> type[Session]:
        """Return the model, as Django's own stores do."""
        return Session

    # What TenancyMiddleware reads and tells.

    @property
    def membership_id(self) -> Key | None:
        """The key of the active membership; setting it takes effect at save().

        The one that is saved is a live membership of the session's user, or None.
        """
        self._get_data()
        return self._membership_id

    @membership_id.setter
    def membership_id(self, key: Key | None) -> None:
        self._get_data()
        self._chosen = key
        self.modified = True

    async def aget_membership_id(self) -> Key | None:
        """See membership_id."""
        await self._aget_data()
        return self._membership_id

    @property
    def impersonator_id(self) -> Key | None:
        """The key of the superuser who acts in the user's name, or None."""
        return _read_impersonation(self._get_data())[0]

    async def aget_impersonator_id(self) -> Key | None:
        """See impersonator_id."""
        return _read_impersonation(await self._aget_data())[0]

    def note_device(self, request: HttpRequest) -> None:
        """Keep the browser's name and address, for the list of devices."""
        agent = request.META.get("HTTP_USER_AGENT", "").replace("\0", "")
        self._device = (find_ip_address(request), agent[:500])

    @property
    def is_read(self) -> bool:
        """Whether the data were read, or put in, already."""
        return hasattr(self, "_session_cache")

    def note_domain(self, domain: str | None) -> None:
        """Take the session, when it is read, for nobody's if it is of another host.

        Args:
            domain (str | None): to which the request was sent; None of the site's own.
        """
        self._domain = domain

    def join_memberships(self, address: Address | None = None) -> None:
        """Read the user and memberships together with the row, when that is read.

        They are the active membership or, where none is, two others at most.

        Args:
            address (Address | None): of the organization that is named, in place of
                the others; None where none is.
        """
        if self._row is None:
            self._join = _Join(address)

    @property
    def joined_user(self) -> Any:
        """The user that was read together with the row, or None."""
        return self._joined[0].user if self._joined else None

    @property
    def joined_memberships(self) -> list[Membership] | None:
        """The live memberships that were read with the row; None where none were."""
        if not self._joined:
            return None
        found: list[Any] = [getattr(row, _Join.NAME, None) for row in self._joined]
        return [membership for membership in found if membership is not None]

    @property
    def _membership_id(self) -> Key | None:
        if self._chosen is not _UNSET:
            return self._chosen
        return None if self._row is None else self._row.membership_id

    # What Django's stores do.

    def load(self) -> dict[str, Any]:
        """Return the data of a live session of this key; drop the key of any other."""
        # Whoever reads it need not know the scope, which the session may decide.
        with look_up(LookUp.SESSION):
            return self._accept_first(list(self._find_joined()))

    async def aload(self) -> dict[str, Any]:
        """See load()."""
        async with look_up(LookUp.SESSION):
            return self._accept_first([row async for row in self._find_joined()])

    def exists(self, session_key: str | None) -> bool:
        """Return whether a key is taken, by an ended session too."""
        if session_key is None:
            return False
        return Session.objects.with_key(session_key).exists()

    async def aexists(self, session_key: str | None) -> bool:
        """See exists()."""
        if session_key is None:
            return False
        return await Session.objects.with_key(session_key).aexists()

    def create(self) -> None:
        """Make a row with a new key."""
        while True:
            self._session_key = self._make_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Write the data to the row.

        Raises:
            CreateError: a row of the key was to be made, and there is one.
            UpdateError: the session has ended, expired or been deleted meanwhile, or
                is another user's by now.
        """
        if self.session_key is None:
            self.create()
            return
        data = self._get_data(no_load=must_create)
        if must_create:
            self._insert(data)
        else:
            self._update(data)

    def delete(self, session_key: str | None = None) -> None:
        """Delete the row of a key; of this session's own where none is given."""
        key = self.session_key if session_key is None else session_key
        if key is not None:
            Session.objects.with_key(key).delete()

    def flush(self) -> None:
        """Delete the row, and forget whose it was."""
        super().flush()
        self._forget()

    async def aflush(self) -> None:
        """See flush()."""
        await super().aflush()
        self._forget()

    def cycle_key(self) -> None:
        """Give the session a new key; the row stays, and with it its place in a list.

        Raises:
            UpdateError: a signed-in session has been ended or deleted meanwhile. One
                that ended with a change of the password goes on in a row of its own:
                only who has the hash of the new one is signed in by it, which Django's
                update_session_auth_hash() puts in.
        """
        data = self._get_data()
        before, row = self.session_key, self._row
        if row is None or before is None:
            self.create()
            # An empty one is no row's; None would be this session's own.
            self.delete(before or "")
        else:
            self._session_key = self._make_key()
            digest = digest_token(self._require_key())
            if self._rows(row).update(key_digest=digest, updated_at=timezone.now()):
                self._row = copy.copy(row)
                self._row.key_digest = digest
            else:
                self._replace(before, row)
        self._session_cache = data
        self.modified = True

    async def acycle_key(self) -> None:
        """See cycle_key()."""
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete the rows whose time is over, ended ones too."""
        Session.objects.filter(expires_at__lt=timezone.now()).delete()

    # Private parts.

    # django-stubs leaves these private methods out.

    def _get_data(self, *, no_load: bool = False) -> dict[str, Any]:
        data: dict[str, Any] = self._get_session(no_load)  # type: ignore[attr-defined]
        return data

    async def _aget_data(self) -> dict[str, Any]:
        data: dict[str, Any] = await self._aget_session()  # type: ignore[attr-defined]
        return data

    def _make_key(self) -> str:
        key: str = self._get_new_session_key()  # type: ignore[attr-defined]
        return key

    def _require_key(self) -> str:
        assert self.session_key is not None
        return self.session_key

    def _forget(self) -> None:
        self._row, self._row_expiry, self._chosen = None, None, _UNSET
        self._joined = []

    def _find_admitted(self) -> Any:
        if self.session_key is None:
            return Session.objects.none()
        return Session.objects.with_key(self.session_key).admitted()

    def _find_joined(self) -> Any:
        rows = self._find_admitted()
        return rows[:1] if self._join is None else self._join.extend(rows)

    def _accept_first(self, rows: list[Session]) -> dict[str, Any]:
        data = self._accept(rows[0] if rows else None)
        if self._join is not None and self._row is not None:
            self._joined = rows
        return data

    def _rows(self, row: Session) -> Any:
        """Return the row, if it is live and of the same user still."""
        return (
            Session.objects.db_manager(router.db_for_write(Session, instance=row))
            .live()
            .filter(pk=row.pk, key_digest=row.key_digest, user=row.user_id)
        )

    def _accept(self, row: Session | None) -> dict[str, Any]:
        """Return the data of the row, which become this session's."""
        self._forget()
        if row is None:
            self._session_key = None
            return {}
        data: dict[str, Any] = self.decode(row.data)
        told = (_read_user(data), _read_impersonation(data)[0])
        if told != (row.user_id, row.impersonator_id):
            security_logger.warning("Session data of another user")
            self._session_key = None
            return {}
        if self._domain is not _UNSET and not is_of_domain(data, self._domain):
            self._session_key = None
            return {}
        self._keep(row, data)
        if self._is_due(row, data):
            # Django's middleware saves it then, and sends the cookie again.
            self.modified = True
        return data

    def _keep(self, row: Session, data: dict[str, Any]) -> None:
        self._row, self._row_expiry = row, data.get(_EXPIRY)
        self._chosen = _UNSET

    def _expires_at(self, data: dict[str, Any]) -> datetime:
        """Return when the session expires if it is prolonged now."""
        expiry = data.get(_EXPIRY)
        if isinstance(expiry, str):
            expiry = datetime.fromisoformat(expiry)
        wanted = self.get_expiry_date(expiry=expiry)
        _impersonator, until = _read_impersonation(data)
        return wanted if until is None else min(wanted, until)

    def _is_due(self, row: Session, data: dict[str, Any]) -> bool:
        """Return whether the expiry is old enough to slide, or was set anew."""
        if data.get(_EXPIRY) != self._row_expiry:
            return True
        wanted = self._expires_at(data)
        age = (wanted - timezone.now()) / _DAYS_IN_AGE
        least = min(conf.session_update_age(), max(age, timedelta()))
        return wanted < row.expires_at or (
            wanted > row.expires_at and wanted - row.expires_at >= least
        )

    def _values(self, data: dict[str, Any]) -> dict[str, Any]:
        values = {
            "data": self.encode(data),
            "user_id": _read_user(data),
            "impersonator_id": _read_impersonation(data)[0],
            "last_seen_at": timezone.now(),
        }
        if self._device is not None and values["user_id"] is not None:
            values["ip_address"], values["user_agent"] = self._device
        return values

    def _insert(self, data: dict[str, Any]) -> None:
        values = self._values(data)
        row = Session(
            key_digest=digest_token(self._require_key()),
            expires_at=self._expires_at(data),
            **values,
        )
        using = router.db_for_write(Session, instance=row)
        chosen = _Chosen(using, self._chosen, row.user_id)
        try:
            with look_up(LookUp.SESSION):
                _add(Session.objects.db_manager(using), row, chosen)
        # MySQL's word on a key that leads nowhere is told as CrossOrganization.
        except (IntegrityError, CrossOrganization) as error:
            if self.exists(self.session_key):
                raise CreateError from error
            if row.user_id is not None and not _is_stored(row.user_id, using):
                # Deleted while somebody signed in.
                raise _ended() from error
            raise
        self._keep(row, data)

    def _update(self, data: dict[str, Any]) -> None:
        if self._row is None:
            # The data were cleared before they were read.
            self._row = self._find_admitted().first()
            self._row_expiry = data.get(_EXPIRY)
        if self._row is None:
            raise _ended()
        row = copy.copy(self._row)
        values = self._values(data)
        is_same_user = values["user_id"] == row.user_id
        if self._is_due(row, data) or not is_same_user:
            values["expires_at"] = self._expires_at(data)
        using = router.db_for_write(Session, instance=row)
        chosen = _Chosen(using, self._chosen, values["user_id"])
        try:
            with transaction.atomic(using=using), look_up(LookUp.SESSION):
                if self._chosen is not _UNSET or not is_same_user:
                    values["membership_id"] = chosen.hold()
                changed = self._rows(row).update(updated_at=timezone.now(), **values)
        except (DatabaseError, CrossOrganization) as error:
            # The user, or the row itself, went while it was written.
            raise _ended() from error
        if not changed:
            raise _ended()
        for name, value in values.items():
            setattr(row, name, value)
        self._keep(row, data)

    def _replace(self, before: str, row: Session) -> None:
        """Go on in a new row, where no secret is lost by it."""
        reason = Session.objects.with_key(before).values_list("end_reason", flat=True)
        # In another's name, the hash is the other's, and has not changed.
        is_own = row.impersonator_id is None
        is_password = list(reason) == [Session.EndReason.PASSWORD]
        if row.user_id is not None and not (is_own and is_password):
            self._session_key = before
            raise _ended()
        if self._chosen is _UNSET:
            self._chosen = row.membership_id
        self._row = None
        self.create()


def find_ip_address(request: HttpRequest) -> str | None:
    """Return the client's address, as the server tells it; None of a socket's."""
    with contextlib.suppress(ValueError):
        text = request.META.get("REMOTE_ADDR", "").partition("%")[0]
        return str(ipaddress.ip_address(text))
    return None


@receiver(user_logged_in, dispatch_uid="tenancy.sessions.note_device")
def note_device(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    """Keep the device on which somebody signs in."""
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        session.note_device(request)


@receiver(user_logged_in, dispatch_uid="tenancy.sessions.keep_domain")
def keep_domain(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    """Make a session, of any engine, the domain's at which somebody signs in."""
    session = getattr(request, "session", None)
    if session is None or SESSION_KEY not in session:
        # A token was given, say.
        return
    domain = _find_domain(request)
    if domain is None:
        session.pop(DOMAIN, None)
    else:
        session[DOMAIN] = domain


def is_of_domain(data: Any, domain: str | None) -> bool:
    """Return whether a session may be used where a request was sent.

    The owner of a domain, who decides which server answers there, can receive the
    cookies that belong to it: what they open is that organization's, and no more.

    Args:
        data (SessionBase | dict): those of the session.
        domain (str | None): an organization's own; None of the site's hosts.
    Returns:
        bool: True also where nobody is signed in by it.
    """
    return SESSION_KEY not in data or data.get(DOMAIN) == domain


def _find_domain(request: HttpRequest) -> str | None:
    """Return the domain of an organization's to which a request was sent, or None."""
    if "SERVER_NAME" not in request.META:
        # A test client's force_login() has a request of no host.
        return None
    address = merge_addresses(Resolvers().find_addresses(request))
    return None if address is None else address.host


def _ended() -> SessionEnded:
    return SessionEnded(
        "The session was ended while the request was answered. Sign in again."
    )


@verb
def _add(rows: SessionManager, row: Session, chosen: _Chosen) -> None:
    row.membership_id = chosen.hold()
    # It sends no signal, whose receivers would run unscoped here.
    rows.bulk_create([row])


def _is_stored(user_id: Key, using: str) -> bool:
    users = get_user_model()._base_manager.using(using)
    return users.filter(pk=user_id).exists()


def _read_user(data: dict[str, Any]) -> Key | None:
    """Return the key of the user whom Django's login() wrote into the data."""
    return _read_key(data.get(SESSION_KEY))


def _read_key(value: Any) -> Key | None:
    if value is None:
        return None
    try:
        return get_user_model()._meta.pk.to_python(value)
    except ValidationError:
        return None


def _read_impersonation(data: dict[str, Any]) -> tuple[Key | None, datetime | None]:
    """Return who impersonates, and until when."""
    described = data.get(IMPERSONATION)
    if not isinstance(described, dict):
        return None, None
    return _read_key(described["impersonator"]), parse_datetime(described["until"])


@dataclass(frozen=True, slots=True)
class _Join:
    """What is read together with a session, in one query.

    Args:
        address (Address | None): see SessionStore.join_memberships().
    """

    NAME: ClassVar[str] = "candidate"

    address: Address | None

    def extend(self, rows: Any) -> Any:
        """Return the query of a session, with its user and memberships."""
        path = "user__memberships"
        is_active = Q(**{f"{path}__pk": F("membership")})
        if self.address is None:
            wanted = is_active | Q(membership=None)
        else:
            named = self.address.filter(Membership._base_manager.all()).values("pk")
            # FilteredRelation refuses a QuerySet, for the OuterRef that it may hold.
            wanted = Q(**{f"{path}__pk__in": named.query})
        live = Q(**{f"{path}__ended_at": None})
        join: Any = FilteredRelation(path, condition=live & wanted)
        return (
            rows.annotate(**{self.NAME: join})
            .select_related("user", f"{self.NAME}__role", f"{self.NAME}__organization")
            # Active before archived and suspended: two tell whether there is one only.
            .order_by(f"{self.NAME}__organization__status")[:2]
        )


class _Chosen:
    """A membership that is to become active, if it is the user's and live.

    Args:
        using (str): the database.
        key (key | None): the membership's; none may be chosen.
        user_id (key | None): the session's user.
    """

    def __init__(self, using: str, key: Key | None, user_id: Key | None) -> None:
        self._using, self._user_id = using, user_id
        # Any: the model's own type of key, which may be a project's.
        self._key: Any = None if key is _UNSET or user_id is None else key
        if self._key is not None:
            # Before the transaction: a first read in it would be all that MySQL shows
            # of the membership, however long the locks are waited for.
            with look_up(LookUp.SESSION):
                self._organizations = list(
                    self._rows().values_list("organization_id", flat=True)
                )

    def hold(self) -> Key | None:
        """Return the key of the membership, which stays live until the commit."""
        if self._key is None:
            return None
        take_locks(
            self._using, users=[self._user_id], organizations=self._organizations
        )
        return self._rows().values_list("pk", flat=True).first()

    def _rows(self) -> Any:
        live = Membership.objects.live().using(self._using)
        return live.filter(pk=self._key, user=self._user_id)
