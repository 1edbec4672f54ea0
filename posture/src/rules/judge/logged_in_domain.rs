//! `logged-in-domain`: a user of a domain is logged on.

use super::Judgement;
use crate::facts::Facts;
use crate::rules::Truth;

pub(super) fn judge(facts: &Facts, wanted: &str) -> Judgement {
    const AREA: &str = "users";
    let Some(list) = facts.users.value() else {
        return Judgement::without(AREA, &facts.users, "let Postern see who is logged on");
    };
    let same = |domain: &str| domain.to_lowercase() == wanted.trim().to_lowercase();
    match list.users.iter().find(|user| user.domain.as_deref().is_some_and(same)) {
        Some(user) => Judgement::new(Truth::True, AREA, format!("{} of {wanted} is logged on", user.name), "log off"),
        None => {
            let names: Vec<&str> = list.users.iter().map(|user| user.name.as_str()).collect();
            let seen = match names.as_slice() {
                [] => "nobody is logged on".to_owned(),
                names => format!("only {} logged on", names.join(", ")),
            };
            Judgement::new(Truth::False, AREA, seen, format!("log on with an account of {wanted}"))
        }
    }
}
