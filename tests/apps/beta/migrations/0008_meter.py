from django.conf import settings
from django.db import migrations, models

import tenancy.fields
import tenancy.policies


class Migration(migrations.Migration):
    dependencies = [
        ("beta", "0007_remove_gadget_tenancy_beta_gadget_job_5e62c1_and_more"),
        migrations.swappable_dependency(settings.TENANCY_ORGANIZATION_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Meter",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization_id",
                        "number",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("number", models.IntegerField()),
                ("value", models.IntegerField(default=0)),
                (
                    "organization",
                    tenancy.fields.OrganizationForeignKey(verbose_name="organization"),
                ),
            ],
            options={
                "db_table": "Beta Meter",
                "abstract": False,
                "constraints": [
                    tenancy.policies.OrganizationPolicy(
                        field="organization",
                        name="tenancy_beta_meter_76daa8",
                        version=1,
                    )
                ],
            },
        ),
    ]
