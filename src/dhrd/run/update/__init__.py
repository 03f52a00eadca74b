"""Continue training an artifact on new rows, and judge the result before publishing it."""
