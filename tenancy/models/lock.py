from __future__ import annotations

from typing import ClassVar

from django.db import connections, models
from django.db.transaction import TransactionManagementError
from django.utils import timezone


class LockManager(models.Manager["Lock"]):
    """The manager of locks."""

    def take(self, *names: str) -> None:
        """Take the locks, and hold them until the transaction ends.

        One statement makes a lock's row, or changes it, and waits for whoever did so
        before. "user:..." comes before "organization:...", and each kind goes in
        order, so that no two transactions wait for each other.

        Args:
            *names (str): "user:<key>", "organization:<key>".
        Raises:
            TransactionManagementError: no transaction is open.
        """
        connection = connections[self.db]
        if not connection.in_atomic_block:
            raise TransactionManagementError(
                "Lock.objects.take() was called outside a transaction. Call it in "
                "transaction.atomic()."
            )
        # MySQL and MariaDB look at every unique key, and take no list.
        takes_names = connection.features.supports_update_conflicts_with_target
        for name in sorted(set(names), reverse=True):
            self.bulk_create(
                [Lock(name=name)],
                update_conflicts=True,
                update_fields=["taken_at"],
                unique_fields=["name"] if takes_names else None,
            )


class Lock(models.Model):
    """A name on which transactions wait for each other.

    Not the organization's own row: FOR UPDATE there would block every insert of a row
    that refers to it, and an insert before the lock would deadlock. No foreign key
    leads to this table, or from it.
    """

    name = models.CharField(max_length=100, primary_key=True)
    taken_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[LockManager] = LockManager()

    class Meta:
        app_label = "tenancy"
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
