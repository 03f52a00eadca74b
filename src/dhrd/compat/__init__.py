"""The API of the DHRD documents: their names and signatures, over the same training and evaluation."""
