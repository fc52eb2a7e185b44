# `detached` of what cannot be: it throws when somebody asks.
function: {
  detached = throw (
    "strata: a result of ${function} holds the bytes of its layers, and cannot be detached; "
    + "detach an image of buildImage, makeContainerImage or dockerTools instead"
  );
}
