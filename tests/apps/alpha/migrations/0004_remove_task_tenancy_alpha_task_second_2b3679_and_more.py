import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0003_project_code_task_labels_task_second_and_more"),
        ("beta", "0003_gadget_one_gadget_tenancy_beta_gadget_one_efeb5d"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="task",
            name="tenancy_alpha_task_second_2b3679",
        ),
        migrations.AlterField(
            model_name="project",
            name="code",
            field=models.CharField(default="x", max_length=70),
        ),
        migrations.AlterField(
            model_name="project",
            name="name",
            field=models.TextField(),
        ),
        migrations.AlterField(
            model_name="task",
            name="project",
            field=tenancy.fields.TenantForeignKey(
                db_column="proj",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                to="alpha.project",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="second",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="alpha.label",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=tenancy.policies.SameOrganization(
                field="second",
                name="tenancy_alpha_task_second_2b3679",
                to="alpha.label",
                version=1,
            ),
        ),
        migrations.AlterModelTable(
            name="task",
            table="Task Table",
        ),
    ]
