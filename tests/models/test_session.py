from __future__ import annotations
import pytest
from django.db import connection
from tenancy.policies import find_faults


@pytest.mark.django_db
def test_no_faults():
    faults = [f for f in find_faults(connection) if "organizationslug" not in f.table]
    assert faults == []
