# A package with further attributes, which its overrideAttrs keeps.
package: attributes:
package.overrideAttrs (old: {
  passthru = old.passthru or { } // attributes;
})
