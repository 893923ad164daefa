"""Every page of every registered admin, as superusers open it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client

import tenancy
from project.tracker.models import Attachment, Comment, Label, Project, Task
from tenancy.models import (
    Account,
    AuditEvent,
    BillingEvent,
    Domain,
    Invitation,
    Membership,
    Organization,
    OrganizationSlug,
    Plan,
    Purchase,
    Role,
    Session,
    Subscription,
    SystemEvent,
    Team,
    User,
    Verification,
)
from tenancy.testing import (
    AccountFactory,
    AuditEventFactory,
    BillingEventFactory,
    DomainFactory,
    InvitationFactory,
    PlanFactory,
    PurchaseFactory,
    SessionFactory,
    SubscriptionFactory,
    SystemEventFactory,
    TeamFactory,
    TeamMembershipFactory,
    VerificationFactory,
)
from tests.admin.conftest import make_task
from tests.admin.urls import site

pytestmark = pytest.mark.django_db

Rows = dict[type[Model], Any]

DIGESTS = {"invitation": "a" * 64, "session": "b" * 64, "verification": "c" * 64}
CIPHERTEXT = "planted-ciphertext"
SESSION_DATA = "planted-session-data"
PAYLOAD = "planted-payload"
SECRETS = [*DIGESTS.values(), CIPHERTEXT, SESSION_DATA, PAYLOAD, "md5$"]

NOT_ADDED = {
    Account,
    AuditEvent,
    BillingEvent,
    OrganizationSlug,
    Purchase,
    Session,
    SystemEvent,
    Verification,
}
NOT_DELETED = (NOT_ADDED | {Subscription}) - {Verification}
OF_SUPERUSERS = {
    Account,
    BillingEvent,
    Group,
    OrganizationSlug,
    Plan,
    Session,
    SystemEvent,
    Verification,
}


def fill(
    organization: Organization,
    *,
    mark: str,
    secrets: bool = False,
    number: int | None = None,
) -> Rows:
    """Return a row of each registered model, each about the organization.

    Args:
        number (int | None): the key of rows whose keys are numbers.
    """
    key = {} if number is None else {"pk": number}
    with tenancy.scope(organization):
        membership = Membership.objects.owners().get()
        member = membership.user
        task = make_task(organization, f"{mark} task", **key)
        team = TeamFactory(name=f"{mark} team")
        TeamMembershipFactory(team=team, membership=membership)
        digests = {"token_digest": DIGESTS["invitation"]} if secrets else {}
        plan = PlanFactory(name=f"{mark} plan")
        label = Label.objects.create(name=f"{mark} label", **key)
        comment = Comment.objects.create(
            task=task, author=membership, body=f"{mark} comment", **key
        )
        attachment = Attachment.objects.create(
            task=task, file="none.txt", name=f"{mark}.txt", **key
        )
        tenant: Rows = {
            Membership: membership,
            Role: Role.objects.get(key="member"),
            Team: team,
            Domain: DomainFactory(host=f"{mark}.test"),
            Invitation: InvitationFactory(email=f"{mark}@example.com", **digests),
            Subscription: SubscriptionFactory(plan=plan),
            Purchase: PurchaseFactory(description=f"{mark} purchase"),
            AuditEvent: AuditEventFactory(action=f"{mark}.done"),
            Task: task,
            Project: task.project,
            Label: label,
            Comment: comment,
            Attachment: attachment,
        }
    if secrets:
        session = {"key_digest": DIGESTS["session"], "data": SESSION_DATA}
        account = {"access_token_encrypted": CIPHERTEXT}
        verification = {"value_digest": DIGESTS["verification"]}
    else:
        session, account, verification = {}, {}, {}
    return {
        **tenant,
        User: member,
        Organization: organization,
        OrganizationSlug: OrganizationSlug.objects.get(slug=organization.slug),
        Session: SessionFactory(user=member, **session),
        Account: AccountFactory(user=member, **account),
        Verification: VerificationFactory(**verification),
        Plan: plan,
        BillingEvent: BillingEventFactory(payload={"key": PAYLOAD}),
        SystemEvent: SystemEventFactory(action=f"{mark}.done"),
        Group: Group.objects.create(name=mark, **key),
    }


@pytest.fixture
def rows(acme: Organization) -> Rows:
    """A row of each registered model, of acme, with secrets planted."""
    filled = fill(acme, mark="rocket", secrets=True)
    # Beyond the factory: it is the customer by which acme is found.
    with tenancy.unscoped("tests: acme's billing customer"):
        Organization.objects.update(billing_customer_id="customer-1")
    BillingEvent.objects.update(customer_id="customer-1")
    return filled


def path_of(model: type[Model], page: str = "", key: Any = None) -> str:
    """Return the address of a page of the admin."""
    base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    return base + (f"{quote(str(key))}/" if key is not None else "") + page


def visit(client: Client, rows: Rows) -> Iterator[tuple[type[Model], str, Any]]:
    """Yield each page of each registered model, by model and name."""
    for model in site._registry:
        key = rows[model].pk
        yield model, "list", client.get(path_of(model))
        yield model, "search", client.get(path_of(model), {"q": "rocket"})
        yield model, "add", client.get(path_of(model, "add/"))
        for page in ("change", "history", "delete"):
            yield model, page, client.get(path_of(model, f"{page}/", key))


def expect(model: type[Model], page: str, *, is_over_all: bool) -> int:
    """Return with what status a superuser's page is answered."""
    is_tenant = model not in OF_SUPERUSERS | {User, Organization}
    if page == "add" and (
        model in NOT_ADDED
        or (is_tenant and is_over_all)
        or (model is Organization and not is_over_all)
    ):
        return 403
    return 403 if page == "delete" and model in NOT_DELETED else 200


@pytest.mark.parametrize("is_over_all", [True, False])
def test_pages_open_for_a_superuser(
    rows: Rows, superuser: Client, is_over_all: bool
) -> None:
    """Over all and inside acme, each page opens, and shows no secret."""
    if not is_over_all:
        chosen = {"organization": str(rows[Organization].pk)}
        superuser.post("/admin/switch-organization/", chosen)

    pages = list(visit(superuser, rows))

    assert len(pages) == 6 * len(site._registry) == 6 * 23
    for model, page, answer in pages:
        expected = expect(model, page, is_over_all=is_over_all)
        assert answer.status_code == expected, (model, page)
        shown = answer.content.decode()
        assert not [one for one in SECRETS if one in shown], (model, page)


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (Invitation, "token_digest__startswith"),
        (Session, "key_digest__startswith"),
        (Verification, "value_digest__startswith"),
        (Account, "access_token_encrypted__startswith"),
        (User, "password__startswith"),
        (Membership, "user__password__startswith"),
    ],
)
def test_secrets_are_no_filter(
    rows: Rows, superuser: Client, model: type[Model], lookup: str
) -> None:
    """A crafted filter by a secret is refused, which would tell it bit by bit."""
    answer = superuser.get(path_of(model), {lookup: "a"})

    assert answer.status_code == 400


def test_plan_form_tells_how_amounts_are_written(superuser: Client) -> None:
    """The form of a plan says what its limits and prices look like."""
    page = superuser.get("/admin/tenancy/plan/add/").content.decode()

    assert '{"members": 20, "teams": null}' in page
    assert '{"month": {"EUR": 1200}}' in page
