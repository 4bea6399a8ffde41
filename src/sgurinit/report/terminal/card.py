"""The card of a prepared data set in the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType

from sgurinit.data.prepare import Card
from sgurinit.report.terminal._layout import number_table, pair_table, plain_cells


def card_table(card: Card) -> RenderableType:
    """Show the counts after each step and of each split."""
    counts = number_table("", "interactions", "users", "items")
    for step in (*card.steps, *card.splits.values()):
        numbers = (step.interactions, step.users, step.items)
        counts.add_row(*plain_cells(step.name, *(f"{number:,}" for number in numbers)))
        if step is card.steps[-1]:
            counts.add_section()
    test = card.splits["test"].interactions
    before, after = card.steps[-2:]
    rows = {"recognized": card.recognized_as}
    if after.interactions < before.interactions:
        rows["dropped"] = (
            f"{before.users - after.users:,} of {before.users:,} users and "
            f"{before.items - after.items:,} of {before.items:,} items by {after.name}; --core 1 "
            "keeps all"
        )
    rows |= {
        "split": f"{card.options['split']}, {':'.join(map(str, card.options['ratios']))}, "
        f"seed {card.options['seed']}",
        "leaks": "none found",
        "untrained in test": f"{card.test_pairs_on_untrained_items:,} of {test:,} interactions by "
        f"item, {card.test_pairs_of_untrained_users:,} by user",
    }
    if card.items_described is not None:
        rows["items described"] = f"{card.items_described:,} of {card.steps[-1].items:,}"
    if card.features:
        rows["features"] = "\n".join(
            f"{modality}: {own['columns']:,} columns, {own['items']:,} of "
            f"{card.steps[-1].items:,} items have a vector"
            for modality, own in card.features.items()
        )
    if card.left_out:
        rows["columns left out"] = ", ".join(card.left_out) + _suggest_roles(card)
    return Group(pair_table(rows), counts)


def _suggest_roles(card: Card) -> str:
    """Suggest the options that name columns which look like values or times."""
    roles = card.possible_roles
    if not roles:
        return ""
    them = "it" if len(card.left_out) == 1 else "them"
    if len(roles) < len(card.left_out):
        them = ", ".join(roles)
    options = ", ".join(f"--{role}" for role in ("value", "time") if role in roles.values())
    return f" (name {them} with {options})"
