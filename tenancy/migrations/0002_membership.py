import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import tenancy.backends.kinds
import tenancy.backends.texts
import tenancy.challenges
import tenancy.constraints
import tenancy.fields
import tenancy.hosts
import tenancy.identifiers
import tenancy.indexes
import tenancy.policies
import tenancy.texts


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0001_initial"),
        # What refers to the user or to the organization comes after both, whichever
        # app they stand in; nothing in their first migrations refers back.
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Lock",
            fields=[
                (
                    "name",
                    models.CharField(max_length=100, primary_key=True, serialize=False),
                ),
                ("taken_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="BillingEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "provider",
                    tenancy.texts.ExactCharField(
                        max_length=63, verbose_name="provider"
                    ),
                ),
                (
                    "event_id",
                    tenancy.texts.ExactCharField(max_length=255, verbose_name="event"),
                ),
                (
                    "type",
                    tenancy.texts.ExactCharField(max_length=100, verbose_name="type"),
                ),
                (
                    "customer_id",
                    tenancy.texts.ExactCharField(
                        blank=True, max_length=255, verbose_name="customer"
                    ),
                ),
                (
                    "payload",
                    models.JSONField(blank=True, default=dict, verbose_name="payload"),
                ),
                ("occurred_at", models.DateTimeField(verbose_name="occurred at")),
                (
                    "received_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="received at"
                    ),
                ),
                (
                    "status",
                    tenancy.texts.ExactCharField(
                        choices=[
                            ("received", "received"),
                            ("applied", "applied"),
                            ("outdated", "outdated"),
                            ("ignored", "ignored"),
                            ("failed", "failed"),
                        ],
                        default="received",
                        max_length=16,
                        verbose_name="status",
                    ),
                ),
                (
                    "attempts",
                    models.PositiveIntegerField(default=0, verbose_name="attempts"),
                ),
                ("error", models.TextField(blank=True, verbose_name="error")),
                (
                    "settled_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="settled at"
                    ),
                ),
            ],
            options={
                "verbose_name": "billing event",
                "verbose_name_plural": "billing events",
                "ordering": ["-occurred_at"],
                "indexes": [
                    tenancy.indexes.PartialIndex(
                        fields=["status", "received_at"],
                        name="tenancy_billingevent_status",
                        where=models.Q(("settled_at__isnull", True)),
                    ),
                    models.Index(
                        fields=["provider", "customer_id"],
                        name="tenancy_billingevent_customer",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "event_id"),
                        name="tenancy_billingevent_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "received",
                                    "applied",
                                    "outdated",
                                    "ignored",
                                    "failed",
                                ],
                            )
                        ),
                        name="tenancy_billingevent_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("provider", ""), _negated=True),
                            models.Q(("event_id", ""), _negated=True),
                            models.Q(("type", ""), _negated=True),
                        ),
                        name="tenancy_billingevent_named",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("status__in", ["applied", "outdated", "ignored"]),
                                ("settled_at__isnull", False),
                            ),
                            models.Q(
                                ("status__in", ["received", "failed"]),
                                ("settled_at", None),
                            ),
                            _connector="OR",
                        ),
                        name="tenancy_billingevent_settled",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("settled_at", None),
                            ("settled_at__gte", models.F("received_at")),
                            _connector="OR",
                        ),
                        name="tenancy_billingevent_settled_later",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "ended_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="ended at"
                    ),
                ),
                (
                    "live",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(ended_at=None, then=models.Value(True)),
                            default=models.Value(False),
                        ),
                        output_field=models.BooleanField(),
                        verbose_name="live",
                    ),
                ),
                (
                    "last_active_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        null=True,
                        verbose_name="last active at",
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
                (
                    "user",
                    tenancy.fields.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "membership",
                "verbose_name_plural": "memberships",
                "ordering": ["created_at"],
            },
        ),
        migrations.CreateModel(
            name="Plan",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "key",
                    tenancy.texts.ExactCharField(
                        max_length=63,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]+(-[a-z0-9]+)*\\Z",
                                "Use lower-case letters, digits, and single hyphens between them.",
                            )
                        ],
                        verbose_name="key",
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                (
                    "product",
                    tenancy.texts.ExactCharField(
                        default="main",
                        max_length=63,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]+(-[a-z0-9]+)*\\Z",
                                "Use lower-case letters, digits, and single hyphens between them.",
                            )
                        ],
                        verbose_name="product",
                    ),
                ),
                (
                    "limits",
                    models.JSONField(blank=True, default=dict, verbose_name="limits"),
                ),
                (
                    "prices",
                    models.JSONField(blank=True, default=dict, verbose_name="prices"),
                ),
                (
                    "trial_days",
                    models.PositiveSmallIntegerField(
                        default=0,
                        validators=[django.core.validators.MaxValueValidator(32767)],
                        verbose_name="days of trial",
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
            ],
            options={
                "verbose_name": "plan",
                "verbose_name_plural": "plans",
                "ordering": ["product", "name"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("id", "product"), name="tenancy_plan_product_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(models.F("key"), "a-z0-9-"),
                            models.Q(("key", ""), _negated=True),
                            models.Q(("key__startswith", "-"), _negated=True),
                            models.Q(("key__endswith", "-"), _negated=True),
                            models.Q(("key__contains", "--"), _negated=True),
                        ),
                        name="tenancy_plan_key_formed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(
                                models.F("product"), "a-z0-9-"
                            ),
                            models.Q(("product", ""), _negated=True),
                            models.Q(("product__startswith", "-"), _negated=True),
                            models.Q(("product__endswith", "-"), _negated=True),
                            models.Q(("product__contains", "--"), _negated=True),
                        ),
                        name="tenancy_plan_product_formed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True),
                        name="tenancy_plan_name_not_empty",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("trial_days__gte", 0), ("trial_days__lte", 32767)
                        ),
                        name="tenancy_plan_trial_days",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.kinds.HasKind(models.F("limits"), "object")
                        ),
                        name="tenancy_plan_limits_kind",
                        violation_error_message="Give a JSON object.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.kinds.HasKind(models.F("prices"), "object")
                        ),
                        name="tenancy_plan_prices_kind",
                        violation_error_message="Give a JSON object.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Role",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "key",
                    tenancy.texts.ExactCharField(
                        max_length=63,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]+(-[a-z0-9]+)*\\Z",
                                "Use lower-case letters, digits, and single hyphens between them.",
                            )
                        ],
                        verbose_name="key",
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                (
                    "name_key",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.text.Lower("name"),
                        output_field=tenancy.texts.ExactCharField(max_length=100),
                        verbose_name="name in lower case",
                    ),
                ),
                (
                    "permissions",
                    models.JSONField(
                        blank=True, default=list, verbose_name="permissions"
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
            ],
            options={
                "verbose_name": "role",
                "verbose_name_plural": "roles",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Ownership",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "live",
                    models.BooleanField(
                        default=True, editable=False, verbose_name="live"
                    ),
                ),
                (
                    "key",
                    tenancy.texts.ExactCharField(
                        default="owner",
                        editable=False,
                        max_length=63,
                        verbose_name="key",
                    ),
                ),
                (
                    "membership",
                    tenancy.fields.TenantForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenancy.membership",
                        verbose_name="membership",
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
                (
                    "role",
                    tenancy.fields.TenantForeignKey(
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="+",
                        to="tenancy.role",
                        verbose_name="role",
                    ),
                ),
            ],
            options={
                "verbose_name": "ownership",
                "verbose_name_plural": "ownerships",
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="membership",
            name="role",
            field=tenancy.fields.TenantForeignKey(
                blank=True,
                on_delete=django.db.models.deletion.RESTRICT,
                related_name="memberships",
                to="tenancy.role",
                verbose_name="role",
            ),
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "email",
                    tenancy.texts.ExactEmailField(
                        blank=True,
                        max_length=254,
                        null=True,
                        verbose_name="e-mail address",
                    ),
                ),
                (
                    "status",
                    tenancy.texts.ExactCharField(
                        choices=[
                            ("pending", "pending"),
                            ("accepted", "accepted"),
                            ("declined", "declined"),
                            ("revoked", "revoked"),
                            ("expired", "expired"),
                        ],
                        default="pending",
                        editable=False,
                        max_length=16,
                        verbose_name="status",
                    ),
                ),
                (
                    "token_digest",
                    tenancy.texts.ExactCharField(
                        editable=False,
                        max_length=64,
                        verbose_name="digest of the token",
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(editable=False, verbose_name="expires at"),
                ),
                (
                    "invited_by_name",
                    models.CharField(
                        blank=True,
                        editable=False,
                        max_length=254,
                        verbose_name="name of who invited",
                    ),
                ),
                (
                    "answered_by_name",
                    models.CharField(
                        blank=True,
                        editable=False,
                        max_length=254,
                        verbose_name="name of who answered",
                    ),
                ),
                (
                    "answered_at",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="answered at"
                    ),
                ),
                (
                    "pending_email",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(status="pending", then=models.F("email")),
                            default=None,
                        ),
                        output_field=tenancy.texts.ExactEmailField(
                            max_length=254, null=True
                        ),
                        verbose_name="address while pending",
                    ),
                ),
                (
                    "answered_by",
                    tenancy.fields.TenantForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="answered by",
                    ),
                ),
                (
                    "invited_by",
                    tenancy.fields.TenantForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="invited by",
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
                (
                    "role",
                    tenancy.fields.TenantForeignKey(
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="invitations",
                        to="tenancy.role",
                        verbose_name="role",
                    ),
                ),
            ],
            options={
                "verbose_name": "invitation",
                "verbose_name_plural": "invitations",
                "ordering": ["-created_at"],
            },
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "key_digest",
                    tenancy.texts.ExactCharField(
                        editable=False, max_length=64, verbose_name="digest of the key"
                    ),
                ),
                (
                    "data",
                    models.TextField(blank=True, editable=False, verbose_name="data"),
                ),
                (
                    "ip_address",
                    models.GenericIPAddressField(
                        editable=False, null=True, verbose_name="IP address"
                    ),
                ),
                (
                    "user_agent",
                    models.CharField(
                        blank=True,
                        editable=False,
                        max_length=500,
                        verbose_name="browser",
                    ),
                ),
                (
                    "last_seen_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="last seen at",
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        db_index=True, editable=False, verbose_name="expires at"
                    ),
                ),
                (
                    "revoked_at",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="revoked at"
                    ),
                ),
                (
                    "end_reason",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        choices=[
                            ("ended", "ended by the user"),
                            ("password", "the password was changed"),
                            ("ban", "the user was banned"),
                        ],
                        default="",
                        editable=False,
                        max_length=16,
                        verbose_name="why it was ended",
                    ),
                ),
                (
                    "impersonator",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="impersonating_sessions",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="impersonator",
                    ),
                ),
                (
                    "membership",
                    tenancy.fields.TenantForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="sessions",
                        to="tenancy.membership",
                        verbose_name="active membership",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sessions",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "ordering": ["-last_seen_at"],
            },
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "product",
                    tenancy.texts.ExactCharField(
                        editable=False, max_length=63, verbose_name="product"
                    ),
                ),
                (
                    "status",
                    tenancy.texts.ExactCharField(
                        choices=[
                            ("incomplete", "incomplete"),
                            ("incomplete_expired", "incomplete, expired"),
                            ("trialing", "on trial"),
                            ("active", "active"),
                            ("past_due", "past due"),
                            ("canceled", "canceled"),
                            ("unpaid", "unpaid"),
                            ("paused", "paused"),
                        ],
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                (
                    "interval",
                    tenancy.texts.ExactCharField(
                        choices=[
                            ("day", "day"),
                            ("week", "week"),
                            ("month", "month"),
                            ("year", "year"),
                        ],
                        default="month",
                        max_length=8,
                        verbose_name="billing interval",
                    ),
                ),
                (
                    "seats",
                    models.PositiveIntegerField(
                        default=1,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(2147483647),
                        ],
                        verbose_name="seats",
                    ),
                ),
                (
                    "current_period_start",
                    models.DateTimeField(verbose_name="period starts at"),
                ),
                (
                    "current_period_end",
                    models.DateTimeField(verbose_name="period ends at"),
                ),
                (
                    "trial_start",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="trial starts at"
                    ),
                ),
                (
                    "trial_end",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="trial ends at"
                    ),
                ),
                (
                    "cancel_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="ends at"),
                ),
                (
                    "canceled_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="canceled at"
                    ),
                ),
                (
                    "ended_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="ended at"
                    ),
                ),
                (
                    "provider",
                    tenancy.texts.ExactCharField(
                        blank=True, max_length=63, verbose_name="provider"
                    ),
                ),
                (
                    "provider_customer_id",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        max_length=255,
                        verbose_name="customer at the provider",
                    ),
                ),
                (
                    "provider_subscription_id",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        max_length=255,
                        null=True,
                        verbose_name="subscription at the provider",
                    ),
                ),
                (
                    "provider_schedule_id",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        max_length=255,
                        verbose_name="schedule at the provider",
                    ),
                ),
                ("last_event_at", models.DateTimeField(editable=False, null=True)),
                (
                    "last_event_id",
                    tenancy.texts.ExactCharField(
                        blank=True, editable=False, max_length=255
                    ),
                ),
                (
                    "live_product",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(
                                status__in=("canceled", "incomplete_expired"), then=None
                            ),
                            default=models.F("product"),
                        ),
                        output_field=tenancy.texts.ExactCharField(
                            max_length=63, null=True
                        ),
                        verbose_name="product while live",
                    ),
                ),
                (
                    "own_trial",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(
                                last_event_at=None,
                                then=models.Value(1),
                                trial_start__isnull=False,
                            ),
                            default=None,
                        ),
                        output_field=models.SmallIntegerField(null=True),
                        verbose_name="trial that no provider told of",
                    ),
                ),
                (
                    "next_plan",
                    tenancy.fields.TenantForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.plan",
                        verbose_name="plan from the next period on",
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
                (
                    "plan",
                    tenancy.fields.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="subscriptions",
                        to="tenancy.plan",
                        verbose_name="plan",
                    ),
                ),
            ],
            options={
                "verbose_name": "subscription",
                "verbose_name_plural": "subscriptions",
                "ordering": ["-created_at"],
            },
        ),
        migrations.CreateModel(
            name="SystemEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "occurred_at",
                    models.DateTimeField(
                        db_index=True,
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="occurred at",
                    ),
                ),
                (
                    "action",
                    tenancy.texts.ExactCharField(
                        editable=False, max_length=100, verbose_name="action"
                    ),
                ),
                (
                    "actor_key",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=64,
                        verbose_name="key of who acted",
                    ),
                ),
                (
                    "impersonator_key",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=64,
                        verbose_name="key of who impersonated",
                    ),
                ),
                (
                    "ip_address",
                    models.GenericIPAddressField(
                        editable=False, null=True, verbose_name="IP address"
                    ),
                ),
                (
                    "reason",
                    models.TextField(blank=True, editable=False, verbose_name="reason"),
                ),
                (
                    "subject_type",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=100,
                        verbose_name="kind of subject",
                    ),
                ),
                (
                    "subject_key",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=64,
                        verbose_name="key of the subject",
                    ),
                ),
                (
                    "details",
                    models.JSONField(
                        default=dict, editable=False, verbose_name="details"
                    ),
                ),
            ],
            options={
                "verbose_name": "system event",
                "verbose_name_plural": "system events",
                "ordering": ["-occurred_at"],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(
                        fields=["subject_type", "subject_key"],
                        name="tenancy_systemevent_subject",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("action", ""), _negated=True),
                        name="tenancy_systemevent_action",
                    ),
                    tenancy.policies.Immutable(
                        name="tenancy_systemevent_immutable", version=1
                    ),
                    tenancy.policies.Kept(name="tenancy_systemevent_kept", version=1),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.kinds.HasKind(
                                models.F("details"), "object"
                            )
                        ),
                        name="tenancy_systemevent_details_kind",
                        violation_error_message="Give a JSON object.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Team",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                (
                    "name_key",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.text.Lower("name"),
                        output_field=tenancy.texts.ExactCharField(max_length=100),
                        verbose_name="name in lower case",
                    ),
                ),
                (
                    "description",
                    models.CharField(
                        blank=True, max_length=500, verbose_name="description"
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
            ],
            options={
                "verbose_name": "team",
                "verbose_name_plural": "teams",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="TeamMembership",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "live",
                    models.BooleanField(
                        default=True, editable=False, verbose_name="live"
                    ),
                ),
                (
                    "membership",
                    tenancy.fields.TenantForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="team_memberships",
                        to="tenancy.membership",
                        verbose_name="membership",
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
                (
                    "team",
                    tenancy.fields.TenantForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="team_memberships",
                        to="tenancy.team",
                        verbose_name="team",
                    ),
                ),
            ],
            options={
                "verbose_name": "team membership",
                "verbose_name_plural": "team memberships",
                "ordering": ["created_at"],
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "purpose",
                    tenancy.texts.ExactCharField(
                        max_length=63,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]+(-[a-z0-9]+)*\\Z",
                                "Use lower-case letters, digits, and single hyphens between them.",
                            )
                        ],
                        verbose_name="purpose",
                    ),
                ),
                (
                    "identifier",
                    tenancy.texts.ExactCharField(
                        max_length=254, verbose_name="identifier"
                    ),
                ),
                (
                    "value_digest",
                    tenancy.texts.ExactCharField(
                        editable=False,
                        max_length=64,
                        verbose_name="digest of the value",
                    ),
                ),
                (
                    "is_code",
                    models.BooleanField(
                        default=False, editable=False, verbose_name="short code"
                    ),
                ),
                (
                    "attempts",
                    models.PositiveSmallIntegerField(
                        default=0, editable=False, verbose_name="attempts"
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        db_index=True, editable=False, verbose_name="expires at"
                    ),
                ),
            ],
            options={
                "verbose_name": "verification",
                "verbose_name_plural": "verifications",
                "ordering": ["-created_at"],
                "indexes": [
                    models.Index(
                        fields=["value_digest"], name="tenancy_verification_value"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("purpose", "identifier"),
                        name="tenancy_verification_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(
                                models.F("purpose"), "a-z0-9-"
                            ),
                            models.Q(("purpose", ""), _negated=True),
                            models.Q(("purpose__startswith", "-"), _negated=True),
                            models.Q(("purpose__endswith", "-"), _negated=True),
                            models.Q(("purpose__contains", "--"), _negated=True),
                        ),
                        name="tenancy_verification_purpose",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("identifier", ""), _negated=True),
                        name="tenancy_verification_identifier",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(
                                models.F("value_digest"), "0-9a-f"
                            ),
                            django.db.models.lookups.Exact(
                                django.db.models.functions.text.Length(
                                    models.F("value_digest")
                                ),
                                64,
                            ),
                        ),
                        name="tenancy_verification_digest",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("attempts__gte", 0), ("attempts__lte", 5)),
                        name="tenancy_verification_attempts",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("expires_at__gt", models.F("created_at"))),
                        name="tenancy_verification_expires_later",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Account",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "provider",
                    tenancy.texts.ExactCharField(
                        max_length=63,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]+(-[a-z0-9]+)*\\Z",
                                "Use lower-case letters, digits, and single hyphens between them.",
                            )
                        ],
                        verbose_name="provider",
                    ),
                ),
                (
                    "provider_account_id",
                    tenancy.texts.ExactCharField(
                        max_length=255, verbose_name="account at the provider"
                    ),
                ),
                (
                    "access_token_encrypted",
                    models.TextField(blank=True, editable=False),
                ),
                (
                    "access_token_expires_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        null=True,
                        verbose_name="access token expires at",
                    ),
                ),
                (
                    "refresh_token_encrypted",
                    models.TextField(blank=True, editable=False),
                ),
                (
                    "refresh_token_expires_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        null=True,
                        verbose_name="refresh token expires at",
                    ),
                ),
                ("id_token_encrypted", models.TextField(blank=True, editable=False)),
                (
                    "scopes",
                    models.JSONField(
                        blank=True, default=list, editable=False, verbose_name="scopes"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="accounts",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "account",
                "verbose_name_plural": "accounts",
                "ordering": ["provider", "created_at"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "provider_account_id"),
                        name="tenancy_account_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(
                                models.F("provider"), "a-z0-9-"
                            ),
                            models.Q(("provider", ""), _negated=True),
                            models.Q(("provider__startswith", "-"), _negated=True),
                            models.Q(("provider__endswith", "-"), _negated=True),
                            models.Q(("provider__contains", "--"), _negated=True),
                        ),
                        name="tenancy_account_provider_formed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("provider_account_id", ""), _negated=True),
                        name="tenancy_account_id_not_empty",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.kinds.HasKind(models.F("scopes"), "array")
                        ),
                        name="tenancy_account_scopes_kind",
                        violation_error_message="Give a JSON list.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "occurred_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="occurred at",
                    ),
                ),
                (
                    "action",
                    tenancy.texts.ExactCharField(
                        editable=False, max_length=100, verbose_name="action"
                    ),
                ),
                (
                    "actor_key",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=64,
                        verbose_name="key of who acted",
                    ),
                ),
                (
                    "impersonator_key",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=64,
                        verbose_name="key of who impersonated",
                    ),
                ),
                (
                    "target_type",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=100,
                        verbose_name="kind of target",
                    ),
                ),
                (
                    "target_key",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=64,
                        verbose_name="key of the target",
                    ),
                ),
                (
                    "ip_address",
                    models.GenericIPAddressField(
                        editable=False, null=True, verbose_name="IP address"
                    ),
                ),
                (
                    "unscoped_reason",
                    models.CharField(
                        blank=True,
                        editable=False,
                        max_length=500,
                        verbose_name="reason of going unscoped",
                    ),
                ),
                (
                    "details",
                    models.JSONField(
                        default=dict, editable=False, verbose_name="details"
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
            ],
            options={
                "verbose_name": "audit event",
                "verbose_name_plural": "audit trail",
                "ordering": ["-occurred_at"],
                "indexes": [
                    models.Index(
                        fields=["organization", "occurred_at"],
                        name="tenancy_auditevent_time",
                    ),
                    models.Index(
                        fields=["organization", "target_type", "target_key"],
                        name="tenancy_auditevent_target",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("action", ""), _negated=True),
                        name="tenancy_auditevent_action",
                    ),
                    tenancy.policies.Immutable(
                        name="tenancy_auditevent_immutable", version=1
                    ),
                    tenancy.policies.Kept(name="tenancy_auditevent_kept", version=1),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.kinds.HasKind(
                                models.F("details"), "object"
                            )
                        ),
                        name="tenancy_auditevent_details_kind",
                        violation_error_message="Give a JSON object.",
                    ),
                    tenancy.policies.OrganizationPolicy(
                        field="organization",
                        name="tenancy_tenancy_auditevent_f7b904",
                        version=1,
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Domain",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "host",
                    tenancy.texts.ExactCharField(
                        max_length=253,
                        validators=[tenancy.hosts.validate_host],
                        verbose_name="domain",
                    ),
                ),
                (
                    "token",
                    tenancy.texts.ExactCharField(
                        default=tenancy.challenges.make_challenge,
                        editable=False,
                        max_length=64,
                        verbose_name="token",
                    ),
                ),
                (
                    "verified_at",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="verified at"
                    ),
                ),
                (
                    "checked_at",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="checked at"
                    ),
                ),
                (
                    "finding",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        choices=[
                            ("found", "found"),
                            ("absent", "no record"),
                            ("wrong", "another record"),
                            ("unanswered", "no answer"),
                        ],
                        default="",
                        editable=False,
                        max_length=16,
                        verbose_name="last finding",
                    ),
                ),
                (
                    "failing_since",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="failing since"
                    ),
                ),
                (
                    "verified_host",
                    tenancy.texts.ExactCharField(
                        editable=False,
                        max_length=253,
                        null=True,
                        verbose_name="domain while verified",
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
            ],
            options={
                "verbose_name": "domain",
                "verbose_name_plural": "domains",
                "ordering": ["host"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "host"),
                        name="tenancy_domain_host_once",
                        violation_error_message="The organization has this domain.",
                    ),
                    tenancy.constraints.UniqueEverywhere(
                        fields=("verified_host",), name="tenancy_domain_verified_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(
                                models.F("host"), "a-z0-9.-"
                            ),
                            tenancy.backends.texts.HasShortWords(models.F("host"), 63),
                            django.db.models.lookups.LessThanOrEqual(
                                django.db.models.functions.text.Length(
                                    models.F("host")
                                ),
                                253,
                            ),
                            models.Q(
                                tenancy.backends.texts.HasOnly(
                                    models.F("host"), "0-9."
                                ),
                                models.Q(("host__contains", "."), _negated=True),
                                ("host__startswith", "."),
                                ("host__endswith", "."),
                                ("host__startswith", "-"),
                                ("host__endswith", "-"),
                                ("host__contains", ".."),
                                ("host__contains", ".-"),
                                ("host__contains", "-."),
                                _connector="OR",
                                _negated=True,
                            ),
                        ),
                        name="tenancy_domain_host_formed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(models.F("token"), "0-9a-f"),
                            django.db.models.lookups.Exact(
                                django.db.models.functions.text.Length(
                                    models.F("token")
                                ),
                                64,
                            ),
                        ),
                        name="tenancy_domain_token_formed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("verified_at__isnull", True),
                                ("verified_host__isnull", True),
                            ),
                            models.Q(
                                ("verified_at__isnull", False),
                                ("verified_host__isnull", False),
                                ("verified_host", models.F("host")),
                            ),
                            _connector="OR",
                        ),
                        name="tenancy_domain_verified_is_host",
                        violation_error_message="A verified domain does not become another one. Add that one.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "finding__in",
                                ["", "found", "absent", "wrong", "unanswered"],
                            )
                        ),
                        name="tenancy_domain_finding_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("checked_at__isnull", True), ("finding", "")),
                            models.Q(
                                ("checked_at__isnull", False),
                                models.Q(("finding", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="tenancy_domain_finding_dated",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("verified_at__isnull", True),
                            models.Q(
                                ("checked_at__isnull", False),
                                ("verified_at__lte", models.F("checked_at")),
                            ),
                            _connector="OR",
                        ),
                        name="tenancy_domain_verified_by_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("failing_since__isnull", True),
                            models.Q(
                                ("failing_since__gte", models.F("verified_at")),
                                ("verified_at__isnull", False),
                                ("failing_since__lte", models.F("checked_at")),
                                models.Q(("finding", "found"), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="tenancy_domain_failing_verified",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("verified_at__isnull", True),
                            ("failing_since__isnull", False),
                            ("finding__in", ["found", "unanswered"]),
                            _connector="OR",
                        ),
                        name="tenancy_domain_failure_dated",
                    ),
                    tenancy.policies.OrganizationPolicy(
                        field="organization",
                        name="tenancy_tenancy_domain_3f2683",
                        version=1,
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="OrganizationSlug",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "slug",
                    tenancy.texts.ExactCharField(
                        max_length=63, unique=True, verbose_name="slug"
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.TenantForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="slugs",
                        to=settings.TENANCY_ORGANIZATION_MODEL,
                        verbose_name="organization",
                    ),
                ),
            ],
            options={
                "verbose_name": "slug of an organization",
                "verbose_name_plural": "slugs of organizations",
                "ordering": ["slug"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(models.F("slug"), "a-z0-9-"),
                            models.Q(("slug", ""), _negated=True),
                            models.Q(("slug__startswith", "-"), _negated=True),
                            models.Q(("slug__endswith", "-"), _negated=True),
                            models.Q(("slug__contains", "--"), _negated=True),
                        ),
                        name="tenancy_organizationslug_formed",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Purchase",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=tenancy.identifiers.make_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="updated at",
                    ),
                ),
                (
                    "description",
                    models.CharField(
                        blank=True, max_length=500, verbose_name="description"
                    ),
                ),
                (
                    "amount",
                    models.BigIntegerField(
                        validators=[django.core.validators.MinValueValidator(0)],
                        verbose_name="amount in minor units",
                    ),
                ),
                (
                    "currency",
                    tenancy.texts.ExactCharField(max_length=3, verbose_name="currency"),
                ),
                (
                    "provider",
                    tenancy.texts.ExactCharField(
                        max_length=63, verbose_name="provider"
                    ),
                ),
                (
                    "provider_payment_id",
                    tenancy.texts.ExactCharField(
                        max_length=255, verbose_name="payment at the provider"
                    ),
                ),
                (
                    "metadata",
                    models.JSONField(blank=True, default=dict, verbose_name="metadata"),
                ),
                (
                    "purchased_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="purchased at"
                    ),
                ),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
            ],
            options={
                "verbose_name": "purchase",
                "verbose_name_plural": "purchases",
                "ordering": ["-purchased_at"],
                "constraints": [
                    tenancy.constraints.UniqueEverywhere(
                        fields=("provider", "provider_payment_id"),
                        name="tenancy_purchase_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gte", 0)),
                        name="tenancy_purchase_amount",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(models.F("currency"), "A-Z"),
                            django.db.models.lookups.Exact(
                                django.db.models.functions.text.Length(
                                    models.F("currency")
                                ),
                                3,
                            ),
                        ),
                        name="tenancy_purchase_currency",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("provider", ""), _negated=True),
                            models.Q(("provider_payment_id", ""), _negated=True),
                        ),
                        name="tenancy_purchase_provider_named",
                    ),
                    tenancy.policies.Immutable(
                        name="tenancy_purchase_immutable", version=1
                    ),
                    tenancy.policies.Kept(name="tenancy_purchase_kept", version=1),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.kinds.HasKind(
                                models.F("metadata"), "object"
                            )
                        ),
                        name="tenancy_purchase_metadata_kind",
                        violation_error_message="Give a JSON object.",
                    ),
                    tenancy.policies.OrganizationPolicy(
                        field="organization",
                        name="tenancy_tenancy_purchase_5b25c0",
                        version=1,
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="role",
            constraint=models.UniqueConstraint(
                fields=("organization", "key"), name="tenancy_role_key_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="role",
            constraint=models.UniqueConstraint(
                fields=("organization", "name_key"),
                name="tenancy_role_name_once",
                violation_error_message="The organization has a role of that name.",
            ),
        ),
        migrations.AddConstraint(
            model_name="role",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    tenancy.backends.texts.HasOnly(models.F("key"), "a-z0-9-"),
                    models.Q(("key", ""), _negated=True),
                    models.Q(("key__startswith", "-"), _negated=True),
                    models.Q(("key__endswith", "-"), _negated=True),
                    models.Q(("key__contains", "--"), _negated=True),
                ),
                name="tenancy_role_key_formed",
            ),
        ),
        migrations.AddConstraint(
            model_name="role",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True),
                name="tenancy_role_name_not_empty",
            ),
        ),
        migrations.AddConstraint(
            model_name="role",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    tenancy.backends.kinds.HasKind(models.F("permissions"), "array")
                ),
                name="tenancy_role_permissions_kind",
                violation_error_message="Give a JSON list.",
            ),
        ),
        migrations.AddConstraint(
            model_name="role",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_tenancy_role_f75578", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=models.UniqueConstraint(
                fields=("organization",), name="tenancy_ownership_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=models.CheckConstraint(
                condition=models.Q(("key", "owner"), ("live", True)),
                name="tenancy_ownership_of_live_owner",
            ),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=tenancy.policies.SameValue(
                field="membership",
                name="tenancy_ownership_live",
                to="tenancy.membership",
                value="live",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=tenancy.policies.SameValue(
                field="membership",
                name="tenancy_ownership_role",
                to="tenancy.membership",
                value="role",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=tenancy.policies.SameValue(
                field="role",
                name="tenancy_ownership_key",
                to="tenancy.role",
                value="key",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=tenancy.policies.Kept(name="tenancy_ownership_kept", version=1),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_tenancy_ownership_6640ac", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=tenancy.policies.SameOrganization(
                field="membership",
                name="tenancy_tenancy_ownership_membership_b22241",
                to="tenancy.membership",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="ownership",
            constraint=tenancy.policies.SameOrganization(
                field="role",
                name="tenancy_tenancy_ownership_role_671c40",
                to="tenancy.role",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(
                fields=("user", "organization"), name="tenancy_membership_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ended_at", None),
                    ("ended_at__gte", models.F("created_at")),
                    _connector="OR",
                ),
                name="tenancy_membership_end_ordered",
                violation_error_code="end_order",
                violation_error_message="A membership ends after it began.",
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=tenancy.policies.OwnRowsPolicy(
                ended="ended_at",
                name="tenancy_membership_own_rows",
                user="user",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization",
                name="tenancy_tenancy_membership_b399a2",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=tenancy.policies.SameOrganization(
                field="role",
                name="tenancy_tenancy_membership_role_fc9852",
                to="tenancy.role",
                version=1,
            ),
        ),
        migrations.AddIndex(
            model_name="invitation",
            index=tenancy.indexes.PartialIndex(
                fields=["pending_email"],
                name="tenancy_invitation_address",
                where=models.Q(("pending_email__isnull", False)),
            ),
        ),
        migrations.AddIndex(
            model_name="invitation",
            index=tenancy.indexes.PartialIndex(
                fields=["organization", "status", "expires_at"],
                name="tenancy_invitation_pending",
                where=models.Q(("status", "pending")),
            ),
        ),
        migrations.AddIndex(
            model_name="invitation",
            index=tenancy.indexes.PartialIndex(
                fields=["status", "expires_at"],
                name="tenancy_invitation_expiry",
                where=models.Q(("status", "pending")),
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=tenancy.constraints.UniqueEverywhere(
                fields=("token_digest",), name="tenancy_invitation_token"
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.UniqueConstraint(
                fields=("organization", "pending_email"),
                name="tenancy_invitation_pending_once",
                violation_error_code="pending",
                violation_error_message="The address has a pending invitation.",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        ["pending", "accepted", "declined", "revoked", "expired"],
                    )
                ),
                name="tenancy_invitation_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("answered_at", None), ("status", "pending")),
                    models.Q(
                        models.Q(("status", "pending"), _negated=True),
                        ("answered_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="tenancy_invitation_answer_dated",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("answered_at", None),
                    ("answered_at__gte", models.F("created_at")),
                    _connector="OR",
                ),
                name="tenancy_invitation_answer_ordered",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("email", None),
                    models.Q(
                        ("email__contains", "@"),
                        models.Q(("email__contains", " "), _negated=True),
                        models.Q(("email__startswith", "@"), _negated=True),
                        models.Q(("email__endswith", "@"), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="tenancy_invitation_email_formed",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("email", None),
                    ("email", django.db.models.functions.text.Lower("email")),
                    _connector="OR",
                ),
                name="tenancy_invitation_email_lower",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    tenancy.backends.texts.HasOnly(models.F("token_digest"), "0-9a-f"),
                    django.db.models.lookups.Exact(
                        django.db.models.functions.text.Length(
                            models.F("token_digest")
                        ),
                        64,
                    ),
                ),
                name="tenancy_invitation_token_digest",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__gt", models.F("created_at"))),
                name="tenancy_invitation_expires_later",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization",
                name="tenancy_tenancy_invitation_25211c",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=tenancy.policies.SameOrganization(
                field="role",
                name="tenancy_tenancy_invitation_role_4611df",
                to="tenancy.role",
                version=1,
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=tenancy.indexes.PartialIndex(
                fields=["revoked_at"],
                name="tenancy_session_revoked",
                where=models.Q(("revoked_at__isnull", False)),
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.UniqueConstraint(
                fields=("key_digest",), name="tenancy_session_key_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(("revoked_at", None), ("data", ""), _connector="OR"),
                name="tenancy_session_end_without_data",
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("end_reason", ""), ("revoked_at", None)),
                    models.Q(
                        models.Q(("end_reason", ""), _negated=True),
                        ("revoked_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="tenancy_session_end_dated",
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("revoked_at", None),
                    ("revoked_at__gte", models.F("created_at")),
                    _connector="OR",
                ),
                name="tenancy_session_end_in_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    tenancy.backends.texts.HasOnly(models.F("key_digest"), "0-9a-f"),
                    django.db.models.lookups.Exact(
                        django.db.models.functions.text.Length(models.F("key_digest")),
                        64,
                    ),
                ),
                name="tenancy_session_key_digest",
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("membership", None), ("user__isnull", False), _connector="OR"
                ),
                name="tenancy_session_membership_of_user",
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=tenancy.policies.SameUser(
                field="membership",
                name="tenancy_session_membership_own",
                to="tenancy.membership",
                user="user",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("impersonator", None),
                    models.Q(
                        ("user__isnull", False),
                        models.Q(("impersonator", models.F("user")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="tenancy_session_impersonates_other",
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("end_reason__in", ["", "ended", "password", "ban"])
                ),
                name="tenancy_session_end_reason_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=tenancy.policies.SameValue(
                field="plan",
                name="tenancy_subscription_plan_product",
                to="tenancy.plan",
                value="product",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=tenancy.policies.SameValue(
                field="next_plan",
                name="tenancy_subscription_next_product",
                to="tenancy.plan",
                value="product",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                fields=("organization", "live_product"),
                name="tenancy_subscription_live_once",
                violation_error_code="live_twice",
                violation_error_message="The organization has a live subscription to that product.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                fields=("organization", "own_trial"),
                name="tenancy_subscription_trial_once",
                violation_error_code="trial_twice",
                violation_error_message="The organization has had its trial.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=tenancy.constraints.UniqueEverywhere(
                fields=("provider", "provider_subscription_id"),
                name="tenancy_subscription_provider_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "incomplete",
                            "incomplete_expired",
                            "trialing",
                            "active",
                            "past_due",
                            "canceled",
                            "unpaid",
                            "paused",
                        ],
                    )
                ),
                name="tenancy_subscription_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(("interval__in", ["day", "week", "month", "year"])),
                name="tenancy_subscription_interval_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(("seats__gte", 1), ("seats__lte", 2147483647)),
                name="tenancy_subscription_seats",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("current_period_end__gt", models.F("current_period_start"))
                ),
                name="tenancy_subscription_period_ordered",
                violation_error_code="period_order",
                violation_error_message="The period ends after its start.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("trial_end", None), ("trial_start", None)),
                    models.Q(
                        ("trial_end__gt", models.F("trial_start")),
                        ("trial_end__isnull", False),
                        ("trial_start__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="tenancy_subscription_trial_ordered",
                violation_error_code="trial_order",
                violation_error_message="A trial has a start, and ends after it.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "trialing"), _negated=True),
                    ("trial_end__isnull", False),
                    _connector="OR",
                ),
                name="tenancy_subscription_trial_dated",
                violation_error_code="trial_date",
                violation_error_message="What is on trial has the trial's end.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("status__in", ("canceled", "incomplete_expired")),
                        ("ended_at__isnull", False),
                    ),
                    models.Q(
                        models.Q(
                            ("status__in", ("canceled", "incomplete_expired")),
                            _negated=True,
                        ),
                        ("ended_at", None),
                    ),
                    _connector="OR",
                ),
                name="tenancy_subscription_end_dated",
                violation_error_code="end_date",
                violation_error_message="What has ended has the time of its end; what is live has none.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("cancel_at", None),
                    models.Q(
                        ("cancel_at__gte", models.F("canceled_at")),
                        ("canceled_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="tenancy_subscription_cancel_ordered",
                violation_error_code="cancel_order",
                violation_error_message="It ends after it was canceled; the time of that is needed.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ended_at", None),
                    ("canceled_at", None),
                    ("ended_at__gte", models.F("canceled_at")),
                    _connector="OR",
                ),
                name="tenancy_subscription_end_ordered",
                violation_error_code="end_order",
                violation_error_message="It has ended after it was canceled.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    tenancy.backends.texts.HasOnly(models.F("product"), "a-z0-9-"),
                    models.Q(("product", ""), _negated=True),
                    models.Q(("product__startswith", "-"), _negated=True),
                    models.Q(("product__endswith", "-"), _negated=True),
                    models.Q(("product__contains", "--"), _negated=True),
                ),
                name="tenancy_subscription_product",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("provider_subscription_id", None),
                    models.Q(
                        models.Q(("provider_subscription_id", ""), _negated=True),
                        models.Q(("provider", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="tenancy_subscription_provider_named",
                violation_error_code="provider_name",
                violation_error_message="A subscription at a provider has the provider's name.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization",
                name="tenancy_tenancy_subscription_ad9cec",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="team",
            constraint=models.UniqueConstraint(
                fields=("organization", "name_key"),
                name="tenancy_team_name_once",
                violation_error_message="The organization has a team of that name.",
            ),
        ),
        migrations.AddConstraint(
            model_name="team",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True),
                name="tenancy_team_name_not_empty",
            ),
        ),
        migrations.AddConstraint(
            model_name="team",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_tenancy_team_76e58a", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="teammembership",
            constraint=models.UniqueConstraint(
                fields=("organization", "team", "membership"),
                name="tenancy_teammembership_once",
                violation_error_message="The member is in the team already.",
            ),
        ),
        migrations.AddConstraint(
            model_name="teammembership",
            constraint=models.CheckConstraint(
                condition=models.Q(("live", True)),
                name="tenancy_teammembership_of_live",
            ),
        ),
        migrations.AddConstraint(
            model_name="teammembership",
            constraint=tenancy.policies.SameValue(
                field="membership",
                name="tenancy_teammembership_live",
                to="tenancy.membership",
                value="live",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="teammembership",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization",
                name="tenancy_tenancy_teammembership_505412",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="teammembership",
            constraint=tenancy.policies.SameOrganization(
                field="team",
                name="tenancy_tenancy_teammembership_team_c8b8d0",
                to="tenancy.team",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="teammembership",
            constraint=tenancy.policies.SameOrganization(
                field="membership",
                name="tenancy_tenancy_teammembership_membership_c6e03b",
                to="tenancy.membership",
                version=1,
            ),
        ),
    ]
