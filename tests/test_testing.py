from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model

import tenancy
from tenancy import testing
from tenancy.models import (
    Lock,
    Membership,
    Organization,
    OrganizationSlug,
    Ownership,
    Team,
)

pytestmark = pytest.mark.django_db

# Any: factory-boy is not typed.
CLASSES: list[Any] = [one for one in vars(testing).values() if inspect.isclass(one)]
FACTORIES: dict[type[Model], Any] = {
    factory._meta.get_model_class(): factory
    for factory in CLASSES
    if factory.__module__ == testing.__name__ and not factory._meta.abstract
}

# Rows that come with others, and are made by nobody.
WITHOUT_FACTORY = {Lock, OrganizationSlug, Ownership}


def test_factories_when_counted_are_one_a_model() -> None:
    """Each model has a factory, but for those whose rows come with others."""
    models = set(apps.get_app_config("tenancy").get_models())

    assert set(FACTORIES) == models - WITHOUT_FACTORY


@pytest.mark.parametrize("model", FACTORIES, ids=lambda model: model.__name__)
def test_row_when_made_is_valid(model: type[Model]) -> None:
    """What a factory makes is saved, and passes full_clean()."""
    row = FACTORIES[model]()

    with tenancy.unscoped("rows of any organization"):
        assert model._default_manager.filter(pk=row.pk).exists()
        row.full_clean()


def test_tenant_row_when_given_organization_is_its(
    acme: Organization, globex: Organization
) -> None:
    """A row goes into the organization that is given, with all that comes with it."""
    row = testing.TeamMembershipFactory(organization=acme)

    with tenancy.scope(acme):
        assert row.team in Team.objects.all()
        assert row.membership in Membership.objects.all()
    with tenancy.scope(globex):
        assert not Team.objects.exists()


def test_tenant_row_when_in_scope_is_the_scopes(acme: Organization) -> None:
    """A row goes into the active scope's organization."""
    with tenancy.scope(acme):
        testing.TeamFactory.create_batch(2)

        assert Team.objects.filter(organization=acme).count() == 2


def test_tenant_row_when_of_other_scope_is_refused(
    acme: Organization, globex: Organization
) -> None:
    """A factory does not lead out of the scope."""
    with (
        tenancy.scope(acme),
        pytest.raises(tenancy.exceptions.CrossOrganization, match="another organiz"),
    ):
        testing.TeamFactory(organization=globex)
