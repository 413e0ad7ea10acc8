"""The tables of a Pagila database as statements: names, types, keys and triggers as the public sample has them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_CHANGED = "last_update timestamp with time zone DEFAULT now() NOT NULL"


@dataclass(frozen=True)
class SourceTable:
    """A base table.

    Attributes:
        columns: their declarations, in order.
        key: the primary key.
        references: column -> table that it refers to, whose key has one column.
        serial: the column that a sequence numbers.
        indexes: further indexes: name -> columns; `UNIQUE` before the columns of a unique one.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...]
    references: Mapping[str, str]
    serial: str | None = None
    indexes: Mapping[str, str] | None = None


def _numbered(table: str, *columns: str, indexes: Mapping[str, str] | None = None, **references: str) -> SourceTable:
    """A table whose rows a sequence numbers and whose changes move `last_update`."""
    key = f"{table}_id"
    serial = f"{key} integer DEFAULT nextval('{table}_{key}_seq'::regclass) NOT NULL"
    return SourceTable((serial, *columns), (key,), references, key, indexes)


TABLES: Mapping[str, SourceTable] = {
    "country": _numbered("country", "country text NOT NULL", _CHANGED),
    "city": _numbered(
        "city",
        "city text NOT NULL",
        "country_id integer NOT NULL",
        _CHANGED,
        country_id="country",
        indexes={"idx_fk_country_id": "country_id"},
    ),
    "address": _numbered(
        "address",
        "address text NOT NULL",
        "address2 text",
        "district text NOT NULL",
        "city_id integer NOT NULL",
        "postal_code text",
        "phone text NOT NULL",
        _CHANGED,
        city_id="city",
        indexes={"idx_fk_city_id": "city_id"},
    ),
    "language": _numbered("language", "name character(20) NOT NULL", _CHANGED),
    "category": _numbered("category", "name text NOT NULL", _CHANGED),
    "actor": _numbered(
        "actor",
        "first_name text NOT NULL",
        "last_name text NOT NULL",
        _CHANGED,
        indexes={"idx_actor_last_name": "last_name"},
    ),
    "store": _numbered(
        "store",
        "manager_staff_id integer NOT NULL",
        "address_id integer NOT NULL",
        _CHANGED,
        address_id="address",
        indexes={"idx_unq_manager_staff_id": "UNIQUE manager_staff_id"},
    ),
    "staff": _numbered(
        "staff",
        "first_name text NOT NULL",
        "last_name text NOT NULL",
        "address_id integer NOT NULL",
        "email text",
        "store_id integer NOT NULL",
        "active boolean DEFAULT true NOT NULL",
        "username text NOT NULL",
        "password text",
        _CHANGED,
        "picture bytea",
        address_id="address",
        store_id="store",
    ),
    "customer": _numbered(
        "customer",
        "store_id integer NOT NULL",
        "first_name text NOT NULL",
        "last_name text NOT NULL",
        "email text",
        "address_id integer NOT NULL",
        "activebool boolean DEFAULT true NOT NULL",
        "create_date date DEFAULT CURRENT_DATE NOT NULL",
        "last_update timestamp with time zone DEFAULT now()",
        "active integer",
        store_id="store",
        address_id="address",
        indexes={"idx_fk_address_id": "address_id", "idx_fk_store_id": "store_id", "idx_last_name": "last_name"},
    ),
    "film": _numbered(
        "film",
        "title text NOT NULL",
        "description text",
        "release_year year",
        "language_id integer NOT NULL",
        "original_language_id integer",
        "rental_duration smallint DEFAULT 3 NOT NULL",
        "rental_rate numeric(4,2) DEFAULT 4.99 NOT NULL",
        "length smallint",
        "replacement_cost numeric(5,2) DEFAULT 19.99 NOT NULL",
        "rating mpaa_rating DEFAULT 'G'::mpaa_rating",
        _CHANGED,
        "special_features text[]",
        "fulltext tsvector NOT NULL",
        language_id="language",
        original_language_id="language",
        indexes={
            "idx_title": "title",
            "idx_fk_language_id": "language_id",
            "idx_fk_original_language_id": "original_language_id",
        },
    ),
    "film_actor": SourceTable(
        ("actor_id integer NOT NULL", "film_id integer NOT NULL", _CHANGED),
        ("actor_id", "film_id"),
        {"actor_id": "actor", "film_id": "film"},
        indexes={"idx_fk_film_id": "film_id"},
    ),
    "film_category": SourceTable(
        ("film_id integer NOT NULL", "category_id integer NOT NULL", _CHANGED),
        ("film_id", "category_id"),
        {"film_id": "film", "category_id": "category"},
    ),
    "inventory": _numbered(
        "inventory",
        "film_id integer NOT NULL",
        "store_id integer NOT NULL",
        _CHANGED,
        film_id="film",
        store_id="store",
        indexes={"idx_store_id_film_id": "store_id, film_id"},
    ),
    "rental": _numbered(
        "rental",
        "rental_date timestamp with time zone NOT NULL",
        "inventory_id integer NOT NULL",
        "customer_id integer NOT NULL",
        "return_date timestamp with time zone",
        "staff_id integer NOT NULL",
        _CHANGED,
        inventory_id="inventory",
        customer_id="customer",
        staff_id="staff",
        indexes={
            "idx_fk_inventory_id": "inventory_id",
            "idx_unq_rental_rental_date_inventory_id_customer_id": "UNIQUE rental_date, inventory_id, customer_id",
        },
    ),
    "payment": SourceTable(
        (
            "payment_id integer DEFAULT nextval('payment_payment_id_seq'::regclass) NOT NULL",
            "customer_id integer NOT NULL",
            "staff_id integer NOT NULL",
            "rental_id integer NOT NULL",
            "amount numeric(5,2) NOT NULL",
            "payment_date timestamp with time zone NOT NULL",
        ),
        ("payment_date", "payment_id"),
        {"customer_id": "customer", "staff_id": "staff", "rental_id": "rental"},
        "payment_id",
        {"idx_fk_payment_customer_id": "customer_id", "idx_fk_payment_staff_id": "staff_id"},
    ),
}
"""The 15 base tables, each after those that it refers to."""

TYPES: Mapping[str, str] = {
    "mpaa_rating": "CREATE TYPE mpaa_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17')",
    "year": "CREATE DOMAIN year AS integer CONSTRAINT year_check CHECK (VALUE BETWEEN 1901 AND 2155)",
}
TRIGGER_FUNCTION = "last_updated"
_LAST_UPDATED = f"""CREATE FUNCTION {TRIGGER_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.last_update := now();
    RETURN NEW;
END
$body$"""
# tsvector_update_trigger is PostgreSQL's own.
_FULLTEXT = (
    "CREATE TRIGGER film_fulltext_trigger BEFORE INSERT OR UPDATE ON film FOR EACH ROW EXECUTE FUNCTION "
    "tsvector_update_trigger('fulltext', 'pg_catalog.english', 'title', 'description')"
)


def partitions(months: Sequence[dt.date]) -> dict[str, str]:
    """Partitions of `payment`: name -> the values it takes. Payments of other months go to the default one.

    Args:
        months: first days of the months that get a partition of their own; the months are those of UTC.
    """
    bounds = {}
    for month in months:
        beyond = (month + dt.timedelta(days=31)).replace(day=1)
        bounds[f"payment_p{month:%Y_%m}"] = f"FOR VALUES FROM ('{month} 00:00:00+00') TO ('{beyond} 00:00:00+00')"
    return {**bounds, "payment_default": "DEFAULT"}


def create_tables(months: Sequence[dt.date]) -> list[str]:
    """Statements that make types, sequences and empty tables without keys, into which rows load fastest."""
    statements = [*TYPES.values(), _LAST_UPDATED]
    for name, table in TABLES.items():
        if table.serial:
            statements.append(f"CREATE SEQUENCE {name}_{table.serial}_seq")
        by_month = " PARTITION BY RANGE (payment_date)" if name == "payment" else ""
        statements.append(f"CREATE TABLE {name} ({', '.join(table.columns)}){by_month}")
        if table.serial:
            statements.append(f"ALTER SEQUENCE {name}_{table.serial}_seq OWNED BY {name}.{table.serial}")
    statements += [f"CREATE TABLE {name} PARTITION OF payment {values}" for name, values in partitions(months).items()]
    return [*statements, _FULLTEXT]


def complete_tables() -> list[str]:
    """Statements that add keys, references, indexes and triggers to loaded tables."""
    statements = [
        f"ALTER TABLE {name} ADD CONSTRAINT {name}_pkey PRIMARY KEY ({', '.join(table.key)})"
        for name, table in TABLES.items()
    ]
    for name, table in TABLES.items():
        statements += [
            f"ALTER TABLE {name} ADD CONSTRAINT {name}_{column}_fkey FOREIGN KEY ({column}) "
            f"REFERENCES {target} ({target}_id) ON UPDATE CASCADE ON DELETE RESTRICT"
            for column, target in table.references.items()
        ]
        for index, columns in (table.indexes or {}).items():
            unique = "UNIQUE " if columns.startswith("UNIQUE ") else ""
            statements.append(f"CREATE {unique}INDEX {index} ON {name} ({columns.removeprefix('UNIQUE ')})")
        if has_last_update(table):
            statements.append(
                f"CREATE TRIGGER last_updated BEFORE UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION "
                f"{TRIGGER_FUNCTION}()"
            )
    statements.append("CREATE INDEX film_fulltext_idx ON film USING gist (fulltext)")
    return statements


def has_last_update(table: SourceTable) -> bool:
    """Whether the table tells when each of its rows changed."""
    return any(column.startswith("last_update ") for column in table.columns)


def column_names(table: SourceTable) -> list[str]:
    """Names of the columns that rows are loaded into: all but those that a trigger makes."""
    return [column.split()[0] for column in table.columns if not column.startswith("fulltext ")]
