# The image's configuration as a store path: Nix finds in it what belongs to the image's closure.
{ derive }:
name: config:
derive {
  name = "config-${name}.json";
  kind = "config";
  request = config;
}
