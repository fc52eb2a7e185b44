/**
  A check for a flake's `checks`: tests of an image's files, configuration, commands and running services, in Nix's sandbox,
  without an engine and without a virtual machine. A result that passed is cached like any build.

  # Example

  ```nix
  checks.image = checkImage {
    image = buildImage { name = "web"; config.Cmd = [ "${pkgs.nginx}/bin/nginx" ]; };
    structure = ./structure-test.yaml;
    service = {
      ready.port = 8080;
      script = "curl --fail http://127.0.0.1:8080/ | grep Welcome";
      packages = [ pkgs.curl ];
    };
  };
  ```

  # Arguments

  - `image` (image or path): any image of this library, or an archive or layout of another tool.
  - `structure` (path, attribute set or null): tests in container-structure-test's schema 2.0.0.
  - `service` (attribute set or null): how the image's program is started and tested; see below.
  - `services` (attribute set of attribute sets): several services by name, instead of `service`. They share one loopback network and find each other by name; their scripts run when all are ready.
  - `name` (string): the name of the derivation.

  # Services

  The program of a service is started. When it is ready, its script runs, and it is stopped with the stop signal of the image's
  configuration. It must not end before that, and must end after it. A service is an attribute set:

  - `ready`: what is waited for, all that is given of `port`, `http` (a path on the port), `log` (a regular expression for a line of
    the output) and `exec` (a command in the container).
  - `timeout`: seconds until it must be ready; 60 by default.
  - `stopTimeout`: seconds until it must have ended after the stop signal; by default those of the configuration, or 10.
  - `script`: a script of bash, with `set -euo pipefail`, that runs outside of the container on its network, with coreutils, grep,
    sed and the like.
  - `packages`: further packages with programs for the script.
  - `image`: another image than that of the check.
  - `env`: further variables.
  - `command`: a list that replaces the image's `Cmd`.
  - `after`: names of services that must be ready before this one starts.
*/
{
  check,
  checked,
  derive,
  lib,
  names,
  scriptText,
  toolchain,
}:
{
  image,
  structure ? null,
  service ? null,
  services ? { },
  name ? "check-image",
  ...
}@arguments:
assert checked arguments;
let
  function = "checkImage";
  readable =
    argument: image: names.source (if image ? recipe then image else check.file function argument image);

  isText = builtins.isAttrs structure && !(structure ? outPath);

  all =
    if service != null && services != { } then
      throw "strata: checkImage takes service or services, not both; name the one in services"
    else if service != null then
      { service = service; }
    else
      check.attrs function "services" services;
  complete =
    serviceName: given:
    let
      argument = if service != null then "service" else "services.${serviceName}";
      known = [
        "after"
        "command"
        "env"
        "image"
        "packages"
        "ready"
        "script"
        "stopTimeout"
        "timeout"
      ];
      own = check.keys known function argument given;
      conditions = check.keys [ "exec" "http" "log" "port" ] function "${argument}.ready" (own.ready or { });
    in
    if builtins.match "[a-z0-9]([a-z0-9-]*[a-z0-9])?" serviceName == null then
      throw "strata: argument services of checkImage: ${serviceName} is not a host name; use small letters, digits and -"
    else if conditions == { } then
      throw "strata: argument ${argument} of checkImage needs ready.port, ready.http, ready.log or ready.exec; without one, nothing says when the service is ready"
    else
      {
        after = check.list function "${argument}.after" (own.after or [ ]);
        script = scriptText (own.script or "");
        packages = check.list function "${argument}.packages" (own.packages or [ ]);
        request = {
          name = serviceName;
          image = readable "${argument}.image" (own.image or image);
          ready = conditions;
          timeout = check.atLeast 1 function "${argument}.timeout" (own.timeout or 60);
          stopTimeout =
            if own ? stopTimeout then check.atLeast 1 function "${argument}.stopTimeout" own.stopTimeout else null;
          env = check.strings function "${argument}.env" (own.env or { });
          command = if own ? command then check.list function "${argument}.command" own.command else null;
        };
      };
  completed = builtins.mapAttrs complete all;

  # Each service is after those that it names.
  ordered =
    let
      known = builtins.attrNames completed;
      unknown = builtins.filter (name: !(completed ? ${name})) (
        builtins.concatMap (name: completed.${name}.after) known
      );
      sorted = lib.toposort (one: other: builtins.elem one completed.${other}.after) known;
    in
    if unknown != [ ] then
      throw "strata: argument services of checkImage: after names ${check.near (builtins.head unknown) known}"
    else if sorted ? cycle then
      throw "strata: argument services of checkImage: after is circular, in ${builtins.concatStringsSep " and " sorted.cycle}; remove one of them"
    else
      map (name: completed.${name}) sorted.result;
in
derive {
  inherit name arguments;
  kind = "check";
  request = {
    image = readable "image" image;
    structure =
      if structure == null || isText then null else "${check.file function "structure" structure}";
    structureText = if isText then builtins.toJSON structure else null;
    services = map (service: service.request) ordered;
    scripts = map (service: {
      inherit (service.request) name;
      shell = toolchain.scripts.bash;
      path = builtins.concatStringsSep ":" (
        map (package: "${package.bin or package}/bin") service.packages ++ [ toolchain.scripts.path ]
      );
      text = service.script;
    }) (builtins.filter (service: service.script != "") ordered);
  };
}
