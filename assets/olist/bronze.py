"""The nine Olist files as tables of text: sales by month of purchase, the rest as snapshots."""

from assets.olist.contracts import bronze as contracts
from assets.olist.partitions import PURCHASE_MONTH
from medallion.arrivals import Arrivals
from medallion.csv_reader import CsvRead
from medallion.layers import bronze


@bronze(contract=contracts.RawOrder, partitions=PURCHASE_MONTH, owner="team:commerce")
def orders(arrivals: Arrivals) -> CsvRead:
    """An order, as exported for its month of purchase."""
    return arrivals.csv()


@bronze(contract=contracts.RawOrderItem, partitions=PURCHASE_MONTH, owner="team:commerce")
def order_items(arrivals: Arrivals) -> CsvRead:
    """A piece in an order, as exported for the month of purchase."""
    return arrivals.csv(may_be_empty=True)


@bronze(contract=contracts.RawPayment, partitions=PURCHASE_MONTH, owner="team:finance")
def payments(arrivals: Arrivals) -> CsvRead:
    """A payment of an order, as exported for the month of purchase."""
    return arrivals.csv(may_be_empty=True)


@bronze(contract=contracts.RawReview, partitions=PURCHASE_MONTH, owner="team:customer-care")
def reviews(arrivals: Arrivals) -> CsvRead:
    """A review of an order, as exported for the month of purchase."""
    return arrivals.csv(may_be_empty=True)


@bronze(contract=contracts.RawCustomer, partitions=PURCHASE_MONTH, owner="team:commerce")
def customers(arrivals: Arrivals) -> CsvRead:
    """The customer of an order, as exported for the month of purchase."""
    return arrivals.csv(may_be_empty=True)


@bronze(contract=contracts.RawProduct, owner="team:catalog")
def products(arrivals: Arrivals) -> CsvRead:
    """The product catalogue, as last exported."""
    return arrivals.csv()


@bronze(contract=contracts.RawSeller, owner="team:marketplace")
def sellers(arrivals: Arrivals) -> CsvRead:
    """The sellers, as last exported."""
    return arrivals.csv()


@bronze(contract=contracts.RawPoint, owner="team:logistics")
def geolocation(arrivals: Arrivals) -> CsvRead:
    """Points of postal code prefixes, as last exported."""
    return arrivals.csv()


@bronze(contract=contracts.RawTranslation, owner="team:catalog")
def category_translation(arrivals: Arrivals) -> CsvRead:
    """Category names in English, as last exported."""
    return arrivals.csv()
