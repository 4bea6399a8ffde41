"""Tables, cards and progress in a terminal."""
