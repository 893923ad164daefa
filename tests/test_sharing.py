from __future__ import annotations

import pytest
from django.db import connection, transaction

import tenancy
from tenancy.models import Membership, Organization, User
from tests.sharing import held

twice = pytest.mark.parametrize("number", [1, 2])


@twice
def test_changes_of_a_test_are_undone(
    acme: Organization, alice: User, number: int
) -> None:
    """The next test finds the rows, and the objects, as they were made."""
    assert (acme.name, alice.is_staff) == ("Acme", False)
    alice.refresh_from_db()
    assert not alice.is_staff

    acme.name = "Other"
    alice.is_staff = True
    alice.save()
    with tenancy.scope(acme):
        Membership.objects.add(user=User.objects.create_user("b@acme.example"))
        assert Membership.objects.count() == 2


def test_copies_of_a_test_are_one_of_each(acme: Organization, alice: User) -> None:
    """Whatever leads to an object leads to the test's own."""
    both = held.copies[id(held.values["acme"])], held.copies[id(held.values["alice"])]

    assert (both[0], both[1]) == (acme, alice)
    assert both[0] is acme and both[1] is alice


def test_rows_that_are_not_asked_for_are_not_there(alice: User) -> None:
    """A test counts what it made, and no neighbour's organizations."""
    assert User.objects.count() == 1
    with tenancy.unscoped("a test"):
        assert Organization.objects.count() == 0


@twice
def test_rows_are_made_again_where_a_test_closed_the_connection(
    acme: Organization, number: int
) -> None:
    """What was built is gone with the connection."""
    with tenancy.scope(acme):
        assert Membership.objects.count() == 1

    connection.close()


@twice
@pytest.mark.django_db(transaction=True)
def test_rows_of_a_committing_test_are_its_own(acme: Organization, number: int) -> None:
    """Other connections see them."""
    assert held.key is None
    transaction.get_connection().close()
    with tenancy.scope(acme):
        assert Membership.objects.count() == 1
