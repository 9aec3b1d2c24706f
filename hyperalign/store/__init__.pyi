from .interface import Bundle as Bundle
from .interface import Person as Person
from .interface import Removed as Removed
from .interface import StoreLike as StoreLike
from .interface import Version as Version
from .store import Store as Store
