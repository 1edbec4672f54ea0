//! Who is logged on, of which domain, in which of its groups.

use super::{sessions, text};
use crate::collect::{Context, Look};
use crate::facts::{LoggedOnUser, Observation, UserList};
use nix::unistd::{Gid, Group, User, getgrouplist};
use std::collections::BTreeSet;
use std::ffi::CString;

pub(in crate::collect) fn users(context: &Context) -> Look<UserList> {
    const SOURCE: &str = "/run/systemd/sessions, /etc/sssd, /etc/samba, name service";
    let names = match sessions::users(context) {
        Observation::Known(names) => names,
        Observation::Unknown(reason) => return Look::unknown(reason, SOURCE),
        Observation::Denied(reason) => return Look::new(Observation::Denied(reason), SOURCE),
    };
    let realm = realm(context);
    let local = first_fields(context, "/etc/passwd");
    let users = names.into_iter().map(|name| logged_on(context, &name, &realm, local.as_ref()));
    Look::known(UserList { users: users.collect(), realm: realm.clone() }, SOURCE)
}

/// A user whom `/etc/passwd` does not name comes from elsewhere: from the domain that was joined.
fn logged_on(
    context: &Context,
    name: &str,
    realm: &Observation<Option<String>>,
    local: Option<&BTreeSet<String>>,
) -> LoggedOnUser {
    let (plain, own_domain) = match name.split_once('@') {
        Some((plain, domain)) => (plain, Some(domain.to_owned())),
        None => match name.split_once('\\') {
            Some((domain, plain)) => (plain, Some(domain.to_owned())),
            None => (name, None),
        },
    };
    let is_local = own_domain.is_none() && local.is_some_and(|names| names.contains(name));
    let domain = if is_local { None } else { own_domain.or_else(|| realm.known().cloned().flatten()) };
    let groups = if is_local { Observation::Known(Vec::new()) } else { groups(context, name) };
    LoggedOnUser { name: plain.to_owned(), domain, groups }
}

/// The groups that the name service puts a user in, without those of this endpoint alone: whoever is root
/// here can make a group of any name.
fn groups(context: &Context, user: &str) -> Observation<Vec<String>> {
    if !context.is_running_system() {
        return Observation::Unknown("the name service belongs to the running system".to_owned());
    }
    let Some(local) = first_fields(context, "/etc/group") else {
        return Observation::Unknown("/etc/group cannot be read".to_owned());
    };
    let failed = |error: nix::Error| Observation::Unknown(format!("the name service does not tell: {error}"));
    let account = match User::from_name(user) {
        Ok(Some(account)) => account,
        Ok(None) => return Observation::Unknown(format!("the name service does not know {user}")),
        Err(error) => return failed(error),
    };
    let Ok(name) = CString::new(user) else {
        return Observation::Unknown("a name with a zero in it".to_owned());
    };
    let numbers: Vec<Gid> = match getgrouplist(&name, account.gid) {
        Ok(numbers) => numbers,
        Err(error) => return failed(error),
    };
    let mut groups = Vec::new();
    for number in numbers {
        match Group::from_gid(number) {
            Ok(Some(group)) if !local.contains(&group.name) => {
                groups.push(group.name.split('@').next().unwrap_or(&group.name).to_owned());
            }
            Ok(_) => {}
            Err(error) => return failed(error),
        }
    }
    groups.sort();
    groups.dedup();
    Observation::Known(groups)
}

fn first_fields(context: &Context, path: &str) -> Option<BTreeSet<String>> {
    let file = text(context, path).ok()??;
    Some(file.lines().filter_map(|line| Some(line.split(':').next()?.to_owned())).collect())
}

/// The domain or realm that the endpoint has joined: sssd's first domain, else winbind's realm.
fn realm(context: &Context) -> Observation<Option<String>> {
    const SSSD: &str = "/etc/sssd/sssd.conf";
    const SAMBA: &str = "/etc/samba/smb.conf";
    match text(context, SSSD) {
        Ok(Some(settings)) => {
            let domains = setting(&settings, "sssd", "domains").unwrap_or_default();
            let first = domains.split(',').map(str::trim).find(|domain| !domain.is_empty() && *domain != "files");
            if let Some(domain) = first {
                // The section may name the realm otherwise than itself.
                let section = format!("domain/{domain}");
                let told =
                    setting(&settings, &section, "ad_domain").or_else(|| setting(&settings, &section, "krb5_realm"));
                return Observation::Known(Some(told.unwrap_or_else(|| domain.to_owned()).to_lowercase()));
            }
        }
        Ok(None) => {}
        Err(error) => return Observation::from_error(SSSD, &error),
    }
    match text(context, SAMBA) {
        Ok(Some(settings)) => {
            let is_member =
                setting(&settings, "global", "security").is_some_and(|kind| kind.eq_ignore_ascii_case("ads"));
            let realm = setting(&settings, "global", "realm").filter(|_| is_member);
            Observation::Known(realm.map(|realm| realm.to_lowercase()))
        }
        Ok(None) => Observation::Known(None),
        Err(error) => Observation::from_error(SAMBA, &error),
    }
}

fn setting(text: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.eq_ignore_ascii_case(section);
        } else if inside
            && let Some((found, value)) = line.split_once('=')
            && found.trim().eq_ignore_ascii_case(key)
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;
    use crate::rules::Asked;

    fn told(tree: &Tree) -> UserList {
        tree.collect_asked(&Asked { users: true, ..Asked::default() }).users.value().unwrap().clone()
    }

    fn session(user: &str, class: &str) -> String {
        format!(
            "# This is private data. Do not parse.\nUID=1\nUSER={user}\nACTIVE=1\nSTATE=active\nTYPE=tty\nCLASS={class}\n"
        )
    }

    #[test]
    fn users_of_the_domain_are_told_from_local_ones_and_greeters_are_nobody() {
        let tree = Tree::new()
            .with("/run/systemd/sessions/1", &session("root", "user"))
            .with("/run/systemd/sessions/2", &session("ann", "user"))
            .with("/run/systemd/sessions/3", &session("ann", "user"))
            .with("/run/systemd/sessions/4", &session("bob@sub.example.com", "user-early"))
            .with("/run/systemd/sessions/c1", &session("gdm", "greeter"))
            .with("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
            .with("/etc/sssd/sssd.conf", "[sssd]\ndomains = files, Corp\n[domain/Corp]\nad_domain = EXAMPLE.com\n");
        let list = told(&tree);
        assert_eq!(list.realm, Observation::Known(Some("example.com".to_owned())));
        let shown: Vec<(&str, Option<&str>)> =
            list.users.iter().map(|user| (user.name.as_str(), user.domain.as_deref())).collect();
        assert_eq!(shown, [("ann", Some("example.com")), ("bob", Some("sub.example.com")), ("root", None)]);
        assert!(list.users[0].groups.reason().is_some(), "a tree has no name service");
    }

    #[test]
    fn a_realm_comes_from_sssd_or_winbind_or_there_is_none() {
        let realm = |tree: Tree| told(&tree.with_folder("/run/systemd/sessions")).realm;
        assert_eq!(realm(Tree::new()), Observation::Known(None));
        let samba = |security: &str| format!("[global]\n   security = {security}\n   realm = EXAMPLE.COM\n");
        assert_eq!(
            realm(Tree::new().with("/etc/samba/smb.conf", &samba("ADS"))),
            Observation::Known(Some("example.com".to_owned()))
        );
        assert_eq!(realm(Tree::new().with("/etc/samba/smb.conf", &samba("user"))), Observation::Known(None));
    }

    #[test]
    fn without_sessions_and_records_nobody_knows_who_is_there() {
        let asked = Asked { users: true, ..Asked::default() };
        assert!(Tree::new().collect_asked(&asked).users.observation.reason().is_some());
    }

    #[test]
    fn a_local_user_is_in_no_group_of_a_domain() {
        let context = Context { root: "/".into(), settings: crate::collect::Settings::default() };
        let local = first_fields(&context, "/etc/passwd");
        let root = logged_on(&context, "root", &Observation::Known(Some("example.com".to_owned())), local.as_ref());
        assert_eq!((root.domain, root.groups), (None, Observation::Known(Vec::new())));
        // The name service of the running system answers; what it tells of root is local and left out.
        assert_eq!(groups(&context, "root"), Observation::Known(Vec::new()));
        assert!(groups(&context, "no-such-user-here").reason().is_some());
    }
}
