from __future__ import annotations

import uuid

from django.db import models

from tenancy.fields import (
    OrganizationForeignKey,
    TenantForeignKey,
    TenantManyToManyField,
)
from tenancy.models import TenantModel


class Venture(TenantModel):
    title = models.TextField()
    code = models.CharField(max_length=70, default="x")
    token = models.UUIDField(default=uuid.uuid4, unique=True)


class Label(TenantModel):
    name = models.CharField(max_length=50)
    organization = OrganizationForeignKey(db_column="Org Key")
    venture = TenantForeignKey(
        Venture, to_field="id", on_delete=models.CASCADE, null=True
    )


class Work(TenantModel):
    undertaking = TenantForeignKey(Venture, on_delete=models.CASCADE, null=True)
    parent = TenantForeignKey("self", null=True, on_delete=models.CASCADE)
    gadget = TenantForeignKey("beta.Gadget", null=True, on_delete=models.SET_NULL)
    tags = TenantManyToManyField(Label)
    peers = TenantManyToManyField("self")
    assignee = TenantForeignKey(
        "tenancy.Membership", null=True, on_delete=models.SET_NULL
    )

    class Meta:
        db_table = "UPPER_works"


class Job(TenantModel):
    labels = TenantManyToManyField(Label)
    peers = TenantManyToManyField("self")
    parent = TenantForeignKey("self", null=True, on_delete=models.CASCADE)
