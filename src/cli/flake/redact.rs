//! URLs without passwords, for messages.

/// Parts of a query that have no passwords. Other parts may have the tokens of forges.
const SHOWN: [&str; 8] = ["allRefs", "dir", "host", "narHash", "ref", "rev", "shallow", "submodules"];

/// References without `//`.
const SCHEMES: [&str; 3] = ["github:", "gitlab:", "sourcehut:"];

/// Replaces the user information and unknown parts of the query of each URL in `text`.
pub fn redact(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\' | '’' | '”');
    text.split_inclusive(is_end).map(redact_word).collect()
}

fn redact_word(word: &str) -> String {
    let start = match word.find("://") {
        Some(at) => at + 3,
        None if SCHEMES.iter().any(|scheme| word.contains(scheme)) => 0,
        None => return word.to_owned(),
    };
    let (scheme, url) = word.split_at(start);
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    // A password may have slashes that are not encoded.
    let host = path.rsplit_once('@').filter(|(user, _)| start > 0 && (!user.contains('/') || user.contains(':')));
    let path = host.map_or_else(|| path.to_owned(), |(_, host)| format!("***@{host}"));
    let Some(query) = query else { return format!("{scheme}{path}") };
    let pair = |pair: &str| match SHOWN.contains(&pair.split('=').next().unwrap_or_default()) {
        true => pair.to_owned(),
        // The word may end with a quotation mark or a blank.
        false => {
            format!("***{}", pair.chars().last().filter(|c| !c.is_alphanumeric()).map(String::from).unwrap_or_default())
        }
    };
    format!("{scheme}{path}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_of_urls_are_replaced() {
        for (text, expected) in [
            ("reading git+https://me:SECRET@host/x failed", "reading git+https://***@host/x failed"),
            ("'https://SECRET@host:1/x?ref=a&token=SECRET': no", "'https://***@host:1/x?ref=a&***': no"),
            ("ssh://git@host/x and http://me:SEC/RET@host/", "ssh://***@host/x and http://***@host/"),
            ("git+file:///a/b?rev=1&dir=c", "git+file:///a/b?rev=1&dir=c"),
            ("https://a:SEC@RET@host?SECRET", "https://***@host?***"),
            ("no URL: me@host", "no URL: me@host"),
            ("github:a/b?token=SECRET", "github:a/b?***"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }
}
