"""Where models run: the catalogue of model files, the servers, and ``connect``; importing it loads nothing heavy."""

import os

# LiteLLM and the hub's client read these when they are imported, whichever module here does that first: without them
# LiteLLM asks a server for prices and headers and loads a stranger's .env file, and the hub is told what runs here.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
