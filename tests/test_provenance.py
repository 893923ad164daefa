"""What carries the scope in a page; see test_decorators.py for forms of the site."""

from __future__ import annotations

import pytest
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse

import tenancy
from tenancy.models import Organization
from tenancy.provenance import SCOPE_FIELD_NAME, carry_scope

FORM = '<input type="hidden" name="csrfmiddlewaretoken" value="x">'

pytestmark = pytest.mark.django_db


def test_scope_is_put_into_each_form(acme: Organization) -> None:
    """Each form of a page has it, and says of which organization it is."""
    with tenancy.scope(acme):
        page = carry_scope(HttpResponse(f"<form>{FORM}</form><form>{FORM}</form>"))

    assert isinstance(page, HttpResponse)
    field = f'{FORM}<input type="hidden" name="{SCOPE_FIELD_NAME}" value="{acme.pk}:'
    assert page.content.decode().count(field) == 2


def test_scope_is_put_into_pages_only() -> None:
    """What is no page, or is not there yet, is left as it is."""
    data = carry_scope(JsonResponse({"text": FORM}))
    stream = carry_scope(StreamingHttpResponse([FORM]))

    assert isinstance(data, HttpResponse)
    assert isinstance(stream, StreamingHttpResponse)
    assert SCOPE_FIELD_NAME not in data.content.decode()
    assert list(stream) == [FORM.encode()]
