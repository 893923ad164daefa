from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from tenancy.documents import is_array
from tenancy.encryption import decrypt, encrypt
from tenancy.exceptions import AccountTaken, LastWayIn, UnverifiedEmail
from tenancy.models.stamped_model import StampedModel
from tenancy.models.system_event import SystemEvent
from tenancy.models.user import AbstractUser, UserManager
from tenancy.origin import refuse_impersonator
from tenancy.signals import account_linked, account_unlinked
from tenancy.texts import SLUG, ExactCharField, has_form_of_slug, is_lowered_safely
from tenancy.transactions import find_alias, send_on_commit, take_locks, verb

TOKENS = ("access_token", "refresh_token", "id_token")
"""The secrets of an account; each is kept in the column <name>_encrypted."""


class AccountManager(models.Manager["Account"]):
    """The manager of accounts."""

    @sensitive_variables()
    @verb
    def link(
        self,
        *,
        user: AbstractBaseUser,
        provider: str,
        provider_account_id: str,
        email: str | None = None,
        email_verified: bool = False,
        access_token: str | None = None,
        refresh_token: str | None = None,
        id_token: str | None = None,
        access_token_expires_at: datetime | None = None,
        refresh_token_expires_at: datetime | None = None,
        scopes: Iterable[str] = (),
    ) -> Account:
        """Link a provider's account to a user, or take its new tokens.

        Of several users who link it at once, one becomes its owner. Scopes are added
        to those that it has.

        Args:
            user (AbstractBaseUser): the owner.
            provider (str): the provider's name, a slug.
            provider_account_id (str): the account's key at the provider ("sub").
            email (str | None): the address by which the user was found; None when
                the user is signed in and links the account themselves.
            email_verified (bool): whether the provider says that the address is
                verified.
            access_token (str | None): None keeps the one that is stored.
            refresh_token (str | None): None keeps the one that is stored.
            id_token (str | None): None keeps the one that is stored.
            access_token_expires_at (datetime | None): set with its token.
            refresh_token_expires_at (datetime | None): set with its token.
            scopes (Iterable[str]): what the provider grants.
        Returns:
            Account: the linked account.
        Raises:
            AccountTaken: it is linked to another user.
            UnverifiedEmail: an address is given that is not the user's own, or that
                the provider or the user has not verified.
            ImpersonationRefused: somebody acts in the user's name.
            ValidationError: the provider or the account's key is malformed.
            TypeError: the scopes are one text.
            ImproperlyConfigured: there is a token and no key to encrypt it with.
        """
        refuse_impersonator("A linked account")
        if isinstance(scopes, str):
            raise TypeError(
                "Account.objects.link() was given a text as its scopes. Pass a list: "
                "scopes.split()."
            )
        alias = find_alias(self)
        take_locks(alias, users=[user.pk])
        owner = get_user_model()._base_manager.using(alias).get(pk=user.pk)
        if email is not None and not _is_verified(owner, email, email_verified):
            raise UnverifiedEmail(
                f"{provider!r} gave an e-mail address that is not verified on both "
                "sides. Let the user sign in and link the account without 'email'."
            )
        new = self.model(
            user=owner, provider=provider, provider_account_id=provider_account_id
        )
        new.clean_fields()
        rows = self.using(alias).filter(
            provider=new.provider, provider_account_id=new.provider_account_id
        )
        account = rows.select_for_update().first() or new
        if account.user_id != owner.pk:
            raise AccountTaken(_TAKEN)
        changed = account._receive(
            {
                "access_token": access_token,
                "refresh_token": refresh_token,
                "id_token": id_token,
            },
            {
                "access_token": access_token_expires_at,
                "refresh_token": refresh_token_expires_at,
            },
            scopes,
        )
        try:
            with transaction.atomic(using=alias):
                if account is new:
                    account.save(using=alias, force_insert=True)
                else:
                    account.save(using=alias, update_fields=changed)
        except IntegrityError:
            # Another user was first; the owner's own links wait for the lock.
            raise AccountTaken(_TAKEN) from None
        if account is new:
            _trail(alias).record("account.linked", account, **_described(account))
        send_on_commit(
            account_linked,
            self.model,
            using=alias,
            account=account,
            is_new=account is new,
        )
        return account

    async def alink(
        self,
        *,
        user: AbstractBaseUser,
        provider: str,
        provider_account_id: str,
        email: str | None = None,
        email_verified: bool = False,
        access_token: str | None = None,
        refresh_token: str | None = None,
        id_token: str | None = None,
        access_token_expires_at: datetime | None = None,
        refresh_token_expires_at: datetime | None = None,
        scopes: Iterable[str] = (),
    ) -> Account:
        """See link()."""
        return await sync_to_async(self.link)(
            user=user,
            provider=provider,
            provider_account_id=provider_account_id,
            email=email,
            email_verified=email_verified,
            access_token=access_token,
            refresh_token=refresh_token,
            id_token=id_token,
            access_token_expires_at=access_token_expires_at,
            refresh_token_expires_at=refresh_token_expires_at,
            scopes=scopes,
        )

    def find_user(
        self,
        *,
        provider: str,
        provider_account_id: str,
        email: str | None = None,
        email_verified: bool = False,
    ) -> AbstractBaseUser | None:
        """Return the local user of somebody who signs in at a provider.

        Whether the user may sign in is not asked here.

        Args:
            provider (str): the provider's name.
            provider_account_id (str): the account's key at the provider.
            email (str | None): the address that the provider gives.
            email_verified (bool): whether the provider says that it is verified; True
                and nothing else.
        Returns:
            AbstractBaseUser | None: the user to whom the account is linked; else the
                one with the address, where both sides have verified it; else None.
        """
        account = (
            self.filter(provider=provider, provider_account_id=provider_account_id)
            .select_related("user")
            .first()
        )
        if account is not None:
            return account.user
        users = get_user_model()
        if email is None or not issubclass(users, AbstractUser):
            return None
        address = UserManager.normalize_email(email)
        user = users._base_manager.using(self.db).filter(email=address).first()
        is_found = user is not None and _is_verified(user, email, email_verified)
        return user if is_found else None

    async def afind_user(
        self,
        *,
        provider: str,
        provider_account_id: str,
        email: str | None = None,
        email_verified: bool = False,
    ) -> AbstractBaseUser | None:
        """See find_user()."""
        return await sync_to_async(self.find_user)(
            provider=provider,
            provider_account_id=provider_account_id,
            email=email,
            email_verified=email_verified,
        )


class Account(StampedModel):
    """A user's account with an OAuth provider; each belongs to one user.

    The tokens are encrypted, and bound to this row and their column: a copy of the row
    under another key cannot be opened.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="accounts",
    )
    provider = ExactCharField(_("provider"), max_length=63, validators=[SLUG])
    provider_account_id = ExactCharField(_("account at the provider"), max_length=255)
    access_token_encrypted = models.TextField(blank=True, editable=False)
    access_token_expires_at = models.DateTimeField(
        _("access token expires at"), null=True, blank=True, editable=False
    )
    refresh_token_encrypted = models.TextField(blank=True, editable=False)
    refresh_token_expires_at = models.DateTimeField(
        _("refresh token expires at"), null=True, blank=True, editable=False
    )
    id_token_encrypted = models.TextField(blank=True, editable=False)
    scopes = models.JSONField(_("scopes"), default=list, blank=True, editable=False)

    objects: ClassVar[AccountManager] = AccountManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        ordering = ["provider", "created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "provider_account_id"], name="tenancy_account_once"
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("provider"),
                name="tenancy_account_provider_formed",
            ),
            models.CheckConstraint(
                condition=~Q(provider_account_id=""),
                name="tenancy_account_id_not_empty",
            ),
            is_array("scopes", name="tenancy_account_scopes_kind"),
        ]

    def __str__(self) -> str:
        return str(self.provider)

    @property
    def access_token(self) -> str | None:
        """The access token, or None for none.

        Raises:
            DecryptionFailed: no key opens it.
        """
        return self._decrypt("access_token")

    @access_token.setter
    def access_token(self, token: str | None) -> None:
        self._encrypt("access_token", token)

    @property
    def refresh_token(self) -> str | None:
        """The refresh token, or None for none.

        Raises:
            DecryptionFailed: no key opens it.
        """
        return self._decrypt("refresh_token")

    @refresh_token.setter
    def refresh_token(self, token: str | None) -> None:
        self._encrypt("refresh_token", token)

    @property
    def id_token(self) -> str | None:
        """The id token, or None for none.

        Raises:
            DecryptionFailed: no key opens it.
        """
        return self._decrypt("id_token")

    @id_token.setter
    def id_token(self, token: str | None) -> None:
        self._encrypt("id_token", token)

    @verb
    def unlink(self) -> None:
        """Unlink the account; one that is unlinked already stays so.

        Raises:
            LastWayIn: it is the last account of a user without a usable password.
            ImpersonationRefused: somebody acts in the user's name.
        """
        refuse_impersonator("A linked account")
        alias = find_alias(self)
        rows = type(self)._base_manager.using(alias)
        user_id = rows.filter(pk=self.pk).values_list("user_id", flat=True).first()
        if user_id is None:
            return
        take_locks(alias, users=[user_id])
        user = get_user_model()._base_manager.using(alias).get(pk=user_id)
        others = rows.filter(user_id=user_id).exclude(pk=self.pk)
        # An empty password is a usable one to Django, and opens nothing.
        has_password = bool(user.password) and user.has_usable_password()
        if not has_password and not others.exists():
            raise LastWayIn(
                f"The {self.provider!r} account is the only way in of a user without a "
                "password. Let the user set a password, or link another account first."
            )
        deleted, _rows = rows.filter(pk=self.pk).delete()
        if deleted:
            _trail(alias).record("account.unlinked", self, **_described(self))
            send_on_commit(account_unlinked, type(self), using=alias, account=self)

    unlink.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    async def aunlink(self) -> None:
        """See unlink()."""
        await sync_to_async(self.unlink)()

    def get_context(self, token: str) -> str:
        """Return the place to which a token's ciphertext is bound.

        Args:
            token (str): one of TOKENS.
        """
        return f"tenancy_account.{token}:{self.pk}"

    def _decrypt(self, token: str) -> str | None:
        ciphertext: str = getattr(self, f"{token}_encrypted")
        if not ciphertext:
            return None
        return decrypt(ciphertext, context=self.get_context(token))

    @sensitive_variables()
    def _encrypt(self, token: str, text: str | None) -> None:
        ciphertext = encrypt(text, context=self.get_context(token)) if text else ""
        setattr(self, f"{token}_encrypted", ciphertext)

    @sensitive_variables()
    def _receive(
        self,
        tokens: dict[str, str | None],
        expiries: dict[str, datetime | None],
        scopes: Iterable[str],
    ) -> set[str]:
        """Take what a provider grants, and return the fields that it changes.

        What it does not grant is not written: 'rotate_account_keys' may be at it.
        """
        changed = {"scopes", "updated_at"}
        for name, token in tokens.items():
            if token is not None:
                setattr(self, name, token)
                changed.add(f"{name}_encrypted")
        for name, expires_at in expiries.items():
            if tokens[name] is not None or expires_at is not None:
                setattr(self, f"{name}_expires_at", expires_at)
                changed.add(f"{name}_expires_at")
        self.scopes = list(dict.fromkeys([*self.scopes, *scopes]))
        return changed


_TAKEN = (
    "The account is linked to another user. Sign in as that user, and unlink it there "
    "with account.unlink()."
)


def _trail(alias: str) -> Any:  # Its manager.
    return SystemEvent.objects.db_manager(alias)


def _described(account: Account) -> dict[str, str]:
    """Return what the trail tells of an account: whose, and not which."""
    return {"provider": account.provider, "user": str(account.user_id)}


def _is_verified(user: AbstractBaseUser, email: str, email_verified: bool) -> bool:
    """Return whether an address is the user's, and both sides have verified it."""
    return (
        # A provider's "false" is true to Python.
        email_verified is True
        and getattr(user, "email_verified_at", None) is not None
        and getattr(user, "email", None) == UserManager.normalize_email(email)
        # Another mailbox: the Kelvin sign, for one, has the letter "k" in lower case.
        and is_lowered_safely(email)
    )
