import django.db.models.deletion
from django.conf import settings
from django.db import migrations

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("alpha", "0002_initial"),
        ("beta", "0001_initial"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="gadget",
            name="organization",
            field=tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
        ),
        migrations.AddField(
            model_name="gadget",
            name="task",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="gadgets",
                to="alpha.task",
            ),
        ),
        migrations.AddConstraint(
            model_name="gadget",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_beta_gadget_6bffc7", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="gadget",
            constraint=tenancy.policies.SameOrganization(
                field="task",
                name="tenancy_beta_gadget_task_f610db",
                to="alpha.task",
                version=1,
            ),
        ),
    ]
