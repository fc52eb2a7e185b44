//! Waits until a new container can replace the old one.
//!
//! ```text
//! a health check    the engine reports it as healthy
//! else ports        its network has a listening socket on each: /proc/PID/net/tcp, so that no connection is made
//! neither           it is running
//! ```

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{EngineName, engine};

/// The interval in which the engine is asked.
const INTERVAL: Duration = Duration::from_millis(20);
/// State, PID and health of a container. In podman, a container without a health check has an empty health.
const FORMAT: &str = "{{.State.Running}} {{.State.Pid}} {{if .State.Health}}{{.State.Health.Status}}{{end}}";

/// The condition for a container to be up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The health check of the options.
    Health,
    /// A listening socket on this port.
    Port(u16),
    /// The health check of the image if it has one, else listening sockets on these ports.
    Image(Vec<u16>),
}

/// Waits until the container with this label is up, or until `is_over`. Returns its ID.
///
/// # Errors
///
/// The reason why the container will not be up.
pub fn wait(name: EngineName, label: &str, readiness: &Readiness, is_over: &AtomicBool) -> Result<String, String> {
    let mut found = None;
    while !is_over.load(Ordering::Relaxed) {
        found = found.or_else(|| engine::container(name, label));
        if let Some(id) = &found
            && is_ready(name, id, readiness)?
        {
            return Ok(id.clone());
        }
        thread::sleep(INTERVAL);
    }
    Err("it has ended".to_owned())
}

fn is_ready(name: EngineName, id: &str, readiness: &Readiness) -> Result<bool, String> {
    let Some(answer) = engine::answer(name, &["inspect", "--format", FORMAT, id]) else { return Ok(false) };
    let mut words = answer.split_whitespace();
    let (is_running, pid, health) = (words.next() == Some("true"), words.next(), words.next());
    let health = health.filter(|health| *health != "none");
    let Some(pid) = pid.filter(|pid| is_running && *pid != "0") else { return Ok(false) };
    match (readiness, health) {
        (Readiness::Port(port), _) => listens(pid, *port),
        (Readiness::Image(ports), None) => ports.iter().try_fold(true, |ready, port| Ok(ready && listens(pid, *port)?)),
        // podman runs health checks with systemd's timers, which not every machine has.
        (Readiness::Health | Readiness::Image(_), _) if name == EngineName::Podman => {
            Ok(engine::answer(name, &["healthcheck", "run", id]).is_some())
        }
        (_, Some("unhealthy")) => Err("its health check failed".to_owned()),
        (_, health) => Ok(health == Some("healthy")),
    }
}

/// Whether a socket in the network of this process listens on `port`.
fn listens(pid: &str, port: u16) -> Result<bool, String> {
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")));
    if tables.iter().all(Result::is_err) {
        // The process may have ended in the meantime. Processes of an engine in a virtual machine are never visible.
        return match fs::exists("/proc/self/net/tcp") {
            Ok(true) => Ok(false),
            _ => Err("its ports are not visible on this machine; use --health-cmd".to_owned()),
        };
    }
    Ok(tables.iter().flatten().any(|table| has_listener(table, port)))
}

/// Whether a table of `/proc/net/tcp` has a socket in the state LISTEN (0A) on `port`.
fn has_listener(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1).and_then(|address| address.rsplit_once(':'));
        fields.get(3) == Some(&"0A") && local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn listening_sockets_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listens("self", port), Ok(true));
        drop(listener);
        assert_eq!(listens("self", port), Ok(false));
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 01 x\n   1: 00000000:0050 00000000:0000 0A x\n";
        assert!(has_listener(table, 80) && !has_listener(table, 8080));
    }
}
