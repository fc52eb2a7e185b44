# The names of layering strategies. Any other value of `layering` is a pipeline: a list of steps, or a JSON file of them.
[
  "auto"
  "popularity"
  "transfer"
]
