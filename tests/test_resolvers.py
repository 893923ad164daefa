"""The organization that an address names, sync and async; each test runs both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf.urls.i18n import i18n_patterns
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
from tenancy.middleware import switch_organization
from tenancy.models import Membership, Organization, Session, User
from tenancy.resolvers import (
    Address,
    HeaderResolver,
    PathResolver,
    Resolver,
    Resolvers,
    SessionResolver,
    SubdomainResolver,
)

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


def show_language(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return redirect("language")
    return JsonResponse({"language": get_language(), "path": reverse("language")})


urlpatterns: list[Any] = [
    path("show/", show, name="show"),
    path("show-async/", show_async),
    path("switch/", switch),
    path("stream/", stream),
    *i18n_patterns(path("language/", show_language, name="language")),
]


def read_session(get_response: Callable[[HttpRequest], Any]) -> Any:
    """A middleware that reads the session before TenancyMiddleware does."""

    def answer(request: HttpRequest) -> Any:
        request.session.get("anything")
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
def make_get(request: pytest.FixtureRequest) -> Callable[[User | None], Get]:
    """Make what gets an address as a user, by the sync or the async handler."""

    def make(user: User | None) -> Get:
        is_async = request.param == "async"
        client: Any = HostClient() if is_async else Client()
        if user is not None:
            client.force_login(user)

        def get(
            address: str, host: str = "example.com", method: str = "get", **extra: Any
        ) -> Any:
            headers = {"host": host, **extra}
            call = getattr(client, method)
            return (async_to_sync(call) if is_async else call)(address, headers=headers)

        return get

    return make


@pytest.fixture
def get(make_get: Callable[[User | None], Get], alice: User, acme: Organization) -> Get:
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
    get: Get, make_get: Callable[[User | None], Get], globex: Organization, how: Any
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
    make_get: Callable[[User | None], Get],
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
    make_get: Callable[[User | None], Get],
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
    make_get: Callable[[User | None], Get],
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
    make_get: Callable[[User | None], Get],
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
    make_get: Callable[[User | None], Get],
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
