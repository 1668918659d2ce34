"""Send large files through the OpenAI Uploads API: parallel, checked, resumable."""

__version__ = "0.1.0"
