"""Figures, tables and summaries of fits; nothing here samples."""
