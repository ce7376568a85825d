"""One cache interface, interchangeable backends."""
