"""The fifteen base tables of Pagila as the source has them: typed mirrors, kept current by what has changed."""

from assets.pagila.contracts import bronze as contracts
from medallion.extract import Extract
from medallion.layers import bronze
from medallion.postgres.source import Source

CHANGED = "last_update"
"""Moves with every change of a row, by a trigger of the source."""


@bronze(contract=contracts.Actor, owner="team:catalog")
def actor(source: Source) -> Extract:
    """An actor, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Address, owner="team:rental")
def address(source: Source) -> Extract:
    """An address, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Category, owner="team:catalog")
def category(source: Source) -> Extract:
    """A category of films, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.City, owner="team:rental")
def city(source: Source) -> Extract:
    """A city, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Country, owner="team:rental")
def country(source: Source) -> Extract:
    """A country, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Customer, owner="team:rental")
def customer(source: Source) -> Extract:
    """A customer, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Film, owner="team:catalog")
def film(source: Source) -> Extract:
    """A film, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.FilmActor, owner="team:catalog")
def film_actor(source: Source) -> Extract:
    """An actor of a film, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.FilmCategory, owner="team:catalog")
def film_category(source: Source) -> Extract:
    """A category of a film, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Inventory, owner="team:rental")
def inventory(source: Source) -> Extract:
    """A copy of a film in a store, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Language, owner="team:catalog")
def language(source: Source) -> Extract:
    """A language of films, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Payment, event_time="payment_date", owner="team:finance")
def payment(source: Source) -> Extract:
    """A payment, as the shop's database has it: all of its monthly partitions.

    It has no column that moves with a change, so that every run reads it whole.
    """
    return source.table()


@bronze(contract=contracts.Rental, event_time="rental_date", owner="team:rental")
def rental(source: Source) -> Extract:
    """A rental, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Staff, owner="team:rental")
def staff(source: Source) -> Extract:
    """A member of staff, as the shop's database has it."""
    return source.table(watermark=CHANGED)


@bronze(contract=contracts.Store, owner="team:rental")
def store(source: Source) -> Extract:
    """A store, as the shop's database has it."""
    return source.table(watermark=CHANGED)
