import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import tenancy.fields
import tenancy.identifiers
import tenancy.policies


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
                    "key",
                    models.SlugField(db_index=False, max_length=63, verbose_name="key"),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                (
                    "permissions",
                    models.JSONField(
                        blank=True, default=list, verbose_name="permissions"
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
                    "ended_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="ended at"
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
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
                (
                    "user",
                    tenancy.fields.TenantForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
                (
                    "role",
                    tenancy.fields.TenantForeignKey(
                        blank=True,
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="memberships",
                        to="tenancy.role",
                        verbose_name="role",
                    ),
                ),
            ],
            options={
                "verbose_name": "membership",
                "verbose_name_plural": "memberships",
                "ordering": ["created_at"],
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
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True),
                name="tenancy_role_name_not_empty",
            ),
        ),
        migrations.AddConstraint(
            model_name="role",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_tenancy_role_f75578", version=1
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
    ]
