"""The verbs of `jaxtag`: a module each, with SUMMARY, EXAMPLES, `options(parser)` and `run(arguments)`.

`run` gives what `--json` prints and what a person reads instead. A module named `group_verb` is `jaxtag group verb`;
one that sets OVERRIDES takes `--part.field value` for every field of an experiment, as `arguments.overrides`.
A module imports nothing heavy at its top: `jaxtag --help` imports them all.
"""
