//! Every flag of a command has an effect, or is refused.

mod bench;
mod copy;
mod copy_table;
mod images;
mod source;
mod table;
