import uuid

from django.conf import settings
from django.db import migrations, models

import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0006_rename_task_job_rename_project_venture_and_more"),
        ("beta", "0005_remove_gadget_tenancy_beta_gadget_task_f610db_and_more"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="job",
            name="tenancy_alpha_job_project_d83901",
        ),
        migrations.RemoveConstraint(
            model_name="label",
            name="tenancy_alpha_label_project_91ee4f",
        ),
        migrations.RenameField(
            model_name="job",
            old_name="project",
            new_name="venture",
        ),
        migrations.RenameField(
            model_name="label",
            old_name="project",
            new_name="venture",
        ),
        migrations.RenameField(
            model_name="venture",
            old_name="name",
            new_name="title",
        ),
        migrations.AddField(
            model_name="venture",
            name="token",
            field=models.UUIDField(default=uuid.uuid4, unique=True),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=tenancy.policies.SameOrganization(
                field="venture",
                name="tenancy_alpha_job_venture_333c76",
                to="alpha.venture",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="label",
            constraint=tenancy.policies.SameOrganization(
                field="venture",
                name="tenancy_alpha_label_venture_ba26a9",
                to="alpha.venture",
                version=1,
            ),
        ),
    ]
