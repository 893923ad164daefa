import django.db.models.deletion
from django.conf import settings
from django.db import migrations

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("alpha", "0003_project_code_task_labels_task_second_and_more"),
        ("beta", "0002_initial"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="gadget",
            name="one",
            field=tenancy.fields.TenantOneToOneField(
                null=True, on_delete=django.db.models.deletion.CASCADE, to="alpha.label"
            ),
        ),
        migrations.AddConstraint(
            model_name="gadget",
            constraint=tenancy.policies.SameOrganization(
                field="one",
                name="tenancy_beta_gadget_one_efeb5d",
                to="alpha.label",
                version=1,
            ),
        ),
    ]
