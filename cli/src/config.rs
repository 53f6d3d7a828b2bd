//! The file with what a user does not want to type again.
//!
//! ```toml
//! [profile.default]
//! listen = ["/ip4/0.0.0.0/tcp/4001"]
//!
//! [profile.work]
//! key = "/home/me/work.key"
//! relay = ["/dns4/relay.example.org/tcp/4001/p2p/12D3Koo…"]
//! timeout = "5s"
//! lan = false
//! registry = ["hub"]
//! dns = ["example.org"]
//! dns-server = ["192.0.2.53"]
//! kad = ["hub"]
//! kad-secret = "a long text that only members know"
//!
//! [peers]
//! hub = "psuaetaajaia…"
//! home = "psuaetaajaia…"
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pointsub_tokio::Multiaddr;
use serde::Deserialize;

use crate::error::Failure;

/// The name of the file in the folder of the configuration.
const FILE: &str = "config.toml";
/// The profile that is used where none is named.
const DEFAULT: &str = "default";

/// Options of a profile. What the command line says comes first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Profile {
    pub(crate) key: Option<PathBuf>,
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) external: Vec<Multiaddr>,
    pub(crate) relay: Vec<Multiaddr>,
    #[serde(deserialize_with = "time")]
    pub(crate) timeout: Option<Duration>,
    /// Whether servers are announced and looked for on the local network.
    pub(crate) lan: Option<bool>,
    /// Registries at which servers are announced and looked for.
    pub(crate) registry: Vec<String>,
    /// Lists in the DNS.
    pub(crate) dns: Vec<String>,
    #[serde(deserialize_with = "name_servers")]
    pub(crate) dns_server: Vec<SocketAddr>,
    pub(crate) dns_trusted: bool,
    /// Nodes of a private network, and what its nodes share.
    pub(crate) kad: Vec<String>,
    pub(crate) kad_secret: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    profile: BTreeMap<String, Profile>,
    peers: BTreeMap<String, String>,
}

/// What the configuration says, and where it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// The folder of the configuration; `None` if the user has no home.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) profile: Profile,
    /// Names that the user has given to peers.
    pub(crate) peers: BTreeMap<String, String>,
}

impl Config {
    /// Reads the file, if there is one.
    pub(crate) fn read(profile: Option<&str>) -> Result<Self, Failure> {
        let folder = folder();
        let path = folder.as_ref().map(|folder| folder.join(FILE));
        let file = path.as_deref().map(read).transpose()?.unwrap_or_default();
        let named = profile.unwrap_or(DEFAULT);
        let found = file.profile.get(named).cloned();
        let profile = match (found, profile) {
            (Some(found), _) => found,
            (None, None) => Profile::default(),
            (None, Some(named)) => {
                let known: Vec<&str> = file.profile.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let path = path.unwrap_or_else(|| PathBuf::from(FILE));
                let next = format!("profiles in {}: {known}", path.display());
                return Err(
                    Failure::usage(format_args!("there is no profile {named:?}")).next(next)
                );
            }
        };
        Ok(Self { folder, profile, peers: file.peers })
    }

    /// The key file of servers where none is named. Its folder is made, for this user alone.
    pub(crate) fn key_file(&self) -> Result<PathBuf, Failure> {
        Ok(self.folder_for("the key")?.join("key"))
    }

    /// The key file with which this user looks at servers. Its folder is made, for this user alone.
    pub(crate) fn operator_key(&self) -> Result<PathBuf, Failure> {
        Ok(self.folder_for("the key")?.join("operator"))
    }

    /// A folder in that of the configuration, which is made, for this user alone.
    pub(crate) fn subfolder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.folder_for("the servers that are running")?.join(name);
        create(&folder).map_err(|error| Failure::file(&folder, &error))?;
        Ok(folder)
    }

    fn folder_for(&self, what: &str) -> Result<&Path, Failure> {
        let Some(folder) = &self.folder else {
            let text = format!("there is no folder for {what}: HOME is not set");
            return Err(Failure::local(text)
                .next("set HOME, or give --key FILE, or --ephemeral for a key that is not kept"));
        };
        create(folder).map_err(|error| Failure::file(folder, &error))?;
        Ok(folder)
    }
}

fn read(path: &Path) -> Result<File, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => return Err(Failure::file(path, &error)),
    };
    toml::from_str(&text).map_err(|error| {
        Failure::usage(format_args!("{}: {}", path.display(), error.to_string().trim_end()))
            .next("`pointsub help` names the options; cli/README.md has an example of the file")
    })
}

/// Where the configuration is: `$POINTSUB_CONFIG_DIR`, or `pointsub` in `$XDG_CONFIG_HOME` or `~/.config`.
fn folder() -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = named("POINTSUB_CONFIG_DIR") {
        return Some(folder);
    }
    // The specification says that a relative path is to be ignored.
    let base = named("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(std::env::home_dir()?.join(".config")));
    base.filter(|base| base.is_absolute()).map(|base| base.join("pointsub"))
}

#[cfg(unix)]
fn create(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn create(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

fn time<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(value)?;
    duration(&text).map(Some).map_err(serde::de::Error::custom)
}

fn name_servers<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(value)?;
    let read = texts.iter().map(|text| crate::node::name_server(text));
    read.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

/// Reads a duration: a number with `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a time is a number and ms, s, m or h, such as 500ms or 2m".to_owned()),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("{number:?} is no number"))?;
    let time = Duration::try_from_secs_f64(number * scale).ok();
    time.filter(|time| time.as_secs() <= 86_400).ok_or_else(|| "0 to 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "-1s", "5 days", "25h", "infs", "nans", "1e300s"] {
            duration(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn the_example_is_read() {
        let example = include_str!("config.rs").lines().skip_while(|line| *line != "//! ```toml");
        let example = example.skip(1).take_while(|line| *line != "//! ```");
        let text: Vec<&str> =
            example.map(|line| line.trim_start_matches("//!").trim_start()).collect();
        // What is left out of the Peer ID is none.
        let text = text.join("\n").replace("/p2p/12D3Koo…", "");
        let file: File = toml::from_str(&text).expect("it is right");
        assert_eq!(file.profile["work"].timeout, Some(Duration::from_secs(5)));
        assert_eq!(file.profile["work"].lan, Some(false));
        assert_eq!(file.profile["default"].listen.len(), 1);
        assert_eq!(file.profile["work"].registry, ["hub"]);
        assert_eq!(file.profile["work"].kad, ["hub"]);
        assert!(file.profile["work"].kad_secret.is_some());
        assert_eq!(file.profile["work"].dns_server[0].port(), 53);
        assert_eq!(file.peers["home"], "psuaetaajaia…");
        toml::from_str::<File>("[profile.default]\nlisen = []").expect_err("a mistake in typing");
    }
}
