from django.db import models

from tenancy.fields import TenantForeignKey
from tenancy.models import TenantModel


class Notebook(TenantModel):
    name = models.CharField(max_length=100)


class Note(TenantModel):
    notebook = TenantForeignKey(Notebook, on_delete=models.CASCADE)
    title = models.CharField(max_length=100)
