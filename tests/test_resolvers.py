"""The organization that an address names, sync and async; each test runs both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth import login
from django.contrib.auth.views import PasswordResetView
from django.core.exceptions import DisallowedHost, ImproperlyConfigured
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import get_script_prefix, path, reverse
from django.utils.translation import get_language
from pytest_django import Settings

import tenancy
from tenancy.decorators import sign_in_step, site_host_required
from tenancy.middleware import switch_organization
from tenancy.models import Domain, Membership, Organization, Session, User
from tenancy.resolvers import (
    Address,
    DomainResolver,
    HeaderResolver,
    PathResolver,
    Resolver,
    Resolvers,
    SessionResolver,
    SubdomainResolver,
    build_site_url,
)
from tenancy.testing import DomainFactory
from tenancy.visits import require_visit
from tests.domains import sign_in_at

Get = Callable[..., Any]  # A test client's response has more than HttpResponse.

RESOLVERS = [
    f"tenancy.resolvers.{name}"
    for name in ("SubdomainResolver", "PathResolver", "HeaderResolver")
]
SESSION = "tenancy.resolvers.SessionResolver"

pytestmark = [pytest.mark.urls(__name__)]


def show(request: Any) -> HttpResponse:
    organization = request.organization
    return JsonResponse(
        {
            "organization": organization and organization.slug,
            "scope": organization and str(tenancy.require_organization()),
            "path": reverse("show"),
            "routed": request.path_info,
        }
    )


async def show_async(request: Any) -> HttpResponse:
    return show(request)


def switch(request: HttpRequest) -> HttpResponse:
    switch_organization(request, request.POST["key"])
    return HttpResponse()


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(reverse("show") for _ in range(2))


def link(request: Any, slug: str) -> HttpResponse:
    visit = require_visit(request)
    return HttpResponse(visit.build_url(slug, lambda: reverse("show")))


def tell_organization(request: Any) -> HttpResponse:
    return HttpResponse(str(request.organization))


@sign_in_step
def enter_as(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(email=request.POST["email"])
    login(request, user, "tenancy.auth.OrganizationBackend")
    request.session["cart"] = "3 chairs"
    return HttpResponse()


def show_cart(request: HttpRequest) -> HttpResponse:
    # It asks the session alone, and never who is there.
    return HttpResponse(request.session.get("cart", ""))


@sign_in_step
def ask_second_factor(request: Any) -> HttpResponse:
    return tell_organization(request)


def enter_site(request: Any) -> HttpResponse:
    return HttpResponse("site")


class ResetView(PasswordResetView):
    def dispatch(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse("reset")


def show_language(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return redirect("language")
    return JsonResponse({"language": get_language(), "path": reverse("language")})


urlpatterns: list[Any] = [
    path("show/", show, name="show"),
    path("show-async/", show_async),
    path("switch/", switch),
    path("stream/", stream),
    path("link/<slug:slug>/", link),
    path("enter/", tell_organization),
    path("enter-as/", enter_as),
    path("cart/", show_cart),
    path("second-factor/", ask_second_factor),
    path("reset/", ResetView.as_view()),
    path("site/", site_host_required(enter_site)),
    *i18n_patterns(path("language/", show_language, name="language")),
]


def read_session(get_response: Callable[[HttpRequest], Any]) -> Any:
    """A middleware that reads the session before TenancyMiddleware does."""

    def answer(request: HttpRequest) -> Any:
        request.session.get("anything")
        return get_response(request)

    return answer


def read_user(get_response: Callable[[HttpRequest], Any]) -> Any:
    """A middleware that asks who is there before TenancyMiddleware does."""

    def answer(request: HttpRequest) -> Any:
        _ = request.user.is_authenticated
        return get_response(request)

    return answer


def sign_in_first(get_response: Callable[[HttpRequest], Any]) -> Any:
    """A middleware that signs in before TenancyMiddleware, as RemoteUserMiddleware."""

    def answer(request: HttpRequest) -> Any:
        if not request.user.is_authenticated:
            user = User.objects.get(email="alice@acme.example")
            login(request, user, "tenancy.auth.OrganizationBackend")
        return get_response(request)

    return answer


class HostClient(AsyncClient):
    """An async client whose requests are of no host but the one they name."""

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._base_scope(**request)  # type: ignore[misc]  # Django's own
        scope["headers"].remove((b"host", b"testserver"))
        return scope


class BrokenResolver(Resolver):
    """A resolver whose source cannot be reached."""

    def find_address(self, request: HttpRequest) -> Address | None:
        raise ConnectionError("the directory is down")


@pytest.fixture(autouse=True)
def _addresses(settings: Settings) -> None:
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.TENANCY_BASE_DOMAIN = "example.com"
    settings.TENANCY_RESOLVERS = [*RESOLVERS, SESSION]
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tenancy.middleware.TenancyMiddleware",
    ]


@pytest.fixture(params=["sync", "async"])
def make_get(request: pytest.FixtureRequest) -> Callable[..., Get]:
    """Make what gets an address as a user, by the sync or the async handler.

    The user is signed in at the site's hosts, or at the domain that is given.
    """

    def make(user: User | None, domain: str | None = None) -> Get:
        is_async = request.param == "async"
        client: Any = HostClient() if is_async else Client()
        if user is not None:
            client.force_login(user)
            if domain is not None:
                sign_in_at(domain, client)

        def get(
            address: str, host: str = "example.com", method: str = "get", **extra: Any
        ) -> Any:
            headers = {"host": host, **extra}
            call = getattr(client, method)
            return (async_to_sync(call) if is_async else call)(address, headers=headers)

        return get

    return make


@pytest.fixture
def get(make_get: Callable[..., Get], alice: User, acme: Organization) -> Get:
    """Get an address as alice of acme."""
    return make_get(alice)


NAMED: list[tuple[str, str, dict[str, str]]] = [
    ("/show/", "{}.example.com", {}),
    ("/o/{}/show/", "example.com", {}),
    ("/show/", "example.com", {"x-organization": "{}"}),
]


def name(get: Get, slug: str, how: tuple[str, str, dict[str, str]], **kw: Any) -> Any:
    address, host, headers = how
    named = {header: value.format(slug) for header, value in headers.items()}
    return get(address.format(slug), host=host.format(slug), **named, **kw)


@pytest.mark.parametrize("how", NAMED, ids=["subdomain", "path", "header"])
def test_member_is_in_the_named_organization(
    get: Get, acme: Organization, how: Any
) -> None:
    """An address that names the member's organization is answered in its scope."""
    with CaptureQueriesContext(connection) as queries:
        response = name(get, "acme", how)

    told = response.json()
    assert (told["organization"], told["scope"]) == ("acme", str(acme.pk))
    assert len(queries) == 1
    assert response.headers["Cache-Control"] == "private"
    assert "Cookie" in response.headers["Vary"]


@pytest.mark.parametrize("how", NAMED, ids=["subdomain", "path", "header"])
def test_refused_and_unknown_are_alike(
    get: Get, make_get: Callable[..., Get], globex: Organization, how: Any
) -> None:
    """Another organization's address is answered like one of none, by as many queries.

    So it is to somebody who is not signed in.
    """
    for ask in (get, make_get(None)):
        answers = []
        for slug in ("globex", "nobody"):
            with CaptureQueriesContext(connection) as queries:
                response = name(ask, slug, how)
            headers = sorted(response.headers.items())
            answers.append(
                (response.status_code, response.content, headers, len(queries))
            )

        assert answers[0] == answers[1]
        assert answers[0][0] == 404


@pytest.mark.parametrize("how", NAMED, ids=["subdomain", "path", "header"])
@pytest.mark.parametrize("state", ["ended", "archived"])
def test_past_member_is_a_stranger(
    make_get: Callable[..., Get],
    bob: User,
    alice: User,
    acme: Organization,
    state: str,
    how: Any,
) -> None:
    """Who was removed, and everybody of an archived organization, gets 404."""
    with tenancy.scope(acme):
        membership = Membership.objects.add(user=bob)
        if state == "ended":
            membership.end()
        else:
            acme.archive()

    assert name(make_get(bob), "acme", how).status_code == 404


@pytest.mark.parametrize("how", NAMED, ids=["subdomain", "path", "header"])
def test_suspended_has_a_page_for_members(
    get: Get,
    make_get: Callable[..., Get],
    acme: Organization,
    bob: User,
    globex: Organization,
    how: Any,
) -> None:
    """Members of a suspended organization read that it is; strangers get 404."""
    with tenancy.scope(acme):
        acme.suspend(reason="unpaid")

    page = name(get, "acme", how)

    assert page.status_code == 403
    assert b"Acme is suspended" in page.content
    assert name(make_get(bob), "acme", how).status_code == 404


@pytest.mark.parametrize(
    ("how", "url"),
    [
        (NAMED[0], "http://rocket.example.com/show/"),
        (NAMED[1], "/o/rocket/show/"),
    ],
    ids=["subdomain", "path"],
)
def test_old_slug_redirects_members_who_read(
    get: Get,
    make_get: Callable[..., Get],
    acme: Organization,
    bob: User,
    globex: Organization,
    settings: Settings,
    how: Any,
    url: str,
) -> None:
    """A former slug leads members on where they read, and nobody else."""
    settings.TENANCY_RESOLVERS = (
        [RESOLVERS[0]] if how is NAMED[0] else [RESOLVERS[1], SESSION]
    )
    with tenancy.scope(acme):
        acme.slug = "rocket"
        acme.save()

    response = name(get, "acme", how)

    assert (response.status_code, response.headers["Location"]) == (301, url)
    assert response.headers["Cache-Control"] == "private"
    assert name(get, "acme", how, method="post").status_code == 404
    assert name(make_get(bob), "acme", how).status_code == 404


def test_path_is_kept_by_reverse_and_left_behind_nowhere(
    get: Get, acme: Organization, settings: Settings
) -> None:
    """Paths that are made under an organization's stay under it, for this request."""
    for address in ("/o/acme/show/", "/o/acme/show-async/"):
        told = get(address).json()
        assert told["path"] == "/o/acme/show/"
        assert told["routed"] == address.removeprefix("/o/acme")

    assert get_script_prefix() == "/"
    assert get("/show/").json()["path"] == "/show/"
    assert settings.STATIC_URL == "/static/"
    assert get("/o/acme").status_code == 404
    assert get("/o/acme/o/acme/show/").status_code == 404


def test_path_is_kept_in_each_step_of_a_stream(alice: User, acme: Organization) -> None:
    """A streaming body makes paths under the organization's, and nothing is left."""
    client = Client(headers={"host": "example.com"})
    client.force_login(alice)
    response: Any = client.get("/o/acme/stream/")

    seen = [(part, get_script_prefix()) for part in response.streaming_content]

    assert seen == [(b"/o/acme/show/", "/")] * 2
    assert response.headers["Cache-Control"] == "private"


def test_language_in_the_path_stands_behind_the_organization(
    alice: User, acme: Organization, globex: Organization, settings: Settings
) -> None:
    """What i18n_patterns adds is routed, reversed and added behind /o/acme."""
    settings.TENANCY_RESOLVERS = RESOLVERS[1:2]
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.middleware.locale.LocaleMiddleware",
    ]
    client = Client(headers={"accept-language": "de"})
    client.force_login(alice)

    pages = [client.get(f"/o/acme/{one}/language/").json() for one in ("en", "de")]
    led = [
        client.get("/o/acme/language/"),
        client.get("/o/acme/de/language"),
        client.post("/o/acme/de/language/"),
    ]
    refused = [client.get(f"/o/{one}/de/language/") for one in ("globex", "nobody")]

    assert pages == [
        {"language": one, "path": f"/o/acme/{one}/language/"} for one in ("en", "de")
    ]
    assert {one.headers["Location"] for one in led} == {"/o/acme/de/language/"}
    assert {one.status_code for one in refused} == {404}
    assert refused[0].content == refused[1].content
    assert get_script_prefix() == "/"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("/o/globex/show/", "acme.example.com"),
        ("/o/nobody/show/", "acme.example.com"),
        ("/o//show/", "example.com"),
        ("/o/Acme/show/", "example.com"),
        ("/o/ac%00me/show/", "example.com"),
        ("/show/", "b.acme.example.com"),
        ("/show/", ".example.com"),
        ("/show/", "acme.example.com.example.com"),
        ("/show/", "xn--acme-.example.com"),
    ],
)
def test_trick_addresses_name_nobody(
    make_get: Callable[..., Get],
    alice: User,
    acme: Organization,
    globex: Organization,
    address: str,
    host: str,
) -> None:
    """Two addresses that differ, and those of no slug, are answered with 404."""
    with tenancy.scope(globex):
        Membership.objects.create(user=alice)

    assert make_get(alice)(address, host=host).status_code == 404


@pytest.mark.parametrize(
    "host", ["ACME.Example.com", "acme.example.com.", "acme.example.com:8000"]
)
def test_host_is_compared_as_hosts_are(get: Get, acme: Organization, host: str) -> None:
    """Case, the last dot and the port make no difference."""
    assert get("/show/", host=host).json()["organization"] == "acme"


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "acme.example.com.evil.com",
        "acmeexample.com",
        "acme.example.com@evil.com",
        "äcme.example.com",
    ],
)
def test_unknown_hosts_end_before_routing(host: str) -> None:
    """A host that is not below the base domain is refused, whatever the path."""
    request = RequestFactory(headers={"host": host}).get("/")

    with pytest.raises(DisallowedHost, match="below TENANCY_BASE|Invalid HTTP_HOST"):
        Resolvers().find_addresses(request)


def test_base_domain_may_be_in_any_script(settings: Settings) -> None:
    """A base domain in other letters is compared as browsers send it."""
    settings.TENANCY_BASE_DOMAIN = "Bücher.example"
    request = RequestFactory(headers={"host": "acme.xn--bcher-kva.example"}).get("/")

    assert SubdomainResolver().find_address(request) == Address("acme")


@pytest.mark.parametrize("host", ["example.com", "www.example.com"])
def test_base_domain_names_no_organization(get: Get, host: str) -> None:
    """On the base domain the session tells."""
    assert get("/show/", host=host).json()["organization"] == "acme"


@pytest.mark.parametrize(
    "engine", ["tenancy.sessions", "django.contrib.sessions.backends.db"]
)
def test_choice_that_differs_from_the_address_is_refused(
    alice: User,
    acme: Organization,
    globex: Organization,
    settings: Settings,
    engine: str,
) -> None:
    """The address decides, and where the session says another one it is 404."""
    settings.SESSION_ENGINE = engine
    with tenancy.scope(globex):
        Membership.objects.create(user=alice)
    client = Client(headers={"host": "example.com"})
    client.force_login(alice)

    assert client.get("/o/globex/show/").json()["organization"] == "globex"
    client.post("/switch/", {"key": str(acme.pk)})

    assert client.get("/o/acme/show/").json()["organization"] == "acme"
    assert client.get("/o/globex/show/").status_code == 404


def test_address_alone_tells_when_session_is_left_out(
    alice: User, acme: Organization, globex: Organization, settings: Settings
) -> None:
    """Without SessionResolver two tabs may be in two organizations."""
    settings.TENANCY_RESOLVERS = RESOLVERS
    with tenancy.scope(globex):
        Membership.objects.create(user=alice)
    client = Client(headers={"host": "example.com"})
    client.force_login(alice)
    with tenancy.scope(acme):
        Session.objects.update(membership=Membership.objects.get(user=alice))

    seen = [
        client.get(address).json()["organization"]
        for address in ("/o/acme/show/", "/o/globex/show/", "/show/")
    ]

    assert seen == ["acme", "globex", None]


def test_header_that_names_none_is_no_address(get: Get) -> None:
    """An empty or doubled header is answered with 404, and varies the response."""
    assert "X-Organization" in get("/show/").headers["Vary"]
    for value in ("", "acme,acme", "acme, globex"):
        response = get("/show/", **{"x-organization": value})
        assert response.status_code == 404
        assert "X-Organization" in response.headers["Vary"]


def test_failing_resolver_stops(
    make_get: Callable[..., Get],
    alice: User,
    acme: Organization,
    settings: Settings,
) -> None:
    """What a resolver raises ends the request; no later one is asked."""
    settings.TENANCY_RESOLVERS = [f"{__name__}.BrokenResolver", SESSION]

    with pytest.raises(ConnectionError, match="the directory is down"):
        make_get(alice)("/show/")


def test_session_that_was_read_before_is_enough(
    alice: User, acme: Organization, globex: Organization, settings: Settings
) -> None:
    """Where something reads the session first, the membership is read by itself."""
    client = Client(headers={"host": "example.com"})
    client.force_login(alice)
    settings.MIDDLEWARE.insert(-1, f"{__name__}.read_session")

    assert client.get("/o/acme/show/").json()["organization"] == "acme"
    assert client.get("/o/globex/show/").status_code == 404
    assert client.get("/show/").json()["organization"] == "acme"


def test_resolvers_must_be_in_order(settings: Settings) -> None:
    """SessionResolver stands last, and SubdomainResolver needs its setting."""
    settings.TENANCY_BASE_DOMAIN = None

    with pytest.raises(ImproperlyConfigured, match="Put SessionResolver last"):
        Resolvers([SessionResolver(), PathResolver()])
    with pytest.raises(ImproperlyConfigured, match="TENANCY_BASE_DOMAIN is None"):
        SubdomainResolver()


def test_settings_name_prefix_and_header(
    rf: RequestFactory, settings: Settings
) -> None:
    """TENANCY_PATH_PREFIX and TENANCY_ORGANIZATION_HEADER are asked for."""
    settings.TENANCY_PATH_PREFIX = "/org/"
    settings.TENANCY_ORGANIZATION_HEADER = "X-Acting-For"
    request = rf.get("/org/acme/show/", headers={"x-acting-for": "acme"})

    assert PathResolver().find_address(request) == Address("acme", prefix="/org/acme")
    assert HeaderResolver().find_address(request) == Address("acme")
    assert HeaderResolver().headers == ["X-Acting-For"]
    assert PathResolver().build_url(request, "acme", "/x/") == "/org/acme/x/"
    assert HeaderResolver().build_url(request, "acme", "/x/") is None


# Domains of organizations' own

HOST = "tasks.acme.test"
DOMAINS = "tenancy.resolvers.DomainResolver"


@pytest.fixture
def domain(acme: Organization, settings: Settings) -> Domain:
    """The domain of acme's that is verified, with DomainResolver in its place."""
    settings.TENANCY_RESOLVERS = [RESOLVERS[0], DOMAINS, RESOLVERS[1], SESSION]
    made: Domain = DomainFactory(organization=acme, host=HOST, is_verified=True)
    return made


def see(ask: Get, host: str, address: str = "/show/", **kw: Any) -> Any:
    """Return all that can be seen of an answer, and how many queries it took."""
    with CaptureQueriesContext(connection) as queries:
        response = ask(address, host=host, **kw)
    headers = sorted(response.headers.items())
    return response.status_code, response.content, headers, len(queries)


@pytest.mark.parametrize(
    "host", [HOST, HOST.upper(), f"{HOST}.", f"{HOST}:8000", f"{HOST}.:8000"]
)
def test_member_is_in_the_organization_of_the_domain(
    domain: Domain,
    make_get: Callable[..., Get],
    alice: User,
    acme: Organization,
    host: str,
) -> None:
    """A host that is verified is answered in its organization's scope, by one query."""
    get = make_get(alice, HOST)
    with CaptureQueriesContext(connection) as queries:
        response = get("/show/", host=host)

    told = response.json()
    assert (told["organization"], told["scope"]) == ("acme", str(acme.pk))
    assert len(queries) == 1
    assert response.headers["Cache-Control"] == "private"


def test_domain_of_nobody_is_an_unknown_organization(
    domain: Domain,
    get: Get,
    make_get: Callable[..., Get],
    alice: User,
    acme: Organization,
    globex: Organization,
) -> None:
    """Hosts of others, unverified and unknown, are one 404, by as many queries."""
    DomainFactory(organization=globex, host="globex.test", is_verified=True)
    DomainFactory(organization=acme, host="new.test")
    DomainFactory(organization=globex, host="lent.test")

    members = [
        see(make_get(alice, host), host)
        for host in ("globex.test", "new.test", "nobody.test", f"x.{HOST}")
    ]
    strangers = [
        see(make_get(None), host) for host in ("new.test", "lent.test", "nobody.test")
    ]

    assert [one[0] for one in (*members, *strangers)] == [404] * 7
    assert all(one == members[0] for one in members) and members[0][3] == 1
    assert all(one == strangers[0] for one in strangers) and strangers[0][3] == 1
    assert members[0][1] == see(get, "globex.example.com")[1]


@pytest.mark.parametrize("status", ["suspended", "archived"])
def test_domain_of_organization_that_is_not_active(
    domain: Domain,
    make_get: Callable[..., Get],
    alice: User,
    acme: Organization,
    bob: User,
    status: str,
) -> None:
    """An archived one's is nobody's; a suspended one's tells its members alone."""
    with tenancy.scope(acme):
        if status == "suspended":
            acme.suspend(reason="unpaid")
        else:
            acme.archive()

    for user in (None, bob) if status == "suspended" else (None, bob, alice):
        here, nowhere = make_get(user, HOST), make_get(user, "nobody.test")
        assert see(here, HOST) == see(nowhere, "nobody.test")
    if status == "suspended":
        page = make_get(alice, HOST)("/show/", host=HOST)
        assert page.status_code == 403 and b"Acme is suspended" in page.content


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("192.0.2.1", 400),
        ("[::1]:80", 400),
        ("localhost", 400),
        ("acme.0x7f", 400),
        ("a_b.test", 400),
        ("täsks.test", 400),
        ("tasks.acme.test@evil.test", 400),
        (f"{HOST}..", 400),
        (f"{HOST}.evil.test", 404),
        ("evil.test", 404),
        ("b.acme.example.com", 404),
    ],
)
def test_trick_hosts_name_nobody(
    domain: Domain, get: Get, host: str, status: int
) -> None:
    """What is no host's name is refused; what is nobody's does not exist."""
    assert get("/show/", host=host).status_code == status


def test_forwarded_host_is_believed_as_django_says(
    domain: Domain, make_get: Callable[..., Get], alice: User, settings: Settings
) -> None:
    """X-Forwarded-Host names a domain where USE_X_FORWARDED_HOST says so."""
    forwarded = {"x-forwarded-host": HOST}
    evil = make_get(alice, "evil.test")

    assert evil("/show/", host="evil.test", **forwarded).status_code == 404
    settings.USE_X_FORWARDED_HOST = True
    told = make_get(alice, HOST)("/show/", host="evil.test", **forwarded).json()
    assert told["organization"] == "acme"


def test_domain_and_other_addresses_name_the_same(
    domain: Domain,
    make_get: Callable[..., Get],
    alice: User,
    acme: Organization,
    globex: Organization,
) -> None:
    """A path of the domain's own organization is one more name; another's is nobody."""
    with tenancy.scope(globex):
        Membership.objects.create(user=alice)
    get = make_get(alice, HOST)

    assert get("/o/acme/show/", host=HOST).json()["organization"] == "acme"
    for slug in ("globex", "nobody"):
        assert get(f"/o/{slug}/show/", host=HOST).status_code == 404
    for ask in (get, make_get(None)):
        assert see(ask, HOST, "/o/nobody/show/") == see(ask, HOST, "/o/x/show/")


def test_choice_that_differs_from_the_domain_is_refused(
    domain: Domain, alice: User, acme: Organization, globex: Organization
) -> None:
    """The session's choice of another organization is 404, and none is made there."""
    with tenancy.scope(globex):
        Membership.objects.create(user=alice)
    client = Client(headers={"host": HOST})
    client.force_login(alice)
    sign_in_at(HOST, client)

    for organization in (acme, globex):
        client.post("/switch/", {"key": str(organization.pk)})
        assert client.get("/show/").json()["organization"] == "acme"
    with tenancy.scope(globex):
        membership = Membership.objects.get(user=alice)
    with tenancy.scope(user=alice):
        Session.objects.update(membership=membership)
    assert client.get("/show/").status_code == 404


def test_session_that_was_read_before_is_enough_at_a_domain(
    domain: Domain, alice: User, globex: Organization, settings: Settings
) -> None:
    """It is the same where the session is read first, or is kept elsewhere."""
    DomainFactory(organization=globex, host="globex.test", is_verified=True)
    engines = ("tenancy.sessions", "django.contrib.sessions.backends.db")
    settings.MIDDLEWARE.insert(-1, f"{__name__}.read_session")
    for settings.SESSION_ENGINE in engines:
        client = Client(headers={"host": HOST})
        client.force_login(alice)
        sign_in_at(HOST, client)

        assert client.get("/show/").json()["organization"] == "acme"
        sign_in_at("globex.test", client)
        other = client.get("/show/", headers={"host": "globex.test"})
        assert other.status_code == 404


ENGINES = [
    "tenancy.sessions",
    *(
        f"django.contrib.sessions.backends.{name}"
        for name in ("db", "cached_db", "cache", "signed_cookies")
    ),
]


@pytest.fixture(params=["read", "unread"])
def sign_in(
    request: pytest.FixtureRequest,
    alice: User,
    globex: Organization,
    settings: Settings,
) -> Callable[[str], Callable[[], Client]]:
    """Sign alice in, of both organizations; return what copies her cookie's holder."""
    settings.AUTHENTICATION_BACKENDS = ["tenancy.auth.OrganizationBackend"]
    if request.param == "read":
        settings.MIDDLEWARE.insert(-1, f"{__name__}.read_user")
    with tenancy.scope(globex):
        Membership.objects.create(user=alice)
    DomainFactory(organization=globex, host="globex.test", is_verified=True)

    def sign_in_at_host(host: str) -> Callable[[], Client]:
        browser = Client(headers={"host": host})
        browser.post("/enter-as/", {"email": alice.email})
        cookie = browser.cookies["sessionid"].value

        def copy() -> Client:
            client = Client()
            client.cookies["sessionid"] = cookie
            return client

        return copy

    return sign_in_at_host


@pytest.mark.parametrize("engine", ENGINES)
def test_session_of_a_domain_is_nobody_elsewhere(
    domain: Domain,
    sign_in: Callable[[str], Callable[[], Client]],
    settings: Settings,
    engine: str,
) -> None:
    """Who receives a domain's cookies opens what is of the domain, and no more."""
    settings.SESSION_ENGINE = engine
    copy = sign_in(HOST)

    for address, host in (
        ("/o/acme/show/", "example.com"),
        ("/o/globex/show/", "example.com"),
        ("/show/", "acme.example.com"),
        ("/show/", "globex.example.com"),
        ("/o/globex/show/", HOST),
    ):
        assert copy().get(address, headers={"host": host}).status_code == 404
    site = copy().get("/show/", headers={"host": "example.com"})
    assert site.json()["organization"] is None
    assert site.cookies["sessionid"].value == ""
    assert copy().get("/cart/", headers={"host": "example.com"}).content == b""
    assert copy().get("/show/", headers={"host": "globex.test"}).status_code == 302
    # None of this has ended it.
    told = copy().get("/show/", headers={"host": HOST}).json()
    assert told["organization"] == "acme"
    assert copy().get("/cart/", headers={"host": HOST}).content == b"3 chairs"


@pytest.mark.parametrize("engine", ENGINES)
def test_session_of_the_site_is_nobody_at_a_domain(
    domain: Domain,
    sign_in: Callable[[str], Callable[[], Client]],
    settings: Settings,
    engine: str,
) -> None:
    """A session that began at the site's host is good at all of the site's hosts."""
    settings.SESSION_ENGINE = engine
    copy = sign_in("example.com")

    assert copy().get("/show/", headers={"host": HOST}).status_code == 302
    for address, host in (
        ("/o/acme/show/", "example.com"),
        ("/show/", "acme.example.com"),
    ):
        told = copy().get(address, headers={"host": host}).json()
        assert told["organization"] == "acme"


def test_session_that_begins_before_the_middleware_is_the_domains(
    domain: Domain, alice: User, settings: Settings
) -> None:
    """Where another middleware signs in, the host is asked all the same."""
    settings.MIDDLEWARE.insert(-1, f"{__name__}.sign_in_first")
    client = Client(headers={"host": HOST})

    assert client.get("/show/").json()["organization"] == "acme"
    assert client.get("/show/").json()["organization"] == "acme"
    assert client.session["_tenancy_domain"] == HOST


def test_signed_out_can_sign_in_at_a_domain_only(
    domain: Domain, make_get: Callable[..., Get], settings: Settings
) -> None:
    """Who is not signed in is led to the page of LOGIN_URL, and steps beside it."""
    settings.LOGIN_URL = "/enter/"
    get = make_get(None)

    for address in ("/show/?page=2", "/show-async/", "/reset/"):
        response = get(address, host=HOST)
        assert response.status_code == 302
        if address != "/reset/":
            assert response.headers["Location"].startswith("/enter/?next=/show")
        assert "Cookie" in response.headers["Vary"]
    posted = get("/show/", host=HOST, method="post")
    assert posted.headers["Location"] == "/enter/?next=/"
    for address in ("/enter/", "/second-factor/"):
        assert get(address, host=HOST).content == b"None"
    assert get("/nowhere/", host=HOST).status_code == 404
    assert get("/show/").json()["organization"] is None


def test_password_is_reset_at_the_site_only(domain: Domain, get: Get) -> None:
    """No mail about anybody's password names an organization's domain."""
    for address in ("/reset/?x=1", "/site/?x=1"):
        for method in ("get", "post"):
            response = get(address, host=f"{HOST}:8000", method=method)
            assert response.headers["Location"] == f"http://example.com:8000{address}"
        assert get(address).status_code == 200


def test_links_stay_at_the_domain_or_lead_there(
    domain: Domain,
    make_get: Callable[..., Get],
    alice: User,
    globex: Organization,
    settings: Settings,
) -> None:
    """A link into the organization stays at its domain; others lead to a host."""

    def domain_of(host: str) -> str | None:
        return None if host == "example.com" else HOST

    def link(slug: str, host: str) -> str:
        # The handler reads the resolvers once.
        page = make_get(alice, domain_of(host))(f"/link/{slug}/", host=host)
        return str(page.content.decode())

    assert link("acme", HOST) == "/show/"
    assert link("acme", f"{HOST}:8000") == "/show/"
    assert link("globex", HOST) == "http://globex.example.com/show/"
    settings.TENANCY_RESOLVERS = [DOMAINS, RESOLVERS[1]]
    assert link("globex", HOST) == "http://example.com/o/globex/show/"
    assert link("globex", "example.com") == "/o/globex/show/"
    settings.TENANCY_RESOLVERS = [DOMAINS]
    assert link("globex", HOST) == "http://example.com/show/"


def test_resolver_of_domains_builds_addresses(
    domain: Domain, rf: RequestFactory, acme: Organization, globex: Organization
) -> None:
    """The first domain that was verified is the organization's address."""
    DomainFactory(organization=acme, host="second.test", is_verified=True)
    DomainFactory(organization=globex, host="globex.test")
    request = rf.get("/", headers={"host": "example.com:8000"})
    resolver = DomainResolver()

    assert resolver.build_url(request, "acme", "/x/") == f"http://{HOST}:8000/x/"
    assert resolver.build_url(request, "globex", "/x/") is None


def test_site_url_names_the_site(rf: RequestFactory, settings: Settings) -> None:
    """Links in mails name the site's own host, whichever was asked."""
    for host, url in (
        (f"{HOST}:8000", "http://example.com:8000/x/"),
        ("acme.example.com", "http://acme.example.com/x/"),
    ):
        request = rf.get("/", headers={"host": host})
        assert build_site_url(request, "/x/") == url
    settings.TENANCY_BASE_DOMAIN = None
    assert build_site_url(rf.get("/"), "/x/") == "http://testserver/x/"
    with pytest.raises(ImproperlyConfigured, match="names DomainResolver"):
        DomainResolver()
