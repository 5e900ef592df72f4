"""A click command that rejects an option given twice, instead of silently using the last."""

import json
from pathlib import Path

import click

OUTLINE = Path(__file__).parents[1] / "verbs" / "outline.json"


class Once(click.Command):
    """Options that take several values, and flags, may be repeated; others may not.

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
        return left
