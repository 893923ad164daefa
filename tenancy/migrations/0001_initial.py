import django.core.validators
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models

import tenancy.backends.kinds
import tenancy.backends.texts
import tenancy.identifiers
import tenancy.policies
import tenancy.texts


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.CreateModel(
            name="Organization",
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
                ("name", models.CharField(max_length=200, verbose_name="name")),
                (
                    "slug",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        max_length=63,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]+(-[a-z0-9]+)*\\Z",
                                "Use lower-case letters, digits, and single hyphens between them.",
                            )
                        ],
                        verbose_name="slug",
                    ),
                ),
                (
                    "logo",
                    models.CharField(
                        blank=True,
                        max_length=500,
                        validators=[
                            django.core.validators.URLValidator(schemes=["https"])
                        ],
                        verbose_name="logo",
                    ),
                ),
                (
                    "status",
                    tenancy.texts.ExactCharField(
                        choices=[
                            ("active", "active"),
                            ("suspended", "suspended"),
                            ("archived", "archived"),
                        ],
                        default="active",
                        editable=False,
                        max_length=16,
                        verbose_name="status",
                    ),
                ),
                (
                    "metadata",
                    models.JSONField(blank=True, default=dict, verbose_name="metadata"),
                ),
                (
                    "billing_customer_id",
                    tenancy.texts.ExactCharField(
                        blank=True,
                        editable=False,
                        max_length=255,
                        null=True,
                        unique=True,
                        verbose_name="billing customer",
                    ),
                ),
                (
                    "living_slug",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(
                                models.Q(("status", "archived"), _negated=True),
                                then=models.F("slug"),
                            ),
                            default=None,
                        ),
                        output_field=tenancy.texts.ExactCharField(
                            max_length=63, null=True
                        ),
                        verbose_name="slug while not archived",
                    ),
                ),
            ],
            options={
                "verbose_name": "organization",
                "verbose_name_plural": "organizations",
                "ordering": ["name"],
                "abstract": False,
                "swappable": "TENANCY_ORGANIZATION_MODEL",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True),
                        name="tenancy_organization_name_not_empty",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["active", "suspended", "archived"])
                        ),
                        name="tenancy_organization_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.texts.HasOnly(models.F("slug"), "a-z0-9-"),
                            models.Q(("slug", ""), _negated=True),
                            models.Q(("slug__startswith", "-"), _negated=True),
                            models.Q(("slug__endswith", "-"), _negated=True),
                            models.Q(("slug__contains", "--"), _negated=True),
                        ),
                        name="tenancy_organization_slug_formed",
                    ),
                    models.UniqueConstraint(
                        fields=("living_slug",), name="tenancy_organization_slug_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("billing_customer_id", None),
                            models.Q(("billing_customer_id", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="tenancy_organization_customer_not_empty",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            tenancy.backends.kinds.HasKind(
                                models.F("metadata"), "object"
                            )
                        ),
                        name="tenancy_organization_metadata_kind",
                        violation_error_message="Give a JSON object.",
                    ),
                    tenancy.policies.OrganizationPolicy(
                        field="id",
                        name="tenancy_tenancy_organization_65dd41",
                        version=1,
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="User",
            fields=[
                ("password", models.CharField(max_length=128, verbose_name="password")),
                (
                    "last_login",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="last login"
                    ),
                ),
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
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                (
                    "email",
                    tenancy.texts.ExactEmailField(
                        error_messages={
                            "unique": "A user with that e-mail address exists."
                        },
                        max_length=254,
                        unique=True,
                        verbose_name="e-mail address",
                    ),
                ),
                (
                    "email_verified_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        null=True,
                        verbose_name="e-mail verified at",
                    ),
                ),
                (
                    "name",
                    models.CharField(blank=True, max_length=200, verbose_name="name"),
                ),
                (
                    "image",
                    models.CharField(
                        blank=True,
                        max_length=500,
                        validators=[
                            django.core.validators.URLValidator(schemes=["https"])
                        ],
                        verbose_name="image",
                    ),
                ),
                (
                    "locale",
                    models.CharField(
                        blank=True, max_length=35, verbose_name="language"
                    ),
                ),
                (
                    "time_zone",
                    models.CharField(
                        blank=True, max_length=64, verbose_name="time zone"
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Switch this off instead of deleting the user.",
                        verbose_name="active",
                    ),
                ),
                (
                    "is_staff",
                    models.BooleanField(
                        default=False,
                        help_text="May sign in to this admin site.",
                        verbose_name="staff",
                    ),
                ),
                (
                    "banned_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="banned at"
                    ),
                ),
                (
                    "banned_until",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        null=True,
                        verbose_name="banned until",
                    ),
                ),
                (
                    "ban_reason",
                    models.CharField(
                        blank=True,
                        editable=False,
                        max_length=500,
                        verbose_name="reason of the ban",
                    ),
                ),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "verbose_name": "user",
                "verbose_name_plural": "users",
                "ordering": ["email"],
                "abstract": False,
                "swappable": "AUTH_USER_MODEL",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("email", django.db.models.functions.text.Lower("email"))
                        ),
                        name="tenancy_user_email_lower",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("email__contains", "@"),
                            models.Q(("email__contains", " "), _negated=True),
                            models.Q(("email__startswith", "@"), _negated=True),
                            models.Q(("email__endswith", "@"), _negated=True),
                        ),
                        name="tenancy_user_email_formed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("ban_reason", ""),
                                ("banned_at", None),
                                ("banned_until", None),
                            ),
                            models.Q(
                                ("banned_at__isnull", False), ("banned_until", None)
                            ),
                            models.Q(
                                ("banned_at__isnull", False),
                                ("banned_until__gt", models.F("banned_at")),
                            ),
                            _connector="OR",
                        ),
                        name="tenancy_user_ban_consistent",
                    ),
                ],
            },
        ),
    ]
