"""Every address of the site, asked for by acme's staff with the keys of globex.

A new address or admin is visited without being named here, as long as the tables know
of which rows it speaks; where they do not, a test fails and says which entry to add.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin import helpers
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.utils import timezone
from pytest_django import Settings

import tenancy
from project.tracker.models import Attachment, Label, Project, Task
from tenancy.admin import ActingAdmin
from tenancy.models import (
    Invitation,
    Membership,
    Organization,
    Role,
    Session,
    Team,
    TeamMembership,
    User,
)
from tenancy.testing import MembershipFactory
from tests.admin.conftest import sign_in
from tests.admin.crawler import (
    ANSWERS,
    Address,
    Crawler,
    Keys,
    list_choices,
    list_forms,
    read_form,
    walk,
)
from tests.admin.site_urls import site, urlpatterns
from tests.admin.test_pages import OF_SUPERUSERS, SECRETS, fill, path_of
from tests.apps.notebook.models import Cover, Folder, Note, Placing, Remark

pytestmark = pytest.mark.django_db

METHODS = ("get", "post")


# What the addresses speak of.

ROWS: dict[str, type[Model]] = {
    "attachments": Attachment,
    "blockers": Task,
    "devices": Session,
    "invitations": Invitation,
    "labels": Label,
    "members": Membership,
    "organizations": Organization,
    "projects": Project,
    "tasks": Task,
    "teams": Team,
}
"""The model of a key, by the word that stands before it in the path."""

WORDS = {
    "app_label": "tracker",
    "path": "tracker/icon.svg",
    "token": "made-up",
    "url": "nowhere/",
}
"""What stands for the parts of a path that name no row. A secret that opens a page is
its bearer's, of whichever organization; so a token is of none."""

FIELDS: dict[str, type[Model]] = {
    "blocker": Task,
    "member": Membership,
    "organization": Organization,
    "role": Role,
    "to": Membership,
}
"""What is posted to every page, beside what its own forms ask for."""

TELLING = {"admin:auth_group_history"}
"""Where Django's own admin of a global model looks for the row before it refuses."""

CLOSED = {
    # What is routed nowhere.
    "admin:",
    "admin:auth_user_password_change",
    "admin:tenancy_auditevent_add",
    "admin:tenancy_auditevent_delete",
    "admin:tenancy_organization_act",
    "admin:tenancy_organization_add",
    "admin:tenancy_organization_delete",
    "admin:tenancy_purchase_add",
    "admin:tenancy_purchase_delete",
    "admin:tenancy_stop_impersonating",
    "admin:tenancy_subscription_act",
    "admin:tenancy_subscription_add",
    "admin:tenancy_subscription_delete",
    "admin:tenancy_user_act",
    "admin:tenancy_user_add",
    "admin:tenancy_user_delete",
    # Whoever opened an invitation before.
    "tenancy:invitation-answer",
}
"""The addresses at which staff of an organization are let in by no means, or by what
they have done before."""


def list_addresses() -> list[Address]:
    """Return every address of the site."""
    return list(walk(urlpatterns))


def find_admin(address: Address) -> type[Model] | None:
    """Return of which model's admin an address is, or None."""
    for model in site._registry:
        start = f"admin/{model._meta.app_label}/{model._meta.model_name}/"
        if address.route.startswith(start):
            return model
    return None


def list_values(address: Address) -> Iterator[Callable[[Keys], dict[str, Any]]]:
    """Yield what makes the values of a path's parameters out of keys."""
    if address.name == "admin:view_on_site":
        for model in site._registry:
            kind = ContentType.objects.get_for_model(model, for_concrete_model=False).pk
            yield functools.partial(
                _fill, {"content_type_id": kind, "object_id": model}
            )
        return
    of_admin = find_admin(address)
    named: dict[str, Any] = {}
    parts = address.route.split("/")
    for before, part in pairwise(["", *parts]):
        for name in Address(part, "").parameters:
            if of_admin is not None and name in ("object_id", "id"):
                named[name] = of_admin
            elif of_admin is not None and name == "name":
                pass
            elif name in WORDS:
                named[name] = WORDS[name]
            elif before in ROWS:
                named[name] = ROWS[before]
            else:
                pytest.fail(
                    f"{address.route!r} names a row by <{name}>, behind {before!r}. "
                    f"Add {before!r} and its model to ROWS, or {name!r} to WORDS."
                )
    actions = ["none"]
    if "name" in address.parameters and of_admin is not None:
        actions = [one.name for one in find_acting(of_admin).row_actions]
    for action in actions:
        yield functools.partial(_fill, {"name": action, **named})


def find_acting(model: type[Model]) -> ActingAdmin:
    """Return the admin of a model, which has actions on one row."""
    found = site._registry[model]
    assert isinstance(found, ActingAdmin)
    return found


# Who asks, and with what.


def fill_notebook(organization: Organization, mark: str, **key: int) -> dict[Any, Any]:
    """Return a row of each model of the tests that has an admin."""
    with tenancy.scope(organization):
        user = Membership.objects.owners().get().user
        folder = Folder.objects.create(name=f"{mark} folder", **key)
        note = Note.objects.create(
            code=f"{mark} note",
            data={"mark": mark},
            folder=folder,
            author=user,
            written_at=timezone.now(),
            **key,
        )
        note.readers.add(user)
        note.friends.add(note)
        return {
            Folder: folder,
            Note: note,
            Placing: Placing.objects.create(note=note, folder=folder, **key),
            Cover: Cover.objects.create(note=note, color=mark[:10], **key),
            Remark: Remark.objects.create(target=note, text=f"{mark} remark", **key),
        }


def take_keys(rows: Mapping[Any, Model], **words: str) -> dict[Any, Any]:
    """Return the keys of rows, with words that are asked for."""
    return {model: row.pk for model, row in rows.items()} | words


@pytest.fixture
def crawler(
    settings: Settings,
    tmp_path: Path,
    alice: User,
    acme: Organization,
    globex: Organization,
) -> Crawler:
    """Alice, staff of acme, who knows every key of globex."""
    settings.ROOT_URLCONF = "tests.admin.site_urls"
    settings.SESSION_ENGINE = "tenancy.sessions"
    settings.AUTHENTICATION_BACKENDS = ["tenancy.auth.OrganizationBackend"]
    settings.LOGIN_URL, settings.LOGIN_REDIRECT_URL = "tenancy:sign-in", "/projects/"
    alice.is_staff = True
    alice.save()
    client = sign_in(alice)
    settings.MEDIA_ROOT = tmp_path
    (tmp_path / "none.txt").touch()
    ours = fill(acme, mark="rocket", secrets=True) | fill_notebook(acme, "rocket")
    theirs = fill(globex, mark="turbine", number=71_000_001)
    theirs |= fill_notebook(globex, "turbine", pk=71_000_001)
    assert not set(site._registry) - set(theirs), "fill() lacks a row of these models."
    for rows in (ours, theirs):
        with tenancy.scope(rows[Organization]):
            rows[TeamMembership] = TeamMembership.objects.get()
            rows[Session] = Session.objects.filter(user=rows[User]).first()
    ours["owner"] = ours[Membership]
    with tenancy.scope(acme):
        # Whom alice may remove.
        ours[Membership] = MembershipFactory()
    keys = take_keys(theirs, email="bob@globex.example", word="turbine")
    return Crawler(
        client,
        own=take_keys(ours, email=alice.email, word="rocket"),
        theirs=keys,
        none={
            **{
                model: uuid.uuid4() if isinstance(key, uuid.UUID) else 72_340_231
                for model, key in keys.items()
            },
            "email": "rob@grobex.example",
            "word": "durbine",
        },
        never=("globex", "turbine", "bob@", *SECRETS),
    )


# The crawl.


def crawl_addresses(crawler: Crawler) -> None:
    """Ask for each address by each method, with keys in the path and in what is sent.

    The forms of the pages outside of the admin say which fields name rows.
    """
    fields, changing = dict(FIELDS), []
    for address in list_addresses():
        is_keyless = all(name in WORDS for name in address.parameters)
        is_of_admin = address.route.startswith("admin/")
        for values in list_values(address):
            find_path = functools.partial(_find_path, address, values)
            for method in METHODS:
                if not is_keyless and address.name not in TELLING:
                    crawler.compare(method, find_path)
                is_visited = (address.route, method) in crawler.visited
                if is_of_admin and is_visited and address.route in crawler.opened:
                    continue
                given = _craft if method == "post" else None
                own = crawler.open(method, find_path, given)
                if own.status in ANSWERS and (is_keyless or not is_of_admin):
                    for form in list_forms(own.response):
                        fields |= list_choices(form)
                    if is_keyless or method == "post":
                        changing.append((method, find_path(crawler.own)))

    craft = functools.partial(_craft, fields=fields)
    for method, own_path in changing:
        crawler.compare(method, functools.partial(_stay, own_path), craft)


def crawl_lists(crawler: Crawler) -> None:
    """Filter, search and complete by keys and words; choose rows and change cells."""
    for model, model_admin in site._registry.items():
        if model in OF_SUPERUSERS:
            continue
        own_path = functools.partial(_stay, path_of(model))
        for query in list_queries(model):
            crawler.compare("get", own_path, query)
        for data in (*list_selections(crawler, model_admin), *list_cells(model_admin)):
            crawler.compare("post", own_path, data)
        for name in list_relations(model):
            if model._meta.get_field(name).auto_created:
                # Django completes forward relations only.
                continue
            complete = functools.partial(_stay, "/admin/autocomplete/")
            asked = functools.partial(
                _fill,
                {
                    "app_label": model._meta.app_label,
                    "model_name": model._meta.model_name,
                    "field_name": name,
                    "term": "word",
                    "tenancy_organization": Organization,
                },
            )
            crawler.compare("get", complete, asked)
            if "admin/autocomplete/" not in crawler.opened:
                crawler.open("get", complete, asked)


def list_queries(model: type[Model]) -> Iterator[Callable[[Keys], dict[str, Any]]]:
    """Yield what a crafted address of a list asks for."""
    yield functools.partial(_fill, {"pk__in": model})
    yield functools.partial(_fill, {"q": "word", "_popup": "1", "_to_field": "id"})
    yield functools.partial(_fill, {"q": "email", "o": "1.-2"})
    for name, related in list_relations(model).items():
        yield functools.partial(_fill, {f"{name}__id__exact": related})
        if related in (User, Membership):
            email = "email" if related is User else "user__email"
            yield functools.partial(_fill, {f"{name}__{email}__startswith": "email"})


def list_relations(model: type[Model]) -> dict[str, type[Model]]:
    """Return the relations by which a list can be asked of another one's rows."""
    related = {one.name: one.related_model for one in model._meta.get_fields()}
    return {
        name: other
        for name, other in related.items()
        if name and other in site._registry and other not in OF_SUPERUSERS
    }


def list_selections(
    crawler: Crawler, model_admin: Any
) -> Iterator[Callable[[Keys], dict[str, Any]]]:
    """Yield what a list sends to run each action, asked about and confirmed."""
    model, own = model_admin.model, crawler.own
    names = [name for name, _ in site.actions]
    names += [
        one if isinstance(one, str) else one.__name__ for one in model_admin.actions
    ]
    box = helpers.ACTION_CHECKBOX_NAME
    for name in names:
        crawler.actions.add((model, name))
        chosen = {"action": name, "reason": "x"}
        answer = {"confirmed": "yes", "post": "yes"}
        yield functools.partial(_fill, {**chosen, box: [own[model], model]})
        yield functools.partial(_fill, {**chosen, **answer, box: [model]})


def list_cells(model_admin: Any) -> Iterator[Callable[[Keys], dict[str, Any]]]:
    """Yield what a list with cells to fill in sends for a row that is not there."""
    if model_admin.list_editable:
        model = model_admin.model
        cells = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "_save": "Save"}
        key = f"form-0-{model._meta.pk.name}"
        yield functools.partial(_fill, {**cells, key: model})


def crawl_forms(crawler: Crawler) -> None:
    """Send each form of the admin with one choice that is not there, field by field."""
    # An owner has more to choose.
    own = {**crawler.own, Membership: crawler.own["owner"]}
    for model, model_admin in site._registry.items():
        if model in OF_SUPERUSERS:
            continue
        change, add = path_of(model, "change/", own[model]), path_of(model, "add/")
        sent = send_choices(crawler, change, {})
        send_choices(crawler, add, sent)
        for action in getattr(model_admin, "row_actions", ()):
            if not action.is_for_superusers:
                send_choices(
                    crawler, path_of(model, f"act/{action.name}/", own[model]), {}
                )


def send_choices(
    crawler: Crawler, address: str, held: dict[str, Any]
) -> dict[str, Any]:
    """Send a page's form with each of its choices in turn; return what it held.

    Args:
        held (dict): what is sent beside what the page's own form holds.
    """
    own_path = functools.partial(_stay, address)
    page = crawler.open("get", own_path)
    if page.status != 200:
        return held
    shown = page.response.context
    form = shown["adminform"].form if "adminform" in shown else shown["form"]
    rows = [one.formset for one in shown.get("inline_admin_formsets") or ()]
    with tenancy.scope(crawler.own[Organization]):
        sent = {**held, **read_form(form)}
        chosen = dict(list_choices(form))
        for formset in rows:
            sent |= read_rows(formset)
            chosen |= list_choices_of_rows(formset)
    for name, model in chosen.items():
        crawler.compare(
            "post",
            own_path,
            functools.partial(_fill_one, sent, name, model),
        )
    if chosen and address.endswith("/change/"):
        given = functools.partial(_fill_one, sent, "_save", "Save")
        is_saved = crawler.open("post", own_path, given).status == 302
        if not is_saved:
            crawler.faults.append(f"{address}: what the page holds cannot be saved")
    return sent


def read_rows(formset: Any) -> dict[str, Any]:
    """Return what a browser would send of the rows below a form."""
    sent = read_form(formset.management_form)
    for form in formset.initial_forms:
        sent |= read_form(form)
    return sent


def list_choices_of_rows(formset: Any) -> dict[str, type[Model]]:
    """Return the fields of the first row that name rows; its own key is one."""
    return {
        name: model
        for form in formset.initial_forms[:1]
        for name, model in list_choices(form).items()
    }


def _craft(keys: Keys, fields: dict[str, type[Model]] = FIELDS) -> dict[str, Any]:
    words = {"username": "email", "email": "email", "q": "word", "password": "x"}
    return _fill({**fields, **words, "title": "x", "name": "x"}, keys)


def _fill(template: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """Put the key of a row in the place of each model, and words in that of theirs."""
    return {
        name: [keys.get(each, each) for each in one]
        if isinstance(one, list)
        else keys.get(one, one)
        for name, one in template.items()
    }


def _fill_one(
    sent: dict[str, Any], name: str, wanted: Any, keys: Keys
) -> dict[str, Any]:
    """Put one key into what is sent otherwise as it is."""
    return {**sent, name: keys.get(wanted, wanted)}


def _stay(address: str, keys: Keys) -> str:
    return address


def _find_path(address: Address, values: Any, keys: Keys) -> str:
    return address.find_path(values(keys))


def test_keys_of_others_are_keys_of_nothing(crawler: Crawler) -> None:
    """An answer about globex's row is that about no row, at every address there is.

    It has the same status, the same text and as many queries; and an own row's page is
    opened, so that not everything is refused.
    """
    crawl_addresses(crawler)
    crawl_lists(crawler)
    crawl_forms(crawler)

    assert not crawler.faults, "\n".join(crawler.faults)
    routes = {one.route: one for one in list_addresses()}
    assert crawler.visited == {
        (route, method) for route in routes for method in METHODS
    }
    staff = set(site._registry) - OF_SUPERUSERS
    everywhere: Any = site.actions  # Any: the stubs want the very model of each.
    assert {find_admin(one) for one in routes.values()} == {None, *site._registry}
    assert {model for model, _ in crawler.actions} == staff
    declared = [site._registry[model].actions or () for model in staff]
    assert len(crawler.actions) == sum(map(len, declared)) + len(staff) * len(
        list(everywhere)
    )
    closed = {
        one.name
        for one in routes.values()
        if one.route not in crawler.opened and find_admin(one) not in OF_SUPERUSERS
    }
    assert not closed ^ CLOSED, "Add to CLOSED what staff cannot open, and no more."
