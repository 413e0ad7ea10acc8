"""Which engine computes, and everything that only that choice decides."""
