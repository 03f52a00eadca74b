"""The API of the DHRD documents: their names and signatures on top of the same training and evaluation."""
