# Checks of single arguments: each returns the value, or throws a message with what to write instead. The first two arguments
# of each are the names of the function and of its argument, as the user wrote them.
{ lib }:
let
  fail =
    function: argument: text:
    throw "strata: argument ${argument} of ${function} ${text}";
  # What a value is, in a message.
  kind =
    value:
    if builtins.isInt value then
      toString value
    else if isFunction value then
      "a function"
    else if value ? outPath then
      "a package"
    else if builtins.isAttrs value then
      "an attribute set"
    else if value == null then
      "null"
    else
      "a ${builtins.typeOf value}";
  # Packages may be functors too.
  isFunction = value: builtins.isFunction value || (value ? __functor && !(value ? outPath));
  must =
    function: argument: expected: value:
    fail function argument "must be ${expected}, not ${kind value}";
  inStore = text: builtins.match "${builtins.storeDir}/.+" text != null;

  # A package, a path, or a string that begins with a store path.
  isStored =
    value: value ? outPath || builtins.isPath value || (builtins.isString value && inStore value);
  # The system of a package's programs. A package of stdenv has it; others have the system of their builder, and a
  # cross-compiled one also has the platform in its name. (nixpkgs: pkgs/stdenv/generic/make-derivation.nix, `hostSuffix`)
  systemOf =
    value:
    let
      platform = value.stdenv.hostPlatform or { };
      isLinuxName = builtins.match ".*-[a-z0-9_]+-unknown-linux-[a-z0-9]+(-.*)?" (value.name or "") != null;
    in
    platform.system or (if platform.isLinux or isLinuxName then "linux" else value.system or "");
  # What a fixed-output derivation downloads is the same on every system. The system of a package in a string is not known:
  # src/builder/programs.rs checks its programs.
  isForDarwin =
    value:
    builtins.isAttrs value
    && value ? drvPath
    && !(value ? outputHash)
    && builtins.match ".*-darwin" (systemOf value) != null;
  forDarwin =
    value:
    "is ${value.name or "a package"} for ${systemOf value}, which no Linux container can run; take it from a Linux package set, such as pkgs.pkgsLinux";
  # Why a value that belongs into the store does not.
  notStored =
    value:
    if isFunction value then
      "is a function; call it: [ (function { … }) ]"
    else if value == null then
      "is null; leave it out, as lib.optional does"
    else if builtins.isString value then
      "is the string \"${value}\", which no sandbox has; write a package, or a path without quotes"
    else
      "is ${kind value}, not a package or a path";
in
rec {
  inherit isFunction;

  attrs =
    function: argument: value:
    if builtins.isAttrs value && !(value ? drvPath) && !isFunction value then
      value
    else
      must function argument "an attribute set" value;

  # The configuration of an image, null for an empty one. Its packages are Linux packages; src/builder/config.rs checks the
  # programs that its strings name.
  config =
    function: argument: value:
    let
      own = attrs function argument (if value == null then { } else value);
      linux =
        value:
        if isForDarwin value then
          fail function argument "has a package that ${forDarwin value}"
        else if builtins.isList value then
          builtins.all linux value
        else
          !builtins.isAttrs value || value ? outPath || builtins.all linux (builtins.attrValues value);
    in
    assert linux own;
    own;

  list =
    function: argument: value:
    if builtins.isList value then
      value
    else
      must function argument "a list" value;

  string =
    function: argument: value:
    if builtins.isString value then value else must function argument "a string" value;

  bool =
    function: argument: value:
    if builtins.isBool value then value else must function argument "true or false" value;

  nullOr =
    check: function: argument: value:
    if value == null then null else check function argument value;

  # A script, as nix/parts/script-text.nix reads it.
  text =
    function: argument: value:
    if builtins.isString value || builtins.isPath value || value ? outPath then
      value
    else
      must function argument "a script: text, a path or a package" value;

  # A script or null, which is no script, as in dockerTools.
  script = nullOr text;

  # A file of the project or of the store, which evaluation reads or copies.
  path =
    function: argument: value:
    if isStored value || (builtins.isString value && builtins.substring 0 1 value == "/") then
      value
    else
      fail function argument (notStored value);

  # An attribute set of strings.
  strings =
    function: argument: value:
    builtins.mapAttrs (key: string function "${argument}: ${key}") (attrs function argument value);

  # A number of layers, or of bytes.
  atLeast =
    least: function: argument: value:
    if builtins.isInt value && value >= least then
      value
    else
      must function argument "a number, ${toString least} or more" value;

  # A number of a user or group.
  id =
    function: argument: value:
    if builtins.isInt value && value >= 0 then
      value
    else
      must function argument "a number, without quotes" value;

  # Permission bits.
  mode =
    function: argument: value:
    if builtins.isString value && builtins.match "[0-7]*" value != null then
      value
    else
      must function argument "an octal number in quotes, like \"0644\"" value;

  # A time, whose forms src/oci/timestamp.rs knows.
  time =
    function: argument: value:
    if builtins.isString value then
      value
    else
      must function argument "a time in quotes, like \"2024-01-01\" or \"@1700000000\"" value;

  # An architecture, as OCI names it.
  arch =
    function: argument: value:
    let
      others = {
        aarch64 = "arm64";
        armv6l = "arm";
        armv7l = "arm";
        i386 = "386";
        i586 = "386";
        i686 = "386";
        loongarch64 = "loong64";
        mips64el = "mips64le";
        powerpc64 = "ppc64";
        powerpc64le = "ppc64le";
        x86_64 = "amd64";
      };
      text = string function argument value;
      # Of a system, like x86_64-linux, too.
      name = builtins.head (builtins.match "([^-]*).*" text);
    in
    if others ? ${name} then
      fail function argument "is \"${text}\"; OCI's name of it is \"${others.${name}}\""
    else if builtins.match "[a-z0-9_]+" text == null then
      fail function argument "is \"${text}\", which is not an architecture; write \"amd64\" or \"arm64\", for example"
    else
      text;

  # Arguments that mean nothing without another one. `conditions` has, for each, what else must be given and whether it is. The
  # defaults of all of them are false, null or 0.
  needed =
    function: conditions: arguments:
    let
      hasNoEffect =
        argument:
        !conditions.${argument}.holds
        && !builtins.elem arguments.${argument} [
          false
          null
          0
        ];
      idle = builtins.filter hasNoEffect (builtins.attrNames (builtins.intersectAttrs arguments conditions));
      first = builtins.head idle;
    in
    if idle == [ ] then
      true
    else
      fail function first "has no effect without ${conditions.${first}.needs}; give both or none";

  # Owner and mode of an element, where it has them.
  owned =
    function: argument: value:
    value
    // builtins.mapAttrs (key: check: check function "${argument}: ${key}" value.${key}) (
      builtins.intersectAttrs value {
        gid = id;
        inherit mode;
        uid = id;
      }
    );

  # A repository, with its registry or without.
  name =
    function: argument: value:
    let
      text = string function argument value;
      # (distribution/reference: regexp.go, of the name in lower case)
      component = "[A-Za-z0-9]+((\\.|_|__|-+)[A-Za-z0-9]+)*";
      host = "[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?";
    in
    if text == "" then
      fail function argument "is empty; an image needs a name"
    else if builtins.match "(${host}/)?${component}(/${component})*" text == null || builtins.stringLength text > 255 then
      fail function argument "is \"${text}\", which is not an image name; use letters and digits, between them . _ __ or -, and /, and put the tag in `tag`"
    else
      text;

  # null, or a tag.
  tag =
    function: argument: value:
    if value == null then
      null
    else if builtins.match "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}" (string function argument value) == null then
      fail function argument "is \"${value}\", which is not a tag; use at most 128 letters, digits, . _ and -"
    else
      value;

  # A list, in which lists may be nested, of what is in the store; one of them may stand alone.
  stored =
    function: argument: value:
    map (
      element:
      let
        have = if builtins.isList value then "has an element that " else "";
      in
      if isForDarwin element then
        fail function argument (have + forDarwin element)
      else if isStored element then
        element
      else
        fail function argument (have + notStored element)
    ) (lib.flatten value);

  # As above, but a list.
  storedList =
    function: argument: value:
    if builtins.isList value then
      stored function argument value
    else
      fail function argument "must be a list, not ${kind value}; write ${argument} = [ … ]";

  # A list of results of our functions.
  results =
    function: argument: value:
    map (
      element:
      if isFunction element then
        fail function argument "has a function; put parentheses around each call: [ (function { … }) ]"
      else
        element
    ) (lib.flatten (list function argument value));

  # One result.
  file =
    function: argument: value:
    if isStored value then value else fail function argument (notStored value);

  # A file or package for an image.
  content =
    function: argument: value:
    if isForDarwin value then fail function argument (forDarwin value) else file function argument value;

  # null, or an image to build on.
  image =
    function: argument: value:
    if value == null || value == "" || isStored value then
      value
    else if builtins.isString value && builtins.substring 0 1 value != "/" then
      fail function argument "is the string \"${value}\"; use pullImage for an image in a registry"
    else if builtins.isList value then
      fail function argument "is a list; an image is built on one other"
    else
      fail function argument (notStored value);

  # Attribute sets with no other names than these.
  keys =
    known: function: argument: value:
    let
      unknown = builtins.filter (key: !builtins.elem key known) (builtins.attrNames value);
    in
    if !builtins.isAttrs value then
      fail function argument "has ${kind value} where { ${builtins.concatStringsSep "; " known}; } belongs"
    else if unknown != [ ] then
      fail function argument "has no attribute ${near (builtins.head unknown) known}"
    else
      value;

  # As above, with names that are required.
  entry =
    needed: optional: function: argument: value:
    let
      entry = keys (needed ++ optional) function argument value;
      missing = builtins.filter (key: !(entry ? ${key})) needed;
    in
    if missing == [ ] then
      entry
    else
      fail function argument "has an element without ${builtins.concatStringsSep " and " missing}";

  # A word, and what it was meant to be among those that there are.
  near =
    word: known:
    let
      # Of a short word, nothing would be left.
      limit = if builtins.stringLength word < 5 then 1 else 2;
      close = builtins.filter (lib.levenshteinAtMost limit word) known;
    in
    word
    + (if close == [ ] then "" else "; did you mean ${builtins.head close}?")
    + (if close == [ ] then "; it has " else " It has ")
    + builtins.concatStringsSep ", " known;

  # As nix2container's program reads them, null is the same as no value. (nix2container: cmd/utils.go, types.go)
  perms =
    function: argument: value:
    map (
      element:
      owned function argument (
        lib.filterAttrs (_: value: value != null) (
          keys [
            "gid"
            "gname"
            "mode"
            "path"
            "regex"
            "uid"
            "uname"
          ] function argument element
        )
      )
    ) (list function argument value);
}
