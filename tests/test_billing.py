from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tenancy.billing import billing_handler, find_handler
from tenancy.exceptions import BillingHandlerMissing
from tenancy.models import BillingEvent


@billing_handler("registry", "thing.created", "thing.changed")
def _apply_thing(event: BillingEvent) -> bool:
    return bool(event)


def test_find_handler_knows_types() -> None:
    """A function is found by each of its types; for other types there is none."""
    assert find_handler("registry", "thing.created") is _apply_thing
    assert find_handler("registry", "thing.changed") is _apply_thing
    assert find_handler("registry", "thing.deleted") is None


def test_billing_handler_when_type_has_one_is_refused() -> None:
    """A type has one handler; the same again is nothing."""
    billing_handler("registry", "thing.created")(_apply_thing)

    with pytest.raises(ValueError, match=r"'thing.created' of 'registry' have a"):
        billing_handler("registry", "thing.created")(lambda event: True)


def test_find_handler_when_provider_is_unknown_raises() -> None:
    """A provider of which nobody has heard is a fault of the settings."""
    with pytest.raises(BillingHandlerMissing, match="TENANCY_BILLING_HANDLERS"):
        find_handler("nobody", "thing.created")

    assert issubclass(BillingHandlerMissing, ImproperlyConfigured)


@override_settings(TENANCY_BILLING_HANDLERS=["tenancy.contrib.stripe"])
def test_find_handler_imports_modules_of_settings() -> None:
    """The modules that the setting names have registered theirs."""
    assert find_handler("stripe", "customer.subscription.updated") is not None


@override_settings(TENANCY_BILLING_HANDLERS=["no.such.module"])
def test_find_handler_when_module_is_missing_raises() -> None:
    """A module that is not there is not passed over."""
    with pytest.raises(ModuleNotFoundError):
        find_handler("registry", "thing.created")
