import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0002_initial"),
        ("beta", "0002_initial"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="project",
            name="code",
            field=models.CharField(default="x", max_length=50, unique=True),
        ),
        migrations.AddField(
            model_name="task",
            name="labels",
            field=tenancy.fields.TenantManyToManyField(to="alpha.label"),
        ),
        migrations.AddField(
            model_name="task",
            name="second",
            field=tenancy.fields.TenantForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="alpha.project",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=tenancy.policies.SameOrganization(
                field="second",
                name="tenancy_alpha_task_second_2b3679",
                to="alpha.project",
                version=1,
            ),
        ),
    ]
