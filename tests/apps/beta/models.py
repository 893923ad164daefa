from __future__ import annotations

from django.db import models

from tenancy.fields import TenantForeignKey
from tenancy.models import TenantModel


class Gadget(TenantModel):
    job = TenantForeignKey(
        "alpha.Work", null=True, on_delete=models.CASCADE, related_name="gadgets"
    )


class Meter(TenantModel):
    """A row whose key is of two columns, the organization's among them."""

    pk = models.CompositePrimaryKey("organization_id", "number")
    number = models.IntegerField()
    value = models.IntegerField(default=0)

    def __str__(self) -> str:
        return str(self.number)
