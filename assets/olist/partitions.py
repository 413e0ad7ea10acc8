"""The partitions of Olist tables: months of purchase, fixed to the span of the public dataset."""

import dagster as dg

PURCHASE_MONTH = dg.MonthlyPartitionsDefinition(start_date="2016-09", end_date="2018-11", fmt="%Y-%m")
"""2016-09 to 2018-10. The end is fixed: the dataset is closed, and months that can never land are no partitions."""
