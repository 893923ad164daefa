from __future__ import annotations

from django.db import models

from tenancy.fields import TenantForeignKey
from tenancy.models import TenantModel


class Gadget(TenantModel):
    job = TenantForeignKey(
        "alpha.Work", null=True, on_delete=models.CASCADE, related_name="gadgets"
    )


class Meter(TenantModel):
    """A row whose key is of two columns, in a table whose name needs quotes."""

    pk = models.CompositePrimaryKey("organization_id", "number")
    number = models.IntegerField()
    value = models.IntegerField(default=0)

    class Meta:
        db_table = "Beta Meter"

    def __str__(self) -> str:
        return str(self.number)
