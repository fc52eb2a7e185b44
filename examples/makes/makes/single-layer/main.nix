# One layer, with a script that root runs in the image.
{ makeContainerImage, outputs, ... }:
makeContainerImage {
  layered = false;
  name = "single-layer";
  tag = "latest";
  fromImage = outputs."/base";
  runAsRoot = ''
    mkdir -p /data
    echo "made by root" > /data/my-file
    chown 1000:1000 /data/my-file
  '';
  config = {
    Cmd = [
      "cat"
      "my-file"
    ];
    WorkingDir = "/data";
  };
}
