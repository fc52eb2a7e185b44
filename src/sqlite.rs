//! Opens SQLite databases of images, which are hostile input: reading a table runs no code that the file defines, and
//! always ends ([SQLite, Defense Against The Dark Arts](https://sqlite.org/security.html)).
//!
//! Views, triggers, virtual tables and generated columns are refused. The number of instructions, the length of values
//! and the heap are limited.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, config::DbConfig, limits::Limit};

use crate::budget::{SQLITE_HEAP, SQLITE_VALUE};

/// The maximum depth of an expression in the schema of a file.
const EXPRESSION_LIMIT: i32 = 100;
/// The number of instructions between two checks of the limit, and the number of checks: a few seconds of work. 100,000
/// store paths with their references take a twentieth.
const STEP: i32 = 10_000;
const STEPS: u32 = 20_000;

/// The error of a database that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite refuses the file.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A table that computes values.
    #[error("{0} is not an ordinary table")]
    NotTable(String),
}

/// Opens the database at `path` for reading, and checks that each of `tables` is an ordinary table.
///
/// # Errors
///
/// If it is not a database, or a table is missing, a view, virtual, or has generated columns.
pub fn open(path: &Path, tables: &[&str]) -> Result<Connection, DatabaseError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    for (option, is_on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    ] {
        connection.set_db_config(option, is_on)?;
    }
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, SQLITE_VALUE)?;
    connection.set_limit(Limit::SQLITE_LIMIT_EXPR_DEPTH, EXPRESSION_LIMIT)?;
    let mut steps = 0;
    let is_too_long = move || {
        steps += 1;
        steps > STEPS
    };
    connection.progress_handler(STEP, Some(is_too_long))?;
    connection.execute_batch(&format!("pragma hard_heap_limit = {SQLITE_HEAP}; pragma mmap_size = 0;"))?;
    connection.pragma_update(None, "cell_size_check", true)?;
    for table in tables {
        check_table(&connection, table)?;
    }
    Ok(connection)
}

fn check_table(connection: &Connection, table: &str) -> Result<(), DatabaseError> {
    let mut query = connection.prepare("select type, rootpage from sqlite_schema where lower(name) = lower(?1)")?;
    let mut rows = query.query([table])?;
    let mut tables = 0;
    while let Some(row) = rows.next()? {
        let (kind, page): (String, i64) = (row.get(0)?, row.get(1)?);
        tables += 1;
        if kind != "table" || page <= 0 {
            return Err(DatabaseError::NotTable(table.to_owned()));
        }
    }
    // Hidden columns are computed.
    let hidden = "select count(*) from pragma_table_xinfo(?1) where hidden <> 0";
    let hidden: i64 = connection.query_row(hidden, [table], |row| row.get(0))?;
    if tables != 1 || hidden > 0 {
        return Err(DatabaseError::NotTable(table.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens a database that the SQL creates.
    fn open_made(sql: &str) -> Result<i64, DatabaseError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch(sql).unwrap();
        made.close().unwrap();
        let connection = open(&path, &["T"])?;
        Ok(connection.query_row("select count(*) from T", [], |row| row.get(0))?)
    }

    #[test]
    fn ordinary_tables_are_read() {
        assert_eq!(open_made("create table T (a); insert into T values (1), (2);").unwrap(), 2);
        assert_eq!(open_made("create table t (a integer primary key) without rowid;").unwrap(), 0);
    }

    #[test]
    fn everything_that_computes_is_refused() {
        let endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select x as a from c";
        for sql in [
            "create table Other (a);".to_owned(),
            format!("create view T as {endless};"),
            format!("create table Other (a); create view t as {endless};"),
            "create virtual table T using fts5(a);".to_owned(),
            "create table T (b, a generated always as (zeroblob(1000000000)) virtual);".to_owned(),
            "create table T (b, a as (b) stored);".to_owned(),
        ] {
            assert!(matches!(open_made(&sql), Err(DatabaseError::NotTable(_))), "{sql}");
        }
    }

    #[test]
    fn long_values_and_endless_queries_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch("create table T (a); insert into T values (zeroblob(40000000));").unwrap();
        made.close().unwrap();
        let connection = open(&path, &["T"]).unwrap();
        let read = connection.query_row("select a from T", [], |row| row.get::<_, Vec<u8>>(0));
        assert!(read.unwrap_err().to_string().contains("too big"));
        let endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c";
        let error = connection.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
        assert!(error.to_string().contains("interrupt"), "{error}");
    }
}
