"""Contracts of the Olist tables, one module per layer."""
