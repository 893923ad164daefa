from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("beta", "0003_gadget_one_gadget_tenancy_beta_gadget_one_efeb5d"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="gadget",
            name="tenancy_beta_gadget_one_efeb5d",
        ),
        migrations.RemoveField(
            model_name="gadget",
            name="one",
        ),
    ]
