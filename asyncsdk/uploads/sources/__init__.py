"""What is uploaded, as bytes readable at an offset or in order: files, memory, streams, objects by URL."""
