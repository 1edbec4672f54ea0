//! The head of an HTTP/1.1 request, read strictly: what is odd is refused, not guessed at.

/// The longest head that is read, in octets.
pub const LONGEST_HEAD: usize = 16 << 10;
/// The most header lines.
const MOST_LINES: usize = 64;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not a request as a browser makes it.
    #[error("the request is malformed")]
    Malformed,
    /// It is no GET, or has a body.
    #[error("only a plain GET is answered")]
    NotGet,
    /// `Host` names something else: another name led here.
    #[error("the request is for another host")]
    OtherHost,
    /// A page asked for it; nobody went there.
    #[error("the request is no navigation")]
    NotNavigated,
    /// There is nothing at that address.
    #[error("nothing is here")]
    NothingHere,
    /// A token from a browser that did not begin here.
    #[error("the sign-on was not begun in this browser")]
    NotBegunHere,
    /// No token, or none that could be one.
    #[error("there is no token in the request")]
    NoToken,
}

/// What counts of a request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The target, which begins with a slash.
    pub target: &'a str,
    /// `Host`.
    pub host: &'a str,
    /// `Origin`.
    pub origin: Option<&'a str>,
    cookies: Option<&'a str>,
    mode: Option<&'a str>,
    destination: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// Reads a head up to its empty line; what follows it is not looked at.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and [`Refusal::NotGet`].
    pub fn parse(head: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
        let (text, _) = text.split_once("\r\n\r\n").ok_or(Refusal::Malformed)?;
        if !text
            .bytes()
            .all(|octet| octet == b'\r' || octet == b'\n' || octet == b'\t' || (0x20..0x7f).contains(&octet))
        {
            return Err(Refusal::Malformed);
        }
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, target, version) = (first.next(), first.next(), first.next());
        if first.next().is_some() || version != Some("HTTP/1.1") {
            return Err(Refusal::Malformed);
        }
        if method != Some("GET") {
            return Err(Refusal::NotGet);
        }
        let target = target.filter(|target| target.starts_with('/')).ok_or(Refusal::Malformed)?;
        let mut read = Self { target, host: "", origin: None, cookies: None, mode: None, destination: None };
        let mut host = None;
        for (number, line) in lines.enumerate() {
            let (name, value) = line.split_once(':').ok_or(Refusal::Malformed)?;
            let odd = name.is_empty() || name.contains([' ', '\t', '\r', '\n']) || value.contains(['\r', '\n']);
            if odd || number >= MOST_LINES {
                return Err(Refusal::Malformed);
            }
            let value = value.trim_matches([' ', '\t']);
            let field = match name.to_ascii_lowercase().as_str() {
                "host" => &mut host,
                "origin" => &mut read.origin,
                "cookie" => &mut read.cookies,
                "sec-fetch-mode" => &mut read.mode,
                "sec-fetch-dest" => &mut read.destination,
                "content-length" if value == "0" => continue,
                "content-length" | "transfer-encoding" => return Err(Refusal::NotGet),
                _ => continue,
            };
            if field.replace(value).is_some() {
                return Err(Refusal::Malformed);
            }
        }
        read.host = host.ok_or(Refusal::Malformed)?;
        Ok(read)
    }

    /// Tells whether somebody went to the address; browsers too old to say so are believed.
    pub fn is_navigation(&self) -> bool {
        self.mode.is_none_or(|mode| mode == "navigate") && self.destination.is_none_or(|what| what == "document")
    }

    /// Returns a cookie; none when it is there twice.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        let mut found = self.cookies?.split(';').filter_map(|pair| {
            let (known, value) = pair.trim_matches(' ').split_once('=')?;
            (known == name).then_some(value)
        });
        found.next().filter(|_| found.next().is_none())
    }
}
