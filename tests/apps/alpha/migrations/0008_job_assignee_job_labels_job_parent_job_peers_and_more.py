import django.db.models.deletion
from django.conf import settings
from django.db import migrations

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0007_remove_job_tenancy_alpha_job_project_d83901_and_more"),
        ("beta", "0006_remove_gadget_tenancy_beta_gadget_task_f610db_and_more"),
        ("tenancy", "0002_membership"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="assignee",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="tenancy.membership",
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="labels",
            field=tenancy.fields.TenantManyToManyField(to="alpha.label"),
        ),
        migrations.AddField(
            model_name="job",
            name="parent",
            field=tenancy.fields.TenantForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, to="alpha.job"
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="peers",
            field=tenancy.fields.TenantManyToManyField(to="alpha.job"),
        ),
        migrations.AddField(
            model_name="label",
            name="by_token",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="alpha.venture",
                to_field="token",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=tenancy.policies.SameOrganization(
                field="parent",
                name="tenancy_alpha_job_parent_4b8931",
                to="alpha.job",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=tenancy.policies.SameOrganization(
                field="assignee",
                name="tenancy_alpha_job_assignee_422578",
                to="tenancy.membership",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="label",
            constraint=tenancy.policies.SameOrganization(
                field="by_token",
                name="tenancy_alpha_label_by_token_831e61",
                to="alpha.venture",
                version=1,
            ),
        ),
    ]
