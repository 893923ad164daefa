from django.conf import settings
from django.db import migrations

import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0007_remove_job_tenancy_alpha_job_project_d83901_and_more"),
        ("beta", "0005_remove_gadget_tenancy_beta_gadget_task_f610db_and_more"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="gadget",
            name="tenancy_beta_gadget_task_f610db",
        ),
        migrations.RenameField(
            model_name="gadget",
            old_name="task",
            new_name="job",
        ),
        migrations.AddConstraint(
            model_name="gadget",
            constraint=tenancy.policies.SameOrganization(
                field="job",
                name="tenancy_beta_gadget_job_5e62c1",
                to="alpha.job",
                version=1,
            ),
        ),
    ]
