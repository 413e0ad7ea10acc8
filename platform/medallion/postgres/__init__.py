"""Tables of a PostgreSQL database as bronze reads them: whole, by watermark, or from its log."""
