# `detached` of an image that has none: its evaluation throws.
function: {
  detached = throw (
    "strata: a result of ${function} holds the bytes of its layers, and cannot be detached; "
    + "detach an image of buildImage, makeContainerImage or dockerTools instead"
  );
}
