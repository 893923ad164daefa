import django.db.models.deletion
from django.conf import settings
from django.db import migrations

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0004_remove_task_tenancy_alpha_task_second_2b3679_and_more"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="task",
            name="tenancy_alpha_task_parent_5f4ecb",
        ),
        migrations.RemoveConstraint(
            model_name="task",
            name="tenancy_alpha_task_second_2b3679",
        ),
        migrations.AddField(
            model_name="label",
            name="project",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                to="alpha.project",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="project",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                to="alpha.project",
            ),
        ),
        migrations.AddConstraint(
            model_name="label",
            constraint=tenancy.policies.SameOrganization(
                field="project",
                name="tenancy_alpha_label_project_91ee4f",
                to="alpha.project",
                version=1,
            ),
        ),
        migrations.AlterModelTable(
            name="task",
            table=None,
        ),
        migrations.RemoveField(
            model_name="task",
            name="labels",
        ),
        migrations.RemoveField(
            model_name="task",
            name="parent",
        ),
        migrations.RemoveField(
            model_name="task",
            name="second",
        ),
    ]
