"""What layers and objectives with a schedule or a constraint of their own derive from; the training loop calls it."""


class Scheduled:
    """What a module derives from, besides nn.Module, if the trainer is to tell it where it stands.

    All of it must follow from the step alone, and what `update` sets be a buffer: then a resumed run goes on exactly,
    and a loaded network works with what it was last trained with.
    """

    def update(self, step: int, num_steps: int) -> None:
        """Called before update STEP (from 0) of NUM_STEPS: brings margins, temperatures, dropout to their schedule."""

    def constrain(self, step: int) -> None:
        """Called without gradients after the optimiser's update STEP (from 0): puts weights back where they must be."""
