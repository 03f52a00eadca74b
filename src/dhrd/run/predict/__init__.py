"""Rows labelled and written in constant memory, by runs that outlive a kill."""
