"""Label rows and write them in constant memory, resumably."""
