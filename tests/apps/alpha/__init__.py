"""An app with a history: each way in which a tenant model changes is a migration."""
