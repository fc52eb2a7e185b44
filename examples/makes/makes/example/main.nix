{
  inputs,
  makeContainerImage,
  makeDerivation,
  ...
}:
makeContainerImage {
  config = {
    Env = [
      # Do not use this for sensitive values, it's not safe.
      "EXAMPLE_ENV_VAR=example-value"
      "PATH=/bin"
    ];
    WorkingDir = "/working-dir";
  };
  layers = [
    inputs.nixpkgs.coreutils
    (makeDerivation {
      name = "custom-layer";
      builder = ''
        # $out is the root of the container's files.
        mkdir -p $out/working-dir
        echo my-file-contents > $out/working-dir/my-file
      '';
    })
  ];
}
