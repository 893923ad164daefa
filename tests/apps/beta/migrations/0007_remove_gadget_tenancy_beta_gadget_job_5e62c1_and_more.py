import django.db.models.deletion
from django.conf import settings
from django.db import migrations

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0009_work_remove_job_tenancy_alpha_job_gadget_21b499_and_more"),
        ("beta", "0006_remove_gadget_tenancy_beta_gadget_task_f610db_and_more"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="gadget",
            name="tenancy_beta_gadget_job_5e62c1",
        ),
        migrations.AlterField(
            model_name="gadget",
            name="job",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="gadgets",
                to="alpha.work",
            ),
        ),
        migrations.AddConstraint(
            model_name="gadget",
            constraint=tenancy.policies.SameOrganization(
                field="job",
                name="tenancy_beta_gadget_job_5e62c1",
                to="alpha.work",
                version=1,
            ),
        ),
    ]
