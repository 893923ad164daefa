"""MySQL and MariaDB: how the scope is carried, and how the rules are kept."""
