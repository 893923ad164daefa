from __future__ import annotations

from django.db import models

from tenancy.fields import TenantForeignKey
from tenancy.models import TenantModel


class Gadget(TenantModel):
    job = TenantForeignKey(
        "alpha.Work", null=True, on_delete=models.CASCADE, related_name="gadgets"
    )
