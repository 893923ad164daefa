import django.db.models.deletion
from django.conf import settings
from django.db import migrations

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("alpha", "0001_initial"),
        ("beta", "0001_initial"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="label",
            name="organization",
            field=tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
        ),
        migrations.AddField(
            model_name="project",
            name="organization",
            field=tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
        ),
        migrations.AddField(
            model_name="task",
            name="gadget",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="beta.gadget",
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="organization",
            field=tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
        ),
        migrations.AddField(
            model_name="task",
            name="parent",
            field=tenancy.fields.TenantForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, to="alpha.task"
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="project",
            field=tenancy.fields.TenantForeignKey(
                on_delete=django.db.models.deletion.CASCADE, to="alpha.project"
            ),
        ),
        migrations.AddConstraint(
            model_name="label",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_alpha_label_171b93", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_alpha_project_8a5e89", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=tenancy.policies.OrganizationPolicy(
                field="organization", name="tenancy_alpha_task_022982", version=1
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=tenancy.policies.SameOrganization(
                field="project",
                name="tenancy_alpha_task_project_7bf7b8",
                to="alpha.project",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=tenancy.policies.SameOrganization(
                field="parent",
                name="tenancy_alpha_task_parent_5f4ecb",
                to="alpha.task",
                version=1,
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=tenancy.policies.SameOrganization(
                field="gadget",
                name="tenancy_alpha_task_gadget_f43a21",
                to="beta.gadget",
                version=1,
            ),
        ),
    ]
