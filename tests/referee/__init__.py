"""Independent implementations that the tests hold l1db's own against."""
