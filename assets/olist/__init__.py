"""The public Olist e-commerce dataset: from the shop exports to marts."""
