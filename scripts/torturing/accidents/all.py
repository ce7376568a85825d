"""All kinds of accidents: importing their modules fills the table."""

from scripts.torturing.accidents import clients, disk, processes, stores, upstreams
from scripts.torturing.accidents.kinds import ACCIDENTS

MODULES = (clients, disk, processes, stores, upstreams)

__all__ = ["ACCIDENTS", "MODULES"]
