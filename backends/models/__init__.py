"""Where models run: the catalogue of model files, the servers, and ``connect``.

Importing this package loads nothing heavy: take what you need from its modules.
"""

import os

# LiteLLM reads these when it is imported, whichever module here does that first: without them it asks a server for
# prices and headers, and loads a stranger's .env file.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
