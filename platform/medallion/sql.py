"""Names and texts as SQL writes them, in the dialects of DataFusion and DuckDB alike."""


def quoted(name: str) -> str:
    """A column's name, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text value."""
    return "'" + text.replace("'", "''") + "'"
