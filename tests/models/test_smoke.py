import pytest
import tenancy
from tenancy.models import *
from tenancy.exceptions import *
@pytest.mark.django_db
def test_smoke(acme, alice, bob, globex):
    with tenancy.scope(acme, user=alice):
        m = Membership.objects.add(user=bob)
        assert m.role.key == "member"
        m.change_role("admin"); 
        own = Membership.objects.get(user=alice)
        with pytest.raises(LastOwner): own.end()
        with pytest.raises(LastOwner): own.change_role("member")
        own = Membership.objects.get(user=alice)
        with pytest.raises(LastOwner): own.delete()
        with pytest.raises(LastOwner): Membership.objects.all().delete()
        with pytest.raises(LastOwner): Membership.objects.update(ended_at=own.created_at)
        m.end()
        m = Membership.objects.add(user=bob, role="owner")
        own.end()
    with tenancy.unscoped("x"):
        Organization.objects.filter(pk=acme.pk).delete()
        with pytest.raises(HasMemberships): alice.delete() if False else bob.delete()
