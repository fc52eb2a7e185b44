//! Questions to the user, on the terminal of the process: stdin and stdout may be pipes.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
};

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

fn terminal(hint: &str) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/tty");
    opened.with_context(|| format!("there is no terminal to ask on; {hint}"))
}

/// Asks for a line, which the terminal echoes.
pub fn ask(question: &str, hint: &str) -> Result<String> {
    let mut terminal = terminal(hint)?;
    write!(terminal, "{question}: ")?;
    let mut line = String::new();
    BufReader::new(terminal).read_line(&mut line).context("reading from the terminal")?;
    Ok(line.trim().to_owned())
}

/// Asks for a line, which the terminal does not echo.
///
/// Control characters are read as bytes, since a signal while the echo is off would leave it off.
pub fn ask_hidden(question: &str, hint: &str) -> Result<String> {
    let mut terminal = terminal(hint)?;
    let hidden = Hidden::new(&terminal)?;
    write!(terminal, "{question}: ")?;
    let line = read_hidden(&mut terminal);
    drop(hidden);
    writeln!(terminal)?;
    line
}

/// Restores the terminal when it is dropped.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn new(terminal: &File) -> Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal).context("reading the terminal's settings")?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &hidden).context("hiding what is typed")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // If the terminal is gone, there is no remedy.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

fn read_hidden(terminal: &mut File) -> Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        if terminal.read(&mut byte).context("reading from the terminal")? == 0 {
            break;
        }
        match byte[0] {
            b'\n' | b'\r' | CTRL_D => break,
            CTRL_C => bail!("interrupted"),
            CTRL_U => line.clear(),
            BACKSPACE | DELETE => {
                // A character may have several bytes.
                while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).context("the terminal sent something other than UTF-8")
}
