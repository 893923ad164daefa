"""The scope of a request, sync and async; each test runs both ways."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import login
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import connection, transaction
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import clear_url_caches, get_resolver, path
from django.utils import timezone
from pytest_django import Settings

import tenancy
from project.tracker.models import Project
from tenancy.context import Scope
from tenancy.decorators import organization_not_required
from tenancy.middleware import SESSION_KEY, TenancyMiddleware, switch_organization
from tenancy.models import Membership, Organization, Session, User
from tenancy.transactions import deleting

Get = Callable[[str], Any]  # A test client's response has more than HttpResponse.

pytestmark = [pytest.mark.urls(__name__)]


def describe(scope: Scope | None) -> dict[str, str | None]:
    """Return a scope as JSON may hold it."""
    if scope is None:
        return {"organization": None, "user": None}
    organization, user = scope.organization_id, scope.user_id
    return {
        "organization": str(organization) if organization else None,
        "user": str(user) if user else None,
    }


def show(request: HttpRequest) -> HttpResponse:
    return JsonResponse(describe(tenancy.current_scope()))


async def show_async(request: HttpRequest) -> HttpResponse:
    return JsonResponse(describe(tenancy.current_scope()))


def show_request(request: Any) -> HttpResponse:
    return JsonResponse(
        {
            "organization": str(request.organization),
            "membership": str(request.membership and request.membership.pk),
        }
    )


def switch(request: HttpRequest) -> HttpResponse:
    switch_organization(request, request.POST["key"])
    return HttpResponse()


def fail(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def tell_failure(request: HttpRequest, exception: Exception) -> HttpResponse:
    return JsonResponse(describe(tenancy.current_scope()), status=403)


def render_late(request: HttpRequest) -> HttpResponse:
    template = engines["django"].from_string(
        "{% for p in projects %}{{ p }}{% endfor %}"
    )
    # The queryset runs when the template is rendered, after the view.
    return TemplateResponse(request, template, {"projects": Project.objects.all()})


def stream(request: HttpRequest) -> HttpResponseBase:
    def parts() -> Iterator[str]:
        for project in Project.objects.iterator(chunk_size=1):
            yield f"{project},"

    return StreamingHttpResponse(parts())


async def stream_async(request: HttpRequest) -> HttpResponseBase:
    async def parts() -> AsyncIterator[str]:
        async for project in Project.objects.aiterator(chunk_size=1):
            yield f"{project},"

    return StreamingHttpResponse(parts())


handler403 = tell_failure
urlpatterns = [
    path("show/", show),
    path("show-async/", show_async),
    path("request/", show_request),
    path("switch/", switch),
    path("fail/", fail),
    path("late/", render_late),
    path("stream/", stream),
    path("stream-async/", stream_async),
]


@pytest.fixture(autouse=True)
def _middleware(settings: Settings) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tenancy.middleware.TenancyMiddleware",
    ]


@pytest.fixture(params=["sync", "async"])
def make_get(request: pytest.FixtureRequest) -> Callable[[User | None], Get]:
    """Make what gets an address as a user, by the sync or the async handler."""

    def make(user: User | None) -> Get:
        client: Any = Client() if request.param == "sync" else AsyncClient()
        if user is not None:
            client.force_login(user)
        get = client.get if request.param == "sync" else async_to_sync(client.get)
        get_any: Any = get
        return lambda address: get_any(address)

    return make


@pytest.fixture
def get(make_get: Callable[[User | None], Get], alice: User, acme: Organization) -> Get:
    """Get an address as alice of acme."""
    return make_get(alice)


@pytest.fixture
def projects(acme: Organization, globex: Organization) -> None:
    """Two projects of acme and one of globex."""
    for organization, names in ((acme, "ab"), (globex, "x")):
        with tenancy.scope(organization):
            for name in names:
                Project.objects.create(name=name)


def prepare(request: Any, user: User) -> Any:
    """Return a request as the middleware before ours leave it; a dict is a session."""
    request.user, request.auser, request.session = user, None, {}
    return request


LATER = "tests.project.later_urls"


def test_views_are_imported_in_no_scope(
    rf: RequestFactory, alice: User, bob: User, projects: None
) -> None:
    """A view whose file is imported by the first request serves each user alike."""
    # As if the process had just started.
    sys.modules.pop(LATER, None)
    clear_url_caches()
    seen = []
    middleware = TenancyMiddleware(
        lambda request: get_resolver(request.urlconf).resolve("/").func(request)
    )

    for user in (alice, bob):
        request = prepare(rf.get("/"), user)
        request.urlconf = LATER
        response: Any = middleware(request)
        seen.append(response.content)

    assert seen == [b"ab", b"x"]


@pytest.mark.parametrize("address", ["/show/", "/show-async/"])
def test_member_of_one_is_in_it(
    get: Get, address: str, acme: Organization, alice: User
) -> None:
    """A view of a user with one organization runs in its scope, as that user."""
    response = get(address)

    assert response.json() == {"organization": str(acme.pk), "user": str(alice.pk)}


@pytest.mark.django_db
def test_anonymous_request_has_no_scope(
    make_get: Callable[[User | None], Get],
) -> None:
    """A request that nobody has signed in for runs in no scope."""
    get = make_get(None)

    assert get("/show/").json() == {"organization": None, "user": None}
    assert get("/request/").json()["organization"] == "None"


def test_user_without_organization_reaches_own_memberships(
    make_get: Callable[[User | None], Get], acme: Organization
) -> None:
    """A user who is in no organization runs in a scope of the user alone."""
    dora = User.objects.create_user("dora@example.com")

    response = make_get(dora)("/show/")

    assert response.json() == {"organization": None, "user": str(dora.pk)}


def test_request_tells_organization_and_membership(
    get: Get, acme: Organization, alice: User
) -> None:
    """The request holds the organization and the membership."""
    with tenancy.scope(acme):
        membership = Membership.objects.get(user=alice)

    told = get("/request/").json()

    assert told == {"organization": "Acme", "membership": str(membership.pk)}


def test_nothing_survives_the_request(
    get: Get, make_get: Callable[[User | None], Get], bob: User, globex: Organization
) -> None:
    """After a request there is no scope, and the next one is in its own."""
    get("/show/")

    assert tenancy.current_scope() is None
    assert make_get(bob)("/show/").json()["organization"] == str(globex.pk)


def test_error_page_runs_in_scope(get: Get, acme: Organization) -> None:
    """The handler of an exception runs in the scope of the view that raised it."""
    response = get("/fail/")

    assert response.status_code == 403
    assert response.json()["organization"] == str(acme.pk)


def test_template_response_runs_in_scope(get: Get, projects: None) -> None:
    """A template that is rendered after the view shows the scope's rows."""
    assert get("/late/").content.decode() == "ab"


def test_stream_runs_in_scope(alice: User, acme: Organization, projects: None) -> None:
    """Each step of a streaming body is in the scope, and there is none between."""
    client = Client()
    client.force_login(alice)
    response: Any = client.get("/stream/")

    seen = [(part, tenancy.current_scope()) for part in response.streaming_content]

    assert seen == [(b"a,", None), (b"b,", None)]


def test_async_stream_runs_in_scope(
    alice: User, acme: Organization, projects: None
) -> None:
    """Each step of an async body is in the scope, and there is none between."""
    client = AsyncClient()
    client.force_login(alice)

    async def collect() -> list[tuple[bytes, Scope | None]]:
        response: Any = await client.get("/stream-async/")
        return [
            (part, tenancy.current_scope()) async for part in response.streaming_content
        ]

    assert async_to_sync(collect)() == [(b"a,", None), (b"b,", None)]


def test_streams_of_two_users_interleave(
    alice: User, bob: User, projects: None
) -> None:
    """Two bodies that are read in turns give each its own organization's rows."""
    bodies = []
    for user in (alice, bob):
        client = Client()
        client.force_login(user)
        response: Any = client.get("/stream/")
        bodies.append(iter(response.streaming_content))

    parts = [next(bodies[0]), next(bodies[1]), next(bodies[0])]

    assert parts == [b"a,", b"x,", b"b,"]
    # Read to their ends, where their cursors are closed.
    assert [list(body) for body in bodies] == [[], []]


def test_file_is_left_to_the_server(
    rf: RequestFactory, alice: User, acme: Organization
) -> None:
    """A file, which needs no scope, may still be sent by the server itself."""
    middleware = TenancyMiddleware(lambda request: FileResponse(BytesIO(b"x")))
    request = prepare(rf.get("/"), alice)

    response: Any = middleware(request)

    assert response.file_to_stream is not None


def test_response_is_kept_from_shared_caches(get: Get) -> None:
    """A page of a signed-in user is private and depends on the cookie."""
    response = get("/show/")

    assert response.headers["Cache-Control"] == "private"
    assert "Cookie" in response.headers["Vary"]


def test_organization_is_looked_up_in_one_query(
    alice: User, acme: Organization
) -> None:
    """Beside Django's two, for session and user, there is one query."""
    client = Client()
    client.force_login(alice)

    with CaptureQueriesContext(connection) as queries:
        client.get("/request/")

    assert len(queries) == 3


@pytest.mark.parametrize("stale", ["no key", "00000000-0000-0000-0000-000000000000"])
def test_stale_choice_is_no_choice_of_another(
    stale: str, alice: User, acme: Organization
) -> None:
    """A choice that does not hold leaves the user in none, not in the only one."""
    client = Client()
    client.force_login(alice)
    session = client.session
    session[SESSION_KEY] = stale
    session.save()

    assert client.get("/show/").json()["organization"] is None


def test_switch_needs_live_membership(
    rf: RequestFactory, alice: User, acme: Organization, globex: Organization
) -> None:
    """Only an organization of the user's own can be chosen."""
    request = prepare(rf.post("/"), alice)

    with pytest.raises(Http404, match="in no organization of this key"):
        switch_organization(request, str(globex.pk))
    membership = switch_organization(request, str(acme.pk))

    assert membership.organization == acme
    assert dict(request.session) == {SESSION_KEY: str(acme.pk)}


@pytest.fixture
def of_two(alice: User, acme: Organization, globex: Organization) -> User:
    """Alice, who is a member of globex as well."""
    with tenancy.scope(globex):
        Membership.objects.create(user=alice)
    return alice


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(
    "engine", ["tenancy.sessions", "django.contrib.sessions.backends.db"]
)
def test_switch_holds_for_later_requests(
    of_two: User, globex: Organization, settings: Settings, engine: str, mode: str
) -> None:
    """The organization that was chosen is that of the next requests, sync and async."""
    settings.SESSION_ENGINE = engine
    client: Any = Client() if mode == "sync" else AsyncClient()
    client.force_login(of_two)
    get = client.get if mode == "sync" else async_to_sync(client.get)
    assert get("/show/").json()["organization"] is None

    post = client.post if mode == "sync" else async_to_sync(client.post)
    assert post("/switch/", {"key": str(globex.pk)}).status_code == 200

    assert get("/show/").json()["organization"] == str(globex.pk)
    if engine == "tenancy.sessions":
        session = Session.objects.get()
        with tenancy.scope(globex):
            assert session.membership_id == Membership.objects.get(user=of_two).pk


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_choice_that_was_cleared_is_no_choice_of_another(
    of_two: User,
    acme: Organization,
    globex: Organization,
    settings: Settings,
    mode: str,
) -> None:
    """Who is removed from the organization in which they act is in none."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    client: Any = Client()
    client.force_login(of_two)
    client.post("/switch/", {"key": str(globex.pk)})
    with tenancy.scope(globex):
        membership = Membership.objects.get(user=of_two)
        Membership.objects.filter(pk=membership.pk).update(ended_at=timezone.now())
        Session.objects.clear_membership(membership)

    if mode == "async":
        cookies, client = client.cookies, AsyncClient()
        client.cookies = cookies
    get = client.get if mode == "sync" else async_to_sync(client.get)

    assert get("/show/").json()["organization"] is None


def ask_nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@organization_not_required
async def ask_nothing_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def ask_all(request: Any) -> HttpResponse:
    membership = request.membership
    return JsonResponse(
        {
            "user": request.user.email,
            "fellow": membership.user.email,
            "role": membership.role.key,
            "organization": request.organization.slug,
            "scope": str(tenancy.require_organization()),
        }
    )


async def ask_all_async(request: Any) -> HttpResponse:
    await request.auser()
    return ask_all(request)


urlpatterns += [
    path("nothing/", ask_nothing),
    path("nothing-async/", ask_nothing_async),
    path("all/", ask_all),
    path("all-async/", ask_all_async),
]


@pytest.mark.parametrize("has_choice", [False, True])
@pytest.mark.parametrize("address", ["/all/", "/all-async/"])
def test_engine_reads_all_in_one_query(
    make_get: Callable[[User | None], Get],
    alice: User,
    acme: Organization,
    settings: Settings,
    address: str,
    has_choice: bool,
) -> None:
    """Session, user, membership, role and organization are read in one query."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    get = make_get(alice)
    if has_choice:
        with tenancy.scope(acme):
            Session.objects.update(membership=Membership.objects.get(user=alice))

    with CaptureQueriesContext(connection) as queries:
        told = get(address).json()

    assert len(queries) == 1
    assert told == {
        "user": alice.email,
        "fellow": alice.email,
        "role": "owner",
        "organization": "acme",
        "scope": str(acme.pk),
    }


@pytest.mark.parametrize("address", ["/nothing/", "/nothing-async/"])
def test_engine_reads_nothing_when_nothing_is_asked(
    get: Get,
    make_get: Callable[[User | None], Get],
    alice: User,
    settings: Settings,
    address: str,
) -> None:
    """A view that asks for neither user nor organization makes no query."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    get = make_get(alice)

    with CaptureQueriesContext(connection) as queries:
        response = get(address)

    assert response.status_code == 200
    assert len(queries) == 0


def test_engine_verifies_the_password_hash(
    make_get: Callable[[User | None], Get],
    alice: User,
    acme: Organization,
    settings: Settings,
) -> None:
    """A session of a former password signs nobody in."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    get = make_get(alice)
    User.objects.filter(pk=alice.pk).update(password="another")

    assert get("/show/").json() == {"organization": None, "user": None}
    assert not Session.objects.exists()


def test_engine_keeps_fallback_keys(
    make_get: Callable[[User | None], Get],
    alice: User,
    acme: Organization,
    settings: Settings,
) -> None:
    """A session that was signed with a fallback key goes on, with a new hash."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    get = make_get(alice)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one"

    first = get("/all/")
    settings.SECRET_KEY_FALLBACKS = []

    assert first.json()["organization"] == "acme"
    assert get("/all/").json()["organization"] == "acme"


@pytest.mark.parametrize("how", ["ended", "inactive", "expired", "membership"])
def test_engine_refuses_whoever_may_not_act(
    make_get: Callable[[User | None], Get],
    alice: User,
    acme: Organization,
    globex: Organization,
    settings: Settings,
    how: str,
) -> None:
    """An ended session, an inactive user and an ended membership are out at once."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    get = make_get(alice)
    now = timezone.now()
    if how == "ended":
        Session.objects.get().end()
    elif how == "inactive":
        User.objects.filter(pk=alice.pk).update(is_active=False)
    elif how == "expired":
        Session.objects.update(expires_at=now)
    else:
        with tenancy.unscoped("past the verbs"), connection.cursor() as cursor:
            # Which names the owners, who could not end.
            with transaction.atomic(), deleting("default"):
                cursor.execute("DELETE FROM tenancy_ownership")
            cursor.execute("UPDATE tenancy_membership SET ended_at = %s", [now])

    told = get("/show/").json()

    assert told["organization"] is None
    assert told["user"] == (str(alice.pk) if how == "membership" else None)


class HidingBackend(ModelBackend):
    """A backend of a project's own, which knows nobody any more."""

    def get_user(self, user_id: Any) -> None:
        return None


def test_engine_asks_a_backend_of_its_own(
    make_get: Callable[[User | None], Get],
    alice: User,
    acme: Organization,
    settings: Settings,
) -> None:
    """Where a backend finds users in its own way, that way is taken."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.HidingBackend"]
    get = make_get(alice)

    assert get("/show/").json() == {"organization": None, "user": None}


def count_first(request: Any) -> HttpResponse:
    users = User.objects.count()
    with tenancy.scope(user=request.user):
        organizations = Organization.objects.count()
    bound = tenancy.bind(lambda: str(tenancy.require_organization()))
    with tenancy.unscoped("to see that it is bound"):
        return JsonResponse([users, organizations, bound()], safe=False)


urlpatterns.append(path("count/", count_first))


def test_scope_is_found_while_a_view_runs_queries(
    get: Get,
    make_get: Callable[[User | None], Get],
    alice: User,
    acme: Organization,
    settings: Settings,
) -> None:
    """What is asked first may be a row of no organization; nothing is read twice."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    get = make_get(alice)

    with CaptureQueriesContext(connection) as queries:
        told = get("/count/").json()

    assert told == [1, 1, str(acme.pk)]
    assert len(queries) == 3


def test_fault_in_the_look_up_is_no_missing_organization(
    rf: RequestFactory, alice: User, acme: Organization
) -> None:
    """An AttributeError does not make getattr() tell that the request is in none."""

    def break_visit(request: Any) -> HttpResponse:
        request._tenancy_visit = None
        getattr(request, "organization", None)
        return HttpResponse()

    middleware = TenancyMiddleware(break_visit)

    with pytest.raises(RuntimeError, match="could not be found: 'NoneType' object"):
        middleware(prepare(rf.get("/"), alice))


def test_who_signs_in_does_not_move_the_request(
    rf: RequestFactory, alice: User, acme: Organization, settings: Settings
) -> None:
    """A request that began as nobody's goes on in no scope after a sign-in."""
    settings.SESSION_ENGINE = "tenancy.sessions"
    seen = []

    def sign_in(request: HttpRequest) -> HttpResponse:
        login(request, alice, backend=settings.AUTHENTICATION_BACKENDS[0])
        seen.append((tenancy.current_scope(), request.user))
        return HttpResponse()

    handler = SessionMiddleware(
        lambda request: AuthenticationMiddleware(TenancyMiddleware(sign_in))(request)
    )
    handler(rf.get("/"))

    assert seen == [(None, alice)]


def test_order_of_middleware_is_told(rf: RequestFactory) -> None:
    """Without a user on the request the error says where to put the middleware."""
    middleware = TenancyMiddleware(lambda request: HttpResponse())

    with pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware' before"):
        middleware(rf.get("/"))
