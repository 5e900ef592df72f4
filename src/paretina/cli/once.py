"""A click command that rejects an option given twice, instead of silently using the last, and numbers that are not finite.

Its errors name the options of the command, and not the fields of the program that these set.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

import click

OUTLINE = Path(__file__).parents[1] / "verbs" / "outline.json"

STUDIES = r"SearchStudy|ScalingStudy|Rules|Halving|Study|Price|SelfTrained|Shares|[A-Z]\w*Space|AroundNetwork|AroundRecipe"
"""Specs that a command makes from its options. Fields of all others are typed, such as MixUp.alpha, and so are known."""

SET_BY = {
    "timing_s": "timing",
    "seconds": "time_limit",
    "time_limit_s": "time_limit",
    "weight": "reward_weight",
    "factor": "keep",
    "narrowed": "narrow",
}
"""Options by the fields that they set, where these have another name."""


def option_words(ctx: click.Context) -> dict[str, str]:
    """The options of a command as they are typed, by the names of their parameters."""
    return {
        param.name: max(param.opts, key=len) for param in ctx.command.params if isinstance(param, click.Option) and param.name
    }


def in_options(text: str, ctx: click.Context) -> str:
    """A message with the options of the command in place of the fields that they set."""
    words = option_words(ctx)

    def said(found: re.Match[str]) -> str:
        name = found[1]
        return words.get(SET_BY.get(name, name)) or words.get(name) or name

    return re.sub(rf"\b(?:{STUDIES})\.([a-z]\w*)(?:\.\d+)?", said, text)


class Once(click.Command):
    """Options that take several values, and flags, may be repeated; others may not. Numbers are finite.

    `{data}` in the help of a command stands for what can be named as data.
    """

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.help and "{data}" in self.help:
            outline = json.loads(OUTLINE.read_text("utf-8"))  # without the module that makes it, which a help need not load
            self.help = self.help.replace("{data}", outline["data"])
        super().format_help_text(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        left = super().parse_args(ctx, list(args))
        if ctx.resilient_parsing:
            return left
        seen: set[click.Parameter] = set()
        for param in self.make_parser(ctx).parse_args(args=list(args))[2]:
            if isinstance(param, click.Option) and not (param.multiple or param.is_flag or param.count):
                if param in seen:
                    raise click.UsageError(f"{max(param.opts, key=len)} is given twice; leave one out", ctx)
                seen.add(param)
        self.check_finite(ctx)
        return left

    def check_finite(self, ctx: click.Context) -> None:
        """Checks that numbers are finite, which no range of click does.

        Raises:
            click.UsageError: one is not.
        """
        for param in self.params:
            value = ctx.params.get(param.name or "")
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, float) and not math.isfinite(each):
                    raise click.UsageError(f"{max(param.opts, key=len)} must be a finite number, got {each}", ctx)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ValueError as error:
            said = in_options(str(error), ctx)
            if said != str(error):
                error.args = (said,)
            raise
