//! Connects ureq to the standard input and output of a command, such as `docker system dial-stdio`.

use std::{
    io::{self, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::Arc,
};

use ureq::{
    Error,
    unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
};

use super::unix::unless_refused;
use crate::transport::engine::Tool;

/// Connects through one command. The URL is ignored.
#[derive(Debug)]
pub struct CommandConnector {
    tool: Arc<Tool>,
    arguments: Vec<String>,
}

impl CommandConnector {
    pub fn new(tool: Tool, arguments: &[&str]) -> Self {
        Self { tool: Arc::new(tool), arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect() }
    }
}

impl Connector for CommandConnector {
    type Out = CommandTransport;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<CommandTransport>, Error> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        // The standard error is that of the user, since ssh asks for passphrases there.
        let mut command = self.tool.command(&arguments).map_err(|error| Error::Io(io::Error::other(error)))?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::ConnectionFailed);
        };
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(CommandTransport { child, input: Some(input), output, refused: false, buffers }))
    }
}

#[derive(Debug)]
pub struct CommandTransport {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Whether the daemon closed its side. Its response has the reason.
    refused: bool,
    buffers: LazyBuffers,
}

impl Transport for CommandTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let input = self.input.as_mut().ok_or(Error::ConnectionFailed)?;
        let output = &self.buffers.output()[..amount];
        unless_refused(&mut self.refused, || input.write_all(output).and_then(|()| input.flush()))
    }

    // There is no timeout: a daemon that loads an image may send nothing for a long time.
    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let read = self.output.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    // All requests share one connection while the command runs.
    fn is_open(&mut self) -> bool {
        !self.refused && matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for CommandTransport {
    fn drop(&mut self) {
        // The input of the command ends here. A command that does not exit then is killed.
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
