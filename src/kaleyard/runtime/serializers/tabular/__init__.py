"""Arrays, frames and tables in open formats."""
