from .hook import personalize as personalize
