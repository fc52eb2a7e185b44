# Names and tags, as every function that makes images treats them.
{
  # What follows the last slash: the store path's name.
  base = baseNameOf;

  # Registries know lower case only.
  lower =
    let
      upper = [ "A" "B" "C" "D" "E" "F" "G" "H" "I" "J" "K" "L" "M" "N" "O" "P" "Q" "R" "S" "T" "U" "V" "W" "X" "Y" "Z" ];
      lower = [ "a" "b" "c" "d" "e" "f" "g" "h" "i" "j" "k" "l" "m" "n" "o" "p" "q" "r" "s" "t" "u" "v" "w" "x" "y" "z" ];
    in
    builtins.replaceStrings upper lower;

  # The hash part of a derivation's output path: the tag of images that are given none.
  hash =
    drv:
    builtins.substring (builtins.stringLength builtins.storeDir + 1) 32 (
      builtins.unsafeDiscardStringContext drv.outPath
    );
}
