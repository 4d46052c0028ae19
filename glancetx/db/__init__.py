"""The database: Glance's own tables and a few of ours, reached through whole transactions in threads."""
