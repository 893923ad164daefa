from __future__ import annotations

import pytest
from django.db.models import Model

from tenancy.models import Organization
from tests.isolation.sweeps import Sweep, list_protected_models

CHECKS = [
    name.removeprefix("check_") for name in vars(Sweep) if name.startswith("check_")
]


@pytest.mark.parametrize("check", [name for name in CHECKS if name != "key"])
@pytest.mark.parametrize(
    "model", list_protected_models(), ids=lambda model: model._meta.db_table
)
def test_sweep_when_in_acme_holds(
    model: type[Model], check: str, acme: Organization, globex: Organization
) -> None:
    """Each check of the sweep holds of each protected model."""
    sweep = Sweep(acme, globex)

    sweep.run_one(getattr(sweep, f"check_{check}"), model)
