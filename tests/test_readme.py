"""The README's examples are run, and each public name is described there."""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import get_commands

import tenancy
from tenancy import conf, exceptions
from tenancy.models import Organization

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)


def find_blocks(language: str, *words: str) -> list[str]:
    """Return the README's blocks of a language that hold each of the words."""
    return [
        text
        for name, text in BLOCKS
        if name == language and all(word in text for word in words)
    ]


def test_readme_models_are_the_tested_ones() -> None:
    """The models of the quick start are those of the app 'notes' of the tests."""
    (block,) = find_blocks("python", "# notes/models.py")

    tested = (ROOT / "tests/apps/notes/models.py").read_text()

    assert block == f"# notes/models.py\n{tested}"


@pytest.mark.django_db(transaction=True)
def test_readme_examples_run(reset_sequences: None = None) -> None:
    """The examples run from top to bottom, in one session."""
    names: dict[str, Any] = {}
    for language, text in BLOCKS:
        if language not in ("python", "pycon") or "settings.py" in text:
            continue
        if "# notes/models.py" in text or "def task_detail" in text:
            continue
        if text.startswith("class Meta"):
            continue
        if language == "pycon":
            check_refusal(text, names)
            continue
        source = text.replace("from notes.", "from tests.apps.notes.")
        exec(compile(source, "README.md", "exec"), names)

    assert "rows" in names
    # The example of the admin registers it on the site of all tests.
    admin.site.unregister(names["Note"])
    with tenancy.unscoped("end of the README's session"):
        Organization.objects.all().delete()


def check_refusal(text: str, names: dict[str, Any]) -> None:
    """Run a line of a shell session, whose last line is the exception's."""
    line, *_, expected = text.strip().splitlines()

    with pytest.raises(exceptions.TenancyError) as caught:
        exec(line.removeprefix(">>> "), names)

    assert "".join(traceback.format_exception_only(caught.value)).strip() == expected


@pytest.mark.parametrize(
    "module",
    [
        "tenancy",
        "tenancy.decorators",
        "tenancy.exceptions",
        "tenancy.fields",
        "tenancy.managers",
        "tenancy.models",
        "tenancy.querysets",
        "tenancy.resolvers",
        "tenancy.signals",
        "tenancy.access",
    ],
)
def test_readme_describes_public_names(module: str) -> None:
    """Each public name of the package is described in the README."""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", None) or [
        name
        for name, value in vars(loaded).items()
        if inspect.isclass(value)
        and value.__module__ == module
        and issubclass(value, Exception)
    ]

    missing = [name for name in names if name not in README]

    assert missing == []


def test_readme_describes_settings() -> None:
    """Each setting is described, and each function of conf names its own."""
    functions = [
        function
        for name, function in inspect.getmembers(conf, inspect.isfunction)
        if function.__module__ == conf.__name__
    ]

    for function in functions:
        (setting,) = set(re.findall(r"TENANCY_\w+", function.__doc__ or ""))
        assert f"`{setting}`" in README


def test_readme_describes_commands() -> None:
    """Each management command of the package is described."""
    commands = [name for name, app in get_commands().items() if app == "tenancy"]

    missing = [name for name in commands if f"`{name}`" not in README]

    assert missing == []


def test_readme_describes_checks() -> None:
    """Each check id of the package is described."""
    sources = "".join(path.read_text() for path in (ROOT / "tenancy").rglob("*.py"))

    ids = set(re.findall(r'"(tenancy\.[EW]\d{3})"', sources))

    assert sorted(name for name in ids if f"`{name}`" not in README) == []
