import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0008_job_assignee_job_labels_job_parent_job_peers_and_more"),
        ("beta", "0006_remove_gadget_tenancy_beta_gadget_task_f610db_and_more"),
        ("tenancy", "0002_membership"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Work",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
            ],
            options={
                "db_table": "UPPER_works",
            },
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="tenancy_alpha_job_gadget_21b499",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="tenancy_alpha_job_venture_333c76",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="tenancy_alpha_job_assignee_422578",
        ),
        migrations.RemoveConstraint(
            model_name="label",
            name="tenancy_alpha_label_171b93",
        ),
        migrations.RemoveConstraint(
            model_name="label",
            name="tenancy_alpha_label_by_token_831e61",
        ),
        migrations.AlterField(
            model_name="label",
            name="organization",
            field=tenancy.fields.OrganizationForeignKey(
                db_column="Org Key", verbose_name="organization"
            ),
        ),
        migrations.AddConstraint(
            model_name="label",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization",
                name="tenancy_alpha_label_org key_8c46ae",
                version=1,
            ),
        ),
        migrations.AddField(
            model_name="work",
            name="assignee",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="tenancy.membership",
            ),
        ),
        migrations.AddField(
            model_name="work",
            name="gadget",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="beta.gadget",
            ),
        ),
        migrations.AddField(
            model_name="work",
            name="organization",
            field=tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
        ),
        migrations.AddField(
            model_name="work",
            name="parent",
            field=tenancy.fields.TenantForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, to="alpha.work"
            ),
        ),
        migrations.AddField(
            model_name="work",
            name="peers",
            field=tenancy.fields.TenantManyToManyField(to="alpha.work"),
        ),
        migrations.AddField(
            model_name="work",
            name="tags",
            field=tenancy.fields.TenantManyToManyField(to="alpha.label"),
        ),
        migrations.AddField(
            model_name="work",
            name="undertaking",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                to="alpha.venture",
            ),
        ),
        migrations.RemoveField(
            model_name="job",
            name="assignee",
        ),
        migrations.RemoveField(
            model_name="job",
            name="gadget",
        ),
        migrations.RemoveField(
            model_name="job",
            name="venture",
        ),
        migrations.RemoveField(
            model_name="label",
            name="by_token",
        ),
        migrations.AddConstraint(
            model_name="work",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_alpha_work_82992a", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="work",
            constraint=tenancy.policies.SameOrganization(
                field="undertaking",
                name="tenancy_alpha_work_undertaking_6cb8a4",
                to="alpha.venture",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="work",
            constraint=tenancy.policies.SameOrganization(
                field="parent",
                name="tenancy_alpha_work_parent_b1e256",
                to="alpha.work",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="work",
            constraint=tenancy.policies.SameOrganization(
                field="assignee",
                name="tenancy_alpha_work_assignee_bda999",
                to="tenancy.membership",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="work",
            constraint=tenancy.policies.SameOrganization(
                field="gadget",
                name="tenancy_alpha_work_gadget_54ca14",
                to="beta.gadget",
                version=1,
            ),
        ),
    ]
