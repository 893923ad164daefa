from django.conf import settings
from django.db import migrations

import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0005_remove_task_tenancy_alpha_task_parent_5f4ecb_and_more"),
        ("beta", "0004_remove_gadget_tenancy_beta_gadget_one_efeb5d_and_more"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.RenameModel(
            old_name="Task",
            new_name="Job",
        ),
        migrations.RenameModel(
            old_name="Project",
            new_name="Venture",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="tenancy_alpha_task_022982",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="tenancy_alpha_task_project_7bf7b8",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="tenancy_alpha_task_gadget_f43a21",
        ),
        migrations.RemoveConstraint(
            model_name="label",
            name="tenancy_alpha_label_project_91ee4f",
        ),
        migrations.RemoveConstraint(
            model_name="venture",
            name="tenancy_alpha_project_8a5e89",
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_alpha_job_cb1471", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=tenancy.policies.SameOrganization(
                field="project",
                name="tenancy_alpha_job_project_d83901",
                to="alpha.venture",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=tenancy.policies.SameOrganization(
                field="gadget",
                name="tenancy_alpha_job_gadget_21b499",
                to="beta.gadget",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="label",
            constraint=tenancy.policies.SameOrganization(
                field="project",
                name="tenancy_alpha_label_project_91ee4f",
                to="alpha.venture",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="venture",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_alpha_venture_5f2625", version=1
            ),
        ),
    ]
