"""The domains, one package each; each declares its tables in bronze, silver and gold modules."""
