# Several layers, on another image.
{
  inputs,
  makeContainerImage,
  outputs,
  ...
}:
makeContainerImage {
  layered = true;
  name = "multi-layer";
  tag = "latest";
  fromImage = outputs."/base";
  maxLayers = 65;
  layers = [ inputs.nixpkgs.hello ];
  config.Cmd = [ "hello" ];
}
