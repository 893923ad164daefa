from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, ClassVar, Self, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import models, transaction
from django.db.models import Case, F, Q, When
from django.db.models.signals import class_prepared, post_delete, pre_delete
from django.dispatch import Signal
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from tenancy import conf, limits
from tenancy.context import LookUp, current_scope, look_up, scope
from tenancy.documents import is_object
from tenancy.exceptions import SubscriptionLive, TransitionRefused
from tenancy.fields import protect
from tenancy.identifiers import make_id
from tenancy.managers import TenantManager
from tenancy.models.stamped_model import StampedModel
from tenancy.models.tenant_model import ProtectedModel
from tenancy.querysets import TenantQuerySet, require_own
from tenancy.signals import (
    organization_archived,
    organization_created,
    organization_deleted,
    organization_reactivated,
    organization_restored,
    organization_suspended,
)
from tenancy.texts import SLUG, ExactCharField, has_form_of_slug
from tenancy.transactions import (
    deleting,
    find_alias,
    send_on_commit,
    take_locks,
    verb,
)

PROTECTED = frozenset({"billing_customer_id", "living_slug", "status"})
"""The fields that have verbs of their own, or that the database makes."""

M = TypeVar("M", bound="AbstractOrganization")


class OrganizationQuerySet(TenantQuerySet[M]):
    """Organizations of the scope: its own, or a user's own."""

    def update(self, **kwargs: Any) -> int:
        """Update the rows; their slugs are changed by save() only.

        Raises:
            ValueError: the slug is among the changes.
        """
        _refuse_slug(kwargs)
        return super().update(**kwargs)

    update.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    def bulk_update(
        self, objs: Iterable[M], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        """Update the fields of the rows; their slugs are changed by save() only.

        Raises:
            ValueError: the slug is among the fields.
        """
        names = list(fields)
        _refuse_slug(names)
        return super().bulk_update(objs, names, batch_size=batch_size)

    bulk_update.alters_data = True  # type: ignore[attr-defined]  # as above

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> list[M]:
        """Insert the organizations, with their slugs, those left out made from names.

        Raises:
            ValidationError: a slug is taken, reserved or not well-formed.
            ValueError: organizations that are there already would be passed over or
                changed.
        """
        if ignore_conflicts or any(args) or kwargs.get("update_conflicts"):
            raise ValueError(
                "Organization.objects.bulk_create() was asked to pass over conflicts, "
                "or to update. Look for the organizations that exist, and use save()."
            )
        rows = list(objs)
        for row in rows:
            require_own(row)
        alias = find_alias(self)
        with transaction.atomic(using=alias):
            kept = [row for row in rows if row.keeps_slugs()]
            for row in rows:
                row.fill_slug()
            claimed = _claim(kept, alias)
            created = super().bulk_create(rows, batch_size, **kwargs)
            _give(claimed, alias)
        for row in rows:
            row._made_slug = ""
        return created

    @verb
    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the organizations, with everything of theirs.

        Raises:
            SubscriptionLive: one has a live subscription.
        """
        alias = find_alias(self)
        _lock_whole(
            alias, self.model, list(self.using(alias).values_list("pk", flat=True))
        )
        with deleting(alias):
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]  # as above
    delete.queryset_only = True  # type: ignore[attr-defined]  # as above


class OrganizationManager(TenantManager[M]):
    """The manager of organizations: a scope holds its own organization only."""

    _queryset_class = OrganizationQuerySet

    @verb
    def create_with_owner(self, /, *, name: str, owner: Any, **fields: Any) -> M:
        """Create an organization, its built-in roles and its owner's membership.

        All of them, or none. It needs no scope: nobody is in the organization yet.

        Args:
            name (str): its name, not empty.
            owner (AbstractBaseUser): the user who becomes its first owner.
            **fields: other fields of the organization, such as ``slug``; not its
                status or its customer at the payment provider.
        Returns:
            AbstractOrganization: the saved organization.
        Raises:
            ValidationError: a field is not valid, such as a slug that is taken.
            OrganizationLimitReached: the owner is a member of as many organizations
                as TENANCY_LIMITS allows.
            TypeError: a field is protected, or there is none of the name.
        """
        protected = sorted(PROTECTED & set(fields))
        if protected:
            raise TypeError(
                f"'{self.model.__name__}.objects.create_with_owner()' was given "
                f"{protected!r}. Leave them out: verbs of their own change them."
            )
        alias, acting = find_alias(self), current_scope()
        # Both refer to the organization, and so stand above this file.
        roles: Any = apps.get_model("tenancy", "Role")
        memberships: Any = apps.get_model("tenancy", "Membership")
        with look_up(LookUp.CREATION):
            take_locks(alias, users=[owner.pk])
            limits.require_organization_room(owner.pk, using=alias)
            organization = self.model(name=name, **fields)
            organization.full_clean()
            organization.save(using=alias)
            with scope(organization, user=acting and acting.user_id):
                take_locks(alias, organizations=[organization.pk])
                built_in = roles.objects.db_manager(alias).create_built_in(organization)
                memberships._default_manager.using(alias).create(
                    organization=organization, user=owner, role=built_in["owner"]
                )
                _trail(alias).record_as(
                    acting, "organization.created", organization, owner=str(owner.pk)
                )
                send_on_commit(
                    organization_created,
                    type(organization),
                    using=alias,
                    organization=organization,
                    owner=owner,
                )
        return organization

    async def acreate_with_owner(self, *, name: str, owner: Any, **fields: Any) -> M:
        """See create_with_owner()."""
        return await sync_to_async(self.create_with_owner)(
            name=name, owner=owner, **fields
        )

    def find_by_slug(self, slug: str) -> tuple[M, bool]:
        """Return the living organization that has a slug, or had it.

        It needs no scope: an address is all that is known. Whether the organization
        is suspended, and who may enter it, is the caller's to ask.

        Args:
            slug (str): from an address, in any case.
        Returns:
            tuple[AbstractOrganization, bool]: the organization, and whether that is its
                slug now; where it is not, redirect to the one that is.
        Raises:
            Organization.DoesNotExist: no living organization has it, or had it.
        """
        wanted = slug.lower()
        with look_up(LookUp.SLUG):
            rows = self.using(self.db).exclude(status="archived")
            # The unique column, in which living organizations have their slug.
            found = rows.filter(living_slug=wanted).first()
            if found is None:
                former = _slugs(self.db).filter(slug=wanted)
                found = rows.filter(
                    pk__in=list(former.values_list("organization", flat=True))
                ).first()
        if found is None:
            raise self.model.DoesNotExist(
                f"No living organization has or had the slug {slug!r}. Answer as for "
                "an address that does not exist."
            )
        return found, found.slug == slug

    def find_archived(self, *, owner: Any) -> list[M]:
        """Return the archived organizations that a user owns, and so may restore.

        It needs no scope, since nobody can enter theirs.

        Args:
            owner (AbstractBaseUser): the user.
        """
        # It refers to the organization, and so stands above this file.
        memberships: Any = apps.get_model("tenancy", "Membership")
        with look_up(LookUp.RESTORATION):
            owned = memberships._base_manager.using(self.db).filter(
                user=owner.pk,
                ended_at=None,
                role__key="owner",
                organization__status="archived",
            )
            rows = self.using(self.db).filter(pk__in=owned.values("organization"))
            return list(rows)

    async def afind_archived(self, *, owner: Any) -> list[M]:
        """See find_archived()."""
        return await sync_to_async(self.find_archived)(owner=owner)

    async def afind_by_slug(self, slug: str) -> tuple[M, bool]:
        """See find_by_slug()."""
        return await sync_to_async(self.find_by_slug)(slug)


class AbstractOrganization(StampedModel, ProtectedModel):
    """An organization, whose members share rows that nobody else sees.

    For a project that adds fields: derive from it and name the model in
    TENANCY_ORGANIZATION_MODEL. The slug is well-formed, lower-case and unique.
    """

    class Status(models.TextChoices):
        ACTIVE = "active", _("active")
        SUSPENDED = "suspended", _("suspended")
        ARCHIVED = "archived", _("archived")

    tenant_key = "pk"
    # The generated columns, whichever app they stand in.
    rule_fields: ClassVar[dict[str, str]] = {"living_slug": "slug"}
    # The slug that was made from the name, until it is saved.
    _made_slug = ""

    name = models.CharField(_("name"), max_length=200)
    slug = ExactCharField(_("slug"), max_length=63, blank=True, validators=[SLUG])
    # Not a URLField, whose form field warns on Django 5.2 of a scheme to come.
    logo = models.CharField(
        _("logo"),
        max_length=500,
        blank=True,
        validators=[URLValidator(schemes=["https"])],
    )
    status = ExactCharField(
        _("status"),
        max_length=16,
        choices=Status,
        default=Status.ACTIVE,
        editable=False,
    )
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    billing_customer_id = ExactCharField(
        _("billing customer"),
        max_length=255,
        null=True,
        blank=True,
        unique=True,
        editable=False,
    )
    living_slug = models.GeneratedField(
        expression=Case(When(~Q(status="archived"), then=F("slug")), default=None),
        output_field=ExactCharField(max_length=63, null=True),
        db_persist=True,
        verbose_name=_("slug while not archived"),
    )

    objects: ClassVar[OrganizationManager[Self]] = OrganizationManager()

    class Meta:
        abstract = True
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(name=""),
                name="%(app_label)s_%(class)s_name_not_empty",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["active", "suspended", "archived"]),
                name="%(app_label)s_%(class)s_status_known",
            ),
            models.CheckConstraint(
                condition=has_form_of_slug("slug"),
                name="%(app_label)s_%(class)s_slug_formed",
            ),
            models.UniqueConstraint(
                fields=["living_slug"], name="%(app_label)s_%(class)s_slug_once"
            ),
            models.CheckConstraint(
                condition=Q(billing_customer_id=None) | ~Q(billing_customer_id=""),
                name="%(app_label)s_%(class)s_customer_not_empty",
            ),
            is_object("metadata", name="%(app_label)s_%(class)s_metadata_kind"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Make the slug from the name when it is left out; refuse one not to be had."""
        super().clean()
        self.fill_slug()
        refusal = self.find_refusal(self.slug)
        if refusal is not None:
            raise ValidationError({"slug": refusal})

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """Save the organization, and the slug among those that it has or had.

        Raises:
            ValidationError: the slug is taken, reserved or not well-formed.
        """
        fields = kwargs.get("update_fields")
        is_kept = (
            self.keeps_slugs()
            and "slug" not in self.get_deferred_fields()
            and (fields is None or "slug" in fields)
        )
        if kwargs.get("raw") or not is_kept:
            super().save_base(*args, **kwargs)
            return
        require_own(self)
        alias = kwargs.get("using") or find_alias(self)
        self.fill_slug()
        with transaction.atomic(using=alias):
            claimed = _claim([self], alias)
            super().save_base(*args, **kwargs)
            _give(claimed, alias)
        self._made_slug = ""

    save_base.alters_data = True  # type: ignore[attr-defined]  # Django's own habit

    @verb
    def delete(
        self, using: str | None = None, keep_parents: bool = False
    ) -> tuple[int, dict[str, int]]:
        """Delete the organization, with everything of its own.

        In its scope, or unscoped where it is archived. Its slugs stay reserved.

        Raises:
            SubscriptionLive: it has a live subscription.
            ScopeRequired: no scope is active.
            CrossOrganization: another organization's scope is active.
        """
        require_own(self)
        alias = using or find_alias(self)
        with transaction.atomic(using=alias):
            _lock_whole(alias, type(self), [self.pk])
            with deleting(alias):
                return super().delete(using=alias, keep_parents=keep_parents)

    delete.alters_data = True  # type: ignore[attr-defined]  # as above

    @verb
    def suspend(self, *, reason: str) -> None:
        """Suspend the organization: its members reach a page that says so, no more.

        Args:
            reason (str): why, for the audit trail.
        Raises:
            TransitionRefused: it is not active.
            ScopeRequired: no scope is active.
            CrossOrganization: another organization's scope is active.
        """
        self._move("suspended", {"active"}, "organization.suspended", reason=reason)
        self._send(organization_suspended, reason=reason)

    suspend.alters_data = True  # type: ignore[attr-defined]  # as above

    async def asuspend(self, *, reason: str) -> None:
        """See suspend()."""
        await sync_to_async(self.suspend)(reason=reason)

    @verb
    def reactivate(self) -> None:
        """Make the suspended organization active again.

        Raises:
            TransitionRefused: it is not suspended.
            ScopeRequired: no scope is active.
            CrossOrganization: another organization's scope is active.
        """
        self._move("active", {"suspended"}, "organization.reactivated")
        self._send(organization_reactivated)

    reactivate.alters_data = True  # type: ignore[attr-defined]  # as above

    async def areactivate(self) -> None:
        """See reactivate()."""
        await sync_to_async(self.reactivate)()

    @verb
    def archive(self) -> None:
        """Archive the organization: nobody enters it, and everything of it stays.

        Raises:
            TransitionRefused: it is archived.
            ScopeRequired: no scope is active.
            CrossOrganization: another organization's scope is active.
        """
        self._move("archived", {"active", "suspended"}, "organization.archived")
        self._send(organization_archived)

    archive.alters_data = True  # type: ignore[attr-defined]  # as above

    async def aarchive(self) -> None:
        """See archive()."""
        await sync_to_async(self.archive)()

    @verb
    def restore(self, *, slug: str | None = None) -> None:
        """Make the archived organization active again.

        It needs no scope, since nobody can enter that of an archived one. Who may
        restore it is the caller's to ask.

        Args:
            slug (str | None): another slug, where TENANCY_REUSE_SLUGS let another
                organization take the former one.
        Raises:
            TransitionRefused: it is not archived.
            ValidationError: the slug is taken, reserved or not well-formed.
            CrossOrganization: another organization's scope is active.
        """
        acting = current_scope()
        if acting is not None and acting.organization_id is not None:
            require_own(self)
        alias = find_alias(self)
        with look_up(LookUp.RESTORATION):
            self._require_status(alias, {"archived"})
            self.refresh_from_db(using=alias)
            self.slug = self.slug if slug is None else slug
            claimed = _claim([self], alias)
            # Not save(): nobody's own code or receivers run unscoped.
            rows: TenantQuerySet[Self] = TenantQuerySet(type(self), using=alias)
            now = timezone.now()
            rows.filter(pk=self.pk).update(
                slug=self.slug, status=self.Status.ACTIVE, updated_at=now
            )
            _give(claimed, alias)
            self.refresh_from_db(using=alias)
            with scope(self, user=acting and acting.user_id):
                _trail(alias).record_as(acting, "organization.restored", self)
                self._send(organization_restored)

    restore.alters_data = True  # type: ignore[attr-defined]  # as above

    async def arestore(self, *, slug: str | None = None) -> None:
        """See restore()."""
        await sync_to_async(self.restore)(slug=slug)

    def _move(
        self, status: str, from_any_of: set[str], action: str, **details: Any
    ) -> None:
        require_own(self)
        alias = find_alias(self)
        self._require_status(alias, from_any_of)
        rows = type(self)._base_manager.using(alias).filter(pk=self.pk)
        rows.update(status=status, updated_at=timezone.now())
        self.refresh_from_db(
            using=alias, fields=["status", "living_slug", "updated_at"]
        )
        _trail(alias).record(action, self, **details)

    def _require_status(self, alias: str, expected: set[str]) -> None:
        """Take the lock, and refuse a status, read anew, that is not expected."""
        take_locks(alias, organizations=[self.pk])
        rows = type(self)._base_manager.using(alias)
        status = rows.values_list("status", flat=True).get(pk=self.pk)
        if status not in expected:
            wanted = " or ".join(sorted(expected))
            raise TransitionRefused(
                f"The organization {str(self.pk)!r} is {status}. Call this on one that "
                f"is {wanted}."
            )

    def _send(self, signal: Signal, **values: Any) -> None:
        send_on_commit(
            signal, type(self), using=find_alias(self), organization=self, **values
        )

    # The slug, for this file.

    @classmethod
    def keeps_slugs(cls) -> bool:
        """Return whether it is the model whose slugs are kept."""
        # That of a proxy model, too.
        concrete = cls._meta.concrete_model
        assert concrete is not None
        return concrete._meta.label_lower == conf.organization_model().lower()

    def fill_slug(self) -> None:
        """Make a slug from the name where there is none."""
        if not self.slug:
            stem = self._stem()
            self.slug = stem if self.find_refusal(stem) is None else self._suffix(stem)
            self._made_slug = self.slug

    def give_way(self) -> None:
        """Take another slug in place of one that is taken.

        Raises:
            ValidationError: it was not made from the name.
        """
        stem = self._stem()
        if self._made_slug != self.slug or self.slug != stem:
            raise ValidationError({"slug": _taken()})
        self.slug = self._made_slug = self._suffix(stem)

    def _stem(self) -> str:
        return slugify(self.name)[:50].strip("-") or "organization"

    def _suffix(self, stem: str) -> str:
        # The last hexadecimal digits of a UUID of version 7 are random.
        digits = str(self.pk or make_id()).replace("-", "")
        return f"{stem}-{digits[-8:]}"

    def find_refusal(self, slug: str) -> ValidationError | None:
        """Return why the organization cannot have a slug, or None."""
        try:
            SLUG(slug)
        except ValidationError as error:
            return error
        alias = find_alias(self)
        kept = _slugs(alias).filter(slug=slug)
        # A word that was reserved later takes nothing away.
        # One that the database has given no key yet has had no slug.
        is_known = self.keeps_slugs() and self.pk is not None
        if is_known and kept.filter(organization=self.pk).exists():
            return None
        if slug in conf.reserved_slugs():
            return ValidationError(
                _("This slug is reserved. Choose another one."), code="reserved"
            )
        # A slug is an address, which is no secret; validate_unique() looks for it
        # among the scope's organizations only.
        with look_up(LookUp.SLUG):
            others = type(self)._base_manager.using(alias).exclude(pk=self.pk)
            others = others.filter(slug=slug)
            if conf.reuse_slugs():
                is_taken = others.exclude(status="archived").exists()
            else:
                is_taken = others.exists() or (self.keeps_slugs() and kept.exists())
        return _taken() if is_taken else None


def _taken() -> ValidationError:
    return ValidationError(_("This slug is taken. Choose another one."), code="unique")


def _claim(
    rows: Sequence[AbstractOrganization], alias: str
) -> dict[str, AbstractOrganization]:
    """Hold the slugs of organizations that are about to be saved.

    Returns:
        dict[str, AbstractOrganization]: the organizations, by those slugs that are
            new to them.
    Raises:
        ValidationError: a slug is another's, reserved, or not well-formed.
    """
    slugs = _slugs(alias)
    kept = slugs.filter(slug__in=[row.slug for row in rows])
    held = dict(kept.values_list("slug", "organization"))
    # A deleted organization's slug is held by None, as is the key of a new one.
    new = [
        row for row in rows if held.get(row.slug) is None or held[row.slug] != row.pk
    ]
    wanted: dict[str, AbstractOrganization] = {}
    for row in new:
        refusal = row.find_refusal(row.slug)
        is_taken = refusal is None and row.slug in wanted
        if is_taken or (refusal is not None and refusal.code == "unique"):
            row.give_way()
        elif refusal is not None:
            raise ValidationError({"slug": refusal})
        wanted[row.slug] = row
    # Whoever asked for one in the meantime has it.
    for slug in slugs.reserve({slug: row.pk for slug, row in wanted.items()}):
        row = wanted.pop(slug)
        row.give_way()
        wanted[row.slug] = row
        if slugs.reserve({row.slug: row.pk}):
            raise ValidationError({"slug": _taken()})
    return wanted


def _give(claimed: dict[str, AbstractOrganization], alias: str) -> None:
    """Make the slugs lead to the organizations, which have their keys by now."""
    for slug, row in claimed.items():
        key = row.pk
        if key is None:
            # MySQL tells no keys of rows that are inserted together.
            saved = type(row)._base_manager.using(alias).filter(living_slug=slug)
            key = saved.values_list("pk", flat=True).get()
        _slugs(alias).give({slug: key})


def _lock_whole(
    alias: str, model: type[models.Model], keys: list[Any]
) -> None:  # Any: primary keys.
    """Lock organizations, and keep every row from being added to them.

    What is collected for deletion is complete then: whoever inserts a row of theirs,
    by a verb or not, waits for the rows to which it would refer.
    """
    take_locks(alias, organizations=keys)
    rows = model._base_manager.using(alias).filter(pk__in=keys).order_by("pk")
    list(rows.select_for_update().values_list("pk", flat=True))


def _slugs(alias: str) -> Any:  # It refers to the organization, and stands above.
    return apps.get_model("tenancy", "OrganizationSlug")._default_manager.db_manager(
        alias
    )


def _trail(alias: str) -> Any:  # As above.
    return apps.get_model("tenancy", "AuditEvent")._default_manager.db_manager(alias)


def _refuse_slug(names: Container[str]) -> None:
    if "slug" in names:
        raise ValueError(
            "'Organization.slug' is among the fields to change by a queryset, which "
            "does not keep the former slug. Use organization.save()."
        )


def _protect(sender: type[models.Model], **kwargs: Any) -> None:
    """Protect each concrete organization model, by its own primary key."""
    if issubclass(sender, AbstractOrganization):
        protect(sender, "pk")
        _put_key_first(sender)
        pre_delete.connect(_prepare_deletion, sender=sender)
        post_delete.connect(_finish_deletion, sender=sender)


def _put_key_first(model: type[models.Model]) -> None:
    """Put the key before the generated columns, which a base class declared earlier.

    Of what an INSERT made, Django on MySQL reads the first field only.
    """
    fields, key = model._meta.local_fields, model._meta.pk
    if key in fields and fields[0] is not key:
        fields.remove(key)
        fields.insert(0, key)
        # django-stubs leaves it out.
        model._meta._expire_cache()  # type: ignore[attr-defined]


def _prepare_deletion(
    sender: type[AbstractOrganization],
    instance: AbstractOrganization,
    using: str,
    **kwargs: Any,
) -> None:
    """Refuse a deletion by any path while a subscription is live; write it down.

    Raises:
        SubscriptionLive: the organization has a live subscription.
    """
    take_locks(using, organizations=[instance.pk])
    subscriptions: Any = apps.get_model("tenancy", "Subscription")._base_manager
    live = subscriptions.using(using).filter(organization=instance.pk)
    if live.filter(live_product__isnull=False).exists():
        raise SubscriptionLive(
            f"The organization {str(instance.pk)!r} has a live subscription. End that "
            "first, at the payment provider too."
        )
    if instance.billing_customer_id:
        events: Any = apps.get_model("tenancy", "BillingEvent")._base_manager
        events.using(using).filter(customer_id=instance.billing_customer_id).delete()
    if instance.keeps_slugs() and not _slugs(using).filter(slug=instance.slug).exists():
        _slugs(using).create(slug=instance.slug)
    system: Any = apps.get_model("tenancy", "SystemEvent")._default_manager
    system.db_manager(using).record(
        "organization.deleted", instance, slug=instance.slug
    )
    send_on_commit(
        organization_deleted, sender, using=using, key=instance.pk, slug=instance.slug
    )


def _finish_deletion(
    sender: type[AbstractOrganization],
    instance: AbstractOrganization,
    using: str,
    **kwargs: Any,
) -> None:
    """Remove the lock, to which no foreign key leads."""
    locks: Any = apps.get_model("tenancy", "Lock")._default_manager
    locks.using(using).filter(name=f"organization:{instance.pk}").delete()


# Before the first concrete class is made, which sends the signal.
class_prepared.connect(_protect)


class Organization(AbstractOrganization):
    """The organization that a project gets when it names no model of its own."""

    class Meta(AbstractOrganization.Meta):
        app_label = "tenancy"
        swappable = "TENANCY_ORGANIZATION_MODEL"
