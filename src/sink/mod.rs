//! Images written; one file a medium.

pub mod archive;
