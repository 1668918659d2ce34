"""What the journal still knows of a source: the state from which its upload resumes."""
