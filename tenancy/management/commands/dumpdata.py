from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.management.base import CommandParser
from django.core.management.commands import dumpdata
from django.core.management.utils import parse_apps_and_model_labels
from django.db import router

from tenancy.context import require_scope
from tenancy.management.organizations import (
    add_organization_arguments,
    enter_organization,
)
from tenancy.predicates import tenant_field


class Command(dumpdata.Command):
    """Django's dumpdata, of one organization's rows or, said aloud, of all."""

    help = (
        f"{dumpdata.Command.help} With --organization, the rows of one organization; "
        "a model that belongs to none, as the users, is then left out, unless it is "
        "named itself, and is written whole."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options that say whose rows."""
        super().add_arguments(parser)
        add_organization_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> Any:
        """Run the command in the scope that the options name.

        Raises:
            CommandError: no organization is named, and the models have rows of them;
                nothing is written then.
        """
        with enter_organization("dumpdata", options):
            if _is_about_organizations(args, options["exclude"], options["database"]):
                active = require_scope("dumpdata")
                if not active.is_unscoped:
                    # Sessions, accounts and the like are everybody's.
                    options["exclude"] = [*options["exclude"], *_find_unnamed(args)]
            return super().handle(*args, **options)


def _find_unnamed(labels: Sequence[str]) -> list[str]:
    """Return the models that belong to no organization, but those that are named."""
    named, _configs = parse_apps_and_model_labels(labels)
    return [
        model._meta.label
        for model in apps.get_models()
        if tenant_field(model) is None and model not in named
    ]


def _is_about_organizations(
    labels: Sequence[str], excluded: Sequence[str], using: str
) -> bool:
    """Return whether the command would write rows that belong to organizations."""
    models, configs = parse_apps_and_model_labels(labels)
    left_out, left_out_apps = parse_apps_and_model_labels(excluded)
    for config in configs if labels else apps.get_app_configs():
        models.update(config.get_models())
    return any(
        tenant_field(model) is not None
        and not model._meta.proxy
        and router.allow_migrate_model(using, model)
        for model in models - left_out
        if model._meta.app_config not in left_out_apps
    )
