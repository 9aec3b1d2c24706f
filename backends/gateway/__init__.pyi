from .control_tokens import apart as apart
from .hook import personalize as personalize
