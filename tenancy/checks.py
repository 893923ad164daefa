"""System checks: what would let a row out, found at start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Field, Model, deletion
from django.utils.module_loading import import_string

from tenancy import conf
from tenancy.challenges import import_dns
from tenancy.constraints import UniqueEverywhere
from tenancy.fields import (
    OrganizationForeignKey,
    TenantForeignKey,
    TenantManyToManyField,
    TenantOneToOneField,
    unique_sets,
)
from tenancy.policies import OrganizationPolicy, SameOrganization, find_faults
from tenancy.predicates import TENANT_KEY, tenant_field
from tenancy.querysets import TenantQuerySet

ENFORCED_VENDORS = frozenset({"postgresql", "mysql", "sqlite"})
BACKEND = "tenancy.auth.OrganizationBackend"
MIDDLEWARE = "tenancy.middleware.TenancyMiddleware"
ADMIN_SITE = "tenancy.sites.TenantAdminSite"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
PATH_RESOLVER = "tenancy.resolvers.PathResolver"
LOCALE = "django.middleware.locale.LocaleMiddleware"
SCOPED_RELATIONS = (
    OrganizationForeignKey,
    TenantForeignKey,
    TenantManyToManyField,
    TenantOneToOneField,
)


def register() -> None:
    """Register every check; TenancyConfig.ready() calls it."""
    checks.register(check_models, Tags.models)
    checks.register(check_organization_key, Tags.models)
    checks.register(check_middleware)
    checks.register(check_admin)
    checks.register(check_languages)
    checks.register(check_backends)
    checks.register(check_domains)
    checks.register(check_vendors)
    checks.register(check_databases, Tags.database)


def check_models(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check each model: its relations, managers, uniques and policy."""
    return [
        message
        for model in apps.get_models(include_auto_created=True)
        if app_configs is None or model._meta.app_config in app_configs
        for message in check_model(model)
    ]


def check_model(model: type[Model]) -> list[CheckMessage]:
    """Check one model, of any kind."""
    messages = list(_check_relations(model))
    if getattr(model, TENANT_KEY, None) is not None:
        for check in _CHECKS_OF_A_PROTECTED_MODEL:
            messages += check(model)
    return messages


def _check_relations(model: type[Model]) -> Iterator[CheckMessage]:
    """Find plain relations with a protected model at either end."""
    # Of a table that Django makes, the field that it is made for is told of.
    if model._meta.proxy or model._meta.auto_created:
        return
    fields: Iterable[Any] = [
        *model._meta.local_fields,
        *model._meta.local_many_to_many,
        *model._meta.private_fields,
    ]
    for field in fields:
        if not _is_plain_relation(field):
            continue
        # A generic key leads to any model.
        target = None if field.remote_field is None else field.remote_field.model
        if _is_protected(model) or _is_protected(target):
            twin = _scoped_twin(field)
            yield Error(
                f"'{model._meta.label}.{field.name}' is a plain "
                f"{type(field).__name__}, and one of its ends is a protected model.",
                hint=f"Make it a {twin}, so that joins through it stay inside the "
                "organization."
                if twin
                else "Refer to one unique field by a tenancy.fields.TenantForeignKey "
                "(to_field=...): joins through several columns are not scoped.",
                obj=field,
                id="tenancy.E001",
            )


def _is_plain_relation(field: Any) -> bool:
    if isinstance(field, SCOPED_RELATIONS) or getattr(
        field, "is_scoped_relation", False
    ):
        return False
    remote = field.remote_field
    if remote is None:
        return hasattr(field, "ct_field")
    # Django reports a target that is not installed.
    return not (getattr(remote, "parent_link", False) or isinstance(remote.model, str))


def _scoped_twin(field: Any) -> str | None:
    if isinstance(field, models.OneToOneField):
        return "tenancy.fields.TenantOneToOneField"
    if isinstance(field, models.ForeignKey):
        return "tenancy.fields.TenantForeignKey"
    if isinstance(field, models.ManyToManyField):
        return "tenancy.fields.TenantManyToManyField"
    if field.remote_field is not None and not hasattr(field, "content_type_field_name"):
        return None  # A ForeignObject.
    kind = "Relation" if field.remote_field is not None else "ForeignKey"
    return f"tenancy.contrib.contenttypes.TenantGeneric{kind}"


def _check_inheritance(model: type[Model]) -> Iterator[CheckMessage]:
    parents = [
        parent
        for parent, link in model._meta.parents.items()
        if link is not None and _is_protected(parent)
    ]
    if parents and not model._meta.proxy:
        yield Error(
            f"'{model._meta.label}' inherits from the tenant model "
            f"'{parents[0]._meta.label}' by multi-table inheritance, which leaves its "
            "own table without an organization.",
            hint="Make the parent abstract, or refer to it by a TenantOneToOneField.",
            obj=model,
            id="tenancy.E002",
        )


def _check_uniques(model: type[Model]) -> Iterator[CheckMessage]:
    """Find what is unique across organizations, and so tells of other rows."""
    if _own_field(model) is None or model._meta.proxy:
        return
    for names, subject in unique_sets(model, without=(UniqueEverywhere,)):
        if any(_names_organization(model, name) for name in names):
            continue
        yield Error(
            f"{subject} is unique across organizations, so that a refused value tells "
            "what another organization holds.",
            hint="Use a UniqueConstraint that begins with 'organization': "
            f"fields=['organization', {', '.join(map(repr, names)) or '...'}]; or "
            "tenancy.constraints.UniqueEverywhere, if no organization can guess the "
            "value.",
            obj=model,
            id="tenancy.E003",
        )


def _check_exclusions(model: type[Model]) -> Iterator[CheckMessage]:
    """Find exclusion constraints of PostgreSQL's that look at others' rows.

    The error of one says what the row holds that it conflicts with.
    """
    if _own_field(model) is None or model._meta.proxy:
        return
    for constraint in model._meta.constraints:
        # By its form: the module of ExclusionConstraint needs a driver.
        pairs = getattr(constraint, "expressions", None)
        if isinstance(constraint, models.UniqueConstraint) or not pairs:
            continue
        equal = [
            # A name is told from an expression, whose reference is one.
            name if isinstance(name, str) else getattr(name, "name", "")
            for name, operator in pairs
            if operator == "="
        ]
        if any(name and _names_organization(model, name) for name in equal):
            continue
        yield Error(
            f"The constraint '{constraint.name}' of '{model._meta.label}' excludes "
            "rows across organizations, so that a refused value tells what another "
            "organization holds.",
            hint="Begin its expressions with ('organization', '='), for which "
            "PostgreSQL needs the extension btree_gist.",
            obj=model,
            id="tenancy.E003",
        )


def _names_organization(model: type[Model], name: str) -> bool:
    """Return whether the field holds the row to one organization."""
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    if isinstance(field, OrganizationForeignKey):
        return True
    return any(
        isinstance(constraint, SameOrganization) and constraint.field == field.name
        for constraint in model._meta.constraints
    )


def _check_managers(model: type[Model]) -> Iterator[CheckMessage]:
    for manager in (*model._meta.managers, model._base_manager):
        queryset_class = getattr(manager, "_queryset_class", None)
        if queryset_class is None or not issubclass(queryset_class, TenantQuerySet):
            yield Error(
                f"'{model._meta.label}.{manager.name}' is no tenant manager: its "
                "querysets hold every organization's rows.",
                hint="Derive it from tenancy.managers.TenantManager, and its queryset "
                "class from tenancy.querysets.TenantQuerySet.",
                obj=model,
                id="tenancy.E004",
            )


def _check_field(model: type[Model]) -> Iterator[CheckMessage]:
    if getattr(model, TENANT_KEY) == "pk":
        return
    field = next(
        (f for f in model._meta.get_fields() if f.name == getattr(model, TENANT_KEY)),
        None,
    )
    if not isinstance(field, OrganizationForeignKey):
        yield Error(
            f"'{model._meta.label}.organization' is not the field of TenantModel.",
            hint="Leave 'organization' out of the model. To name the column, write "
            "organization = tenancy.fields.OrganizationForeignKey(db_column=...).",
            obj=model,
            id="tenancy.E005",
        )


def _check_deletions(model: type[Model]) -> Iterator[CheckMessage]:
    """Find relations by which the database itself would change rows of others.

    What a key's own action deletes or empties, neither a policy nor a trigger sees.
    """
    # From Django 6.1.
    kinds = getattr(deletion, "DatabaseOnDelete", ())
    for field in model._meta.local_fields:
        on_delete = getattr(field.remote_field, "on_delete", None)
        if kinds and isinstance(on_delete, kinds):
            python_name = str(on_delete).removeprefix("DB_")
            yield Error(
                f"'{model._meta.label}.{field.name}' has on_delete={on_delete}: the "
                "database would carry it out on rows of every organization.",
                hint=f"Use models.{python_name}, which stays inside the organization.",
                obj=field,
                id="tenancy.E019",
            )


def _check_policy(model: type[Model]) -> Iterator[CheckMessage]:
    if model._meta.proxy or model._meta.parents:
        return
    if not any(isinstance(c, OrganizationPolicy) for c in model._meta.constraints):
        yield Error(
            f"'{model._meta.label}' has no OrganizationPolicy among its constraints.",
            hint="Leave Meta.constraints as the class body states it: the policy is "
            "added when the class is made.",
            obj=model,
            id="tenancy.E006",
        )


_CHECKS_OF_A_PROTECTED_MODEL: tuple[
    Callable[[type[Model]], Iterator[CheckMessage]], ...
] = (
    _check_inheritance,
    _check_field,
    _check_uniques,
    _check_exclusions,
    _check_managers,
    _check_deletions,
    _check_policy,
)


def check_organization_key(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that the organization's key is of a type that policies compare."""
    try:
        model = apps.get_model(conf.organization_model())
    except (LookupError, ValueError):
        return [
            Error(
                f"TENANCY_ORGANIZATION_MODEL is {conf.organization_model()!r}, which "
                "is no installed model.",
                hint="Name a model that derives from "
                "tenancy.models.AbstractOrganization, as 'app_label.ModelName'.",
                id="tenancy.E008",
            )
        ]
    if getattr(model, TENANT_KEY, None) != "pk":
        return [
            Error(
                f"TENANCY_ORGANIZATION_MODEL is {conf.organization_model()!r}, which "
                "does not derive from AbstractOrganization.",
                hint="Derive it from tenancy.models.AbstractOrganization.",
                obj=model,
                id="tenancy.E008",
            )
        ]
    if isinstance(model._meta.pk, (models.UUIDField, models.IntegerField)):
        return []
    return [
        Error(
            f"The primary key of '{model._meta.label}' is a "
            f"{type(model._meta.pk).__name__}.",
            hint="Use a UUIDField or an integer field: policies compare its order.",
            obj=model,
            id="tenancy.E009",
        )
    ]


def check_middleware(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that the middleware stands where it knows who is asking."""
    order = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in order:
        return []
    if AUTHENTICATION in order and order.index(AUTHENTICATION) < order.index(
        MIDDLEWARE
    ):
        return []
    return [
        Error(
            f"'{MIDDLEWARE}' does not stand behind '{AUTHENTICATION}' in MIDDLEWARE.",
            hint=f"Put it directly behind '{AUTHENTICATION}'.",
            id="tenancy.E010",
        )
    ]


def check_admin(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that the admin's pages are in an organization's scope."""
    if not apps.is_installed("django.contrib.admin"):
        return []
    messages: list[CheckMessage] = []
    if not any(_is_kind_of(name, MIDDLEWARE) for name in settings.MIDDLEWARE):
        messages.append(
            Warning(
                f"The admin is installed, and MIDDLEWARE does not list '{MIDDLEWARE}'. "
                "Its pages of tenant models are in no scope, and answer with status "
                "403.",
                hint=f"Put '{MIDDLEWARE}' directly behind '{AUTHENTICATION}'.",
                id="tenancy.W003",
            )
        )
    site = apps.get_app_config("admin").default_site  # type: ignore[attr-defined]  # AdminConfig's
    if not _is_kind_of(site, ADMIN_SITE):
        messages.append(
            Warning(
                f"The admin's site is a {site!r}, which knows no organizations: "
                "superusers who are members of none are answered with status 403.",
                hint="Put 'tenancy.apps.TenantAdminConfig' in the place of "
                "'django.contrib.admin' in INSTALLED_APPS, or derive your site from "
                f"'{ADMIN_SITE}'.",
                id="tenancy.W004",
            )
        )
    return messages


def check_languages(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that languages are looked for in a path without its organization."""
    order = list(settings.MIDDLEWARE)
    if not any(map(_takes_path, conf.resolvers())) or not {MIDDLEWARE, LOCALE} <= set(
        order
    ):
        return []
    if order.index(MIDDLEWARE) < order.index(LOCALE):
        return []
    return [
        Error(
            f"'{LOCALE}' stands before '{MIDDLEWARE}' in MIDDLEWARE, and "
            "TENANCY_RESOLVERS names a PathResolver: no language behind "
            "an organization in a path is found.",
            hint=f"Put '{LOCALE}' directly behind '{MIDDLEWARE}'.",
            id="tenancy.E018",
        )
    ]


def _takes_path(name: str) -> bool:
    """Return whether a resolver of this name takes the organization off the path."""
    return _is_kind_of(name, PATH_RESOLVER)


def _is_kind_of(name: str, base: str) -> bool:
    """Return whether a name is a class, or is of a class that derives from it."""
    # A middleware may be a function.
    kinds = getattr(import_string(name), "__mro__", ())
    return base in [f"{kind.__module__}.{kind.__name__}" for kind in kinds]


def check_backends(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that no other backend gives permissions in every organization."""
    backends = list(settings.AUTHENTICATION_BACKENDS)
    if BACKEND not in backends:
        return []
    return [
        Error(
            f"AUTHENTICATION_BACKENDS lists {name!r} beside '{BACKEND}'. Its "
            "permissions of users and groups apply in every organization.",
            hint=f"Remove {name!r}: '{BACKEND}' takes its place. Of a backend of your "
            "own that derives from ModelBackend, derive it from OrganizationBackend.",
            id="tenancy.E016",
        )
        for name in backends
        if name != BACKEND and _gives_global_permissions(name)
    ]


def _gives_global_permissions(name: str) -> bool:
    backend = import_string(name)
    return issubclass(backend, ModelBackend) and not issubclass(
        backend, import_string(BACKEND)
    )


def check_domains(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that a site that answers at organizations' own domains can do so."""
    if not any(map(_is_of_domains, conf.resolvers())):
        return []
    messages: list[CheckMessage] = []
    try:
        import_dns()
    except ImproperlyConfigured:
        messages.append(
            Error(
                "TENANCY_RESOLVERS names DomainResolver, and dnspython is not "
                "installed, without which no domain is verified.",
                hint="Run pip install 'django-org-tenancy[domains]'.",
                id="tenancy.E017",
            )
        )
    if "*" not in settings.ALLOWED_HOSTS:
        messages.append(
            Warning(
                "TENANCY_RESOLVERS names DomainResolver, and ALLOWED_HOSTS is "
                f"{settings.ALLOWED_HOSTS!r}, which refuses the domains of "
                "organizations.",
                hint="Set it to ['*']: the resolver ends the requests for other hosts.",
                id="tenancy.W001",
            )
        )
    return messages + [
        Warning(
            f"TENANCY_RESOLVERS names DomainResolver, and {name} is "
            f"{getattr(settings, name)!r}. At the domain of an organization browsers "
            "refuse the cookie.",
            hint=f"Leave {name} out, so that each host has cookies of its own.",
            id="tenancy.W002",
        )
        for name in ("SESSION_COOKIE_DOMAIN", "CSRF_COOKIE_DOMAIN")
        if getattr(settings, name)
    ]


def _is_of_domains(name: str) -> bool:
    return bool(getattr(import_string(name), "is_of_domains", False))


def check_vendors(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that each database that holds tenant tables is one that is enforced."""
    return [
        Error(
            f"The database {alias!r} is of the vendor "
            f"{connections[alias].vendor!r}, on which isolation is not enforced.",
            hint="Use PostgreSQL, MySQL, MariaDB or SQLite, or keep the tenant models "
            "away from it by a router's allow_migrate().",
            id="tenancy.E011",
        )
        for alias in _tenant_aliases(connections)
        if connections[alias].vendor not in ENFORCED_VENDORS
    ]


def check_databases(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Check the live databases: roles, rights, and every policy."""
    return [
        message
        for alias in _tenant_aliases(databases or ())
        if connections[alias].vendor in ENFORCED_VENDORS
        for message in _check_database(alias)
    ]


def _check_database(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    ids = {"role": "tenancy.E012", "rights": "tenancy.E013"}
    # Migrate runs this check too, and what it is about to make is no fault yet.
    is_behind = _has_unapplied_migrations(connection)
    for fault in find_faults(connection):
        if fault.kind in ids or not is_behind:
            yield Error(
                fault.message,
                hint=fault.hint,
                id=ids.get(fault.kind, "tenancy.E014"),
            )


def _has_unapplied_migrations(connection: BaseDatabaseWrapper) -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _tenant_aliases(aliases: Iterable[str]) -> list[str]:
    """Return the aliases to which the routers let some tenant model migrate."""
    protected = [m for m in apps.get_models() if tenant_field(m) is not None]
    return [
        alias
        for alias in aliases
        if any(router.allow_migrate_model(alias, model) for model in protected)
    ]


def _is_protected(model: Any) -> bool:
    return getattr(model, TENANT_KEY, None) is not None


def _own_field(model: type[Model]) -> Field[Any, Any] | None:
    """Return the organization field of a tenant model; None of the organization."""
    if getattr(model, TENANT_KEY) == "pk" or model._meta.parents:
        return None
    return next(
        (f for f in model._meta.fields if isinstance(f, OrganizationForeignKey)), None
    )
