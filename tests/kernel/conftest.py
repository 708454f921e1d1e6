from environments import wheel
from programs import programs

__all__ = ["programs", "wheel"]
