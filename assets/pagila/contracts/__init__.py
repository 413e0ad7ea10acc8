"""Contracts of the Pagila tables, one module per layer."""
