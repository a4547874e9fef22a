"""What a student can learn from a teacher: one file per method, a catalogue of them, and weighted sums of them."""
