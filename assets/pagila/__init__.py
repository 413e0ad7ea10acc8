"""The Pagila film rental shop: from its PostgreSQL database to a star schema."""
