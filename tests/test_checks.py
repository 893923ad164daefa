from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.core.checks import run_checks
from django.db import connection, connections, models
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import isolate_apps

import tenancy
from project import settings as demo
from project.tracker.models import Project, Task
from tenancy.checks import (
    ADMIN_SITE,
    AUTHENTICATION,
    BACKEND,
    LOCALE,
    MIDDLEWARE,
    check_admin,
    check_backends,
    check_databases,
    check_domains,
    check_languages,
    check_middleware,
    check_model,
    check_models,
    check_organization_key,
    check_vendors,
)
from tenancy.contrib.contenttypes import TenantGenericForeignKey, TenantGenericRelation
from tenancy.fields import (
    OrganizationForeignKey,
    TenantForeignKey,
    TenantManyToManyField,
    TenantOneToOneField,
)
from tenancy.managers import TenantManager
from tenancy.models import Organization, TenantModel, User
from tenancy.sites import TenantAdminSite
from tests.apps.notes.models import Note

LABEL = "notebook"


def check(*models_: Any) -> list[Any]:
    """Check the given models, and no others."""
    return [message for model in models_ for message in check_model(model)]


def assert_error(errors: list[Any], check_id: str, msg: str, hint: str) -> None:
    """Compare the only error found."""
    assert [error.id for error in errors] == [check_id]
    assert msg in errors[0].msg
    assert hint in errors[0].hint


@pytest.mark.django_db
def test_checks_when_all_is_well_find_nothing(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's, the demo's and the tests' own models pass."""
    settings.MIDDLEWARE = demo.MIDDLEWARE
    monkeypatch.setattr(apps.get_app_config("admin"), "default_site", ADMIN_SITE)

    found = [m for m in run_checks() if (m.id or "").startswith("tenancy.")]

    assert found == []


def test_checks_when_app_is_named_look_at_it_only() -> None:
    """`check app` looks at the app's models."""
    assert check_models(app_configs=[]) == []


# E001


@isolate_apps("tests.apps.notebook")
@pytest.mark.parametrize(
    ("field", "twin"),
    [
        (lambda: models.ForeignKey(Project, models.CASCADE), "TenantForeignKey"),
        (lambda: models.ForeignKey(User, models.CASCADE), "TenantForeignKey"),
        (lambda: models.OneToOneField(Project, models.CASCADE), "TenantOneToOneField"),
        (lambda: models.ManyToManyField(Project), "TenantManyToManyField"),
        (lambda: GenericRelation(Project), "TenantGenericRelation"),
    ],
    ids=["tenant", "global", "one to one", "many to many", "generic"],
)
def test_relation_when_plain_is_e001(
    field: Callable[[], Any],
    twin: str,
) -> None:
    """A plain relation of a tenant model is an error, whatever it leads to."""

    class Plain(TenantModel):
        relation = field()

        class Meta:
            app_label = LABEL

    errors = [error for error in check(Plain) if error.id == "tenancy.E001"]

    assert twin in (errors[0].hint or "")
    assert "'notebook.Plain.relation' is a plain" in errors[0].msg


@isolate_apps("tests.apps.notebook")
def test_relation_when_plain_from_global_is_e001() -> None:
    """A plain relation from a global model to a tenant model is one, too."""

    class Outside(models.Model):
        task = models.ForeignKey(Task, models.CASCADE)

        class Meta:
            app_label = LABEL

        def __str__(self) -> str:
            return "outside"

    assert_error(
        check(Outside),
        "tenancy.E001",
        "'notebook.Outside.task' is a plain ForeignKey, and one of its ends is a",
        "Make it a tenancy.fields.TenantForeignKey",
    )


@isolate_apps("tests.apps.notebook")
def test_relation_when_plain_to_many_is_told_of_once() -> None:
    """The table that Django makes for a field has no relation that could be mended."""

    class Tagged(TenantModel):
        tags = models.ManyToManyField(ContentType)

        class Meta:
            app_label = LABEL

    found = [*check(Tagged), *check(Tagged.tags.through)]

    assert_error(
        found,
        "tenancy.E001",
        "'notebook.Tagged.tags' is a plain ManyToManyField",
        "Make it a tenancy.fields.TenantManyToManyField",
    )


@isolate_apps("tests.apps.notebook")
def test_relation_when_generic_key_is_plain_is_e001() -> None:
    """A plain generic key of a tenant model takes any organization's rows."""

    class Generic(TenantModel):
        content_type = TenantForeignKey(ContentType, models.CASCADE)
        object_id = models.PositiveIntegerField()
        target = GenericForeignKey()

        class Meta:
            app_label = LABEL

    assert_error(
        check(Generic),
        "tenancy.E001",
        "'notebook.Generic.target' is a plain GenericForeignKey",
        "tenancy.contrib.contenttypes.TenantGenericForeignKey",
    )


@isolate_apps("tests.apps.notebook")
def test_relation_when_scoped_is_no_error() -> None:
    """The package's own relations pass, and a global model's own to a global one."""

    class Target(TenantModel):
        class Meta:
            app_label = LABEL

    class Scoped(TenantModel):
        one = TenantForeignKey(Target, models.CASCADE, related_name="+")
        two = TenantOneToOneField(Target, models.CASCADE, related_name="+")
        three = TenantManyToManyField(Project, related_name="+")
        content_type = TenantForeignKey(ContentType, models.CASCADE, related_name="+")
        object_id = models.PositiveIntegerField()
        target = TenantGenericForeignKey()
        others = TenantGenericRelation("self")

        class Meta:
            app_label = LABEL

    class Plain(models.Model):
        user = models.ForeignKey(User, models.CASCADE, related_name="+")

        class Meta:
            app_label = LABEL

        def __str__(self) -> str:
            return "plain"

    assert check(Scoped, Scoped.three.through, Plain) == []


# E002


@isolate_apps("tests.apps.notebook")
def test_inheritance_when_multi_table_is_e002() -> None:
    """A child table has no organization of its own."""

    class Parent(TenantModel):
        class Meta:
            app_label = LABEL

    class Child(Parent):
        class Meta:
            app_label = LABEL

    assert_error(
        check(Parent, Child),
        "tenancy.E002",
        "'notebook.Child' inherits from the tenant model 'notebook.Parent'",
        "Make the parent abstract",
    )


@isolate_apps("tests.apps.notebook")
def test_inheritance_when_proxy_or_abstract_is_no_error() -> None:
    """A proxy has the parent's table, an abstract parent none."""

    class Base(TenantModel):
        class Meta:
            abstract = True
            app_label = LABEL

    class Concrete(Base):
        class Meta:
            app_label = LABEL

    class Proxy(Concrete):
        class Meta:
            proxy = True
            app_label = LABEL

    assert check(Concrete, Proxy) == []


# E003


@isolate_apps("tests.apps.notebook")
@pytest.mark.parametrize(
    ("body", "msg", "hint"),
    [
        (
            {"code": models.CharField(max_length=9, unique=True)},
            "'notebook.Unique.code' is unique across organizations",
            "fields=['organization', 'code']",
        ),
        (
            {
                "code": models.CharField(max_length=9),
                "Meta": {"unique_together": [("code",)]},
            },
            "unique_together ('code',) of 'notebook.Unique' is unique across",
            "fields=['organization', 'code']",
        ),
        (
            {
                "code": models.CharField(max_length=9),
                "Meta": {
                    "constraints": [
                        models.UniqueConstraint(fields=["code"], name="code_once")
                    ]
                },
            },
            "The constraint 'code_once' of 'notebook.Unique' is unique across",
            "Use a UniqueConstraint that begins with 'organization'",
        ),
        (
            {
                "code": models.CharField(max_length=9),
                "Meta": {
                    "constraints": [
                        models.UniqueConstraint(
                            models.functions.Lower("code"), name="lower_once"
                        )
                    ]
                },
            },
            "The constraint 'lower_once' of 'notebook.Unique' is unique across",
            "'organization'",
        ),
        (
            {
                "day": models.DateField(),
                "code": models.CharField(max_length=9, unique_for_date="day"),
            },
            "",
            "",
        ),
    ],
    ids=["field", "together", "constraint", "expression", "for date"],
)
def test_unique_when_across_organizations_is_e003(
    body: dict[str, Any],
    msg: str,
    hint: str,
) -> None:
    """What is unique without the organization tells of other organizations' rows.

    unique_for_date is the ORM's own look-up, which is the scope's.
    """
    meta = type("Meta", (), {"app_label": LABEL, **body.get("Meta", {})})
    fields = {name: value.clone() for name, value in body.items() if name != "Meta"}
    model = type(
        "Unique", (TenantModel,), {"__module__": __name__, "Meta": meta, **fields}
    )

    errors = check(model)

    if not msg:
        assert errors == []
        return
    assert_error(errors, "tenancy.E003", msg, hint)


@isolate_apps("tests.apps.notebook")
@pytest.mark.parametrize(
    ("expressions", "is_apart"),
    [
        ([("span", "&&")], False),
        ([("organization", "<>"), ("span", "&&")], False),
        ([(models.functions.Lower("code"), "="), ("span", "&&")], False),
        ([("organization", "="), ("span", "&&")], True),
        ([(models.F("organization"), "="), ("span", "&&")], True),
    ],
)
def test_exclusion_when_across_organizations_is_e003(
    expressions: list[tuple[Any, str]], is_apart: bool
) -> None:
    """An exclusion of PostgreSQL's compares the rows of one organization only."""
    postgres = pytest.importorskip("django.contrib.postgres.constraints")

    class Booking(TenantModel):
        span = models.IntegerField()
        code = models.CharField(max_length=9)

        class Meta:
            app_label = LABEL
            constraints = [
                postgres.ExclusionConstraint(name="apart", expressions=expressions)
            ]

    errors = check(Booking)

    if is_apart:
        assert errors == []
    else:
        assert_error(errors, "tenancy.E003", "excludes rows across", "btree_gist")


@isolate_apps("tests.apps.notebook")
def test_unique_when_organization_is_named_is_no_error() -> None:
    """A unique set with the organization, or a row of it, tells nothing."""

    class Target(TenantModel):
        class Meta:
            app_label = LABEL

    class Unique(TenantModel):
        code = models.CharField(max_length=9)
        project = TenantOneToOneField(Target, models.CASCADE, related_name="+")

        class Meta:
            app_label = LABEL
            unique_together = [("organization", "code")]
            constraints = [
                models.UniqueConstraint(
                    "organization", models.functions.Lower("code"), name="lower_once"
                ),
                models.UniqueConstraint(fields=["project", "code"], name="of_project"),
                models.UniqueConstraint(fields=["organization", "id"], name="with_id"),
            ]

    assert check(Unique) == []


# E004


@isolate_apps("tests.apps.notebook")
def test_manager_when_plain_is_e004() -> None:
    """A plain manager holds every organization's rows."""

    class Managed(TenantModel):
        everything = models.Manager()

        class Meta:
            app_label = LABEL

    assert_error(
        check(Managed),
        "tenancy.E004",
        "'notebook.Managed.everything' is no tenant manager",
        "Derive it from tenancy.managers.TenantManager",
    )


@isolate_apps("tests.apps.notebook")
def test_manager_when_base_is_plain_is_e004() -> None:
    """So does one that takes the place of the base manager."""

    class Managed(TenantModel):
        _tenant_rows = models.Manager()  # type: ignore[assignment]  # what the test is about

        class Meta:
            app_label = LABEL

    errors = check(Managed)

    assert {error.id for error in errors} == {"tenancy.E004"}
    assert "'notebook.Managed._tenant_rows'" in errors[0].msg


@isolate_apps("tests.apps.notebook")
def test_manager_when_derived_is_no_error() -> None:
    """A narrowing manager that is derived from ours passes."""

    class Narrow(TenantManager[Any]):
        pass

    class Managed(TenantModel):
        narrow = Narrow()

        class Meta:
            app_label = LABEL

    assert check(Managed) == []


# E005, E006


@isolate_apps("tests.apps.notebook")
def test_field_when_replaced_is_e005() -> None:
    """A field of one's own in the place of the organization's carries no scope."""

    class Own(TenantModel):
        organization = TenantForeignKey(Organization, models.CASCADE, related_name="+")

        class Meta:
            app_label = LABEL

    errors = check(Own)

    assert "tenancy.E005" in [error.id for error in errors]
    (error,) = (error for error in errors if error.id == "tenancy.E005")
    assert "'notebook.Own.organization' is not the field of TenantModel" in error.msg
    assert "Leave 'organization' out of the model" in (error.hint or "")


@isolate_apps("tests.apps.notebook")
def test_field_when_column_is_named_is_no_error() -> None:
    """Naming the column is what the field is for."""

    class Named(TenantModel):
        organization = OrganizationForeignKey(db_column="org")

        class Meta:
            app_label = LABEL

    assert check(Named) == []


@isolate_apps("tests.apps.notebook")
def test_policy_when_missing_is_e006() -> None:
    """Code that takes the policy out of the options is found."""

    class Bare(TenantModel):
        class Meta:
            app_label = LABEL

    Bare._meta.constraints = []

    assert_error(
        check(Bare),
        "tenancy.E006",
        "'notebook.Bare' has no OrganizationPolicy among its constraints",
        "Leave Meta.constraints as the class body states it",
    )


# E007


def test_field_when_package_is_not_installed_is_e007(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The field itself finds that the package's checks do not run."""
    field = Project._meta.get_field("organization")
    monkeypatch.setattr("tenancy.fields.apps.is_installed", lambda name: False)

    assert_error(
        field.check(),
        "tenancy.E007",
        "'tracker.Project' is a tenant model, and 'tenancy' is not installed",
        "Add 'tenancy' to INSTALLED_APPS",
    )


# E008, E009


@pytest.mark.parametrize("label", ["nowhere.Organization", "Organization"])
def test_organization_model_when_unknown_is_e008(label: str, settings: Any) -> None:
    """The setting names an installed model."""
    settings.TENANCY_ORGANIZATION_MODEL = label

    assert_error(
        check_organization_key(),
        "tenancy.E008",
        f"TENANCY_ORGANIZATION_MODEL is {label!r}, which is no installed model",
        "as 'app_label.ModelName'",
    )


def test_organization_model_when_not_derived_is_e008(settings: Any) -> None:
    """The model derives from ours."""
    settings.TENANCY_ORGANIZATION_MODEL = "tracker.Bookmark"

    assert_error(
        check_organization_key(),
        "tenancy.E008",
        "does not derive from AbstractOrganization",
        "Derive it from tenancy.models.AbstractOrganization",
    )


def test_organization_key_when_text_is_e009(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies compare the order of keys, which texts have by their collation."""
    field = models.CharField(max_length=9, primary_key=True)
    monkeypatch.setattr(Organization._meta, "pk", field)

    assert_error(
        check_organization_key(),
        "tenancy.E009",
        "The primary key of 'tenancy.Organization' is a CharField",
        "Use a UUIDField or an integer field",
    )


@pytest.mark.parametrize("field", [models.UUIDField(), models.BigAutoField()])
def test_organization_key_when_ordered_is_no_error(
    field: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UUIDs and integers pass."""
    monkeypatch.setattr(Organization._meta, "pk", field)

    assert check_organization_key() == []


# E010


@pytest.mark.parametrize(
    "order",
    [[MIDDLEWARE], [MIDDLEWARE, AUTHENTICATION]],
    ids=["alone", "before"],
)
def test_middleware_when_before_authentication_is_e010(
    order: list[str], settings: Any
) -> None:
    """The middleware stands behind what knows the user."""
    settings.MIDDLEWARE = order

    assert_error(
        check_middleware(),
        "tenancy.E010",
        "does not stand behind 'django.contrib.auth.middleware",
        "Put it directly behind",
    )


# W003, W004


class OwnSite(TenantAdminSite):
    """A project's own admin site."""


def pass_on(get_response: Any) -> Any:
    """A middleware that is a function."""
    return get_response


def test_admin_when_it_knows_no_organization_is_warned_of(settings: Any) -> None:
    """A newcomer learns why the admin answers with 403."""
    settings.MIDDLEWARE = [f"{__name__}.pass_on"]

    missing, plain = check_admin()

    assert (missing.id, plain.id) == ("tenancy.W003", "tenancy.W004")
    assert "are in no scope" in missing.msg
    assert "directly behind 'django.contrib.auth" in str(missing.hint)
    assert "is a 'django.contrib.admin.sites.AdminSite'" in plain.msg
    assert "'tenancy.apps.TenantAdminConfig'" in str(plain.hint)


@pytest.mark.parametrize("site", [ADMIN_SITE, f"{__name__}.OwnSite"])
def test_admin_when_it_knows_organizations_is_no_warning(
    site: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's site passes, and one that derives from it."""
    settings.MIDDLEWARE = [AUTHENTICATION, MIDDLEWARE]
    monkeypatch.setattr(apps.get_app_config("admin"), "default_site", site)

    assert check_admin() == []


def test_admin_when_it_is_not_installed_is_not_checked(settings: Any) -> None:
    """A project without an admin needs neither."""
    settings.MIDDLEWARE = []
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "django.contrib.admin"
    ]

    assert check_admin() == []


# E018


@pytest.mark.parametrize("is_behind", [True, False])
def test_languages_when_before_the_organization_are_e018(
    settings: Any, is_behind: bool
) -> None:
    """Django reads the language off a path from which the organization was taken."""
    order = [MIDDLEWARE, LOCALE] if is_behind else [LOCALE, MIDDLEWARE]
    settings.MIDDLEWARE = [AUTHENTICATION, *order]

    assert check_languages() == []
    settings.TENANCY_RESOLVERS = ["tenancy.resolvers.PathResolver"]
    if is_behind:
        assert check_languages() == []
        return
    assert_error(
        check_languages(),
        "tenancy.E018",
        "stands before 'tenancy.middleware.TenancyMiddleware'",
        "Put 'django.middleware.locale.LocaleMiddleware' directly behind",
    )


@pytest.mark.parametrize(
    "order", [[], [AUTHENTICATION, MIDDLEWARE]], ids=["none", "behind"]
)
def test_middleware_when_behind_authentication_is_no_error(
    order: list[str], settings: Any
) -> None:
    """It may be left out."""
    settings.MIDDLEWARE = order

    assert check_middleware() == []


MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
REMOTE_BACKEND = "django.contrib.auth.backends.RemoteUserBackend"


@pytest.mark.parametrize("other", [MODEL_BACKEND, REMOTE_BACKEND])
def test_backends_when_global_one_is_listed_is_e016(other: str, settings: Any) -> None:
    """ModelBackend's permissions, and those of its kind, apply everywhere."""
    settings.AUTHENTICATION_BACKENDS = [BACKEND, other]

    assert_error(
        check_backends(),
        "tenancy.E016",
        f"lists '{other}' beside 'tenancy.auth.OrganizationBackend'",
        f"Remove '{other}'",
    )


@pytest.mark.parametrize("backends", [[MODEL_BACKEND], [BACKEND]])
def test_backends_when_one_is_listed_is_no_error(
    backends: list[str], settings: Any
) -> None:
    """Either backend may stand alone."""
    settings.AUTHENTICATION_BACKENDS = backends

    assert check_backends() == []


# E019


@pytest.mark.needs("deletion by the database")
@pytest.mark.parametrize("name", ["DB_CASCADE", "DB_SET_NULL"])
@isolate_apps("tests.apps.notebook")
def test_relation_when_the_database_deletes_is_e019(name: str) -> None:
    """A key's own action reaches rows of every organization, whatever the policy."""

    class Carried(TenantModel):
        category = TenantForeignKey(
            ContentType, on_delete=getattr(models, name), null=True, related_name="+"
        )

        class Meta:
            app_label = LABEL

    assert_error(
        check(Carried),
        "tenancy.E019",
        f"'notebook.Carried.category' has on_delete={name}",
        f"Use models.{name.removeprefix('DB_')},",
    )


# E017, W001, W002


def test_domains_when_not_used_are_not_checked(settings: Any) -> None:
    """A site of one host may have any hosts and cookies."""
    settings.ALLOWED_HOSTS = ["example.com"]
    settings.SESSION_COOKIE_DOMAIN = ".example.com"

    assert check_domains() == []


def test_domains_when_settings_are_in_the_way_are_warned_of(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dnspython, hosts and cookies of their own, domains do not work."""
    settings.TENANCY_RESOLVERS = [
        "tenancy.resolvers.DomainResolver",
        "tenancy.resolvers.SessionResolver",
    ]

    assert check_domains() == []
    settings.ALLOWED_HOSTS = [".example.com"]
    settings.CSRF_COOKIE_DOMAIN = ".example.com"
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    found = check_domains()

    assert [message.id for message in found] == [
        "tenancy.E017",
        "tenancy.W001",
        "tenancy.W002",
    ]
    assert "pip install 'django-org-tenancy[domains]'" in str(found[0].hint)
    assert "ALLOWED_HOSTS is ['.example.com']" in found[1].msg
    assert "Leave CSRF_COOKIE_DOMAIN out" in str(found[2].hint)


# E011


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The default connection's vendor is one that nobody knows."""
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    yield
    monkeypatch.undo()


def test_vendor_when_unknown_is_e011(vendor: None) -> None:
    """A database on which nothing is enforced is an error."""
    assert_error(
        check_vendors(),
        "tenancy.E011",
        "The database 'default' is of the vendor 'oracle'",
        "Use PostgreSQL, MySQL, MariaDB or SQLite",
    )


def test_vendor_when_tables_are_kept_away_is_no_error(
    vendor: None, settings: Any
) -> None:
    """A router that keeps the tenant models away from it makes it harmless."""

    class Router:
        def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
            return False

    settings.DATABASE_ROUTERS = [Router()]

    assert check_vendors() == []


# E014. What a role may pass by (E012) and may not do (E013) is a database's own: see
# tests/backends/postgresql and tests/backends/mysql.


def test_database_when_sound_finds_nothing(db: None) -> None:
    """The migrated database keeps what the models promise."""
    assert check_databases(databases=["default"]) == []
    assert check_databases() == []


@pytest.mark.django_db(transaction=True)
def test_database_when_a_table_is_unprotected_is_an_error() -> None:
    """What the live database lacks becomes an error with its mend (tenancy.E014)."""
    column = Note._meta.get_field("organization")
    quoted = connection.ops.quote_name(column.column)
    with tenancy.unscoped("tests: a table by hand"), connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE stray_rows ({quoted} {column.db_type(connection)})"
        )
    try:
        found = check_databases(databases=["default"])
    finally:
        with tenancy.unscoped("tests: a table by hand"), connection.cursor() as cursor:
            cursor.execute("DROP TABLE stray_rows")

    assert_error(found, "tenancy.E014", "stray_rows", "TenantModel")


@pytest.mark.django_db(transaction=True)
def test_database_when_migrations_are_pending_is_no_error() -> None:
    """What migrate is about to make is not missing, and must not stop it."""
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("notes", "0001_initial")
    column = Note._meta.get_field("organization")
    quoted = connection.ops.quote_name(column.column)
    with tenancy.unscoped("tests: a table by hand"), connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE stray_rows ({quoted} {column.db_type(connection)})"
        )
    try:
        found = check_databases(databases=["default"])
    finally:
        recorder.record_applied("notes", "0001_initial")
        with tenancy.unscoped("tests: a table by hand"), connection.cursor() as cursor:
            cursor.execute("DROP TABLE stray_rows")

    assert found == []
