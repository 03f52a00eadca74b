"""Who writes rationales: an endpoint or a model in this process, asked once for each row and paid once."""
