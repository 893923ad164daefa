from django.conf import settings
from django.db import migrations

import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0006_rename_task_job_rename_project_venture_and_more"),
        ("beta", "0004_remove_gadget_tenancy_beta_gadget_one_efeb5d_and_more"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="gadget",
            name="tenancy_beta_gadget_task_f610db",
        ),
        migrations.AddConstraint(
            model_name="gadget",
            constraint=tenancy.policies.SameOrganization(
                field="task",
                name="tenancy_beta_gadget_task_f610db",
                to="alpha.job",
                version=1,
            ),
        ),
    ]
