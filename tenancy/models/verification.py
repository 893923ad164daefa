from __future__ import annotations

import secrets
from datetime import timedelta
from typing import ClassVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from tenancy import conf
from tenancy.exceptions import TransactionOpen, VerificationFailed
from tenancy.models.stamped_model import StampedModel
from tenancy.texts import (
    DIGEST_LENGTH,
    SLUG,
    ExactCharField,
    has_form_of_digest,
    has_form_of_slug,
)
from tenancy.tokens import digest_token, make_token
from tenancy.transactions import find_alias, verb

TRIES = 5
"""How many wrong values of a short code are let pass."""

NOBODY = "-"
"""The identifier to issue for where there is nobody, so that it takes as long."""


class VerificationManager(models.Manager["Verification"]):
    """The manager of verifications."""

    @sensitive_variables()
    @verb
    def issue(
        self,
        *,
        purpose: str,
        identifier: str,
        lifetime: timedelta | None = None,
        is_code: bool = False,
    ) -> tuple[Verification, str]:
        """Make a secret to send to an identifier; an earlier one is void.

        How often one is made for an identifier is the caller's to limit: each short
        code has its own five tries.

        Args:
            purpose (str): what the secret allows, a slug.
            identifier (str): to what it is sent: an address, a number. It is compared
                character by character.
            lifetime (timedelta | None): how long it is valid. None is
                TENANCY_VERIFICATION_AGE, or TENANCY_CODE_AGE for a code.
            is_code (bool): make a few digits to type, instead of a token of 256 bits.
        Returns:
            tuple[Verification, str]: the row, and the secret, which is stored nowhere.
        Raises:
            ValidationError: the purpose or the identifier is malformed.
            ValueError: the lifetime is not positive.
            ImproperlyConfigured: TENANCY_CODE_LENGTH is less than 4.
        """
        if lifetime is None:
            lifetime = conf.code_age() if is_code else conf.verification_age()
        if lifetime <= timedelta():
            raise ValueError(
                f"A verification was issued for {lifetime!r}. Pass a positive lifetime."
            )
        value = _make_code() if is_code else make_token()
        now = timezone.now()
        verification = self.model(
            purpose=purpose,
            identifier=identifier,
            is_code=is_code,
            created_at=now,
            expires_at=now + lifetime,
        )
        verification.value_digest = verification._digest(value, settings.SECRET_KEY)
        verification.clean_fields()
        alias = find_alias(self)
        # MySQL and MariaDB look at every unique key, and take no list.
        takes_names = connections[alias].features.supports_update_conflicts_with_target
        rows = self.using(alias)
        rows.bulk_create(
            [verification],
            update_conflicts=True,
            update_fields=[
                "value_digest",
                "is_code",
                "attempts",
                "created_at",
                "updated_at",
                "expires_at",
            ],
            unique_fields=["purpose", "identifier"] if takes_names else None,
        )
        # The row that was there keeps its key.
        issued = rows.get(
            purpose=verification.purpose, identifier=verification.identifier
        )
        return issued, value

    async def aissue(
        self,
        *,
        purpose: str,
        identifier: str,
        lifetime: timedelta | None = None,
        is_code: bool = False,
    ) -> tuple[Verification, str]:
        """See issue()."""
        return await sync_to_async(self.issue)(
            purpose=purpose, identifier=identifier, lifetime=lifetime, is_code=is_code
        )

    @sensitive_variables()
    def consume(self, *, purpose: str, identifier: str, value: str) -> Verification:
        """Use up a secret, in the caller's transaction if there is one.

        A wrong value of a short code counts as a try, and counts although this raises.

        Args:
            purpose (str): what is to be allowed.
            identifier (str): whose control is to be proved.
            value (str): what issue() returned.
        Returns:
            Verification: the row, which is deleted.
        Raises:
            VerificationFailed: the value is wrong, used, replaced or expired, or was
                tried five times; no message tells which.
            TransactionOpen: a short code is consumed in a caller's transaction, which
                this exception would end, and the counting with it.
        """
        self.require_countable(purpose=purpose, identifier=identifier)
        verification = self.try_consume(
            purpose=purpose, identifier=identifier, value=value
        )
        if verification is None:
            raise VerificationFailed(FAILED)
        return verification

    async def aconsume(
        self, *, purpose: str, identifier: str, value: str
    ) -> Verification:
        """See consume()."""
        return await sync_to_async(self.consume)(
            purpose=purpose, identifier=identifier, value=value
        )

    @sensitive_variables()
    @verb
    def try_consume(
        self, *, purpose: str, identifier: str, value: str
    ) -> Verification | None:
        """Use up a secret as consume() does, but return None instead of raising.

        For a short code inside the caller's own transaction, which has to commit for
        a wrong value to count.

        Args:
            purpose (str): what is to be allowed.
            identifier (str): whose control is to be proved.
            value (str): what issue() returned.
        Returns:
            Verification | None: the row, which is deleted; None for a wrong value.
        """
        rows = self.using(find_alias(self)).filter(
            purpose=purpose, identifier=identifier
        )
        verification = rows.select_for_update().first()
        if verification is None or not verification.is_live:
            return None
        if not verification._matches(value):
            if verification.is_code:
                rows.filter(attempts__lt=TRIES).update(attempts=F("attempts") + 1)
            return None
        deleted, _rows = rows.filter(value_digest=verification.value_digest).delete()
        return verification if deleted else None

    async def atry_consume(
        self, *, purpose: str, identifier: str, value: str
    ) -> Verification | None:
        """See try_consume()."""
        return await sync_to_async(self.try_consume)(
            purpose=purpose, identifier=identifier, value=value
        )

    @sensitive_variables("token")
    def find_by_token(self, *, purpose: str, token: str) -> Verification | None:
        """Return the live verification of a token, which is not used up.

        Args:
            purpose (str): what the token allows.
            token (str): what issue() returned; a short code finds none.
        Returns:
            Verification | None: the row, whose identifier tells who holds the token.
        """
        rows = self.using(find_alias(self)).filter(is_code=False, purpose=purpose)
        verification = rows.filter(value_digest=digest_token(_encodable(token))).first()
        is_live = verification is not None and verification.is_live
        return verification if is_live else None

    async def afind_by_token(self, *, purpose: str, token: str) -> Verification | None:
        """See find_by_token()."""
        return await sync_to_async(self.find_by_token)(purpose=purpose, token=token)

    def require_countable(self, *, purpose: str, identifier: str) -> None:
        """Refuse a short code where a failure would undo the counting of it.

        Raises:
            TransactionOpen: it is a short code, and a transaction is open.
        """
        alias = find_alias(self)
        if not _has_open_transaction(alias):
            return
        codes = self.using(alias).filter(is_code=True)
        if codes.filter(purpose=purpose, identifier=identifier).exists():
            raise TransactionOpen(
                "A short code was consumed inside a transaction, whose end would undo "
                "the counting of a wrong one. Consume it outside transaction.atomic() "
                "(and ATOMIC_REQUESTS), or call Verification.objects.try_consume() and "
                "let the transaction commit."
            )


class Verification(StampedModel):
    """A secret that proves control of an identifier, once, for one purpose.

    There is one for each purpose and identifier: a new one takes the place of the old.
    Of the secret a digest is kept; of a short code, which could be guessed from one, an
    HMAC with a key made of SECRET_KEY, the purpose and the identifier.
    """

    purpose = ExactCharField(_("purpose"), max_length=63, validators=[SLUG])
    identifier = ExactCharField(_("identifier"), max_length=254)
    value_digest = ExactCharField(
        _("digest of the value"), max_length=DIGEST_LENGTH, editable=False
    )
    is_code = models.BooleanField(_("short code"), default=False, editable=False)
    attempts = models.PositiveSmallIntegerField(
        _("attempts"), default=0, editable=False
    )
    expires_at = models.DateTimeField(_("expires at"), db_index=True, editable=False)

    objects: ClassVar[VerificationManager] = VerificationManager()

    class Meta:
        app_label = "tenancy"
        verbose_name = _("verification")
        verbose_name_plural = _("verifications")
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["value_digest"], name="tenancy_verification_value"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["purpose", "identifier"], name="tenancy_verification_once"
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("purpose"),
                name="tenancy_verification_purpose",
            ),
            models.CheckConstraint(
                condition=~Q(identifier=""), name="tenancy_verification_identifier"
            ),
            models.CheckConstraint(
                condition=has_form_of_digest("value_digest"),
                name="tenancy_verification_digest",
            ),
            models.CheckConstraint(
                condition=Q(attempts__gte=0, attempts__lte=5),
                name="tenancy_verification_attempts",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")),
                name="tenancy_verification_expires_later",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose}: {self.identifier}"

    @property
    def is_live(self) -> bool:
        """Whether the right value would be taken now."""
        return self.expires_at > timezone.now() and self.attempts < TRIES

    @sensitive_variables()
    def _matches(self, value: str) -> bool:
        """Return whether a value is the secret, in a time that does not tell."""
        text = _encodable(value)
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        digests = {self._digest(text, key) for key in keys}
        # Each is compared, whether or not another one matched.
        return True in [
            constant_time_compare(digest, self.value_digest) for digest in digests
        ]

    @sensitive_variables()
    def _digest(self, value: str, secret_key: str | bytes) -> str:
        if not self.is_code:
            return digest_token(value)
        # A purpose has no colon.
        salt = f"tenancy.verification:{self.purpose}:{self.identifier}"
        return salted_hmac(
            salt, value, secret=secret_key, algorithm="sha256"
        ).hexdigest()


FAILED = (
    "The value is wrong, used or expired. Ask for a new one with "
    "Verification.objects.issue()."
)
"""What VerificationFailed says, whatever the cause."""


def _encodable(value: str) -> str:
    """Return a text without lone surrogates, which JSON brings."""
    return value.encode(errors="replace").decode()


def _make_code() -> str:
    length = conf.code_length()
    if length < 4:
        raise ImproperlyConfigured(
            f"TENANCY_CODE_LENGTH is {length!r}. Set it to 4 or more digits."
        )
    return f"{secrets.randbelow(10**length):0{length}}"


def _has_open_transaction(alias: str) -> bool:
    """Return whether a caller's transaction is open; a test case's does not count."""
    if not connections[alias].in_atomic_block:
        return False
    try:
        with transaction.atomic(using=alias, durable=True):
            return False
    except RuntimeError:
        return True
