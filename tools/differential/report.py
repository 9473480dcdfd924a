"""Prints what was compared, as a table."""
import collections


def sums(tally):
    """Returns a line for each thing compared: how often, through how many doors, and how many answers differed."""
    compared, differed, doors = collections.Counter(), collections.Counter(), collections.defaultdict(set)
    for (what, door), n in tally.compared.items():
        compared[what] += n
        differed[what] += tally.differed[what, door]
        doors[what] |= {door} - {"none"}
    return [(what, len(doors[what]), compared[what], differed[what]) for what in sorted(compared)]


def show(tally, seed, rounds):
    print(f"{sum(tally.models.values())} models, {tally.rows} rows, {rounds} rounds, seed {seed}")
    if tally.refused:
        print(f"{tally.refused} models were refused as imprecise")
    if tally.unsteady:
        print(f"{tally.unsteady} models of which the host says that a row's score depends on others: those are compared by a tolerance alone")
    print(f"{'compared':45} {'doors':>5} {'times':>9} {'differ':>7}")
    for what, doors, n, bad in sums(tally):
        print(f"{what:45} {doors:5} {n:9} {bad:7}")
    kinds = collections.Counter((what, door) for what, door, _ in tally.differences)
    seen = collections.Counter()
    for what, door, text in sorted(tally.differences, key=lambda d: len(d[2])):
        seen[what, door] += 1
        if seen[what, door] <= 2:
            print(f"\n{door}, {what} (the shortest of {kinds[what, door]}): {text}")


def markdown(tally, seed, rounds):
    lines = ["| compared | doors | comparisons | differences |", "|---|--:|--:|--:|"]
    lines += [f"| {what} | {doors} | {n:,} | {bad} |" for what, doors, n, bad in sums(tally)]
    return "\n".join(lines) + f"\n\n{sum(tally.models.values())} models and {tally.rows:,} rows in {rounds} rounds of seed {seed}.\n"
