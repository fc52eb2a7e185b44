# The text of a user's script, which may be text, a file of the project's, or a package that is one.
script:
if builtins.isPath script then
  builtins.readFile script
else if script ? outPath then
  "source ${script}"
else
  toString script
