"""Small language models as problems of optimisation: predicting the next character of a stretch of text."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.nets.initialisation import initialise
from quickstudy.problem import Optimizee, Problem
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution
from quickstudy.tasks.plans import refused_values
from quickstudy.tasks.problems.fitting import Scale, draw_scale, fingerprint_of, parse_scale, widened


@cache
def python_topics() -> str:
    """Return the help texts on Python's language, which every installation has; versions of Python differ in them."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


@register("tasks")
class Characters(TaskDistribution):
    """Predicting the next character of a stretch of text from the few before it, by cross-entropy.

    Each task is a stretch of the text, at a random place. The first `rows` windows of it, one at each character, are
    to be fitted; those that follow judge the fit. Characters are numbers: 0 for rare ones, then the most frequent
    first; capitals are small letters.

    Args:
        net: from characters (S, context) int64 to logits (S, vocabulary); `nets.optimizees` has two.
        text: None takes `python_topics`.
        context: characters of a window.
        vocabulary: kinds of characters, the rare ones being one.
        rows: windows to fit.
        query_rows: windows by which a fit is judged; None judges it by those it was made to.
        start_scale: what the drawn parameters are multiplied by, a number or a range of which each task draws one.
        seed: the stream's seed.

    Raises:
        InputError: an argument is out of range, or the text is too short.
    """

    name = "characters"
    metric = "loss"

    def __init__(
        self,
        net: nn.Module,
        text: str | None = None,
        context: int = 8,
        vocabulary: int = 64,
        rows: int = 512,
        query_rows: int | None = 64,
        start_scale: Scale = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if min(context, vocabulary - 1, rows) < 1 or (query_rows is not None and query_rows < 1):
            raise InputError(
                f"{context=}, {rows=} and {query_rows=} must be at least 1 (query_rows may be None), {vocabulary=} at "
                "least 2"
            )
        text = (python_topics() if text is None else text).lower()
        self.net, self.context, self.vocabulary = net, context, vocabulary
        self.rows, self.query_rows, self.start_scale = rows, query_rows, start_scale
        self._start_scale = parse_scale("start_scale", start_scale)
        self._length = rows + (0 if query_rows is None else query_rows + context)
        self._places = len(text) - self._length - context + 1
        if self._places < 1:
            raise InputError(
                f"the text has {len(text)} characters but {rows=}, {query_rows=} and {context=} need "
                f"{self._length + context}; give a longer text or ask for fewer rows"
            )
        # Ties by code point: the order in which a text has them would be as good, but changes with any edit.
        counts = sorted(Counter(text).items(), key=lambda item: (-item[1], item[0]))
        self.characters = "".join(character for character, _ in counts[: vocabulary - 1])
        numbers = {character: number + 1 for number, character in enumerate(self.characters)}
        self._text = torch.tensor([numbers.get(character, 0) for character in text])
        self._hash = hashlib.sha256(text.encode()).hexdigest()[:16]
        initialise(net, random.key(0))
        check_net(net, context, vocabulary)

    def plan(self, indices: Tensor) -> Plan:
        """Return where stretches begin, keys and scales, each (T,)."""
        keys = self.keys(indices)
        return {
            "place": random.below(random.fold_in(keys, 1), self._places),
            "key": random.fold_in(keys, 2),
            "start_scale": draw_scale(random.fold_in(keys, 3), self._start_scale),
        }

    def refuses(self, plan: Plan) -> str | None:
        """Return why a plan holds no such stretches, or None."""
        return refused_values({"place": plan["place"]}, 0, self._places - 1) or refused_values(
            {"start_scale": plan["start_scale"]}, *widened(self._start_scale)
        )

    def gather(self, plan: Plan) -> Task:
        """Return tasks with windows (T, S, context) and labels (T, S), the characters that follow them."""
        start = initialise(self.net, plan["key"], plan["start_scale"])
        support = self._windows(plan["place"], self.rows)
        query = support
        if self.query_rows is not None:
            # Begins where the last fitted window's own answer ends: no character that is asked for was fitted.
            query = self._windows(plan["place"] + self.rows + self.context, self.query_rows)
        return Task(Problem(support.inputs, support.labels, start), query)

    def _windows(self, places: Tensor, rows: int) -> Examples:
        offsets = torch.arange(rows + self.context, device=places.device)
        stretch = self._text[places.unsqueeze(1) + offsets]
        windows = stretch.unfold(1, self.context + 1, 1)
        return Examples(Optimizee(windows[..., :-1].contiguous(), self.net), windows[..., -1].contiguous(), check=False)

    def to(self, device: torch.device | str) -> Self:
        """Move the text and the net to a device."""
        self._text = self._text.to(device)
        self.net.to(device)
        return super().to(device)

    @property
    def fingerprint(self) -> str:
        """Hash of the text and of the net."""
        return fingerprint_of(self.net, self._hash, self.context, self.rows, self.query_rows, self.vocabulary)

    def describe(self) -> dict[str, Any]:
        """Return facts about the problems."""
        facts = {
            "net": type(self.net).__name__,
            "context": self.context,
            "vocabulary": self.vocabulary,
            "rows": self.rows,
            "query_rows": self.query_rows,
            "start_scale": list(self._start_scale),
        }
        return {**super().describe(), **facts}


def check_net(net: nn.Module, context: int, vocabulary: int) -> None:
    """Raise InputError if a net does not read windows of so many characters of so many kinds."""
    try:
        with torch.no_grad():
            shape = tuple(net(torch.full((2, context), vocabulary - 1)).shape)
    except (RuntimeError, IndexError) as error:
        raise InputError(
            f"the net cannot read windows (rows, {context}) of characters 0..{vocabulary - 1}: {error}"
        ) from error
    if shape != (2, vocabulary):
        raise InputError(f"the net returns {shape} for two windows, not logits (2, {vocabulary})")
