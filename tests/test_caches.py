"""Cached pages and fragments, of two organizations and of whoever is signed out."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.core.cache.utils import make_template_fragment_key
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.cache import cache_page
from pytest_django import Settings

import tenancy
from project.tracker.models import Project
from tenancy.caches import separate_keys
from tenancy.decorators import organization_not_required
from tenancy.models import Organization, User

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
TENANCY = "tenancy.middleware.TenancyMiddleware"


def list_projects(request: HttpRequest) -> HttpResponse:
    if tenancy.current_scope() is None:
        return HttpResponse("nobody's")
    return HttpResponse(",".join(Project.objects.values_list("name", flat=True)))


def render_fragment(request: HttpRequest) -> HttpResponse:
    template = engines["django"].from_string(
        "{% load cache %}{% cache 500 sidebar %}"
        "{% for project in projects %}{{ project }},{% endfor %}"
        "{% endcache %}"
    )
    is_signed_in = tenancy.current_scope() is not None
    projects = Project.objects.all() if is_signed_in else ["nobody's"]
    return HttpResponse(template.render({"projects": projects}, request))


@organization_not_required
async def show_keys(request: HttpRequest) -> HttpResponse:
    keys = {make_template_fragment_key("sidebar") for _ in range(2)}
    return HttpResponse(str(len(keys)))


urlpatterns = [
    path("plain/", list_projects),
    path("page/", cache_page(60)(list_projects)),
    path("fragment/", render_fragment),
    path("keys/", show_keys),
]


@pytest.fixture(autouse=True)
def _caching(settings: Settings) -> None:
    cache.clear()
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, TENANCY]


@pytest.fixture
def ask(
    alice: User, bob: User, acme: Organization, globex: Organization
) -> Callable[[str], list[str]]:
    """Ask for an address as alice, bob and nobody, each of them twice."""
    for organization in (acme, globex):
        with tenancy.scope(organization):
            Project.objects.create(name=f"of {organization.slug}")

    def ask_for(address: str) -> list[str]:
        clients = [Client(), Client(), Client()]
        clients[0].force_login(alice)
        clients[1].force_login(bob)
        return [
            client.get(address).content.decode().strip(",")
            for client in (*clients, *clients)
        ]

    return ask_for


@pytest.mark.parametrize("address", ["/page/", "/fragment/"])
def test_what_is_cached_is_of_one_organization(
    ask: Callable[[str], list[str]], address: str
) -> None:
    """Pages and fragments are given to none but who is in their organization."""
    told = [html.unescape(text) for text in ask(address)]

    assert told == ["of acme", "of globex", "nobody's"] * 2


@pytest.mark.parametrize("address", ["/page/", "/fragment/"])
def test_what_is_cached_is_asked_for_again(
    acme: Organization, alice: User, address: str
) -> None:
    """Within the organization the cache does what it is there for."""
    client = Client()
    client.force_login(alice)
    before = client.get(address).content
    with tenancy.scope(acme):
        Project.objects.create(name="later")

    assert client.get(address).content == before
    cache.clear()
    assert b"later" in client.get(address).content


@pytest.mark.parametrize("order", ["around", "within", "before"])
def test_cached_site_is_of_one_organization(
    ask: Callable[[str], list[str]], settings: Settings, order: str
) -> None:
    """It is the same with the middlewares for all pages, wherever these stand."""
    others = settings.MIDDLEWARE[:-1]
    settings.MIDDLEWARE = {
        "around": [UPDATE, *others, TENANCY, FETCH],
        "within": [*others, TENANCY, UPDATE, FETCH],
        "before": [*others, UPDATE, FETCH, TENANCY],
    }[order]

    told = ask("/plain/")

    assert told[:3] == ["of acme", "of globex", "nobody's"]
    # Before it is known who asks, what is kept is what nobody got.
    assert told[3:] == (["nobody's"] * 3 if order == "before" else told[:3])


def test_key_of_a_fragment_tells_the_scope(acme: Organization, alice: User) -> None:
    """A fragment is dropped by the key that its scope gives; in none it is Django's."""
    plain = "template.cache.sidebar.d41d8cd98f00b204e9800998ecf8427e"

    assert make_template_fragment_key("sidebar") == plain
    with tenancy.scope(acme):
        key = make_template_fragment_key("sidebar")
        assert key == f"{plain}.organization-{acme.pk}"
    with tenancy.scope(user=alice):
        assert make_template_fragment_key("sidebar") == f"{plain}.user-{alice.pk}"
    with tenancy.unscoped("tests: a key"):
        assert make_template_fragment_key("sidebar") == f"{plain}.unscoped"


def test_key_of_a_fragment_tells_the_scope_once(acme: Organization) -> None:
    """Where apps are set up again, the keys stay as they are."""
    with tenancy.scope(acme):
        before = make_template_fragment_key("sidebar")
        separate_keys()
        assert make_template_fragment_key("sidebar") == before


def test_async_view_that_asks_for_nothing_shares_nothing(
    alice: User, acme: Organization
) -> None:
    """Where the scope cannot be waited for, each key is another one."""
    signed_in: Any = AsyncClient()
    signed_in.force_login(alice)

    assert async_to_sync(signed_in.get)("/keys/").content == b"2"
    assert async_to_sync(AsyncClient().get)("/keys/").content == b"1"
