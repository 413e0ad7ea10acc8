"""The `medallion` command."""
