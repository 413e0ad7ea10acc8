"""The partitions of Pagila tables: months, from the first of the oldest edition of the sample on."""

import dagster as dg

MONTH = dg.MonthlyPartitionsDefinition(start_date="2005-01", fmt="%Y-%m", end_offset=1)
"""From 2005-01, when the rentals of the first editions begin, to the month that has begun."""
