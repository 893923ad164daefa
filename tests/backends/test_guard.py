"""The guard's judgement of statements, by their text and parameters alone."""

from __future__ import annotations

import copy
import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tenancy.backends.guard import Parameters, Verdict, refuse
from tenancy.backends.marks import Mark
from tenancy.backends.reading import read
from tenancy.backends.statements import Columns
from tenancy.backends.tokens import (
    Dialect,
    MySQLDialect,
    Passing,
    PostgreSQLDialect,
    SQLiteDialect,
)
from tenancy.exceptions import RawSQLRefused

NAMES = {
    "tenancy_membership": Columns("organization_id", "id"),
    "tenancy_organization": Columns("id", "id"),
    "tracker_project": Columns("organization_id", "id"),
    "tracker_task": Columns("organization_id", "id"),
    "tracker_meter": Columns("organization_id", None, ("organization_id", "number")),
}
DIALECTS: dict[str, Dialect] = {
    "mysql": MySQLDialect(),
    "postgresql": PostgreSQLDialect(),
    "sqlite": SQLiteDialect(),
}
ACME, GLOBEX = "acme-key", "globex-key"
KEY = uuid.UUID("12345678-1234-4321-8765-123456789abc")


class Text(str):
    """What may say anything of itself."""


T = Mark(ACME, tables=("tracker_task",), column="organization_id")
P = Mark(ACME, tables=("tracker_project",), column="organization_id")
ROOT = Mark(ACME, tables=("tenancy_organization",), column="id")
U = Mark(ACME, tables=("tenancy_membership", "tenancy_organization"), column="user_id")
T_OF_GLOBEX = Mark(GLOBEX, tables=("tracker_task",), column="organization_id")

# (databases, statement, parameters); "*" is every database.
REFUSED: list[tuple[str, str, Any]] = [
    # Plain raw SQL, however the name is written.
    ("*", "SELECT * FROM tracker_task", None),
    ("*", "SELECT * FROM tracker_task", []),
    ("*", "SELECT * FROM TRACKER_Task", None),
    ("*", 'SELECT * FROM "tracker_task"', None),
    ("mysql sqlite", "SELECT * FROM `tracker_task`", None),
    ("sqlite", "SELECT * FROM [tracker_task]", None),
    ("sqlite", "SELECT * FROM 'tracker_task'", None),
    ("*", "SELECT * FROM public.tracker_task", None),
    ("*", 'SELECT * FROM "a"."b"."tracker_task"', None),
    ("mysql", "SELECT * FROM .tracker_task", None),
    ("*", "SELECT*FROM(tracker_task)", None),
    ("*", 'SELECT*FROM"tracker_task"', None),
    ("*", "SELECT/**/*/**/FROM/**/tracker_task", None),
    ("*", "-- a comment\nSELECT * FROM -- another\n tracker_task", None),
    ("mysql", "SELECT * FROM # a comment\n tracker_task", None),
    ("mysql", "SELECT * /*!FROM tracker_task*/", None),
    ("mysql", "SELECT * /*!50000 FROM tracker_task */", None),
    ("mysql", "SELECT * /*M!100000 FROM tracker_task */", None),
    ("mysql", "SELECT 5--1 FROM tracker_task", None),
    ("postgresql", "SELECT * FROM /* a /* nested */ */ tracker_task", None),
    ("postgresql", 'SELECT * FROM U&"tracker\\005ftask" , tracker_task', None),
    ("postgresql", "TABLE tracker_task", None),
    ("mysql", "TABLE tracker_task", None),
    ("*", "(SELECT * FROM tracker_task)", None),
    ("*", "SELECT * FROM other, tracker_task", None),
    ("*", "SELECT * FROM other JOIN tracker_task ON 1 = 1", None),
    ("*", "SELECT (SELECT max(title) FROM tracker_task)", None),
    ("*", "SELECT 1 WHERE EXISTS (SELECT 1 FROM tracker_task)", None),
    ("sqlite", "SELECT 1 WHERE 'x' IN tracker_task", None),
    ("sqlite", "SELECT 1 WHERE 'x' IN main.tracker_task", None),
    ("*", "WITH x AS (SELECT * FROM tracker_task) SELECT * FROM x", None),
    ("*", "WITH tracker_task AS (SELECT 1) SELECT * FROM tracker_task", None),
    ("*", "EXPLAIN SELECT * FROM tracker_task", None),
    ("*", "EXPLAIN ANALYZE SELECT * FROM tracker_task", None),
    ("mysql", "DESCRIBE SELECT * FROM tracker_task", None),
    ("mysql", "SHOW TABLES WHERE (SELECT count(*) FROM tracker_task) > 1", None),
    # A condition on the organization that is no mark, or another's.
    ("*", "SELECT * FROM tracker_task WHERE organization_id = 'acme-key'", None),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE t.organization_id = %s",
        [T_OF_GLOBEX],
    ),
    # A mark in the wrong place.
    ("*", "SELECT * FROM tracker_task t WHERE t.title = %s", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id <> %s", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id >= %s", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id != %s", [T]),
    ("mysql", "SELECT * FROM tracker_task t WHERE t.organization_id <=> %s", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id IN (%s)", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id = %s + 1", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id = %s IS NULL", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE 1 = t.organization_id = %s", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE NOT t.organization_id = %s", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE NOT (t.organization_id = %s)", [T]),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE NOT (x = 1 AND (t.organization_id = %s))",
        [T],
    ),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id = %s OR 1 = 1", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE 1 = 1 OR t.organization_id = %s", [T]),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE (t.organization_id = %s) OR (1 = 1)",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE (t.organization_id = %s AND (x = 1)"
        " OR (1 = 1))",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE ((x = 1) OR (1 = 1 AND"
        " t.organization_id = %s))",
        [T],
    ),
    (
        "mysql",
        "SELECT * FROM tracker_task t WHERE (t.organization_id = %s) || (1 = 1)",
        [T],
    ),
    (
        "mysql",
        "SELECT * FROM tracker_task t WHERE (t.organization_id = %s) XOR (1 = 2)",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE CASE WHEN 1 = 1 AND"
        " t.organization_id = %s THEN 1 ELSE 1 END = 1",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE 5 BETWEEN 1 AND t.organization_id = %s",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE coalesce(t.organization_id = %s, 1)",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE coalesce((t.organization_id = %s), 1) = 1",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE (t.organization_id = %s) IS NOT NULL",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE (t.organization_id = %s) = (1 = 2)",
        [T],
    ),
    ("*", "SELECT t.organization_id = %s FROM tracker_task t", [T]),
    (
        "*",
        "SELECT * FROM tracker_task t ORDER BY t.organization_id = %s",
        [T],
    ),
    (
        "*",
        "SELECT count(*) FILTER (WHERE t.organization_id = %s) FROM tracker_task t",
        [T],
    ),
    (
        "*",
        "SELECT x FROM tracker_task t GROUP BY x HAVING t.organization_id = %s",
        [T],
    ),
    ("*", "SELECT * FROM tracker_task t WHERE 1 = 1 /* t.organization_id = %s */", [T]),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE 1 = 1 -- AND t.organization_id = %s",
        [T],
    ),
    ("mysql", "SELECT * FROM tracker_task t WHERE 1 # AND t.organization_id = %s", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE 't.organization_id = %s' <> ''", [T]),
    ("*", "SELECT * FROM tracker_task t WHERE u.organization_id = %s", [T]),
    (
        "mysql",
        "SELECT * FROM tracker_task t WHERE 'a\\' <> '"
        " AND t.organization_id = %s AND '",
        [T],
    ),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id = %%s", [T]),
    (
        "mysql postgresql",
        "SELECT * FROM tracker_task t WHERE '%s' AND t.organization_id = %s",
        ["x", T],
    ),
    # One mark is not two.
    (
        "*",
        "SELECT * FROM tracker_task t, tracker_task u WHERE t.organization_id = %s",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t JOIN tracker_project p ON 1 = 1"
        " WHERE t.organization_id = %s",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE t.organization_id = %s"
        " UNION SELECT * FROM tracker_task t",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t UNION ALL"
        " SELECT * FROM tracker_task t WHERE t.organization_id = %s",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE (t.organization_id = %s AND (1 = 1))"
        " UNION (SELECT * FROM tracker_task t WHERE (1 = 1))",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE x IN"
        " (SELECT y FROM tracker_project p WHERE t.organization_id = %s)",
        [T],
    ),
    (
        "*",
        "SELECT (SELECT max(title) FROM tracker_task) FROM tracker_task t"
        " WHERE t.organization_id = %s",
        [T],
    ),
    (
        "*",
        "SELECT (SELECT max(title) FROM tracker_task u), %s FROM tracker_task t"
        " WHERE t.organization_id = %s",
        [T, T],
    ),
    # A join's condition keeps only what it joins.
    (
        "*",
        "SELECT * FROM tracker_task t LEFT JOIN tracker_project p"
        " ON (t.organization_id = %s AND p.organization_id = %s)",
        [T, P],
    ),
    (
        "*",
        "SELECT * FROM other o RIGHT JOIN tracker_task t ON (t.organization_id = %s)",
        [T],
    ),
    (
        "*",
        "SELECT * FROM other o FULL JOIN tracker_task t ON (t.organization_id = %s)",
        [T],
    ),
    (
        "*",
        "SELECT * FROM other o LEFT JOIN tracker_task t LEFT JOIN a"
        " ON t.organization_id = %s ON 1 = 1",
        [T],
    ),
    # The user's own rows.
    (
        "*",
        "SELECT * FROM tenancy_organization o WHERE o.id NOT IN"
        " (SELECT m.organization_id FROM tenancy_membership m WHERE m.user_id = %s)",
        [U],
    ),
    (
        "*",
        "SELECT * FROM tenancy_organization o WHERE o.id IN"
        " (SELECT m.organization_id FROM tenancy_membership m WHERE m.user_id = %s)"
        " OR 1 = 1",
        [U],
    ),
    (
        "*",
        "SELECT * FROM tenancy_organization o WHERE o.id IN"
        " (SELECT 1 UNION SELECT m.organization_id FROM tenancy_membership m"
        " WHERE m.user_id = %s)",
        [U],
    ),
    # Writing, and reading in order to write.
    ("*", "UPDATE tracker_task SET x = (SELECT max(x) FROM tracker_task)", None),
    (
        "*",
        "UPDATE tracker_task SET x = (SELECT max(u.x) FROM tracker_task u)"
        " WHERE tracker_task.organization_id = %s",
        [T],
    ),
    ("*", "UPDATE other SET x = (SELECT max(title) FROM tracker_task)", None),
    ("*", "INSERT INTO other SELECT * FROM tracker_task", None),
    ("*", "INSERT INTO tracker_task SELECT * FROM tracker_task", None),
    ("*", "INSERT INTO other (a) VALUES ((SELECT max(x) FROM tracker_task))", None),
    (
        "*",
        "INSERT INTO other SELECT * FROM tracker_task t ON CONFLICT DO UPDATE"
        " SET x = 1 WHERE t.organization_id = %s",
        [T],
    ),
    ("mysql", "INSERT INTO other TABLE tracker_task", None),
    ("mysql", "UPDATE tracker_task t, other o SET o.x = t.title", None),
    ("mysql", "UPDATE other o, tracker_task t SET o.x = t.title", None),
    ("mysql", "UPDATE other o JOIN tracker_task t ON 1 = 1 SET o.x = t.title", None),
    ("mysql", "DELETE tracker_task FROM tracker_task JOIN other ON 1 = 1", None),
    ("mysql", "DELETE t FROM other o JOIN tracker_task t ON 1 = 1", None),
    ("*", "DELETE FROM other USING tracker_task", None),
    ("mysql", "DELETE FROM tracker_task USING tracker_task JOIN other", None),
    ("postgresql", "UPDATE other SET x = t.title FROM tracker_task t", None),
    ("*", "WITH x AS (SELECT 1) DELETE FROM tracker_task", None),
    ("postgresql", "WITH x AS (DELETE FROM tracker_task RETURNING *) SELECT 1", None),
    ("postgresql", "MERGE INTO tracker_task USING other ON 1 = 1", None),
    ("postgresql", "COPY tracker_task TO STDOUT", None),
    ("postgresql", "DO $$ BEGIN PERFORM * FROM tracker_task; END $$", None),
    # Ways round the text.
    ("*", "SELECT 1; SELECT * FROM tracker_task", None),
    ("*", "DELETE FROM tracker_task WHERE id = 1; SELECT 1", None),
    ("mysql", "PREPARE s FROM 'SELECT 1'", None),
    ("*", "EXECUTE s", None),
    ("mysql", "EXECUTE IMMEDIATE @sql", None),
    ("mysql", "SELECT 1; EXECUTE s", None),
    ("*", "CALL leak()", None),
    ("mysql", "HANDLER tracker_task OPEN", None),
    ("mysql", "LOAD DATA INFILE 'x' INTO TABLE other", None),
    ("sqlite", "ATTACH DATABASE 'x' AS y", None),
    ("mysql", "SET @x = (SELECT max(title) FROM tracker_task)", None),
    ("mysql", "BEGIN NOT ATOMIC SELECT * FROM tracker_task; END", None),
    # A key that is not compared with the organization's column, or another's.
    ("*", "SELECT * FROM tracker_task WHERE organization_id = %s", [GLOBEX]),
    ("*", "SELECT * FROM tracker_task WHERE title = %s", [ACME]),
    ("*", "SELECT * FROM tracker_task WHERE organization_id = %s OR 1 = 1", [ACME]),
    ("*", "SELECT * FROM tracker_task WHERE NOT organization_id = %s", [ACME]),
    ("*", "SELECT * FROM tracker_task WHERE x = organization_id = %s", [ACME]),
    ("*", "SELECT * FROM tracker_task WHERE coalesce(organization_id = %s)", [ACME]),
    ("*", "SELECT * FROM tracker_task WHERE 'organization_id' = %s", [ACME]),
    ("*", "SELECT * FROM tenancy_organization WHERE organization_id = %s", [ACME]),
    (
        "*",
        "SELECT * FROM tracker_task t, other o WHERE organization_id = %s",
        [ACME],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t JOIN (SELECT 1) o ON organization_id = %s",
        [ACME],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t WHERE x IN (SELECT 1 FROM other"
        " WHERE organization_id = %s)",
        [ACME],
    ),
    # Two names that the database may take for one, or for two.
    (
        "*",
        "SELECT * FROM tracker_task t, tracker_task T WHERE T.organization_id = %s",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t, (SELECT %s AS organization_id) T"
        " WHERE T.organization_id = %s",
        [T, T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task t, json_each(%s) AS T WHERE T.organization_id = %s",
        [T, T],
    ),
    (
        "mysql",
        "SELECT * FROM other T WHERE EXISTS (SELECT 1 FROM tracker_task t"
        " WHERE T.organization_id = %s)",
        [T],
    ),
    (
        "postgresql",
        'SELECT * FROM other t WHERE EXISTS (SELECT 1 FROM tracker_task "T"'
        " WHERE T.organization_id = %s)",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_task s, tracker_task \u017f"
        " WHERE \u017f.organization_id = %s",
        [T],
    ),
    (
        "*",
        'SELECT * FROM tracker_task s, tracker_task "\u017f"'
        ' WHERE "\u017f".organization_id = %s',
        [T],
    ),
    # An alias that is named as a table hides no other.
    (
        "*",
        "SELECT * FROM other tracker_task WHERE EXISTS"
        " (SELECT 1 FROM tracker_task u WHERE tracker_task.organization_id = %s)",
        [T],
    ),
    (
        "*",
        "SELECT * FROM tracker_project tracker_task, tracker_task"
        " WHERE tracker_task.organization_id = %s",
        [T],
    ),
    (
        "*",
        "SELECT * FROM other AS tracker_task, tracker_task t"
        " WHERE tracker_task.organization_id = %s",
        [T],
    ),
    # The user's own rows, by other columns.
    (
        "*",
        "SELECT * FROM tenancy_organization o WHERE o.id IN"
        " (SELECT o.id FROM tenancy_membership m WHERE m.user_id = %s)",
        [U],
    ),
    (
        "*",
        "SELECT * FROM tenancy_organization o WHERE o.name IN"
        " (SELECT m.organization_id FROM tenancy_membership m WHERE m.user_id = %s)",
        [U],
    ),
    (
        "*",
        "SELECT * FROM tenancy_organization o WHERE o.id IN"
        " (SELECT m.id FROM tenancy_membership m WHERE m.user_id = %s)",
        [U],
    ),
    # What a WHERE or a SET would say of another organization's row.
    ("*", "UPDATE tracker_task SET x = %s", [1]),
    ("*", "DELETE FROM tracker_task", None),
    ("*", "UPDATE tracker_task SET x = 1 WHERE title LIKE 'S%%'", []),
    ("*", "UPDATE tracker_task SET x = 1 WHERE id = %s AND title LIKE 'S'", [1]),
    ("*", "UPDATE tracker_task SET x = json_extract('{}', title) WHERE id = 1", None),
    ("*", "UPDATE tracker_task SET x = title WHERE id = %s", [1]),
    ("*", "UPDATE tracker_task SET x = 1 WHERE title = %s", ["x"]),
    ("*", "UPDATE tracker_task SET x = 1 WHERE id = %s RETURNING title", [1]),
    ("*", "UPDATE tracker_task SET x = 1 WHERE id = %s ORDER BY title LIMIT 1", [1]),
    ("*", "UPDATE tracker_task SET x = 1 WHERE id = id", None),
    ("*", "DELETE FROM tracker_task WHERE id > %s", [1]),
    ("*", "DELETE FROM tracker_task WHERE id IN (%s, length(title))", [1]),
    ("*", "DELETE FROM tracker_task WHERE NOT id = %s", [1]),
    ("*", "DELETE FROM tracker_task WHERE id = %s RETURNING *", [1]),
    ("*", "DELETE FROM tracker_meter WHERE (organization_id, number) > (1, 2)", None),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id, number) NOT IN ((1, 2))",
        None,
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id, number) IN ((1, 2), (3,"
        " length(title)))",
        None,
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id, number) IN ((1, 2))"
        " OR 1 = 1",
        None,
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id, number) IN"
        " (SELECT a, b FROM other)",
        None,
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id, title) IN ((1, 2))",
        None,
    ),
    ("*", "DELETE FROM tracker_meter WHERE (organization_id) IN (1)", None),
    ("*", "DELETE FROM tracker_meter WHERE (number = 1)", None),
    ("*", "DELETE FROM tracker_meter WHERE (organization_id = 1 OR number = 1)", None),
    (
        "*",
        "DELETE FROM tracker_meter WHERE ((organization_id = 1 AND number = 2)"
        " OR (number = 3))",
        None,
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE ((organization_id = 1 AND number = 2)"
        " AND NOT (organization_id = 1 AND number = 2))",
        None,
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id = 1 AND number = title)",
        None,
    ),
    ("*", "DELETE FROM tracker_meter WHERE organization_id IN (1)", None),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id, number) IN"
        " (SELECT m.number, m.number FROM tracker_meter m"
        " WHERE m.organization_id = %s)",
        [ACME],
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id, number) IN"
        " (SELECT m.organization_id, t.number FROM tracker_meter m, other t"
        " WHERE m.organization_id = %s)",
        [ACME],
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (x.organization_id, x.number) IN ((1, 2))",
        None,
    ),
    (
        "*",
        "UPDATE tracker_meter SET x = length(x) WHERE (organization_id, number) IN"
        " ((1, 2))",
        None,
    ),
    (
        "*",
        "DELETE FROM tracker_task WHERE id IN (SELECT o.id FROM other o"
        " WHERE title LIKE 'S')",
        None,
    ),
    (
        "*",
        "DELETE FROM tracker_task WHERE id IN (SELECT t.id FROM tracker_task t"
        " WHERE t.organization_id = %s AND tracker_task.title LIKE 'S')",
        [T],
    ),
    (
        "*",
        "DELETE FROM tracker_task WHERE id IN (SELECT t.id FROM tracker_task t"
        " WHERE t.organization_id = %s UNION SELECT 1 FROM other WHERE title = 'S')",
        [T],
    ),
    (
        "*",
        "INSERT INTO tracker_task (id) VALUES (%s) ON CONFLICT (id) DO UPDATE"
        " SET x = 1 WHERE tracker_task.title LIKE 'S'",
        [1],
    ),
    (
        "*",
        "INSERT INTO tracker_task (id) VALUES (%s) ON CONFLICT (id) DO UPDATE"
        " SET x = json_extract('{}', tracker_task.title)",
        [1],
    ),
    (
        "mysql",
        "INSERT INTO tracker_task (id) VALUES (%s) ON DUPLICATE KEY UPDATE"
        " x = CAST(title AS SIGNED)",
        [1],
    ),
    (
        "mysql",
        "INSERT INTO tracker_task (id) VALUES (1) ON DUPLICATE KEY UPDATE x = title",
        None,
    ),
    # What tells of the rows that a statement has met.
    ("mysql", "SHOW WARNINGS", None),
    ("mysql", "SHOW COUNT(*) ERRORS", None),
    ("mysql", "GET DIAGNOSTICS CONDITION 1 @x = MESSAGE_TEXT", None),
    ("postgresql", 'SELECT * FROM U&"tracker\\005ftask"', None),
    # The schema.
    ("*", "CREATE VIEW v AS SELECT * FROM tracker_task", None),
    ("*", "CREATE TABLE copy AS SELECT * FROM tracker_task", None),
    ("*", "CREATE TRIGGER t AFTER INSERT ON tracker_task BEGIN SELECT 1; END", None),
    ("*", "DROP TABLE tracker_task", None),
    ("*", "ALTER TABLE tracker_task ADD x integer", None),
    ("*", "TRUNCATE tracker_task", None),
    ("mysql", "RENAME TABLE tracker_task TO x", None),
    ("mysql", "LOCK TABLES tracker_task READ", None),
]

# What one reader or another would take for no table's name.
HIDDEN: list[tuple[str, str, Any]] = [
    ("sqlite", "SELECT * FROM 'tracker_task'", None),
    ("sqlite", "SELECT * FROM main.'tracker_task'", None),
    ("*", "SELECT title FROM \ufefftracker_task", None),
    ("*", "SELECT title FROM (\ufefftracker_task)", None),
    ("*", "SELECT title FROM \u00a0tracker_task", None),
    ("*", "SELECT title FROM \x0btracker_task", None),
    ("*", "SELECT title FROM tracker_tas\u212a", None),
    ("sqlite", "SELECT title, :x(') FROM tracker_task -- '", {"x(')": 1}),
    ("sqlite", "SELECT title, #x(') FROM tracker_task -- '", []),
    ("sqlite", "SELECT title, $x::y(') FROM tracker_task -- '", []),
    ("sqlite", "SELECT title, 1=:x(') FROM tracker_task -- '", []),
    ("sqlite", "SELECT title, %(x(')s FROM tracker_task -- '", {"x('": 1}),
    ("mysql", "SELECT 1 --\u00a0 FROM tracker_task, (SELECT 1 AS `\u00a0`) y", None),
    ("mysql", "SELECT 1 --\u3000 FROM tracker_task", None),
    (
        "mysql",
        "SELECT * FROM tracker_task t WHERE 1=1 --\x7f AND t.organization_id = %s",
        [T],
    ),
    ("mysql", "SELECT $$ ' $$ FROM tracker_task -- '", None),
]

ONE = 'SELECT "tracker_task"."id" FROM "tracker_task" WHERE "tracker_task".'
PASSED: list[tuple[str, str, Any]] = [
    # An alias that is named as a table.
    ("*", "SELECT tracker_task.x FROM other tracker_task", None),
    ("*", 'SELECT "tracker_task"."x" FROM other AS "tracker_task"', None),
    (
        "*",
        "SELECT * FROM tracker_project tracker_task"
        " WHERE tracker_task.organization_id = %s",
        [P],
    ),
    # What names no tenant table.
    ("*", "SELECT 1", None),
    ("*", "SELECT * FROM other", None),
    ("*", "SELECT * FROM tracker_tasks, my_tracker_task, tracker_task2", None),
    ("*", "SELECT 'tracker_task'", None),
    ("*", "SELECT * FROM other WHERE name = 'tracker_task'", None),
    ("*", "SELECT 1 -- tracker_task", None),
    ("*", "SELECT 1 /* tracker_task */", None),
    ("mysql", "SELECT 1 # tracker_task", None),
    ("*", "SELECT * FROM other WHERE name = %s", ["tracker_task"]),
    ("mysql postgresql", "SELECT '%s days', %s", [3, "tracker_task"]),
    ("*", "INSERT INTO other (a, b) VALUES (%s, %s), (%s, %s)", [1, 2, 3, 4]),
    ("mysql", "SELECT @tracker_task, @@tracker_task", None),
    ("*", "SAVEPOINT s1", None),
    ("*", "ROLLBACK TO SAVEPOINT s1", None),
    ("*", "SET foreign_key_checks = 0; SET autocommit = 1", None),
    ("*", "CREATE TABLE other (id integer)", None),
    # What tells of tables, not of rows.
    ("sqlite", 'PRAGMA table_info("tracker_task")', None),
    ("mysql", "SHOW CREATE TABLE tracker_task", None),
    ("mysql", "SHOW INDEX FROM `tracker_task`", None),
    ("mysql", "DESCRIBE tracker_task", None),
    # What the ORM writes.
    ("*", ONE + '"organization_id" = %s', [T]),
    ("*", ONE + '"organization_id" = %s LIMIT 21', [T]),
    ("*", ONE + '"organization_id" = %s ORDER BY "tracker_task"."id" ASC', [T]),
    (
        "*",
        'SELECT "tracker_task"."id" FROM "tracker_task" WHERE'
        ' ("tracker_task"."organization_id" = %s AND "tracker_task"."title" = %s)',
        [T, "x"],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE ("tracker_task"."title" = %s AND'
        ' "tracker_task"."organization_id" = %s)',
        ["x", T],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE ("tracker_task"."organization_id" = %s'
        ' AND ("tracker_task"."title" = %s OR "tracker_task"."title" = %s))',
        [T, "x", "y"],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE (("tracker_task"."id" BETWEEN %s AND %s)'
        ' AND "tracker_task"."id" BETWEEN 1 AND 2 AND'
        ' "tracker_task"."organization_id" = %s)',
        [1, 2, T],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE (NOT ("tracker_task"."title" = %s)'
        ' AND "tracker_task"."organization_id" = %s)',
        ["x", T],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE (CASE WHEN "tracker_task"."x" = %s THEN 1'
        ' ELSE 2 END = 1 AND "tracker_task"."organization_id" = %s)',
        ["x", T],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE ((SELECT 1) = %s AND'
        ' "tracker_task"."organization_id" = %s)',
        ["x", T],
    ),
    (
        "postgresql sqlite",
        'SELECT 1 FROM "tracker_task" WHERE ("tracker_task"."organization_id" = %s'
        " AND \"tracker_task\".\"title\" LIKE '%%' || %s || '%%')",
        [T, "x"],
    ),
    (
        "*",
        'SELECT COUNT(*) FROM (SELECT "tracker_task"."id" AS "col1" FROM'
        ' "tracker_task" WHERE "tracker_task"."organization_id" = %s LIMIT 3) subquery',
        [T],
    ),
    (
        "*",
        'SELECT "tracker_task"."id" FROM "tracker_task" INNER JOIN "tracker_project"'
        ' ON ("tracker_task"."project_id" = "tracker_project"."id" AND'
        ' ("tracker_task"."organization_id" = %s AND'
        ' "tracker_project"."organization_id" = %s))'
        ' WHERE ("tracker_task"."organization_id" = %s AND "tracker_project"."x" = %s)',
        [T, P, T, 1],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" LEFT OUTER JOIN "tracker_project"'
        ' ON ("tracker_task"."project_id" = "tracker_project"."id" AND'
        ' ("tracker_project"."organization_id" = %s))'
        ' WHERE "tracker_task"."organization_id" = %s',
        [P, T],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" LEFT OUTER JOIN "tracker_task" T3'
        ' ON ("tracker_task"."parent_id" = T3."id" AND (T3."organization_id" = %s))'
        ' WHERE "tracker_task"."organization_id" = %s',
        [T, T],
    ),
    (
        "*",
        'SELECT 1 FROM "other" INNER JOIN "tracker_task" ON'
        ' ("other"."id" = "tracker_task"."other_id" AND'
        ' ("tracker_task"."organization_id" = %s)) WHERE "other"."x" = %s'
        ' GROUP BY "other"."id" HAVING COUNT("tracker_task"."id") > %s',
        [T, 1, 2],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE ("tracker_task"."organization_id" = %s'
        ' AND EXISTS(SELECT 1 AS "a" FROM "tracker_project" U0 WHERE'
        ' (U0."organization_id" = %s AND U0."id" = ("tracker_task"."project_id"))'
        " LIMIT 1))",
        [T, P],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE ("tracker_task"."organization_id" = %s'
        ' AND "tracker_task"."id" IN (SELECT U0."id" FROM "tracker_task" U0 WHERE'
        ' U0."organization_id" = %s))',
        [T, T],
    ),
    (
        "*",
        ONE + '"organization_id" = %s UNION ' + ONE + '"organization_id" = %s',
        [T, T],
    ),
    (
        "mysql postgresql",
        f'({ONE}"organization_id" = %s) UNION ALL ({ONE}"organization_id" = %s)'
        " ORDER BY 1",
        [T, T],
    ),
    (
        "*",
        "WITH x AS (SELECT t.id FROM tracker_task t WHERE t.organization_id = %s)"
        " SELECT * FROM x",
        [T],
    ),
    ("mysql postgresql", ONE + '"organization_id" = %s FOR UPDATE', [T]),
    (
        "mysql postgresql",
        ONE + '"organization_id" = %s FOR UPDATE OF "tracker_task" NOWAIT',
        [T],
    ),
    ("*", "EXPLAIN " + ONE + '"organization_id" = %s', [T]),
    ("sqlite", "EXPLAIN QUERY PLAN " + ONE + '"organization_id" = %s', [T]),
    (
        "postgresql",
        "EXPLAIN (ANALYZE, FORMAT JSON) " + ONE + '"organization_id" = %s',
        [T],
    ),
    ("mysql", "EXPLAIN FORMAT=TREE " + ONE + '"organization_id" = %s', [T]),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE "tracker_task"."organization_id"'
        ' = %(key)s AND "tracker_task"."x" = %(x)s',
        {"x": 1, "key": T},
    ),
    (
        "*",
        'SELECT "tenancy_organization"."id" FROM "tenancy_organization" WHERE'
        ' "tenancy_organization"."id" = %s',
        [ROOT],
    ),
    (
        "*",
        'SELECT 1 FROM "tenancy_organization" WHERE "tenancy_organization"."id" IN'
        ' (SELECT own."organization_id" FROM "tenancy_membership" own WHERE'
        ' (own."user_id" = %s AND own."ended_at" IS NULL))',
        [U],
    ),
    (
        "*",
        'SELECT 1 FROM "tracker_task" WHERE ("tracker_task"."organization_id" = %s'
        ' AND EXTRACT(YEAR FROM "tracker_task"."made") IS DISTINCT FROM %s)',
        [T, 2],
    ),
    (
        "*",
        'SELECT COUNT("tracker_task"."id") FILTER (WHERE "tracker_task"."x") AS "n",'
        ' ROW_NUMBER() OVER (PARTITION BY "tracker_task"."x") AS "tracker_task"'
        ' FROM "tracker_task" WHERE "tracker_task"."organization_id" = %s',
        [T],
    ),
    # SQL of one's own that says which organization it means.
    ("*", "SELECT * FROM tracker_task WHERE organization_id = %s", [ACME]),
    ("*", "SELECT * FROM tracker_task t WHERE t.organization_id = %s", [ACME]),
    ("*", "SELECT * FROM tracker_task t WHERE organization_id = %s AND x = 1", [ACME]),
    ("*", "SELECT * FROM tracker_task t WHERE (x = 1 AND organization_id = %s)", [T]),
    ("*", "SELECT * FROM tenancy_organization WHERE id = %s", [ACME]),
    (
        "*",
        "SELECT * FROM tracker_task t JOIN tracker_project p ON p.id = t.project_id"
        " WHERE t.organization_id = %(key)s AND p.organization_id = %(key)s",
        {"key": ACME},
    ),
    ("*", "UPDATE tracker_task SET x = y WHERE organization_id = %s", [ACME]),
    ("*", "DELETE FROM tracker_task WHERE organization_id = %s AND x > 1", [ACME]),
    (
        "postgresql sqlite",
        "UPDATE tracker_task AS t SET x = 1 WHERE t.organization_id = %s",
        [ACME],
    ),
    # Writes to one table, which the database judges row by row.
    ("*", 'INSERT INTO "tracker_task" ("a", "b") VALUES (%s, %s)', [1, 2]),
    ("*", 'INSERT INTO tracker_task ("tracker_task", b) VALUES (%s, %s)', [1, 2]),
    ("mysql", "INSERT IGNORE INTO `tracker_task` (`a`) VALUES (%s)", [1]),
    ("sqlite", 'INSERT OR IGNORE INTO "tracker_task" ("a") VALUES (%s)', [1]),
    ("mysql sqlite", "REPLACE INTO tracker_task (a) VALUES (%s)", [1]),
    (
        "postgresql sqlite",
        'INSERT INTO "tracker_task" ("a") VALUES (%s) ON CONFLICT("a") DO UPDATE'
        ' SET "a" = EXCLUDED."a" RETURNING "tracker_task"."id"',
        [1],
    ),
    (
        "mysql",
        "INSERT INTO `tracker_task` (`a`) VALUES (%s) ON DUPLICATE KEY UPDATE"
        " `a` = VALUES(`a`)",
        [1],
    ),
    ("*", "UPDATE tracker_task SET tracker_task = %s WHERE id = %s", [1, 2]),
    (
        "*",
        'UPDATE "tracker_task" SET "x" = ("tracker_task"."x" + %s) WHERE'
        ' "tracker_task"."organization_id" = %s',
        [1, T],
    ),
    ("*", 'DELETE FROM "tracker_task" WHERE "tracker_task"."id" IN (%s, %s)', [1, 2]),
    (
        "*",
        'DELETE FROM "tracker_task" WHERE "tracker_task"."id" IN (SELECT U0."id" FROM'
        ' "tracker_task" U0 WHERE U0."organization_id" = %s)',
        [T],
    ),
    ("*", "DELETE FROM tracker_task WHERE id = 5", None),
    ("*", "DELETE FROM tracker_task WHERE id IN (5, 6)", None),
    (
        "*",
        'DELETE FROM "tracker_meter" WHERE ("tracker_meter"."organization_id",'
        ' "tracker_meter"."number") IN ((%s, %s), (%s, %s))',
        [1, 2, 3, 4],
    ),
    (
        "*",
        'DELETE FROM "tracker_meter" WHERE (("tracker_meter"."organization_id" = %s AND'
        ' "tracker_meter"."number" = %s) OR ("tracker_meter"."organization_id" = %s AND'
        ' "tracker_meter"."number" = %s))',
        [1, 2, 3, 4],
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id = %s AND number = %s)",
        [1, 2],
    ),
    (
        "*",
        "UPDATE tracker_meter SET x = %s WHERE (organization_id, number) IN ((1, 2))",
        [1],
    ),
    (
        "*",
        "DELETE FROM tracker_meter WHERE (organization_id, number) IN"
        " (SELECT m.organization_id, m.number FROM tracker_meter m"
        " WHERE m.organization_id = %s)",
        [ACME],
    ),
    (
        "*",
        'UPDATE "tracker_task" SET "a" = NULL WHERE "tracker_task"."id" IN (%s)',
        [1],
    ),
    (
        "mysql",
        "INSERT INTO `tracker_task` (`a`) VALUES (%s), (%s) AS new ON DUPLICATE KEY"
        " UPDATE `a` = new.`a`, `b` = VALUE(`b`)",
        [1, 2],
    ),
    (
        "postgresql sqlite",
        "INSERT INTO tracker_task (a) VALUES (%s) ON CONFLICT DO NOTHING",
        [1],
    ),
    (
        "*",
        "DELETE FROM `tracker_task` WHERE `tracker_task`.`id` IN (SELECT * FROM"
        " (SELECT `tracker_task`.`id` FROM `tracker_task` INNER JOIN"
        " `tracker_project` ON (`tracker_task`.`project_id` = `tracker_project`.`id`"
        " AND (`tracker_project`.`organization_id` = %s)) WHERE"
        " `tracker_task`.`organization_id` = %s) subquery)".replace("`", '"'),
        [P, T],
    ),
    (
        "mysql",
        "DELETE `tracker_task` FROM `tracker_task` INNER JOIN `tracker_project` ON"
        " (`tracker_task`.`project_id` = `tracker_project`.`id` AND"
        " (`tracker_project`.`organization_id` = %s)) WHERE"
        " `tracker_task`.`organization_id` = %s",
        [P, T],
    ),
    (
        "*",
        "INSERT INTO tracker_task (a) SELECT t.a FROM tracker_task t"
        " WHERE t.organization_id = %s",
        [T],
    ),
    ("*", ONE + '"organization_id" = %s;', [T]),
]


def spread(table: list[tuple[str, str, Any]]) -> Iterator[ParameterSet]:
    """Give one case for each database of each line."""
    for number, (databases, sql, parameters) in enumerate(table):
        names = list(DIALECTS) if databases == "*" else databases.split()
        for name in names:
            text = sql.replace('"', "`") if name == "mysql" else sql
            yield pytest.param(name, text, parameters, id=f"{number}-{name}")


def of_user(parameters: Any) -> bool:
    """Return whether the parameters are those of a user's scope."""
    return any(parameter is U for parameter in parameters or ())


def judge(name: str, sql: str, parameters: Parameters) -> Verdict:
    """Return the verdict that a guard of the database gives."""
    passing = Passing.of(parameters)
    return Verdict(read(sql, passing, DIALECTS[name], NAMES), NAMES)


@pytest.mark.parametrize(("name", "sql", "parameters"), list(spread(REFUSED)))
def test_statement_that_may_leave_scope_refused(
    name: str, sql: str, parameters: Any
) -> None:
    """A statement that is not certain to stay in the scope is refused."""
    verdict = judge(name, sql, parameters)

    with pytest.raises(RawSQLRefused, match="tenancy.unscoped"):
        refuse(verdict, parameters, ACME, "scope('acme')", of_user=of_user(parameters))


@pytest.mark.parametrize(("name", "sql", "parameters"), list(spread(PASSED)))
def test_statement_that_stays_in_scope_passes(
    name: str, sql: str, parameters: Any
) -> None:
    """A statement of the ORM, or of global tables, is not in anybody's way."""
    verdict = judge(name, sql, parameters)

    refuse(verdict, parameters, ACME, "scope('acme')", of_user=of_user(parameters))


@pytest.mark.parametrize(("name", "sql", "parameters"), list(spread(HIDDEN)))
def test_statement_that_hides_a_table_is_about_rows(
    name: str, sql: str, parameters: Any
) -> None:
    """A statement that may read a tenant table needs a scope, however it is written."""
    verdict = judge(name, sql, parameters)

    assert verdict.is_about_rows(parameters)
    with pytest.raises(RawSQLRefused):
        refuse(verdict, parameters, ACME, "scope('acme')")


@pytest.mark.parametrize(
    ("key", "value", "is_key"),
    [
        (KEY.hex, KEY, True),
        (KEY.hex, str(KEY), True),
        (KEY.hex, KEY.hex, True),
        (str(KEY), KEY, True),
        (str(KEY), str(KEY), True),
        (str(KEY), KEY.hex, True),
        (str(KEY), str(KEY)[:-1] + "g", False),
        (str(KEY), str(KEY).replace("-", "", 1), False),
        (KEY.hex, f"{{{KEY}}}", False),
        (KEY.hex, Text(KEY.hex), False),
        ("10", 10, True),
        ("10", "10", True),
        ("10", "1_0", False),
        ("10", "1-0", False),
        ("10", " 10", False),
        ("10", 10.0, False),
        ("1", True, False),
        ("10", None, False),
        ("10", b"10", False),
        ("", KEY, False),
        (None, "", False),
        (None, None, False),
    ],
    ids=range(22),
)
def test_parameter_counts_when_it_can_only_mean_the_key(
    key: str | None, value: Any, is_key: bool
) -> None:
    """A value that some database takes for another key is not the organization's."""
    sql = "SELECT * FROM tracker_task WHERE organization_id = %s"

    exposed = judge("sqlite", sql, [value]).find_exposed([value], key)

    assert exposed == ([] if is_key else ["tracker_task"])


def test_mark_is_copied_as_itself_and_pickled_as_text() -> None:
    """Debug panels and caches keep the parameters of a query."""
    assert copy.copy(T) is T
    assert copy.deepcopy([T])[0] is T

    loaded = pickle.loads(pickle.dumps(T))

    assert type(loaded) is str
    assert loaded == ACME
