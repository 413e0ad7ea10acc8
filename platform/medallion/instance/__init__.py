"""The local Dagster instance: its home folder, its event log and its servers."""
