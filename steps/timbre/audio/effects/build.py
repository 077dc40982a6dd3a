"""Effects from configuration; compose.py and the steps build through here."""

from timbre.audio.effects.base import Effect
from timbre.audio.effects.sources import Sources
from timbre.utils.configure import choose


def build_effect(config: object, sources: Sources) -> Effect:
    """The effect that CONFIG names.

    Args:
        config: {class_path: Name, init_args: {...}}, or Name alone
        sources: what it may draw from

    Raises:
        DataError: an unknown effect or setting, a value of the wrong type or that cannot be, a source that is not given
    """
    return choose(Effect, config, given={"sources": sources})()  # type: ignore[type-abstract]
