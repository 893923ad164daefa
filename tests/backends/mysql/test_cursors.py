"""What MySQL and MariaDB are sent, and what their own SQL could get round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

import tenancy
from project.tracker.models import Project, Task
from tenancy.exceptions import CrossOrganization, RawSQLRefused, ScopeRequired
from tenancy.models import Organization
from tenancy.policies import same_organization_name

Execute = Callable[..., Any]

pytestmark = [
    pytest.mark.skipif(
        connection.vendor != "mysql",
        reason="The database does not have what is MySQL's own",
    ),
    pytest.mark.django_db,
]

VARIABLES = "SELECT @tenancy_organization, @tenancy_unscoped"


def text_of(organization: Organization) -> str:
    """Return an organization's key as the variable holds it."""
    return str(Organization._meta.pk.get_db_prep_value(organization.pk, connection))


def row_of(project: Project, name: str) -> tuple[str, list[Any]]:
    """Return the columns of a copy of a project, and the values."""
    columns, values = [], []
    for field in Project._meta.local_concrete_fields:
        value = name if field.column == "name" else field.pre_save(project, add=False)
        columns.append(connection.ops.quote_name(str(field.column)))
        values.append(field.get_db_prep_value(value, connection))
    return ", ".join(columns), values


def test_variables_are_sent_before_a_write_only(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """A plain read does not cost a second round trip."""
    with tenancy.unscoped("to begin with"):
        execute("DELETE FROM django_content_type WHERE id = 0")

    with tenancy.scope(acme):
        Project.objects.count()
        before = execute(VARIABLES)
        Project.objects.filter(name="a").update(description="x")
        after = execute(VARIABLES)

    assert before == [(None, 1)]
    assert after == [(text_of(acme), None)]


def test_raw_read_finds_rows_by_a_key_without_dashes(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """What MySQL's column holds, MariaDB's takes for the same key."""
    with tenancy.scope(acme):
        rows = execute(
            "SELECT organization_id FROM tracker_project WHERE organization_id = %s",
            [acme.pk.hex],
        )

        assert len(rows) == Project.objects.count() > 0


def test_variables_are_sent_once_for_a_scope(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """What was sent is not sent again while the scope lasts."""
    with tenancy.scope(acme):
        Project.objects.filter(name="a").update(description="x")
        execute("SET @tenancy_organization = 'tampered'")
        with pytest.raises(CrossOrganization), transaction.atomic():
            Project.objects.filter(name="a").update(description="y")
        connection.connection.tenancy_sent = None


def test_variables_are_cleared_outside_the_scope(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """The first write after a scope takes its right away."""
    with tenancy.scope(acme):
        Project.objects.filter(name="a").update(description="x")

    execute("DELETE FROM django_content_type WHERE id = 0")

    assert execute(VARIABLES) == [(None, None)]


def test_function_that_is_not_known_counts_as_a_write(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """What a function does is not in the text, so the scope is sent before it."""
    with tenancy.scope(acme):
        execute("SELECT connection_id()")

        assert execute(VARIABLES) == [(text_of(acme), None)]


@pytest.mark.django_db(transaction=True)
def test_variables_are_sent_again_after_reconnect(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """A new connection knows nothing, and is told."""
    with tenancy.scope(acme):
        Project.objects.filter(name="a").update(description="x")
        connection.close()

        assert Project.objects.filter(name="a").update(description="y") == 1


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO tracker_project ({columns}) VALUES ({places})",
        "INSERT IGNORE INTO tracker_project ({columns}) VALUES ({places})",
        "REPLACE INTO tracker_project ({columns}) VALUES ({places})",
        "INSERT INTO tracker_project ({columns}) VALUES ({places})"
        " ON DUPLICATE KEY UPDATE name = 'x'",
    ],
)
def test_insert_over_a_foreign_row_is_refused(
    acme: Organization, projects: dict[str, Project], execute: Execute, sql: str
) -> None:
    """No form of INSERT makes or changes another organization's row."""
    columns, values = row_of(projects["z"], "taken")
    places = ", ".join(["%s"] * len(values))

    with (
        tenancy.scope(acme),
        pytest.raises(CrossOrganization),
        transaction.atomic(),
    ):
        execute(sql.format(columns=columns, places=places), values)

    with tenancy.unscoped("a test"):
        assert Project.objects.filter(name="z").count() == 1


def test_replace_of_a_foreign_key_with_own_organization_is_refused(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """REPLACE would delete the row that has the key, which is not acme's."""
    with tenancy.unscoped("a test"):
        project = Project.objects.get(name="z")
    project.organization_id = acme.pk
    columns, values = row_of(project, "taken")
    places = ", ".join(["%s"] * len(values))

    with (
        tenancy.scope(acme),
        pytest.raises(CrossOrganization),
        transaction.atomic(),
    ):
        execute(f"REPLACE INTO tracker_project ({columns}) VALUES ({places})", values)


def test_update_ignore_does_not_swallow_the_refusal(
    acme: Organization, projects: dict[str, Project], execute: Execute
) -> None:
    """A trigger's signal is an error in UPDATE IGNORE too."""
    with (
        tenancy.scope(acme),
        pytest.raises(CrossOrganization),
        transaction.atomic(),
    ):
        execute(
            "UPDATE IGNORE tracker_project SET name = 'x' WHERE id = %s",
            [Project._meta.pk.get_db_prep_value(projects["z"].pk, connection)],
        )


def test_drivers_own_cursor_is_guarded(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """A cursor that the driver's connection opens is the same."""
    with tenancy.scope(acme), connection.connection.cursor() as cursor:
        with pytest.raises(RawSQLRefused, match="tracker_project"):
            cursor.execute("SELECT * FROM tracker_project")
        with pytest.raises(RawSQLRefused, match="tracker_project"):
            cursor.execute(b"SELECT * FROM tracker_project")


def test_drivers_own_class_of_cursors_is_guarded(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """The usual way to rows as dictionaries is no way round the guard."""
    from MySQLdb.cursors import DictCursor

    driver = connection.connection
    with driver.cursor(DictCursor) as cursor:
        with pytest.raises(ScopeRequired):
            cursor.execute("SELECT * FROM tracker_project")
        with tenancy.scope(acme):
            with pytest.raises(RawSQLRefused, match="tracker_project"):
                cursor.execute("SELECT * FROM tracker_project")
            cursor.execute(
                "SELECT name FROM tracker_project WHERE organization_id = %s",
                [text_of(acme)],
            )
            assert {row["name"] for row in cursor.fetchall()} == {"a", "b", "c"}


def test_messages_of_the_server_are_refused(
    acme: Organization, execute: Execute
) -> None:
    """A warning quotes the values that a statement has met."""
    for sql in ("SHOW WARNINGS", "show errors"):
        with tenancy.scope(acme), pytest.raises(RawSQLRefused, match="SHOW"):
            execute(sql)
    with tenancy.unscoped("a test"):
        execute("SHOW WARNINGS")


@pytest.mark.parametrize(
    "table",
    [
        "information_schema.processlist",
        "`information_schema`.`PROCESSLIST`",
        "information_schema.innodb_trx",
        "performance_schema.events_statements_current",
    ],
)
def test_statements_of_others_are_not_shown(
    acme: Organization, execute: Execute, table: str
) -> None:
    """In them stand the values that other organizations ask for."""
    with tenancy.scope(acme), pytest.raises(RawSQLRefused, match="may show rows"):
        execute(f"SELECT * FROM {table}")


def test_callproc_needs_unscoped(acme: Organization) -> None:
    """What a procedure reads is not in any text."""
    with connection.cursor() as cursor:
        with pytest.raises(ScopeRequired, match="'leak'"):
            cursor.callproc("leak")
        with tenancy.scope(acme), pytest.raises(RawSQLRefused, match="'leak'"):
            cursor.callproc("leak")


@pytest.fixture
def hidden(transactional_db: None, execute: Execute) -> Iterator[None]:
    """A view of a view, and a function, that read a tenant table."""
    made = {
        "VIEW": ["plain_view", "view_of_odd", "An odd view", "view_of_view", "view"],
        "FUNCTION": ["leak"],
    }
    with tenancy.unscoped("a test", in_generator=True):
        execute("CREATE VIEW `view` AS SELECT * FROM tracker_project")
        execute("CREATE VIEW view_of_view AS SELECT * FROM `view`")
        execute("CREATE VIEW `An odd view` AS SELECT * FROM `view`")
        execute("CREATE VIEW view_of_odd AS SELECT * FROM `An odd view`")
        execute("CREATE VIEW plain_view AS SELECT * FROM django_content_type")
        execute(
            "CREATE FUNCTION leak() RETURNS integer READS SQL DATA"
            " RETURN (SELECT count(*) FROM tracker_project)"
        )
    yield
    with tenancy.unscoped("a test", in_generator=True):
        for kind, names in made.items():
            for name in names:
                execute(f"DROP {kind} `{name}`")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM `view`",
        "SELECT * FROM view_of_view",
        "SELECT * FROM `An odd view`",
        "SELECT * FROM view_of_odd",
        "SELECT * FROM django_content_type c JOIN view_of_view v ON 1 = 1",
        "SELECT leak()",
        "SELECT id FROM django_content_type WHERE leak () > 1",
    ],
)
def test_views_and_functions_over_tenant_tables_are_refused(
    hidden: None, acme: Organization, execute: Execute, sql: str
) -> None:
    """A name behind which a tenant table stands is as good as the table's."""
    with pytest.raises(ScopeRequired):
        execute(sql)
    with tenancy.scope(acme):
        with pytest.raises(RawSQLRefused, match="may show rows"):
            execute(sql)
        with pytest.raises(RawSQLRefused, match="may show rows"):
            tenancy.raw(sql)
        execute("SELECT count(*) FROM plain_view")
    with tenancy.unscoped("a test"):
        execute(sql)


def test_view_in_a_comment_that_is_code_is_refused(
    hidden: None, acme: Organization, execute: Execute
) -> None:
    """A text that can be read in two ways may name a view of any name."""
    with tenancy.scope(acme), pytest.raises(RawSQLRefused, match="may show rows"):
        execute("SELECT * /*!50000 FROM `An odd view` */")


LOCKING: dict[str, tuple[Callable[[], Any], int]] = {
    "plain read": (lambda: list(Project.objects.filter(name="a")), 0),
    "locking read": (lambda: list(Project.objects.select_for_update()), 1),
    "joined": (
        lambda: list(Task.objects.select_for_update().select_related("project")),
        2,
    ),
    "subquery": (
        lambda: list(
            Task.objects.filter(project__in=Project.objects.all()).select_for_update()
        ),
        1,
    ),
    "update": (lambda: Project.objects.filter(name="a").update(description="x"), 1),
    "delete": (lambda: Task.objects.filter(title="a")._raw_delete("default"), 1),
    "joined delete": (
        lambda: Task.objects.filter(project__name="a")._raw_delete("default"),
        2,
    ),
    "update by subquery": (
        lambda: Task.objects.filter(
            project__in=Project.objects.filter(name="a")
        ).update(description="x"),
        2,
    ),
    "organization": (
        lambda: Organization.objects.filter(name="Acme").update(name="Acme"),
        0,
    ),
}

FORCED = " FORCE INDEX (`tenancy_target_"


@pytest.mark.parametrize(("act", "count"), LOCKING.values(), ids=LOCKING)
def test_statement_that_locks_is_given_the_other_indexes(
    act: Callable[[], Any], count: int, acme: Organization
) -> None:
    """InnoDB locks what it finds by primary key or scan before it asks whose it is."""
    with tenancy.scope(acme), CaptureQueriesContext(connection) as queries:
        act()

    assert queries[-1]["sql"].count(FORCED) == count
    assert "IGNORE INDEX (" not in queries[-1]["sql"]


ORDERED: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "plain": (lambda: Task.objects.all(), {"status", "order"}),
    "its own": (lambda: Task.objects.order_by("-priority", "-pk"), {"status", "order"}),
    "backward": (lambda: Task.objects.order_by("priority", "pk"), set()),
    "partly backward": (lambda: Task.objects.order_by("-status"), {"order"}),
}


@pytest.mark.parametrize(("rows", "kept"), ORDERED.values(), ids=ORDERED)
def test_statement_in_the_reverse_of_an_index_does_not_read_its_order(
    rows: Callable[[], Any], kept: set[str], acme: Organization
) -> None:
    """Read from its end, an index goes on to the organization before."""
    with tenancy.scope(acme), CaptureQueriesContext(connection) as queries:
        list(rows().select_for_update()[:5])

    sent = queries[-1]["sql"]
    _before, _hint, left_out = sent.partition(" IGNORE INDEX FOR ORDER BY ")
    assert {
        name for name in ("status", "order") if f"tracker_task_{name}" not in left_out
    } == kept


RELATED: dict[str, tuple[Callable[[], Any], bool]] = {
    "equal": (lambda: Task.objects.filter(project_id=1), True),
    "one of": (lambda: Task.objects.filter(project_id__in=[1, 2]), True),
    "joined": (lambda: Task.objects.filter(project__name="a"), True),
    "none": (lambda: Task.objects.filter(project=None), True),
    "not one of": (lambda: Task.objects.exclude(project_id__in=[1, 2]), False),
    "some": (lambda: Task.objects.filter(assignee__isnull=False), False),
    "range": (lambda: Task.objects.filter(project_id__gt=1), False),
    "ordered": (lambda: Task.objects.order_by("project_id"), False),
}


@pytest.mark.parametrize(("rows", "is_kept"), RELATED.values(), ids=RELATED)
def test_statement_takes_the_index_of_a_relation_for_a_value_only(
    rows: Callable[[], Any], is_kept: bool, acme: Organization
) -> None:
    """In a range of a relation's index, and in its order, lie the rows of all."""
    key = same_organization_name(Task, "project")
    with tenancy.scope(acme), CaptureQueriesContext(connection) as queries:
        list(rows().select_for_update()[:5])

    assert (f"`{key}`" in queries[-1]["sql"]) is is_kept


@pytest.mark.django_db(transaction=True)
def test_statement_when_an_index_was_dropped_is_sent_anew(acme: Organization) -> None:
    """An index that another process drops is forgotten, with no error."""
    rows = Project.objects.filter(name="a")
    plain: Any = connection.connection

    def change(sql: str) -> None:
        # As another process: the guard of this one does not see it.
        with plain.open_plain_cursor() as cursor:
            cursor.execute(sql)

    change("CREATE INDEX later ON tracker_project (organization_id, created_at)")
    plain.tenancy_backend.forget()
    with tenancy.scope(acme):
        Project.objects.create(name="a")
        with CaptureQueriesContext(connection) as before:
            rows.update(description="x")
        change("DROP INDEX later ON tracker_project")
        with CaptureQueriesContext(connection) as queries:
            count = rows.update(description="y")

    assert count == 1
    assert "later" in before[-1]["sql"]
    assert "later" not in queries[-1]["sql"]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE tracker_task USE INDEX (PRIMARY) SET title = 'x'"
        " WHERE organization_id = %s",
        "DELETE FROM tracker_task WHERE organization_id = %s ORDER BY id LIMIT 1",
        "DELETE QUICK FROM tracker_task WHERE organization_id = %s",
        b"DELETE FROM tracker_task WHERE organization_id = %s",
    ],
    ids=str,
)
def test_statement_that_takes_no_hint_is_sent_as_it_is(
    acme: Organization, sql: Any
) -> None:
    """A statement of the project's that has a hint, or cannot have one, is left."""
    with tenancy.scope(acme), connection.cursor() as cursor:
        cursor.execute(sql, [text_of(acme)])

        sent: Any = cursor
        while not hasattr(sent, "_executed"):
            sent = sent.cursor
        assert b" INDEX (" not in sent._executed.replace(b"USE INDEX", b"")


def test_statement_in_unscoped_is_sent_as_it_is(execute: Execute) -> None:
    """What reaches every organization's rows may lock them."""
    with (
        tenancy.unscoped("a test"),
        CaptureQueriesContext(connection) as queries,
    ):
        Project.objects.filter(name="a").update(description="x")

    assert " INDEX (" not in queries[-1]["sql"]


@pytest.mark.django_db(transaction=True)
def test_statement_by_key_locks_nothing_in_repeatable_read(
    acme: Organization, projects: dict[str, Project]
) -> None:
    """Where locks are kept to the end of the transaction there is none to keep."""
    mine, other = projects["a"].pk, projects["z"].pk
    second: Any = connection.copy()
    level = "SET SESSION TRANSACTION ISOLATION LEVEL"
    with connection.cursor() as cursor:
        cursor.execute(f"{level} REPEATABLE READ")
    try:
        with tenancy.scope(acme), transaction.atomic():
            Project.objects.filter(pk=other).update(description="x")
            Project.objects.filter(pk__in=[mine, other]).update(description="x")
            Project.objects.filter(pk=other)._raw_delete("default")
            assert not Project.objects.select_for_update().filter(pk=other)
            with tenancy.unscoped("globex at work"), second.cursor() as cursor:
                cursor.execute(
                    "SELECT name FROM tracker_project WHERE id = %s FOR UPDATE NOWAIT",
                    [Project._meta.pk.get_db_prep_value(other, connection)],
                )
                assert cursor.fetchall() == (("z",),)
    finally:
        second.close()
        connection.close()
