"""A browser that asks for each address thrice: own row, another's row, and no row.

What it visits it takes from the resolver and from the admin's registry; see
test_crawl.py for what may be said of addresses that need more than a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Model
from django.forms import BaseForm, ModelChoiceField
from django.test import Client
from django.urls import URLPattern, URLResolver

from tenancy.predicates import tenant_field

Keys = Mapping[Any, Any]
"""The key of one row of each model, and words of the organization by their names."""

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)")
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')
SECRET = re.compile(r"(?<=/invitations/)[\w-]{43}(?=/)")
"""What is made anew each time."""
NUMBER = re.compile(r"(?<=/)\d+(?=/)")
"""The key of a new row of one's own, which no sequence gives twice. Where it is theirs,
it has been hidden before."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ANSWERS = (200, 301, 302)
"""The statuses by which somebody is let in."""


@dataclass(frozen=True)
class Address:
    """A URL pattern, with what stands before it."""

    route: str
    name: str

    @property
    def parameters(self) -> list[str]:
        """The names of what stands in the path."""
        return [named or matched for named, matched in PARAMETER.findall(self.route)]

    def find_path(self, values: Mapping[str, Any]) -> str:
        """Return the path with the values in it."""
        path = PARAMETER.sub(
            lambda match: str(values[match[1] or match[2]]), self.route
        )
        return "/" + path.replace("^", "").replace("$", "").replace(r"\Z", "")


def walk(
    patterns: Iterable[URLPattern | URLResolver], before: str = "", space: str = ""
) -> Iterator[Address]:
    """Yield every address that is routed."""
    for one in patterns:
        # As ResolverMatch.route joins them.
        route = str(one.pattern)
        route = before + route.removeprefix("^") if before else route
        if isinstance(one, URLResolver):
            inner = f"{space}{one.namespace}:" if one.namespace else space
            yield from walk(one.url_patterns, route, inner)
        else:
            yield Address(route, f"{space}{one.name or ''}")


@dataclass
class Answer:
    """All that can be seen of an answer, and how many queries it took."""

    status: int
    headers: dict[str, str]
    body: str
    queries: int
    response: Any = field(repr=False, compare=False)
    statements: list[str] = field(repr=False, compare=False)


@dataclass
class Crawler:
    """Asks as one user, and writes down what was asked for.

    Args:
        client (Client): the user's browser.
        own (Keys): of the user's organization.
        theirs (Keys): of another one.
        none (Keys): of nothing, in the form of theirs.
        never (tuple): what no answer holds, in small letters.
    """

    client: Client
    own: Keys
    theirs: Keys
    none: Keys
    never: tuple[str, ...]
    visited: set[tuple[str, str]] = field(default_factory=set)
    """Routes, as the resolver found them, and methods."""
    opened: set[str] = field(default_factory=set)
    """Routes of which an own row's page was answered, and unlike another's."""
    actions: set[tuple[type[Model], str]] = field(default_factory=set)
    """The actions of lists that were run."""
    faults: list[str] = field(default_factory=list)
    compared: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        self.client.raise_request_exception = False
        cookies = self.client.cookies
        self._cookies = {name: morsel.value for name, morsel in cookies.items()}

    def ask(self, method: str, path: str, data: Mapping[str, Any]) -> Answer:
        """Ask, and undo whatever it changed."""
        cache.clear()
        self.client.cookies.clear()
        for name, value in self._cookies.items():
            self.client.cookies[name] = value
        statements: list[str] = []

        def note(execute: Any, sql: str, *rest: Any) -> Any:
            statements.append(sql)
            return execute(sql, *rest)

        # CaptureQueriesContext asks SQLite once more for each query.
        with undone(), connection.execute_wrapper(note):
            response: Any = getattr(self.client, method)(path, data)
            body = b"".join(response) if response.streaming else response.content
        self.asked += 1
        if response.status_code == 500:
            self.faults.append(f"{method} {path} {data}: {response.exc_info[1]!r}")
        self.visited.add((response.resolver_match.route, method))
        headers = {
            name: value
            for name, value in response.headers.items()
            if name not in ("Expires", "Last-Modified", "Content-Length")
        }
        # What they hold is random, or signed, or below.
        headers["Set-Cookie"] = str(sorted(response.cookies))
        told = getattr(response.wsgi_request, "_messages", None)
        messages = [str(one) for one in told._queued_messages] if told else []
        return Answer(
            response.status_code,
            headers,
            TOKEN.sub("", body.decode(errors="replace")) + str(messages),
            len(statements),
            response,
            statements,
        )

    def hide(self, answer: Answer, keys: Keys) -> Answer:
        """Return the answer without the keys by which was asked."""
        body, headers = answer.body, str(sorted(answer.headers.items()))
        for name, key in keys.items():
            for text in {str(key), quote(str(key)), quote(quote(str(key)))}:
                body = body.replace(text, f"<{name}>")
                headers = headers.replace(text, f"<{name}>")
        headers = NUMBER.sub("<new>", UUID.sub("<new>", headers))
        body = NUMBER.sub("<new>", SECRET.sub("", body))
        return replace(answer, headers={"all": headers}, body=body)

    def compare(
        self,
        method: str,
        path: Any,
        data: Any = None,
    ) -> None:
        """Ask with another's keys, and with those of nothing; note what differs.

        Args:
            path (Callable): returns the path, given keys.
            data (Callable | None): returns what is sent, given keys.
        """
        theirs, none = (
            self.hide(self.ask(method, path(keys), data(keys) if data else {}), keys)
            for keys in (self.theirs, self.none)
        )
        self.compared += 1
        sent = data(self.theirs) if data else {}
        subject = f"{method} {path(self.theirs)} {sent}"
        if theirs != none:
            self.faults.append(f"{subject}: {tell_difference(theirs, none)}")
        # What was asked for is hidden by now.
        self.find_words(theirs, subject)

    def find_words(self, answer: Answer, subject: str) -> None:
        """Note what is told that is to be told to nobody here."""
        body = answer.body.lower()
        self.faults += [
            f"{subject}: {word!r} is shown" for word in self.never if word in body
        ]

    def open(self, method: str, path: Any, data: Any = None) -> Answer:
        """Ask with own keys; note where it is answered, and not as another's."""
        given = {} if data is None else data(self.own)
        answer = self.ask(method, path(self.own), given)
        if answer.status in ANSWERS:
            self.opened.add(answer.response.resolver_match.route)
        self.find_words(answer, f"{method} {path(self.own)}")
        return answer


@contextmanager
def undone() -> Iterator[None]:
    """Undo what is changed inside."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def tell_difference(one: Answer, other: Answer) -> str:
    """Return in what two answers differ."""
    told = [f"{one.status} and {other.status}", f"{one.queries} and {other.queries}"]
    if one.headers != other.headers:
        told.append(f"{one.headers} and {other.headers}")
    for left, right in zip(
        one.body.splitlines(), other.body.splitlines(), strict=False
    ):
        if left != right:
            told.append(f"{left.strip()!r} and {right.strip()!r}")
            break
    for left, right in zip(one.statements, other.statements, strict=False):
        if left != right:
            told.append(f"{left} and {right}")
            break
    return "; ".join(told)


def is_private(model: Any) -> bool:
    """Return whether the keys of a model are those of one organization's rows."""
    return tenant_field(model) is not None or model._meta.label == "tenancy.User"


def list_forms(response: Any) -> Iterator[BaseForm]:
    """Yield the forms of a page."""
    seen = set()
    for context in response.context or ():
        for value in context.dicts if hasattr(context, "dicts") else [context]:
            for one in value.values() if isinstance(value, dict) else ():
                found = getattr(one, "form", one)
                if isinstance(found, BaseForm) and id(found) not in seen:
                    seen.add(id(found))
                    yield found


def list_choices(form: BaseForm) -> dict[str, type[Model]]:
    """Return the fields of a form that name rows of an organization."""
    found: dict[str, type[Model]] = {}
    for name, one in form.fields.items():
        rows = one.queryset if isinstance(one, ModelChoiceField) else None
        if rows is not None and is_private(rows.model):
            found[form.add_prefix(name)] = rows.model
    return found


def read_form(form: BaseForm) -> dict[str, Any]:
    """Return what a browser would send of a form that nobody has touched."""
    data: dict[str, Any] = {}
    for bound in form:
        # Any: the admin wraps some widgets.
        widget: Any = getattr(bound.field.widget, "widget", bound.field.widget)
        if widget.needs_multipart_form:
            continue
        told = widget.get_context(bound.html_name, bound.value(), {})["widget"]
        for part in told.get("subwidgets") or [told]:
            value = part["value"]
            if bound.value() is not False and value not in (None, [""]):
                data[part["name"]] = value
    return data
