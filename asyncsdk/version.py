"""The version of the package, and the User-Agent."""

import platform

__version__ = "0.1.0"
"""The version of the package."""

USER_AGENT = f"asyncsdk/{__version__} Python/{platform.python_version()}"
