"""A personal endpoint: a hook for LiteLLM's proxy that puts a person's profile before their requests.

``personalize`` is the hook; a proxy's config names it under ``litellm_settings: callbacks``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
