"""What asks for the organization: decorators, class-based views, templates, forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views.generic import ListView
from pytest_django import Settings

import tenancy
from project.tracker.models import Project
from tenancy.access import (
    OrganizationRequiredMixin,
    PermissionRequiredMixin,
    RoleRequiredMixin,
)
from tenancy.decorators import (
    organization_required,
    permission_required,
    role_required,
)
from tenancy.models import Membership, Organization, Session, User
from tenancy.provenance import FIELD_NAME, OrganizationFormMixin, sign_organization
from tenancy.templatetags.tenancy import has_permission, has_role
from tenancy.visits import require_visit

pytestmark = [pytest.mark.urls(__name__)]


def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse("shown")


async def show_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("shown")


class ProjectForm(OrganizationFormMixin, forms.ModelForm):  # type: ignore[type-arg]  # takes none at run time
    class Meta:
        model = Project
        fields = ["name"]


def add_project(request: HttpRequest) -> HttpResponse:
    form = ProjectForm(request.POST or None, prefix="new")
    if form.is_valid():
        assert FIELD_NAME not in form.cleaned_data
        form.save()
        return HttpResponse("saved")
    return HttpResponse(str(form))


class Projects(OrganizationRequiredMixin, ListView):  # type: ignore[type-arg]  # as above
    # Made at import, in no scope.
    queryset = Project.objects.order_by("name")

    def render_to_response(self, context: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse(",".join(str(one) for one in context["object_list"]))


class Owners(RoleRequiredMixin):
    required_roles = ["owner"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("shown")


class OwnersAsync(RoleRequiredMixin):
    required_roles = ["owner"]

    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("shown")


class Editors(PermissionRequiredMixin):
    required_permissions = ["tracker.change_task"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("shown")


def render_template(request: HttpRequest) -> HttpResponse:
    source = request.GET["source"]
    template = engines["django"].from_string("{% load tenancy %}" + source)
    return HttpResponse(template.render({}, request))


owner = role_required("owner")
editor = permission_required("tracker.change_task", "tracker.view_task")
urlpatterns = [
    path("in/", organization_required(show)),
    path("in-async/", organization_required(show_async)),
    path("owner/", owner(show)),
    path("owner-async/", owner(show_async)),
    path("owner-class/", Owners.as_view()),
    path("owner-class-async/", OwnersAsync.as_view()),
    path("editor/", editor(show)),
    path("editor-async/", editor(show_async)),
    path("editor-class/", Editors.as_view()),
    path("projects/", Projects.as_view()),
    path("add/", add_project, name="add"),
    path("template/", render_template),
]
OWNER = ["/owner/", "/owner-async/", "/owner-class/", "/owner-class-async/"]
EDITOR = ["/editor/", "/editor-async/", "/editor-class/"]


@pytest.fixture(autouse=True)
def _middleware(settings: Settings) -> None:
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.LOGIN_URL = "/sign-in/"
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tenancy.middleware.TenancyMiddleware",
    ]
    (engine,) = settings.TEMPLATES
    options = engine["OPTIONS"]
    processors = [
        *options["context_processors"],
        "tenancy.context_processors.tenancy",
    ]
    settings.TEMPLATES = [
        {**engine, "OPTIONS": {**options, "context_processors": processors}}
    ]


@pytest.fixture
def member(acme: Organization, bob: User) -> User:
    """Bob, as a plain member of acme and of nothing else."""
    with tenancy.scope(acme):
        Membership.objects.add(user=bob)
    return bob


@pytest.fixture(params=["sync", "async"])
def open_as(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Get an address as a user, by the sync or the async handler."""

    def open_(address: str, user: User | None) -> Any:
        is_async = request.param == "async"
        client: Any = AsyncClient() if is_async else Client()
        if user is not None:
            client.force_login(user)
        return (async_to_sync(client.get) if is_async else client.get)(address)

    return open_


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/in/", "/in-async/", *OWNER, *EDITOR])
def test_nobody_is_sent_to_the_sign_in(
    open_as: Callable[..., Any], address: str
) -> None:
    """Who is not signed in is asked to, and returns to the page."""
    response = open_as(address, None)

    assert response.status_code == 302
    assert response.headers["Location"] == f"/sign-in/?next={address}"


@pytest.mark.parametrize("address", ["/in/", "/in-async/", *OWNER, *EDITOR])
def test_owner_enters(
    open_as: Callable[..., Any], address: str, alice: User, acme: Organization
) -> None:
    """The owner has each role and permission that is asked for, by one query."""
    response = open_as(address, alice)

    assert (response.status_code, response.content) == (200, b"shown")


@pytest.mark.parametrize("address", [*OWNER, *EDITOR])
def test_member_without_it_is_refused(
    open_as: Callable[..., Any], address: str, member: User
) -> None:
    """A member of another role, which does not grant it, gets 403."""
    assert open_as("/in/", member).status_code == 200
    assert open_as(address, member).status_code == 403


@pytest.mark.parametrize("address", ["/in/", "/in-async/", "/owner-class/"])
def test_who_is_in_none_is_sent_to_choose(
    open_as: Callable[..., Any], address: str, alice: User, settings: Settings
) -> None:
    """TENANCY_CHOICE_URL says where; without it the answer is 403."""
    assert open_as(address, alice).status_code == 403
    settings.TENANCY_CHOICE_URL = "/choose/"

    response = open_as(address, alice)

    assert response.headers["Location"] == f"/choose/?next={address}"


def test_member_of_suspended_reads_why(
    open_as: Callable[..., Any], alice: User, acme: Organization
) -> None:
    """The organization that the session has chosen is suspended, which a page says."""
    with tenancy.scope(acme):
        acme.suspend(reason="unpaid")
        membership = Membership.objects.get(user=alice)
    client = Client()
    client.force_login(alice)
    Session.objects.update(membership=membership)

    response = client.get("/in/")

    assert response.status_code == 403
    assert b"Acme is suspended" in response.content
    # Where no organization is asked for, the user may sign out or switch.
    assert client.get("/template/", {"source": ""}).status_code == 200


def test_one_query_lets_a_member_in(alice: User, acme: Organization) -> None:
    """The role and its permissions are read with the rest."""
    client = Client()
    client.force_login(alice)

    for address in ("/owner/", "/editor-class/"):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        assert len(queries) == 1


@pytest.mark.parametrize("decorator", [role_required, permission_required])
def test_decorators_need_names(decorator: Any) -> None:
    """A decorator without its brackets is a mistake that is told at once."""
    for wrong in ([], [show]):
        with pytest.raises(TypeError, match=r"_required\(\) was given"):
            decorator(*wrong)


def test_views_need_names(rf: RequestFactory, alice: User, acme: Organization) -> None:
    """A view that names no role, or one str, is a mistake."""
    with tenancy.scope(acme):
        membership = Membership.objects.get(user=alice)

        with pytest.raises(ImproperlyConfigured, match="'RoleRequiredMixin.required_"):
            RoleRequiredMixin().may_enter(membership)
        with pytest.raises(ImproperlyConfigured, match="required_permissions' is"):
            PermissionRequiredMixin().may_enter(membership)
    with pytest.raises(ImproperlyConfigured, match="TenancyMiddleware has not seen"):
        require_visit(rf.get("/"))


def test_class_attribute_takes_the_scope_of_each_request(
    open_as: Callable[..., Any],
    alice: User,
    bob: User,
    acme: Organization,
    globex: Organization,
) -> None:
    """A queryset of a class shows each user their own organization's rows."""
    for organization in (acme, globex):
        with tenancy.scope(organization):
            Project.objects.create(name=f"of {organization}")

    assert open_as("/projects/", alice).content == b"of Acme"
    assert open_as("/projects/", bob).content == b"of Globex"


# Templates


def fill(client: Client, source: str, **extra: Any) -> str:
    return client.get("/template/", {"source": source}, **extra).content.decode()


def test_templates_know_the_organization(
    alice: User, acme: Organization, globex: Organization
) -> None:
    """The names of the context are found when they are asked for, and not before."""
    client = Client()
    client.force_login(alice)

    with CaptureQueriesContext(connection) as queries:
        assert fill(client, "plain") == "plain"
    assert len(queries) == 0
    with CaptureQueriesContext(connection) as queries:
        source = "{{ organization }} {{ membership.role.key }}"
        assert fill(client, source) == "Acme owner"
    assert len(queries) == 1
    listed = "{% for one in organizations %}{{ one }};{% endfor %}{{ organizations.0 }}"
    assert fill(client, listed) == "Acme;Acme"
    assert fill(Client(), f"{listed}{{{{ organization }}}}") == "None"


def test_filters_ask_the_role(alice: User, acme: Organization) -> None:
    """has_role and has_permission are False of nobody."""
    client = Client()
    client.force_login(alice)
    source = (
        '{{ membership|has_role:"admin, owner" }} {{ membership|has_role:"member" }} '
        '{{ membership|has_permission:"tracker.change_task" }}'
    )

    assert fill(client, source) == "True False True"
    assert has_role(None, "owner") is False
    assert has_permission(None, "tracker.change_task") is False


def test_address_of_an_organization(
    alice: User, acme: Organization, settings: Settings
) -> None:
    """organization_url names the organization as the resolvers do."""
    source = '{% organization_url organization "add" %}'
    client = Client()
    client.force_login(alice)
    assert fill(client, source) == "/add/"

    settings.TENANCY_RESOLVERS = ["tenancy.resolvers.PathResolver"]
    client = Client()
    client.force_login(alice)
    page = client.get("/o/acme/template/", {"source": source})
    assert page.content == b"/o/acme/add/"
    page = client.get("/o/acme/template/", {"source": source}, SCRIPT_NAME="/app")
    assert page.content == b"/app/o/acme/add/"
    settings.TENANCY_BASE_DOMAIN = "example.com"
    settings.TENANCY_RESOLVERS = ["tenancy.resolvers.SubdomainResolver"]
    client = Client(headers={"host": "acme.example.com:8000"})
    client.force_login(alice)
    assert fill(client, source) == "http://acme.example.com:8000/add/"


# Forms


@pytest.fixture
def of_two(alice: User, acme: Organization, globex: Organization) -> Client:
    """A browser of alice, a member of both, who is in acme."""
    with tenancy.scope(globex):
        Membership.objects.add(user=alice)
    client = Client()
    client.force_login(alice)
    choose(acme, alice)
    return client


def choose(organization: Organization, user: User) -> None:
    with tenancy.scope(organization):
        membership = Membership.objects.get(user=user)
    Session.objects.update(membership=membership)


def read_token(page: Any) -> str:
    text = page.content.decode()
    start = text.index('value="', text.index(f'name="{FIELD_NAME}"')) + len('value="')
    return str(text[start : text.index('"', start)])


def test_form_of_another_organization_is_answered_with_409(
    of_two: Client, alice: User, acme: Organization, globex: Organization
) -> None:
    """A form that was opened in acme saves there, and nothing in globex."""
    data = {"new-name": "Rockets", FIELD_NAME: read_token(of_two.get("/add/"))}
    assert of_two.post("/add/", data).content == b"saved"
    choose(globex, alice)

    response = of_two.post("/add/", data)

    assert response.status_code == 409
    assert b'<a href="/add/">' in response.content
    assert b"You are in Globex now" in response.content
    assert b"Acme" not in response.content
    with tenancy.scope(globex):
        assert not Project.objects.exists()
    field = {"source": "{% organization_field %}"}
    data[FIELD_NAME] = read_token(of_two.get("/template/", field))
    assert of_two.post("/add/", data).content == b"saved"


@pytest.mark.parametrize("how", ["forged", "cut", "second", "signed out"])
def test_forged_form_is_answered_with_409(
    of_two: Client, acme: Organization, globex: Organization, how: str
) -> None:
    """What is not signed, or is signed for another one beside, counts as another's."""
    with tenancy.scope(acme):
        own = sign_organization()
    with tenancy.scope(globex):
        other = sign_organization()
    values: Any = {
        "forged": f"{acme.pk}:x",
        "cut": str(acme.pk),
        "second": [other, own],
        "signed out": own,
    }[how]
    client = Client() if how == "signed out" else of_two

    response = client.post("/add/", {"new-name": "x", FIELD_NAME: values})

    assert response.status_code == 409


def test_form_is_judged_before_an_async_view(
    alice: User, acme: Organization, globex: Organization
) -> None:
    """The async handler answers the same."""
    with tenancy.scope(globex):
        token = sign_organization()
    client = AsyncClient()
    client.force_login(alice)

    response = async_to_sync(client.post)("/in-async/", {FIELD_NAME: token})

    assert response.status_code == 409
    assert async_to_sync(client.post)("/in-async/", {}).status_code == 200


def test_form_says_nothing_outside_organizations(rf: RequestFactory) -> None:
    """Where no organization is active, the field is empty, and nothing is asked."""
    assert sign_organization() == ""
