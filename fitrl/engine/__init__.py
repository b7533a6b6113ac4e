"""From a traced trial to numbers: interpreters, the reference likelihood and the compiled one; nothing statistical."""

from fitrl.engine.source import source

__all__ = ["source"]
