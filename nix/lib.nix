# The functions of nixpkgs' lib that this library uses, with the names and signatures they have there. The library is
# written without nixpkgs' lib, so that it evaluates over any package set.
rec {
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  optionalAttrs = condition: attributes: if condition then attributes else { };
  optionalString = condition: text: if condition then text else "";

  # The attributes for which `predicate name value` holds.
  filterAttrs =
    predicate: attributes:
    builtins.removeAttrs attributes (
      builtins.filter (name: !predicate name attributes.${name}) (builtins.attrNames attributes)
    );
  genAttrs =
    names: function:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = function name;
      }) names
    );
  flatten =
    value: if builtins.isList value then builtins.concatMap flatten value else [ value ];
  isFunction = value: builtins.isFunction value || (value ? __functor && isFunction (value.__functor value));
  # Prints a warning when the second argument is evaluated.
  warn = builtins.warn or (message: builtins.trace "warning: ${message}");

  fix =
    function:
    let
      value = function value;
    in
    value;
  extends =
    overlay: function: final:
    let
      previous = function final;
    in
    previous // overlay final previous;
  composeExtensions =
    first: second: final: previous:
    let
      extended = first final previous;
    in
    extended // second final (previous // extended);

  # `result`: the list, sorted so that no element precedes one that is `before` it. If there is no such order, `cycle`: elements
  # each of which is before the next, and the last before the first, one of `loops`.
  toposort =
    before: list:
    let
      precede = left: element: builtins.filter (other: before other element) left;
      findCycle =
        left: path:
        let
          previous = builtins.head (precede left (builtins.head path));
        in
        if builtins.elem previous path then
          {
            cycle = builtins.foldl' (
              kept: element: if builtins.elem previous kept then kept else kept ++ [ element ]
            ) [ ] path;
            loops = [ (builtins.head path) ];
          }
        else
          findCycle left ([ previous ] ++ path);
      sort =
        done: left:
        let
          parts = builtins.partition (element: precede left element == [ ]) left;
        in
        if left == [ ] then
          { result = done; }
        else if parts.right == [ ] then
          findCycle left [ (builtins.head left) ]
        else
          sort (done ++ parts.right) parts.wrong;
    in
    sort [ ] list;

  toLower =
    let
      letters = text: builtins.genList (at: builtins.substring at 1 text) 26;
    in
    builtins.replaceStrings (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (letters "abcdefghijklmnopqrstuvwxyz");
  # Each of the strings with a backslash in front.
  escape = strings: builtins.replaceStrings strings (map (string: "\\${string}") strings);
  escapeRegex = escape [
    "\\"
    "["
    "{"
    "("
    ")"
    "^"
    "$"
    "?"
    "*"
    "+"
    "|"
    "."
  ];
  # A name that a store path may have.
  sanitizeDerivationName =
    name:
    let
      withoutDots = builtins.head (builtins.match "\\.*(.*)" name);
      parts = builtins.split "[^[:alnum:]+._?=-]+" withoutDots;
      text = builtins.concatStringsSep "" (map (part: if builtins.isList part then "-" else part) parts);
      length = builtins.stringLength text;
    in
    if text == "" then
      "unknown"
    else
      builtins.substring (if length > 207 then length - 207 else 0) 207 text;

  # Whether at most `limit` insertions, deletions and replacements of characters make one string of the other.
  levenshteinAtMost =
    limit: a: b:
    let
      first = builtins.substring 0 1;
      rest = builtins.substring 1 (-1);
    in
    if a == "" then
      builtins.stringLength b <= limit
    else if b == "" then
      builtins.stringLength a <= limit
    else if first a == first b then
      levenshteinAtMost limit (rest a) (rest b)
    else
      limit > 0
      && (
        levenshteinAtMost (limit - 1) (rest a) (rest b)
        || levenshteinAtMost (limit - 1) (rest a) b
        || levenshteinAtMost (limit - 1) a (rest b)
      );

  # A function's result with `override`, which calls the function again with changed arguments. `overrideAttrs` of the result
  # is kept by `override`, whichever of the two comes first.
  makeOverridable =
    function: arguments:
    let
      result = function arguments;
      changed = change: old: old // (if isFunction change then change old else change);
    in
    result
    // {
      override = change: makeOverridable function (changed change arguments);
    }
    // optionalAttrs (result ? overrideAttrs) {
      overrideAttrs =
        change: makeOverridable (arguments: (function arguments).overrideAttrs change) arguments;
    };
}
