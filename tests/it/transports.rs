//! The table of transports, and what is made from it.

use std::collections::HashSet;

use strata::internals::transport::{
    Destination, Location,
    table::{Medium, TRANSPORTS},
};

#[test]
fn every_syntax_begins_with_the_name_of_its_transport() {
    let mut names = HashSet::new();
    for transport in TRANSPORTS {
        for syntax in transport.read.iter().map(|read| read.syntax).chain([transport.write.syntax]) {
            assert!(syntax.starts_with(&format!("{}:", transport.name)), "{syntax}");
        }
        assert!(names.insert(transport.name), "{} is twice in the table", transport.name);
    }
    for (alias, _) in TRANSPORTS.iter().flat_map(|transport| transport.aliases) {
        assert!(names.insert(alias), "{alias} means two transports");
    }
}

#[test]
fn sources_and_destinations_are_parsed_by_the_transport_that_they_name() {
    for transport in TRANSPORTS {
        let rest = if transport.name == "docker" { "//localhost/name:tag" } else { "name:tag" };
        let text = format!("{}:{rest}", transport.name);
        assert_eq!(text.parse::<Destination>().unwrap().medium(), transport.name);
        match &transport.read {
            Some(_) => assert_eq!(text.parse::<Location>().unwrap().medium(), Some(transport.name)),
            None => assert!(text.parse::<Location>().unwrap_err().contains("can only be written; sources are ")),
        }
    }
    assert_eq!("name:tag".parse::<Location>().unwrap().medium(), None);
    assert!("docker://localhost/name@sha256:0".parse::<Destination>().is_err());
}

#[test]
fn errors_list_every_destination() {
    let error = "nothing:here".parse::<Destination>().unwrap_err();
    for transport in TRANSPORTS {
        assert!(error.contains(transport.write.syntax), "{error}");
    }
}

#[test]
fn aliases_lead_to_their_transport() {
    for transport in TRANSPORTS {
        for (alias, flags) in transport.aliases {
            let error = format!("{alias}:app:v1").parse::<Destination>().unwrap_err();
            let start = format!("for {alias}, write {}:app:v1{flags}; destinations are", transport.name);
            assert!(error.starts_with(&start), "{error}");
        }
    }
}

/// Texts without a known transport name a form for each kind of medium that they may mean.
#[test]
fn unknown_destinations_name_the_forms_they_may_mean() {
    for transport in TRANSPORTS {
        let text = match transport.medium {
            Medium::Registry => "registry.example.com/app:v1",
            Medium::Engine(_) => "app:v1",
            Medium::File | Medium::Directory => "./out",
            // A cache is recognised by its name only.
            Medium::Cache => continue,
        };
        let error = text.parse::<Destination>().unwrap_err();
        let (suggestion, _) = error.split_once("; destinations are").unwrap();
        let form = format!("{}:{}{text}", transport.name, if transport.name == "docker" { "//" } else { "" });
        assert!(suggestion.contains(&form), "{suggestion}");
    }
}
