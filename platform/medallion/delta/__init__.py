"""The only code that commits to Delta tables."""
