"""The promise, with PostgreSQL's policies in the form that a role passes by.

Tests of other files are collected here again; they run unchanged.
"""

from __future__ import annotations

import pytest

# ruff: noqa: F401, F811 - fixtures and tests are found by their names
from tests.isolation.forms import unscoped_role
from tests.isolation.test_database import (
    client,
    test_client_when_it_sets_nothing_reads_what_database_shows,
    test_client_when_it_sets_nothing_writes_nothing,
    test_client_when_setting_is_garbage_sees_and_writes_nothing,
    test_composite_key_when_unscoped_refuses,
    test_cursor_when_scope_moved_between_statements_takes_each,
    test_faults_when_migrated_are_none,
    test_faults_when_policy_is_missing_name_the_table,
    test_migration_when_rows_break_the_rule_fails,
    test_scope_when_reconnected_is_right,
    test_scope_when_savepoint_is_rolled_back_is_right,
    test_scope_when_transaction_is_rolled_back_is_right,
    test_setting_when_scope_is_left_is_not_left_behind,
    test_update_when_all_is_raw_touches_ours_only,
)
from tests.isolation.test_pooling import (
    add_alias,
    both,
    bouncer,
    clients,
    outsider,
    postgresql,
    test_pooler_when_scopes_stay_open_leaves_nothing,
    test_pooler_when_statement_fails_leaves_nothing,
    test_pooler_when_statements_alternate_leaves_nothing,
    test_pooler_when_threads_compete_keeps_scopes,
    test_pooler_when_transaction_ends_leaves_nothing,
)

pytestmark = [
    pytest.mark.usefixtures("unscoped_role"),
    pytest.mark.django_db(transaction=True),
]
