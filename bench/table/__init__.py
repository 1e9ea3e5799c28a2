"""The whole performance table with one command: every model, planish against its peers, and every goal.

    python -m bench.table --markdown docs/performance.md --json build/table/table.json

`works.py` lists the models and goals, `files.py` makes the files that the contestants run, `race.py` measures one
model, `limits.py` the machine, `roofline.py` says how fast the model could be on it, `judge.py` forms ratios and
verdicts, `markdown.py` writes them. Start-up, call overhead and memory are measured by bench.startup, bench.overhead
and bench.memory.
"""
